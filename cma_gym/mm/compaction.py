"""Compaction: one scanner collects movable pages from below, the other free pages from above.

Linux: mm/compaction.c
Differs: no per-block skip hints; the scanners' places are kept per zone for both modes.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import charge
from cma_gym.mm.jit import jit
from cma_gym.mm.list import list_empty
from cma_gym.mm.lru import lru_add_drain_cpu
from cma_gym.mm.migrate import isolate_folio, move_folio, putback_folio, refusal
from cma_gym.mm.mmzone import (
    COMPACT_CLUSTER_MAX,
    HOLDER_NONE,
    MIGRATE_CMA,
    MIGRATE_MOVABLE,
    NR_PAGE_ORDERS,
    WMARK_LOW,
    Cost,
    PageFlag,
    PageKind,
    VmEvent,
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
from cma_gym.mm.pcp import free_pcppages_bulk
from cma_gym.mm.watermark import zone_watermark_ok

COMPACT_MAX_DEFER_SHIFT = 6


@jit
def has_block_for(mem, zone, order, migratetype):
    """Whether a free block of this order exists now, of this type or to be claimed. Linux: __compact_finished()."""
    for current in range(order, NR_PAGE_ORDERS):
        if not list_empty(mem, np.int64(zone.free_area[current].free_list[migratetype])):
            return True
        if should_try_claim_block(mem, current, migratetype) and find_fallback(mem, zone, current, migratetype) >= 0:
            return True
    return False


@jit
def compaction_suitable(mem, zone, order, highest_zoneidx):
    """Whether there are enough free pages to copy into. Linux: __compaction_suitable(); it counts free CMA."""
    return zone_watermark_ok(mem, zone, 0, zone.watermark[WMARK_LOW] + (2 << order), highest_zoneidx, ALLOC_CMA)


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
        if refusal(mem, pfn) == HOLDER_NONE and page.kind != PageKind.ZSMALLOC and page.flag & PageFlag.LRU:
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
def suitable_migration_target(mem, pfn):
    """Whether the free scanner may take pages of this block (kernel fact 7). Linux: suitable_migration_target()."""
    migratetype = get_pageblock_migratetype(mem, pfn)
    if migratetype == MIGRATE_MOVABLE:
        return True
    return migratetype == MIGRATE_CMA and mem.kernel.compact_into_cma != 0 and mem.kernel.lend != 0


@jit
def isolate_freepages(mem, zone, floor):
    """Collect free pages from the free scanner's place downwards, not below `floor`. Linux: isolate_freepages()."""
    block = 1 << mem.kernel.pageblock_order
    while mem.nr_targets < COMPACT_CLUSTER_MAX and zone.compact_cached_free_pfn > floor:
        start = zone.compact_cached_free_pfn - block
        if suitable_migration_target(mem, start):
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
def migrate_cluster(mem, zone, cpu, floor):
    """Move the isolated pages to free ones from above. Linux: migrate_pages() with compaction_alloc()."""
    slot = 0
    while slot < COMPACT_CLUSTER_MAX and mem.migrate_pfn[slot] >= 0:
        if mem.nr_targets == 0:
            isolate_freepages(mem, zone, floor)
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
def compact_zone(mem, zone, cpu, order, migratetype):
    """Compact until a block of the wanted order and type is free or the scanners meet; whether it is.

    Linux: compact_zone()
    """
    block = 1 << mem.kernel.pageblock_order
    if zone.compact_cached_migrate_pfn >= zone.compact_cached_free_pfn:
        zone.compact_cached_migrate_pfn = zone.start_pfn
        zone.compact_cached_free_pfn = zone.end_pfn & ~(block - 1)
    while zone.compact_cached_migrate_pfn < zone.compact_cached_free_pfn - block:
        pfn = zone.compact_cached_migrate_pfn
        end = (pfn | (block - 1)) + 1
        source = get_pageblock_migratetype(mem, pfn)
        if source != MIGRATE_MOVABLE and source != MIGRATE_CMA:
            zone.compact_cached_migrate_pfn = end
            continue
        zone.compact_cached_migrate_pfn = isolate_migratepages_block(mem, pfn, end)
        migrate_cluster(mem, zone, cpu, end)
        if zone.compact_cached_migrate_pfn == end:
            release_targets(mem, zone)
            lru_add_drain_cpu(mem, cpu)
            free_pcppages_bulk(mem, zone, zone.pcp[cpu], np.int64(zone.pcp[cpu].nr))
            if has_block_for(mem, zone, order, migratetype):
                return True
    release_targets(mem, zone)
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
def try_to_compact_pages(mem, cpu, order, migratetype, highest_zoneidx):
    """Direct compaction of the zones a request may use; whether one now has a block. Linux: try_to_compact_pages()."""
    mem.vm_event[VmEvent.COMPACT_STALL] += 1
    for index in range(highest_zoneidx, -1, -1):
        zone = mem.zones[index]
        if zone.managed_pages == 0 or compaction_deferred(zone, order):
            continue
        if not compaction_suitable(mem, zone, order, highest_zoneidx):
            continue
        if compact_zone(mem, zone, cpu, order, migratetype):
            zone.compact_defer_shift = 0
            zone.compact_considered = 0
            zone.compact_order_failed = order + 1
            mem.vm_event[VmEvent.COMPACT_SUCCESS] += 1
            return True
        zone.compact_considered = 0
        zone.compact_order_failed = min(zone.compact_order_failed, order)
        zone.compact_defer_shift = min(zone.compact_defer_shift + 1, COMPACT_MAX_DEFER_SHIFT)
    mem.vm_event[VmEvent.COMPACT_FAIL] += 1
    return False
