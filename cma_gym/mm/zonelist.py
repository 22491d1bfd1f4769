"""One pass over the zones a request may use.

Linux: mm/page_alloc.c (get_page_from_freelist()), include/linux/gfp.h (gfp_zone())
"""

from __future__ import annotations

from cma_gym.mm.jit import jit
from cma_gym.mm.mmzone import (
    MIGRATE_MOVABLE,
    NO_PAGE,
    NR_ZONES,
    WMARK_HIGH,
    WMARK_LOW,
    Action,
    RequestKind,
    ZoneStat,
    ZoneType,
)
from cma_gym.mm.page_alloc import ALLOC_CMA, ALLOC_CMA_FIRST, ALLOC_NO_WATERMARKS, ALLOC_WMARK_MASK
from cma_gym.mm.pcp import rmqueue
from cma_gym.mm.watermark import wmark_pages, zone_watermark_ok

ZONE_NORMAL = int(ZoneType.NORMAL)
ZONE_MOVABLE = int(ZoneType.MOVABLE)
ZONE_CMA = int(ZoneType.CMA)


@jit
def nr_free_cma(mem):
    """Free pages of the CMA area, whichever way it is laid out. Linux: NR_FREE_CMA_PAGES."""
    if mem.zones[ZoneType.CMA].managed_pages > 0:
        return mem.zones[ZoneType.CMA].vm_stat[ZoneStat.FREE_PAGES]
    free = 0
    for index in range(ZoneType.CMA):
        free += mem.zones[index].vm_stat[ZoneStat.FREE_CMA]
    return free


@jit
def nr_free_pages(mem):
    """Free pages of all zones, CMA included. Linux: NR_FREE_PAGES."""
    free = 0
    for index in range(NR_ZONES):
        free += mem.zones[index].vm_stat[ZoneStat.FREE_PAGES]
    return free


@jit
def gfp_zone(mem, kind, alloc_flags):
    """Highest zone a movable request may use.

    Linux: gfp_zone(). Block-device cache is GFP_USER | __GFP_MOVABLE without __GFP_HIGHMEM and so never reaches a high
    zone (kernel fact 15). With ZONE_CMA, a request that was refused CMA stops one zone below it.
    """
    if kind == RequestKind.BDEV:
        return ZONE_NORMAL
    if alloc_flags & ALLOC_CMA and mem.zones[ZONE_CMA].managed_pages > 0:
        return ZONE_CMA
    return ZONE_MOVABLE


@jit
def placement_flags(mem, action):
    """alloc_flags of an answer. A carve-out is never lent, and some kernels stop lending while a demand waits."""
    if action == Action.NORMAL_ONLY or mem.kernel.lend == 0:
        return 0
    if mem.kernel.lending_stops_while_busy and mem.cma.busy:
        return 0
    return ALLOC_CMA | ALLOC_CMA_FIRST if action == Action.CMA_FIRST else ALLOC_CMA


@jit
def zone_at(highest_zoneidx, step, alloc_flags):
    """The `step`-th zone of the zonelist: downwards from the highest; a ZONE_CMA comes last unless it is preferred."""
    index = highest_zoneidx - step
    if highest_zoneidx == ZONE_CMA and not alloc_flags & ALLOC_CMA_FIRST:
        index = index - 1 if index > 0 else ZONE_CMA
    return index


@jit
def reset_alloc_batches(mem, highest_zoneidx):
    """Start a new round of the fair-zone policy. Linux: reset_alloc_batches(), up to 4.7."""
    for index in range(highest_zoneidx + 1):
        zone = mem.zones[index]
        zone.nr_alloc_batch += zone.watermark[WMARK_HIGH] - zone.watermark[WMARK_LOW]


@jit
def try_zones(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags, fair):
    """First zone above its watermark that has a block; with `fair`, only zones with allowance left."""
    for step in range(highest_zoneidx + 1):
        zone = mem.zones[zone_at(highest_zoneidx, step, alloc_flags)]
        if zone.managed_pages == 0 or (fair and zone.nr_alloc_batch <= 0):
            continue
        if not alloc_flags & ALLOC_NO_WATERMARKS:
            mark = wmark_pages(zone, alloc_flags & ALLOC_WMARK_MASK)
            if not zone_watermark_ok(mem, zone, order, mark, highest_zoneidx, alloc_flags):
                continue
        pfn = rmqueue(mem, zone, cpu, order, migratetype, alloc_flags)
        if pfn != NO_PAGE:
            zone.nr_alloc_batch -= 1 << order
            return pfn
    return NO_PAGE


@jit
def get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags):
    """A block from the first zone that can spare one; NO_PAGE if none. Linux: get_page_from_freelist().

    The fair-zone policy of 4.6 (only for movable requests at the low watermark) rotates over the zones by their
    allowances, which is what made ZONE_CMA a proportional round robin there (FACTS A1).
    """
    if mem.kernel.fair_zone and migratetype == MIGRATE_MOVABLE and alloc_flags & ALLOC_WMARK_MASK == WMARK_LOW:
        pfn = try_zones(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags, True)
        if pfn != NO_PAGE:
            return pfn
        reset_alloc_batches(mem, highest_zoneidx)
    return try_zones(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags, False)
