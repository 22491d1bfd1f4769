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
    Cost.FLASH_READ: 290_000,
    Cost.FLASH_WRITE: 40_000,
    Cost.MIGRATE: 5_000,
    Cost.ISOLATE_BLOCK: 20_000,
    Cost.ISOLATE_PAGE: 100,
    Cost.DRAIN: 2_000_000,
    Cost.COMPACT_SCAN: 40,
    Cost.SWAP_DISK_OUT: 40_000,
    Cost.SWAP_DISK_IN: 1_000_000,
}
"""A virtual machine of 2014 to 2016 on an x86-64 server with a hard disk. Sources: FACTS C10 (fault 1 us; zram read 1.7
us on a desktop; migration of one page 3-8 us). Assumptions: a disk of 7200 rpm with 8 ms for a seek and 100 MB/s; swap
is read in clusters of 8 pages (page_cluster 3: 1 ms a page) and files in windows of 32 (read-ahead of 128 kB: 8 ms and
32 x 40 us, 0.29 ms a page; a small file's pages cost more, a large one's less); both are written in sequence; DRAIN is
lru_add_drain_all(), whose worker waits for a turn on every busy CPU, about a scheduling granularity of 2 ms; the rest
is of the right order of magnitude."""

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
    Cost.ISOLATE_PAGE: 240,
    Cost.DRAIN: 180_000,
    Cost.COMPACT_SCAN: 200,
    Cost.SWAP_DISK_OUT: 400_000,
    Cost.SWAP_DISK_IN: 250_000,
}
"""A board with a 1 GHz ARMv7 and a microSD card. Sources: FACTS A9.h and C10, measured costs where nothing waited: best
case of cma_alloc() 381 us for one page, in which a kernel of 2015 drains twice (DRAIN) and isolates a block, and 8612
us for 32000, 0.26 us a page with its share of a block (ISOLATE_*); dropping a clean copy 1.0 us (RECLAIM_DROP).
Assumptions: a copy of a page at 400 MB/s (COPY; with rmap and TLB flush MIGRATE), the card reads 16 MB/s and writes 10
MB/s, compression five times as slow as a phone's core, the rest three times."""

_EMULATED: dict[Cost, int] = {
    Cost.FAULT: 6_500,
    Cost.COPY: 2_000,
    Cost.RECLAIM_SCAN: 1_200,
    Cost.RECLAIM_DROP: 4_500,
    Cost.ZRAM_OUT: 42_000,
    Cost.ZRAM_IN: 15_000,
    Cost.FLASH_READ: 16_000,
    Cost.FLASH_WRITE: 16_000,
    Cost.MIGRATE: 20_000,
    Cost.ISOLATE_BLOCK: 25_000,
    Cost.ISOLATE_PAGE: 430,
    Cost.DRAIN: 7_400_000,
    Cost.COMPACT_SCAN: 1_000,
    Cost.SWAP_DISK_OUT: 16_000,
    Cost.SWAP_DISK_IN: 16_000,
}
"""The slow machine of the public recordings: Linux 6.12 on two emulated CPUs, all busy. "Gap" is the time between two
consecutive events of one task in a recording (its median; the middle four fifths in brackets), where nothing else of
that task lies between; one traced event takes at most 1 us (gap of two mm_page_free: 1 us [0-5]). "Measured" is
measured.csv, which was not traced. Work of ordinary tasks is CPU and device time alone, as the simulator has them
take turns itself; work of a demand, during which it lets nobody else run, is elapsed time on the busy machine.

FAULT: gap of two GFP_HIGHUSER_MOVABLE|__GFP_ZERO allocations 7.0 us [5-9] in all three recordings (n = 646,000), less
half an event; includes the program's own writing of the page.
COPY: assumption; no event tells a copy-on-write from a swap-in, and fork is rare there.
RECLAIM_SCAN: time between two mm_vmscan_lru_shrink_inactive of one task by least absolute deviations over pages kept,
file pages reclaimed and pages written: 1.0, 1.2 and 1.6 us a page kept; batches that reclaimed nothing: 1.2
(quartile).
RECLAIM_DROP: batches of 16 and more file pages that were all reclaimed: 5.4, 5.4 and 7.1 us a page, less the scan
(least absolute deviations: 5.0, 5.7, 6.8). Measured, 28 successful demands of policies 3 and 5: 4.7 (lower quartile).
ZRAM_OUT: gap of two mm_vmscan_write_folio 37, 45 and 47 us [33-75], less the scan: unmap, compress, store, free.
ZRAM_IN: gap of two GFP_HIGHUSER_MOVABLE allocations without __GFP_ZERO 20, 22 and 24 us [16-60] (n = 77,000), less
FAULT.
FLASH_READ: from the first mm_filemap_add_to_page_cache of a burst of 8 and more consecutive pages (27-32 typically, 3
us a page of CPU) to the task's next event, by page: lower quartile 15, 15 and 16 us; the median, 40-57, has waiting
for a CPU.
FLASH_WRITE: assumption: as reading. Writeback leaves no event, and next to no page was found under it.
MIGRATE: measured, whole area, first try, more than 5000 anonymous pages, less 20 ms and 6 us a file page: 42 us a
page (quartiles 28 and 65, n = 90). Half of that (54 % and 48 % in apps and meta) is direct reclaim, which is charged
by itself; where half as many ordinary pages were free, apps took 20. CPU time alone, from gaps of two full
mm_migrate_pages batches, is 11 us [7.5-16 in the first three quarters].
ISOLATE_PAGE, DRAIN: measured, never lent (policy 6): whole area 23 ms (n = 38), a piece of 2560 pages 8.6 ms (n =
36); the difference is 0.48 us a page (with ISOLATE_BLOCK), the rest 7.4 ms. cma_alloc_start to the task's next event:
7-16 ms.
ISOLATE_BLOCK: the fastest never-lent whole area (2.7 ms for 64 blocks and 32,768 pages) and failing tries of 3-4 ms
bound it by 40 us; one significant digit at best.
COMPACT_SCAN: mm_compaction_begin to _end, all three recordings: 853 ms for 199,900 pages scanned and 7,932 moved, so
0.7 to 3.8 us, by what a move is taken to cost; one digit."""

COST_TABLES: dict[str, dict[Cost, int]] = {
    "phone": _PHONE,
    "vm": _VM,
    "armv7": _ARMV7,
    "emulated": _EMULATED,
}
"""Nanoseconds by kind of machine."""
