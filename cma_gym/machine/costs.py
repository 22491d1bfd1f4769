"""What work costs: one table per kind of machine, in nanoseconds.

Every result of one kind of machine comes from one table; none is tuned to a single target.
"""

from __future__ import annotations

from typing import Literal

from cma_gym.mm.mmzone import Cost

CostProfile = Literal["phone", "vm", "armv7", "emulated"]

_PHONE: dict[Cost, int] = {
    Cost.FAULT: 1_000,
    Cost.COPY: 600,
    Cost.RECLAIM_SCAN: 300,
    Cost.RECLAIM_DROP: 700,
    Cost.ZRAM_OUT: 12_000,
    Cost.ZRAM_IN: 9_400,
    Cost.FLASH_READ: 30_000,
    Cost.FLASH_WRITE: 20_000,
    Cost.MIGRATE: 5_000,
    Cost.ISOLATE_BLOCK: 20_000,
    Cost.ISOLATE_PAGE: 100,
    Cost.DRAIN: 100_000,
    Cost.COMPACT_SCAN: 60,
    Cost.SWAP_DISK_OUT: 20_000,
    Cost.SWAP_DISK_IN: 270_000,
}
"""A phone's core and flash. Sources: FACTS C10 (fault 1 us; zram read 9.4 us; migration of one page on a big ARM core
3-8 us; eMMC 4 KiB read 270 us, here with read-ahead of 8 pages and more). RECLAIM_*, COPY, COMPACT_SCAN, ISOLATE_* and
DRAIN are assumptions of the right order of magnitude."""

_VM: dict[Cost, int] = {
    Cost.FAULT: 1_000,
    Cost.COPY: 400,
    Cost.RECLAIM_SCAN: 200,
    Cost.RECLAIM_DROP: 500,
    Cost.ZRAM_OUT: 4_000,
    Cost.ZRAM_IN: 1_700,
    Cost.FLASH_READ: 1_000_000,
    Cost.FLASH_WRITE: 40_000,
    Cost.MIGRATE: 5_000,
    Cost.ISOLATE_BLOCK: 20_000,
    Cost.ISOLATE_PAGE: 100,
    Cost.DRAIN: 2_000_000,
    Cost.COMPACT_SCAN: 40,
    Cost.SWAP_DISK_OUT: 40_000,
    Cost.SWAP_DISK_IN: 1_000_000,
}
"""A virtual machine of 2014 to 2016 on an x86-64 server with a hard disk. Sources: FACTS C10 (fault 1 us; zram read
1.7 us on a desktop; migration of one page 3-8 us). Assumptions: a disk of 7200 rpm with 8 ms for a seek, read in
clusters of 8 pages (page_cluster 3 for swap; source files are about as large), written in sequence at 100 MB/s; DRAIN
is lru_add_drain_all(), whose worker waits for a turn on every busy CPU, about a scheduling granularity of 2 ms; the
rest is of the right order of magnitude."""

_ARMV7: dict[Cost, int] = {
    Cost.FAULT: 3_000,
    Cost.COPY: 10_000,
    Cost.RECLAIM_SCAN: 500,
    Cost.RECLAIM_DROP: 1_000,
    Cost.ZRAM_OUT: 60_000,
    Cost.ZRAM_IN: 30_000,
    Cost.FLASH_READ: 250_000,
    Cost.FLASH_WRITE: 400_000,
    Cost.MIGRATE: 20_000,
    Cost.ISOLATE_BLOCK: 20_000,
    Cost.ISOLATE_PAGE: 270,
    Cost.DRAIN: 360_000,
    Cost.COMPACT_SCAN: 200,
    Cost.SWAP_DISK_OUT: 400_000,
    Cost.SWAP_DISK_IN: 250_000,
}
"""A board with a 1 GHz ARMv7 and a microSD card. Sources: FACTS A9.h and C10, measured costs where nothing waited: best
case of cma_alloc() 0.4 ms and 0.27 us a page (DRAIN, ISOLATE_*), dropping a clean copy 1.0 us (RECLAIM_DROP).
Assumptions: a copy of a page at 400 MB/s (COPY; with rmap and TLB flush MIGRATE), the card reads 16 MB/s and writes
10 MB/s, compression five times as slow as a phone's core, the rest three times."""

COST_TABLES: dict[str, dict[Cost, int]] = {
    "phone": _PHONE,
    "vm": _VM,
    "armv7": _ARMV7,
    "emulated": _PHONE,
}
"""Nanoseconds by kind of machine."""
