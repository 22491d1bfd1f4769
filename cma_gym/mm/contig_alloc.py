"""Emptying a range of page frames: isolate, drop or move what is there, test, take.

Linux: mm/page_alloc.c (alloc_contig_range(), in mm/page_alloc.c up to 6.12)
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.cleancache import cleancache_drop_range
from cma_gym.mm.clock import charge, elapse
from cma_gym.mm.jit import jit
from cma_gym.mm.lru import lru_add_drain_all
from cma_gym.mm.migrate import isolate_folio, move_folio, putback_folio, refusal
from cma_gym.mm.mmzone import (
    BLAME_LOG,
    COMPACT_CLUSTER_MAX,
    HOLDER_NO_TARGET,
    HOLDER_NONE,
    KIND_ANON,
    KIND_CMA,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    NO_PAGE,
    TICK_SHIFT,
    Cost,
    PageFlag,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import ALLOC_CMA, ALLOC_NORETRY, del_page_from_free_list, free_one_page, prep_new_page
from cma_gym.mm.page_isolation import (
    EBUSY,
    first_not_isolated,
    free_block_head,
    start_isolate_page_range,
    undo_isolate_page_range,
)
from cma_gym.mm.pcp import drain_all_pages, free_pages
from cma_gym.mm.slowpath import alloc_pages
from cma_gym.mm.vmscan import reclaim_clean_page
from cma_gym.mm.writeback import end_oldest_writeback
from cma_gym.mm.zonelist import ZONE_CMA, ZONE_MOVABLE

ENOMEM = -12
MIGRATE_TRIES = 5
"""Rounds for the same leftovers. Linux: __alloc_contig_migrate_range()."""


@jit
def note_blame(mem, pfn, holder):
    """Write down that this page refused the demand being tried. Model: Linux has only a debug dump."""
    if mem.blame_demand < 0:
        return
    page = mem.page[pfn]
    demand = mem.demand[mem.blame_demand]
    demand.blamed[page.kind, holder] += 1
    demand.nr_blamed += 1
    entry = mem.blame_log[mem.nr_blames_logged % BLAME_LOG]
    mem.nr_blames_logged += 1
    entry.time_ns = mem.clock
    entry.demand_id = demand.id
    entry.pfn = pfn
    entry.kind = page.kind
    entry.holder = holder
    entry.task = page.task
    entry.importance = mem.task[page.task].importance if page.kind == PageKind.ANON else -1
    entry.age_ms = (mem.clock >> TICK_SHIFT) - page.stamp


@jit
def isolate_range_batch(mem, start, end):
    """Isolate up to a cluster of used pages; where to go on. `migrate_pfn` is filled, -1 terminated.

    Linux: isolate_migratepages_range(). Anonymous pages with extra references are left where they are (kernel fact 3),
    so are pages that cannot be isolated at all; the final test finds them.
    """
    nr = 0
    pfn = start
    while pfn < end and nr < COMPACT_CLUSTER_MAX:
        page = mem.page[pfn]
        if page.flag & PageFlag.BUDDY:
            pfn += 1 << np.int64(page.order)
            continue
        movable = page.flag & PageFlag.LRU or page.kind == PageKind.ZSMALLOC
        if movable and not (page.kind == KIND_ANON and page.pincount > 0):
            isolate_folio(mem, pfn)
            mem.migrate_pfn[nr] = pfn
            nr += 1
        pfn += 1
    if nr < COMPACT_CLUSTER_MAX:
        mem.migrate_pfn[nr] = -1
    charge(mem, Cost.ISOLATE_PAGE, pfn - start)
    return pfn


@jit
def wait_on_writeback(mem, pfn):
    """Wait for a page's writeback, as a synchronous migration does. Linux: folio_wait_writeback()."""
    while mem.page[pfn].flag & PageFlag.WRITEBACK:
        wait_ns = mem.inflight_ns[mem.node.inflight_head % len(mem.inflight_ns)] - mem.clock
        if wait_ns > 0:
            elapse(mem, wait_ns)
        else:
            end_oldest_writeback(mem)


@jit
def migration_target(mem, cpu):
    """A page for a copy; it may lie in CMA only where the kernel allows that. Linux: alloc_migration_target()."""
    flags = ALLOC_CMA if mem.kernel.migrate_into_cma and mem.kernel.lend else 0
    highest = ZONE_CMA if flags and mem.zones[ZONE_CMA].managed_pages > 0 else ZONE_MOVABLE
    return alloc_pages(mem, cpu, 0, MIGRATE_MOVABLE, highest, flags | ALLOC_NORETRY)


@jit
def migrate_one(mem, cpu, pfn, sync):
    """Move one isolated page out; HOLDER_NONE if it is gone, else who refused. Linux: migrate_pages(), one folio."""
    if not mem.page[pfn].flag & PageFlag.ISOLATED:
        return HOLDER_NONE
    if sync and mem.page[pfn].flag & PageFlag.WRITEBACK:
        wait_on_writeback(mem, pfn)
    holder = refusal(mem, pfn)
    if holder != HOLDER_NONE:
        return holder
    dst = migration_target(mem, cpu)
    if dst == NO_PAGE:
        return HOLDER_NO_TARGET
    prep_new_page(mem, dst, 0, KIND_ANON, NO_PAGE, 0)
    if not mem.page[pfn].flag & PageFlag.ISOLATED:
        free_pages(mem, cpu, dst, 0)
        return HOLDER_NONE
    move_folio(mem, cpu, pfn, dst)
    mem.vm_event[VmEvent.CMA_MIGRATED] += 1
    return HOLDER_NONE


@jit
def migrate_batch(mem, cpu):
    """Empty the isolated cluster: drop clean cache, then move the rest in repeated passes. 0, EBUSY or ENOMEM.

    Linux: reclaim_clean_pages_from_list() and migrate_pages() inside __alloc_contig_migrate_range(). The first pass is
    asynchronous (it does not wait for writeback), later ones are not.
    """
    for slot in range(COMPACT_CLUSTER_MAX):
        if mem.migrate_pfn[slot] < 0:
            break
        reclaim_clean_page(mem, cpu, np.int64(mem.migrate_pfn[slot]))
    for turn in range(MIGRATE_TRIES * mem.kernel.migrate_passes):
        before = mem.work_ns
        left = 0
        for slot in range(COMPACT_CLUSTER_MAX):
            if mem.migrate_pfn[slot] < 0:
                break
            holder = migrate_one(mem, cpu, np.int64(mem.migrate_pfn[slot]), turn > 0)
            if holder == HOLDER_NO_TARGET:
                return ENOMEM
            left += holder != HOLDER_NONE
        charge(mem, Cost.ISOLATE_PAGE, left)
        elapse(mem, mem.work_ns - before)
        if left == 0:
            return 0
    return EBUSY


@jit
def give_up_batch(mem, error):
    """Put back what could not be moved, and blame it."""
    for slot in range(COMPACT_CLUSTER_MAX):
        pfn = np.int64(mem.migrate_pfn[slot])
        if pfn < 0:
            break
        if not mem.page[pfn].flag & PageFlag.ISOLATED:
            continue
        holder = refusal(mem, pfn)
        if holder == HOLDER_NONE and error == ENOMEM:
            holder = np.int64(HOLDER_NO_TARGET)
        if holder != HOLDER_NONE:
            mem.vm_event[VmEvent.PGMIGRATE_FAIL] += 1
            note_blame(mem, pfn, holder)
        putback_folio(mem, pfn)


@jit
def alloc_contig_migrate_range(mem, cpu, start, end):
    """Empty a range cluster by cluster; the first cluster that cannot be emptied ends it (kernel fact 5).

    Linux: __alloc_contig_migrate_range()
    """
    pfn = start
    while pfn < end:
        before = mem.work_ns
        pfn = isolate_range_batch(mem, pfn, end)
        elapse(mem, mem.work_ns - before)
        error = migrate_batch(mem, cpu)
        if error != 0:
            give_up_batch(mem, error)
            return error
    return 0


@jit
def blame_remaining(mem, start, end):
    """After a range was worked through and is still not free: blame what refuses, not what merely lies there."""
    for pfn in range(start, end):
        page = mem.page[pfn]
        if page.kind == PageKind.FREE:
            continue
        holder = refusal(mem, pfn)
        if holder != HOLDER_NONE:
            note_blame(mem, pfn, holder)


@jit
def isolate_freepages_range(mem, start, end):
    """Take a free, isolated range out of the free lists; parts of its blocks outside go back. Linux: same name."""
    zone = mem.zones[mem.page[start].zone]
    pfn = free_block_head(mem, start)
    while pfn < end:
        order = np.int64(mem.page[pfn].order)
        following = pfn + (1 << order)
        del_page_from_free_list(mem, zone, pfn, order, MIGRATE_ISOLATE)
        for outside in range(pfn, min(following, start)):
            free_one_page(mem, zone, outside, 0, MIGRATE_ISOLATE)
        for outside in range(max(end, pfn), following):
            free_one_page(mem, zone, outside, 0, MIGRATE_ISOLATE)
        pfn = following


@jit
def take_range(mem, cpu, start, end):
    """Work through a range whose pageblocks are isolated. 0, EBUSY or ENOMEM."""
    before = mem.work_ns
    cleancache_drop_range(mem, start, end)
    drain_all_pages(mem)
    lru_add_drain_all(mem)
    charge(mem, Cost.DRAIN, 1)
    elapse(mem, mem.work_ns - before)
    mem.node.lru_disabled += mem.kernel.lru_cache_disable
    error = alloc_contig_migrate_range(mem, cpu, start, end)
    mem.node.lru_disabled -= mem.kernel.lru_cache_disable
    if error == ENOMEM:
        return error
    drain_all_pages(mem)
    if first_not_isolated(mem, start, end) != NO_PAGE:
        if error == 0:
            blame_remaining(mem, start, end)
        return EBUSY
    isolate_freepages_range(mem, start, end)
    for pfn in range(start, end):
        prep_new_page(mem, pfn, 0, KIND_CMA, NO_PAGE, 0)
    return 0


@jit
def alloc_contig_range(mem, cpu, start, end):
    """Allocate exactly the frames `start .. end-1`, moving away whatever is there. 0, EBUSY or ENOMEM.

    Linux: alloc_contig_range(), FACTS C7
    """
    block = 1 << mem.kernel.pageblock_order
    first = start & ~(block - 1)
    last = (end + block - 1) & ~(block - 1)
    before = mem.work_ns
    charge(mem, Cost.ISOLATE_BLOCK, (last - first) // block)
    if start_isolate_page_range(mem, first, last) != 0:
        return EBUSY
    elapse(mem, mem.work_ns - before)
    error = take_range(mem, cpu, start, end)
    undo_isolate_page_range(mem, first, last)
    return error
