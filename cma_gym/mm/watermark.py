"""Watermarks: how much must stay free, and who may go below.

Linux: mm/page_alloc.c (__setup_per_zone_wmarks(), __zone_watermark_ok(), setup_per_zone_lowmem_reserve())
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.list import list_empty
from cma_gym.mm.mmzone import (
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    NR_PAGE_ORDERS,
    NR_ZONES,
    WMARK_HIGH,
    WMARK_LOW,
    WMARK_MIN,
    ZoneStat,
    ZoneType,
)
from cma_gym.mm.page_alloc import (
    ALLOC_CMA,
    ALLOC_HIGHATOMIC,
    ALLOC_MIN_RESERVE,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
    ALLOC_RESERVES,
    ALLOC_WMARK_MASK,
)
from cma_gym.support.jit import jit, jit_inline

WATERMARK_SCALE = 10
"""Linux: watermark_scale_factor, in 1/10000 of the zone."""


@jit
def int_sqrt(x):
    """Largest integer whose square is at most x. Linux: int_sqrt(), lib/math."""
    root = np.int64(x)
    guess = (root + 1) // 2
    while guess < root:
        root = guess
        guess = (root + x // root) // 2
    return root


@jit
def min_free_pages(lowmem_pages):
    """min_free_kbytes in pages: 4 * sqrt(lowmem_kbytes), 128 .. 262144 kB. Linux: calculate_min_free_kbytes()."""
    kbytes = int_sqrt(lowmem_pages * 4 * 16)
    return min(max(kbytes, 128), 262144) // 4


@jit
def setup_per_zone_wmarks(mem):
    """Set the three watermarks of every zone. Linux: __setup_per_zone_wmarks(), FACTS C3."""
    lowmem = 0
    for index in range(ZoneType.HIGHMEM):
        lowmem += mem.zones[index].managed_pages
    pages_min = min_free_pages(max(lowmem, 1))
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        share = pages_min * zone.managed_pages // max(lowmem, 1)
        mark = share
        if index >= ZoneType.HIGHMEM:
            mark = min(max(zone.managed_pages // 1024, 32), 128)
        if zone.managed_pages == 0:
            mark = 0
            share = 0
        delta = max(share >> 2, zone.managed_pages * WATERMARK_SCALE // 10000)
        zone.watermark[WMARK_MIN] = mark
        zone.watermark[WMARK_LOW] = mark + delta
        zone.watermark[WMARK_HIGH] = mark + 2 * delta


@jit
def lowmem_reserve_ratio(index, old):
    """Linux: sysctl_lowmem_reserve_ratio. HIGHMEM kept 1/32 from users of MOVABLE up to 4.16, and nothing since."""
    if index == ZoneType.DMA32:
        return 256
    if index == ZoneType.HIGHMEM:
        return 32 if old else 0
    return 32 if index == ZoneType.NORMAL else 0


@jit
def setup_per_zone_lowmem_reserve(mem):
    """What a zone keeps from requests that could use a higher one; and the sum a user cannot get.

    Linux: setup_per_zone_lowmem_reserve(), calculate_totalreserve_pages()
    """
    total = 0
    for low in range(NR_ZONES):
        zone = mem.zones[low]
        ratio = lowmem_reserve_ratio(low, mem.kernel.old_allocator != 0)
        above = 0
        largest = 0
        for high in range(low + 1, NR_ZONES):
            above += mem.zones[high].managed_pages
            protects = ratio > 0 and zone.managed_pages > 0 and not (low == ZoneType.HIGHMEM and high == ZoneType.CMA)
            zone.lowmem_reserve[high] = above // ratio if protects else 0
            largest = max(largest, zone.lowmem_reserve[high])
        total += min(largest + zone.watermark[WMARK_HIGH], zone.managed_pages)
    mem.node.totalreserve_pages = total


@jit
def wmark_pages(zone, which):
    """A watermark with its temporary boost. Linux: wmark_pages()."""
    return zone.watermark[which] + zone.watermark_boost


@jit
def has_free_block(mem, zone, order, alloc_flags):
    """Whether a free block of at least this order exists in a type the request may use."""
    for current in range(order, NR_PAGE_ORDERS):
        area = zone.free_area[current]
        if area.nr_free == 0:
            continue
        for migratetype in range(MIGRATE_HIGHATOMIC):
            if not list_empty(mem, np.int64(area.free_list[migratetype])):
                return True
        if alloc_flags & ALLOC_CMA and not list_empty(mem, np.int64(area.free_list[MIGRATE_CMA])):
            return True
        if alloc_flags & (ALLOC_HIGHATOMIC | ALLOC_OOM):
            if not list_empty(mem, np.int64(area.free_list[MIGRATE_HIGHATOMIC])):
                return True
    return False


@jit_inline
def watermark_ok_with(mem, zone, order, mark, highest_zoneidx, alloc_flags, free):
    """Whether the zone would stay above `mark` after this request if it had `free` free pages.

    Linux: __zone_watermark_ok(), __zone_watermark_unusable_free(), mm/page_alloc.c, FACTS C4. Up to 6.11 the whole
    HIGHATOMIC reserve counted as unusable, later only what of it is free.
    """
    free -= (1 << order) - 1
    if not alloc_flags & ALLOC_RESERVES:
        free -= zone.nr_reserved_highatomic if mem.kernel.old_allocator else zone.nr_free_highatomic
    if not alloc_flags & ALLOC_CMA:
        free -= zone.vm_stat[ZoneStat.FREE_CMA]
    if alloc_flags & ALLOC_MIN_RESERVE:
        mark -= mark // 2
        if alloc_flags & ALLOC_NON_BLOCK:
            mark -= mark // 4
    if alloc_flags & ALLOC_OOM:
        mark -= mark // 2
    if free <= mark + zone.lowmem_reserve[highest_zoneidx]:
        return False
    return order == 0 or has_free_block(mem, zone, order, alloc_flags)


@jit
def zone_watermark_ok(mem, zone, order, mark, highest_zoneidx, alloc_flags):
    """Whether the zone stays above `mark` pages after this request; free CMA only counts for those who may use it.

    Linux: zone_watermark_ok(), mm/page_alloc.c
    """
    free = zone.vm_stat[ZoneStat.FREE_PAGES]
    return watermark_ok_with(mem, zone, order, mark, highest_zoneidx, alloc_flags, free)


@jit_inline
def zone_has_room(mem, zone, order, highest_zoneidx, alloc_flags):
    """Whether this request may take from the zone; notes when the zone falls below its high watermark.

    Linux: the watermark tests of get_page_from_freelist(), zone_watermark_fast()
    """
    which = alloc_flags & ALLOC_WMARK_MASK
    if mem.kernel.pcp_scale_max > 0 and not zone.below_high:
        if zone_watermark_ok(mem, zone, order, wmark_pages(zone, WMARK_HIGH), highest_zoneidx, alloc_flags):
            return True
        zone.below_high = 1
    if zone_watermark_ok(mem, zone, order, wmark_pages(zone, which), highest_zoneidx, alloc_flags):
        return True
    unboosted = order == 0 and alloc_flags & ALLOC_MIN_RESERVE and which == WMARK_MIN and zone.watermark_boost > 0
    return unboosted and zone_watermark_ok(mem, zone, order, zone.watermark[WMARK_MIN], highest_zoneidx, alloc_flags)


@jit
def zone_balanced(mem, zone, order):
    """Whether kswapd of 4.6 has done enough for this zone; a zone with nothing to reclaim counts as balanced.

    Linux: zone_balanced(), zone_reclaimable() up to 4.7
    Differs: zone_reclaimable() compares pages scanned with pages left; here a zone without LRU pages is given up.
    """
    stat = zone.vm_stat
    if stat[ZoneStat.INACTIVE_FILE] + stat[ZoneStat.ACTIVE_FILE] == 0:
        anon = stat[ZoneStat.INACTIVE_ANON] + stat[ZoneStat.ACTIVE_ANON]
        if anon == 0 or mem.node.nr_swap_free == 0:
            return True
    mark = zone.watermark[WMARK_HIGH] + ((1 << order) if order > 0 else 0)
    return zone_watermark_ok(mem, zone, 0, mark, zone.index, 0)


@jit
def all_zones_balanced(mem, order, highest_zoneidx):
    """Whether kswapd of 4.6 may sleep: every zone balanced, for higher orders a quarter of the memory.

    Linux: pgdat_balanced() up to 4.7
    """
    managed = 0
    balanced = 0
    for index in range(highest_zoneidx + 1):
        zone = mem.zones[index]
        if zone.managed_pages == 0:
            continue
        managed += zone.managed_pages
        if zone_balanced(mem, zone, order):
            balanced += zone.managed_pages
        elif order == 0:
            return False
    return order == 0 or balanced >= managed >> 2


@jit
def pgdat_balanced(mem, order, highest_zoneidx):
    """Whether some zone is above its high watermark: kswapd may sleep. Linux: pgdat_balanced(), mm/vmscan.c.

    The test carries no ALLOC_CMA: free CMA does not count (kernel fact 9).
    """
    if mem.kernel.lru_per_zone:
        return all_zones_balanced(mem, order, highest_zoneidx)
    seen = False
    for index in range(highest_zoneidx + 1):
        zone = mem.zones[index]
        if zone.managed_pages == 0:
            continue
        seen = True
        if zone_watermark_ok(mem, zone, order, wmark_pages(zone, WMARK_HIGH), highest_zoneidx, 0):
            return True
    return not seen
