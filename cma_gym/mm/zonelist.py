"""One pass over the zones a request may use.

Linux: mm/page_alloc.c (get_page_from_freelist()), include/linux/gfp.h (gfp_zone())
"""

from __future__ import annotations

from cma_gym.mm.mmzone import (
    NO_PAGE,
    NR_ZONES,
    WMARK_HIGH,
    WMARK_LOW,
    Action,
    RequestKind,
    ZoneStat,
    ZoneType,
)
from cma_gym.mm.page_alloc import (
    ALLOC_CMA,
    ALLOC_CMA_FIRST,
    ALLOC_NO_WATERMARKS,
    ALLOC_NOFRAGMENT,
    ALLOC_WMARK_MASK,
)
from cma_gym.mm.pcp import rmqueue
from cma_gym.mm.watermark import zone_has_room
from cma_gym.support.jit import jit, jit_inline

ZONE_NORMAL = int(ZoneType.NORMAL)
ZONE_HIGHMEM = int(ZoneType.HIGHMEM)
ZONE_MOVABLE = int(ZoneType.MOVABLE)
ZONE_CMA = int(ZoneType.CMA)
NORMAL_AND_DMA32 = 1 << ZoneType.NORMAL | 1 << ZoneType.DMA32
LENDING_LOOK_NS = 4_000_000_000
"""How often a kernel looks whether it is time to lend. Source: mm_tune looks up to 25 times, 4 s apart (FACTS A9.j)."""


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
def summed_low_marks(mem):
    """Low watermarks of all zones."""
    low = 0
    for index in range(NR_ZONES):
        low += mem.zones[index].watermark[WMARK_LOW]
    return low


@jit
def si_mem_available(mem):
    """Pages that could be had without swapping: MemAvailable of /proc/meminfo.

    Linux: si_mem_available(), mm/show_mem.c
    Differs: reclaimable slab is not counted; there is hardly any.
    """
    cache = 0
    for index in range(NR_ZONES):
        stat = mem.zones[index].vm_stat
        cache += stat[ZoneStat.INACTIVE_FILE] + stat[ZoneStat.ACTIVE_FILE]
    low = summed_low_marks(mem)
    return nr_free_pages(mem) - mem.node.totalreserve_pages + cache - min(cache // 2, low)


@jit
def lending_begun(mem):
    """Whether the area is lent yet, in kernels that leave it alone after boot; what has begun goes on for good.

    Linux: check_water_mark() of Amlogic's kernels, which wait for the low watermark; Motorola's mm_tune, which waits
    until little is available or its time is up, and looks once in a while (FACTS A9.j)
    """
    kernel = mem.kernel
    node = mem.node
    if not node.lending_waits:
        return True
    if kernel.lend_below_watermark and nr_free_pages(mem) - nr_free_cma(mem) <= summed_low_marks(mem):
        node.lending_waits = 0
    if kernel.lend_below_available > 0 and mem.clock >= node.lending_look_ns:
        node.lending_look_ns = mem.clock + LENDING_LOOK_NS - mem.clock % LENDING_LOOK_NS
        available = si_mem_available(mem) - nr_free_cma(mem)
        if mem.clock >= kernel.lend_after_ns or available < kernel.lend_below_available:
            node.lending_waits = 0
    return node.lending_waits == 0


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
    """alloc_flags of an answer. A carve-out is never lent; some kernels lend late, or not while a demand waits."""
    if action == Action.NORMAL_ONLY or mem.kernel.lend == 0 or not lending_begun(mem):
        return 0
    if mem.kernel.lending_stops_while_busy and mem.cma.busy:
        return 0
    return ALLOC_CMA | ALLOC_CMA_FIRST if action == Action.CMA_FIRST else ALLOC_CMA


@jit
def build_all_zonelists(mem):
    """Note which zones have pages, so that a request need not look at the others. Linux: build_all_zonelists()."""
    mem.node.populated = 0
    for index in range(NR_ZONES):
        if mem.zones[index].managed_pages > 0:
            mem.node.populated |= 1 << index


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
        zone.nr_alloc_batch = zone.watermark[WMARK_HIGH] - zone.watermark[WMARK_LOW]


@jit
def is_fair_depleted(zone):
    """Whether a zone's allowance of this round is used up. Linux: ZONE_FAIR_DEPLETED."""
    return zone.managed_pages > 0 and zone.nr_alloc_batch <= 0


@jit_inline
def try_zones(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags, fair):
    """First zone above its watermark that has a block; with `fair`, only zones with allowance left."""
    populated = mem.node.populated
    for step in range(highest_zoneidx + 1):
        index = zone_at(highest_zoneidx, step, alloc_flags)
        if not populated >> index & 1:
            continue
        zone = mem.zones[index]
        if fair and is_fair_depleted(zone):
            continue
        if not alloc_flags & ALLOC_NO_WATERMARKS:
            if not zone_has_room(mem, zone, order, highest_zoneidx, alloc_flags):
                continue
        pfn = rmqueue(mem, zone, cpu, order, migratetype, alloc_flags)
        if pfn != NO_PAGE:
            zone.nr_alloc_batch -= 1 << order
            return pfn
    return NO_PAGE


@jit
def try_zones_fairly(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags):
    """One round of the zones that have allowance left; if that gives nothing and some had none, a new round for all.

    Linux: ALLOC_FAIR in get_page_from_freelist(), up to 4.7; it made ZONE_CMA a proportional round robin (FACTS A1)
    """
    pfn = try_zones(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags, True)
    if pfn != NO_PAGE:
        return pfn
    skipped = False
    for index in range(highest_zoneidx + 1):
        skipped |= is_fair_depleted(mem.zones[index])
    if not skipped:
        return NO_PAGE
    reset_alloc_batches(mem, highest_zoneidx)
    return try_zones(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags, False)


@jit
def alloc_flags_nofragment(mem, highest_zoneidx, alloc_flags):
    """Where a lower zone exists to go to, NORMAL rather keeps its pageblocks whole. Linux: alloc_flags_nofragment()."""
    allowed = mem.node.populated & ((2 << highest_zoneidx) - 1)
    wanted = allowed == NORMAL_AND_DMA32 and not mem.kernel.old_allocator
    return alloc_flags | ALLOC_NOFRAGMENT if wanted else alloc_flags


@jit_inline
def get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags):
    """A block from the first zone that can spare one; NO_PAGE if none. Linux: get_page_from_freelist().

    Differs: 4.6's per-zone limit of dirty pages (zone_dirty_ok()) is not modelled.
    """
    fast = alloc_flags & ALLOC_WMARK_MASK == WMARK_LOW
    if fast and mem.kernel.fair_zone:
        return try_zones_fairly(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags)
    if fast:
        careful = alloc_flags_nofragment(mem, highest_zoneidx, alloc_flags)
        if careful != alloc_flags:
            pfn = try_zones(mem, cpu, order, migratetype, highest_zoneidx, careful, False)
            if pfn != NO_PAGE:
                return pfn
    return try_zones(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags, False)
