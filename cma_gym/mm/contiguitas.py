"""Room for what cannot be moved: the pageblock next to its region is emptied and taken in.

Linux: not merged; Contiguitas (ISCA 2023, FACTS A9.m), its software half
Differs: the requester empties the pageblock in its own time; a page that refuses stays inside the region until it is
freed, where Contiguitas has a hardware mover; the region grows by the pageblock, on demand, and not ahead of it.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.balance import move_cluster_into
from cma_gym.mm.clock import charge
from cma_gym.mm.compaction import isolate_migratepages_block
from cma_gym.mm.list import list_empty
from cma_gym.mm.lru import lru_add_drain_all
from cma_gym.mm.mmzone import (
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    NR_PAGE_ORDERS,
    WMARK_MIN,
    Cost,
    ZoneStat,
)
from cma_gym.mm.pcp import drain_pages_zone
from cma_gym.mm.rmqueue import grow_unmovable_region
from cma_gym.mm.watermark import wmark_pages, zone_watermark_ok
from cma_gym.support.jit import jit


@jit
def has_unmovable_block(mem, zone, order):
    """Whether the region has a free block of this order."""
    for current in range(order, NR_PAGE_ORDERS):
        area = zone.free_area[current]
        for migratetype in (MIGRATE_UNMOVABLE, MIGRATE_RECLAIMABLE):
            if not list_empty(mem, np.int64(area.free_list[migratetype])):
                return True
    return False


@jit
def empty_block(mem, zone, cpu, start):
    """Move what is movable out of one pageblock, into movable ones."""
    end = start + (1 << mem.kernel.pageblock_order)
    lru_add_drain_all(mem)
    charge(mem, Cost.DRAIN, 1)
    pfn = start
    while pfn < end:
        pfn = isolate_migratepages_block(mem, pfn, end)
        move_cluster_into(mem, zone, cpu, MIGRATE_MOVABLE)
    drain_pages_zone(mem, zone, cpu)


@jit
def grow_zone(mem, zone, cpu, order, migratetype):
    """Let the region grow until it has a block of this order, twice as far as that should take; whether it grew.

    There must be room for all that a pageblock may hold.
    """
    block = 1 << mem.kernel.pageblock_order
    grew = False
    for _ in range(2 * max(1, (1 << order) // block)):
        start = np.int64(zone.unmovable_end)
        if zone.vm_stat[ZoneStat.FREE_PAGES] - zone.vm_stat[ZoneStat.FREE_CMA] < block:
            break
        if not grow_unmovable_region(mem, zone, migratetype):
            break
        empty_block(mem, zone, cpu, start)
        grew = True
        if has_unmovable_block(mem, zone, order):
            break
    return grew


@jit
def make_unmovable_room(mem, cpu, order, migratetype, highest_zoneidx, flags):
    """For a request that cannot be moved and found its region full: let that grow; whether it did somewhere."""
    if not mem.kernel.contiguitas or migratetype == MIGRATE_MOVABLE:
        return False
    for index in range(highest_zoneidx, -1, -1):
        zone = mem.zones[index]
        if zone.managed_pages == 0:
            continue
        if not zone_watermark_ok(mem, zone, 0, wmark_pages(zone, WMARK_MIN), highest_zoneidx, flags):
            continue
        if grow_zone(mem, zone, cpu, order, migratetype):
            return True
    return False
