"""Compaction: one scanner collects movable pages from below, the other free pages from above.

Linux: mm/compaction.c
Differs: a page under writeback is left alone in every mode; the free scanner takes a block at its beginning first; skip
hints stop the migrate scanner only; compaction is never contended.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import charge
from cma_gym.mm.list import list_empty
from cma_gym.mm.lru import lru_add_drain_cpu
from cma_gym.mm.migrate import isolate_folio, move_folio, putback_folio, refusal
from cma_gym.mm.mmzone import (
    COMPACT_CLUSTER_MAX,
    HOLDER_NONE,
    MIGRATE_CMA,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    NR_PAGE_ORDERS,
    PAGE_ALLOC_COSTLY_ORDER,
    WMARK_LOW,
    WMARK_MIN,
    Cost,
    PageFlag,
    PageKind,
    VmEvent,
    ZoneStat,
)
from cma_gym.mm.page_alloc import (
    ALLOC_CMA,
    del_page_from_free_list,
    expand,
    find_fallback,
    free_one_page,
    get_pageblock_migratetype,
    should_try_claim_block,
)
from cma_gym.mm.pcp import drain_pages_zone
from cma_gym.mm.watermark import watermark_ok_with, wmark_pages
from cma_gym.support.jit import jit

COMPACT_MAX_DEFER_SHIFT = 6
EXTFRAG_THRESHOLD = 500
"""Up to this fragmentation index a failure is laid to lack of memory. Linux: sysctl_extfrag_threshold."""
# How hard to try. Linux: enum compact_priority.
COMPACT_PRIO_SYNC_FULL = 0
COMPACT_PRIO_SYNC_LIGHT = 1
COMPACT_PRIO_ASYNC = 2
COMPACT_PRIO_DAEMON = -1
"""Model: kcompactd, which is synchronous and light, and nobody's direct work."""
# What came of it. Linux: enum compact_result.
COMPACT_SKIPPED = 0
COMPACT_FAILED = 1
COMPACT_SUCCESS = 2


@jit
def has_block_for(mem, zone, order, migratetype):
    """Whether a free block of this order exists now, of this type or to be claimed. Linux: __compact_finished()."""
    for current in range(order, NR_PAGE_ORDERS):
        if not list_empty(mem, np.int64(zone.free_area[current].free_list[migratetype])):
            return True
        if migratetype == MIGRATE_MOVABLE and mem.kernel.lend:
            if not list_empty(mem, np.int64(zone.free_area[current].free_list[MIGRATE_CMA])):
                return True
        if should_try_claim_block(mem, current, migratetype) and find_fallback(mem, zone, current, migratetype) >= 0:
            return True
    return False


@jit
def fragmentation_index(zone, order):
    """0: a failure is for lack of memory, 1000: for fragmentation; -1000: it would not fail.

    Linux: fragmentation_index(), mm/vmstat.c
    """
    blocks = 0
    free = 0
    for current in range(NR_PAGE_ORDERS):
        nr_free = zone.free_area[current].nr_free
        if current >= order and nr_free > 0:
            return -1000
        blocks += nr_free
        free += nr_free << current
    return 1000 - (1000 + free * 1000 // (1 << order)) // blocks if blocks > 0 else 0


@jit
def enough_targets(mem, zone, order, highest_zoneidx, free):
    """Whether a zone with so many free pages has enough of them to copy into; free CMA counts.

    Linux: __compaction_suitable(); the low watermark for costly orders (in 4.6 for all), else the min watermark
    """
    costly = order > PAGE_ALLOC_COSTLY_ORDER or mem.kernel.old_allocator
    mark = wmark_pages(zone, WMARK_LOW if costly else WMARK_MIN) + (2 << order)
    return watermark_ok_with(mem, zone, 0, mark, highest_zoneidx, ALLOC_CMA, free)


@jit
def compaction_suitable(mem, zone, order, highest_zoneidx):
    """Whether compaction can work, and is what is needed. Linux: compaction_suitable()."""
    if not enough_targets(mem, zone, order, highest_zoneidx, zone.vm_stat[ZoneStat.FREE_PAGES]):
        return False
    if order <= PAGE_ALLOC_COSTLY_ORDER and not mem.kernel.old_allocator:
        return True
    index = fragmentation_index(zone, order)
    return index < 0 or index > EXTFRAG_THRESHOLD


@jit
def is_isolatable(mem, pfn):
    """Whether a page is on a list, or knows how to move itself. Linux: PageLRU(), PageMovable(); zsmalloc since 4.8."""
    page = mem.page[pfn]
    return page.flag & PageFlag.LRU != 0 or (page.kind == PageKind.ZSMALLOC and not mem.kernel.old_allocator)


@jit
def isolate_migratepages_block(mem, start, end):
    """Isolate up to a cluster of movable pages; returns the pfn to go on at; `migrate_pfn` is filled, -1 terminated.

    Linux: isolate_migratepages_block(); pages with unexplained references are left alone.
    """
    nr = 0
    pfn = start
    while pfn < end and nr < COMPACT_CLUSTER_MAX:
        page = mem.page[pfn]
        if page.flag & PageFlag.BUDDY:
            pfn += 1 << np.int64(page.order)
            continue
        if is_isolatable(mem, pfn) and refusal(mem, pfn) == HOLDER_NONE:
            isolate_folio(mem, pfn)
            mem.migrate_pfn[nr] = pfn
            nr += 1
        pfn += 1
    if nr < COMPACT_CLUSTER_MAX:
        mem.migrate_pfn[nr] = -1
    mem.vm_event[VmEvent.COMPACT_MIGRATE_SCANNED] += pfn - start
    charge(mem, Cost.COMPACT_SCAN, pfn - start)
    return pfn


@jit
def suitable_migration_target(mem, pfn, order):
    """Whether the free scanner may take pages of this block (kernel fact 7), which is not what is to be made itself.

    Linux: suitable_migration_target(): not a free block of the wanted order already, in 4.6 of a pageblock
    """
    page = mem.page[pfn]
    least = mem.kernel.pageblock_order if mem.kernel.old_allocator else order
    if page.flag & PageFlag.BUDDY and page.order >= least:
        return False
    migratetype = get_pageblock_migratetype(mem, pfn)
    if migratetype == MIGRATE_MOVABLE:
        return True
    return migratetype == MIGRATE_CMA and mem.kernel.compact_into_cma != 0 and mem.kernel.lend != 0


@jit
def isolate_freepages(mem, zone, floor, wanted):
    """Collect free pages from the free scanner's place downwards, not below `floor`. Linux: isolate_freepages()."""
    block = 1 << mem.kernel.pageblock_order
    while mem.nr_targets < COMPACT_CLUSTER_MAX and zone.compact_cached_free_pfn > floor:
        start = zone.compact_cached_free_pfn - block
        if suitable_migration_target(mem, start, wanted):
            migratetype = get_pageblock_migratetype(mem, start)
            pfn = start
            while pfn < start + block and mem.nr_targets < COMPACT_CLUSTER_MAX:
                if not mem.page[pfn].flag & PageFlag.BUDDY:
                    pfn += 1
                    continue
                order = np.int64(mem.page[pfn].order)
                del_page_from_free_list(mem, zone, pfn, order, migratetype)
                expand(mem, zone, pfn, 0, order, migratetype)
                mem.page[pfn].next = pfn
                mem.page[pfn].prev = pfn
                mem.target_pfn[mem.nr_targets] = pfn
                mem.nr_targets += 1
            mem.vm_event[VmEvent.COMPACT_FREE_SCANNED] += pfn - start
            charge(mem, Cost.COMPACT_SCAN, pfn - start)
            if mem.nr_targets >= COMPACT_CLUSTER_MAX:
                return
        zone.compact_cached_free_pfn = start


@jit
def release_targets(mem, zone):
    """Give back the free pages that were not used, and let the free scanner find them again.

    Linux: release_free_list(), and the end of compact_zone()
    """
    block = 1 << mem.kernel.pageblock_order
    while mem.nr_targets > 0:
        mem.nr_targets -= 1
        pfn = np.int64(mem.target_pfn[mem.nr_targets])
        free_one_page(mem, zone, pfn, 0, get_pageblock_migratetype(mem, pfn))
        zone.compact_cached_free_pfn = max(zone.compact_cached_free_pfn, (pfn & ~(block - 1)) + block)


@jit
def reverse_targets(mem):
    """Let the targets be used in the order in which they were found, from above; the list is used from its end."""
    for slot in range(mem.nr_targets // 2):
        other = mem.nr_targets - 1 - slot
        pfn = mem.target_pfn[slot]
        mem.target_pfn[slot] = mem.target_pfn[other]
        mem.target_pfn[other] = pfn


@jit
def migrate_cluster(mem, zone, cpu, floor, wanted):
    """Move the isolated pages to free ones from above. Linux: migrate_pages() with compaction_alloc()."""
    slot = 0
    while slot < COMPACT_CLUSTER_MAX and mem.migrate_pfn[slot] >= 0:
        if mem.nr_targets == 0:
            isolate_freepages(mem, zone, floor, wanted)
            reverse_targets(mem)
        src = np.int64(mem.migrate_pfn[slot])
        slot += 1
        if mem.nr_targets == 0:
            mem.vm_event[VmEvent.PGMIGRATE_FAIL] += 1
            putback_folio(mem, src)
            continue
        mem.nr_targets -= 1
        dst = np.int64(mem.target_pfn[mem.nr_targets])
        prepare_target(mem, dst)
        move_folio(mem, cpu, src, dst)


@jit
def prepare_target(mem, pfn):
    """A free page about to receive content."""
    page = mem.page[pfn]
    page.pincount = 0
    page.holder = 0
    page.order = 0


@jit
def suitable_migration_source(mem, pfn, migratetype, priority):
    """Whether pages of this block are to be moved. Linux: suitable_migration_source(), isolation_suitable().

    Asynchronous direct compaction empties blocks of the request's own type only (4.6: movable ones only), so that it
    makes no unmovable block where there was none; everybody else takes all. Blocks that gave nothing are skipped, but
    not by the last resort.
    """
    block = mem.pageblock[pfn >> mem.kernel.pageblock_order]
    source = np.int64(block.migratetype)
    if source == MIGRATE_ISOLATE or (block.skip and priority != COMPACT_PRIO_SYNC_FULL):
        return False
    if priority != COMPACT_PRIO_ASYNC:
        return True
    if migratetype == MIGRATE_MOVABLE or mem.kernel.old_allocator:
        return source == MIGRATE_MOVABLE or source == MIGRATE_CMA
    return source == migratetype


@jit
def reset_cached_positions(mem, zone):
    """Let the next compaction start at the zone's ends. Linux: reset_cached_positions()."""
    zone.compact_cached_migrate_pfn = zone.start_pfn
    zone.compact_cached_migrate_sync = zone.start_pfn
    zone.compact_cached_free_pfn = zone.end_pfn & ~((1 << mem.kernel.pageblock_order) - 1)


@jit
def reset_isolation_suitable(mem, zone):
    """Forget the skip hints and start the scanners anew. Linux: __reset_isolation_suitable()."""
    block = 1 << mem.kernel.pageblock_order
    reset_cached_positions(mem, zone)
    zone.compact_blockskip_flush = 0
    for pfn in range(zone.start_pfn, zone.end_pfn, block):
        mem.pageblock[pfn >> mem.kernel.pageblock_order].skip = 0


@jit
def start_scanners(mem, zone, order, priority):
    """Where the migrate scanner begins; the last resort starts anew. Linux: the beginning of compact_zone()."""
    again = order >= zone.compact_order_failed and zone.compact_defer_shift >= COMPACT_MAX_DEFER_SHIFT
    if again and zone.compact_considered >= 1 << zone.compact_defer_shift:
        reset_isolation_suitable(mem, zone)
    if priority == COMPACT_PRIO_SYNC_FULL:
        zone.compact_cached_free_pfn = zone.end_pfn & ~((1 << mem.kernel.pageblock_order) - 1)
        return np.int64(zone.start_pfn)
    if priority == COMPACT_PRIO_ASYNC:
        return np.int64(zone.compact_cached_migrate_pfn)
    return np.int64(zone.compact_cached_migrate_sync)


@jit
def note_scanned(mem, zone, pfn, priority, found):
    """The block before `pfn` is done: go on here next time, and skip it if it gave nothing.

    Linux: update_cached_migrate(), update_pageblock_skip()
    """
    if not found:
        mem.pageblock[(pfn - 1) >> mem.kernel.pageblock_order].skip = 1
    zone.compact_cached_migrate_pfn = max(zone.compact_cached_migrate_pfn, pfn)
    if priority != COMPACT_PRIO_ASYNC:
        zone.compact_cached_migrate_sync = max(zone.compact_cached_migrate_sync, pfn)


@jit
def compact_block(mem, zone, cpu, start, order):
    """Move what is movable out of one pageblock; whether anything was. Linux: one turn of compact_zone()."""
    end = start + (1 << mem.kernel.pageblock_order)
    found = False
    pfn = start
    while pfn < end:
        pfn = isolate_migratepages_block(mem, pfn, end)
        found |= mem.migrate_pfn[0] >= 0
        migrate_cluster(mem, zone, cpu, end, order)
    release_targets(mem, zone)
    lru_add_drain_cpu(mem, cpu)
    drain_pages_zone(mem, zone, cpu)
    return found


@jit
def compact_zone(mem, zone, cpu, order, migratetype, priority):
    """Compact until a block of the wanted order and type is free or the scanners meet; whether it is.

    Linux: compact_zone(); a zone that has such a block already is left alone
    """
    block = 1 << mem.kernel.pageblock_order
    pfn = start_scanners(mem, zone, order, priority)
    while pfn < zone.compact_cached_free_pfn - block:
        start = pfn
        pfn += block
        if not suitable_migration_source(mem, start, migratetype, priority):
            continue
        found = compact_block(mem, zone, cpu, start, order)
        note_scanned(mem, zone, pfn, priority, found)
        if has_block_for(mem, zone, order, migratetype):
            return True
    reset_cached_positions(mem, zone)
    if priority != COMPACT_PRIO_DAEMON:
        zone.compact_blockskip_flush = 1
    return has_block_for(mem, zone, order, migratetype)


@jit
def compaction_deferred(zone, order):
    """Whether to skip compaction after earlier failures. Linux: compaction_deferred()."""
    if order < zone.compact_order_failed:
        return False
    zone.compact_considered += 1
    if zone.compact_considered >= 1 << zone.compact_defer_shift:
        return False
    return zone.compact_defer_shift > 0


@jit
def defer_compaction(zone, order):
    """Put compaction off for longer after each failure. Linux: defer_compaction()."""
    zone.compact_considered = 0
    zone.compact_order_failed = min(zone.compact_order_failed, order)
    zone.compact_defer_shift = min(zone.compact_defer_shift + 1, COMPACT_MAX_DEFER_SHIFT)


@jit
def compaction_defer_reset(zone, order):
    """Linux: compaction_defer_reset() after an allocation that succeeded."""
    zone.compact_defer_shift = 0
    zone.compact_considered = 0
    zone.compact_order_failed = max(zone.compact_order_failed, order + 1)


@jit
def try_to_compact_pages(mem, cpu, order, migratetype, highest_zoneidx, priority):
    """Direct compaction of the zones a request may use. Linux: try_to_compact_pages(), __alloc_pages_direct_compact().

    Returns:
        COMPACT_SUCCESS: a zone now has a block; COMPACT_FAILED: none has; COMPACT_SKIPPED: none was compacted.
    """
    result = COMPACT_SKIPPED
    for index in range(highest_zoneidx, -1, -1):
        zone = mem.zones[index]
        if zone.managed_pages == 0:
            continue
        if priority != COMPACT_PRIO_SYNC_FULL and compaction_deferred(zone, order):
            continue
        if not compaction_suitable(mem, zone, order, highest_zoneidx):
            continue
        result = COMPACT_FAILED
        if compact_zone(mem, zone, cpu, order, migratetype, priority):
            compaction_defer_reset(zone, order)
            result = COMPACT_SUCCESS
            break
        if priority != COMPACT_PRIO_ASYNC:
            defer_compaction(zone, order)
    if result != COMPACT_SKIPPED:
        mem.vm_event[VmEvent.COMPACT_STALL] += 1
        mem.vm_event[VmEvent.COMPACT_SUCCESS if result == COMPACT_SUCCESS else VmEvent.COMPACT_FAIL] += 1
    return result


@jit
def compaction_zonelist_suitable(mem, order, highest_zoneidx):
    """Whether reclaim could make room for compaction. Linux: compaction_zonelist_suitable()."""
    for index in range(highest_zoneidx + 1):
        zone = mem.zones[index]
        stat = zone.vm_stat
        reclaimable = stat[ZoneStat.INACTIVE_FILE] + stat[ZoneStat.ACTIVE_FILE]
        if mem.node.nr_swap_free > 0:
            reclaimable += stat[ZoneStat.INACTIVE_ANON] + stat[ZoneStat.ACTIVE_ANON]
        free = stat[ZoneStat.FREE_PAGES] + reclaimable // max(order, 1)
        if zone.managed_pages > 0 and enough_targets(mem, zone, order, highest_zoneidx, free):
            return True
    return False
