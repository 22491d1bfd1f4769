"""Allocating pages: the fast path, and what happens when it fails.

Linux: mm/page_alloc.c (__alloc_pages(), __alloc_pages_slowpath())
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import elapse
from cma_gym.mm.compaction import try_to_compact_pages
from cma_gym.mm.jit import jit
from cma_gym.mm.list import list_empty, list_first
from cma_gym.mm.mmzone import (
    MAX_RECLAIM_RETRIES,
    MIGRATE_HIGHATOMIC,
    MIGRATE_MOVABLE,
    NO_PAGE,
    NO_TASK,
    NR_PAGE_ORDERS,
    NR_ZONES,
    PAGE_ALLOC_COSTLY_ORDER,
    SWAP_CLUSTER_MAX,
    WMARK_LOW,
    WMARK_MIN,
    VmEvent,
)
from cma_gym.mm.oom_kill import oom_reap, out_of_memory
from cma_gym.mm.page_alloc import (
    ALLOC_HIGHATOMIC,
    ALLOC_MIN_RESERVE,
    ALLOC_NON_BLOCK,
    ALLOC_NORETRY,
    change_pageblock_range,
    get_pageblock_migratetype,
    migratetype_is_mergeable,
    move_freepages_block,
)
from cma_gym.mm.pcp import drain_all_pages
from cma_gym.mm.swap import swap_wait_ns
from cma_gym.mm.vmscan import kswapd_run, try_to_free_pages, wakeup_kswapd
from cma_gym.mm.zonelist import get_page_from_freelist


@jit
def reserve_highatomic_pageblock(mem, pfn):
    """Keep a block for high-order atomic requests, up to 1 % of the zone. Linux: reserve_highatomic_pageblock()."""
    zone = mem.zones[mem.page[pfn].zone]
    block = 1 << mem.kernel.pageblock_order
    migratetype = get_pageblock_migratetype(mem, pfn)
    if zone.nr_reserved_highatomic + block > max(zone.managed_pages // 100, block):
        return
    if not migratetype_is_mergeable(migratetype):
        return
    zone.nr_reserved_highatomic += block
    move_freepages_block(mem, zone, pfn & ~(block - 1), migratetype, MIGRATE_HIGHATOMIC)


@jit
def unreserve_highatomic_pageblock(mem, migratetype):
    """Give one reserved block back when memory is short; whether there was one.

    Linux: unreserve_highatomic_pageblock()
    """
    block = 1 << mem.kernel.pageblock_order
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        if zone.nr_reserved_highatomic == 0:
            continue
        for order in range(NR_PAGE_ORDERS):
            head = np.int64(zone.free_area[order].free_list[MIGRATE_HIGHATOMIC])
            if list_empty(mem, head):
                continue
            pfn = list_first(mem, head)
            zone.nr_reserved_highatomic -= min(max(block, 1 << order), zone.nr_reserved_highatomic)
            move_freepages_block(mem, zone, pfn & ~(block - 1), MIGRATE_HIGHATOMIC, migratetype)
            change_pageblock_range(mem, pfn, order, migratetype)  # reserved neighbours may have merged
            return True
    return False


@jit
def alloc_atomic(mem, cpu, order, migratetype, highest_zoneidx):
    """A request that may not wait: half of the reserve, no reclaim. Linux: GFP_ATOMIC in __alloc_pages_slowpath()."""
    flags = WMARK_MIN | ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK
    if order > 0:
        flags |= ALLOC_HIGHATOMIC
    pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
    if pfn == NO_PAGE:
        mem.vm_event[VmEvent.ATOMIC_FAIL] += 1
    elif order > 0:
        reserve_highatomic_pageblock(mem, pfn)
    return pfn


@jit
def direct_reclaim(mem, cpu, highest_zoneidx):
    """Reclaim a cluster in the caller's own time; pages freed. Linux: __alloc_pages_direct_reclaim()."""
    before = mem.work_ns
    mem.vm_event[VmEvent.ALLOCSTALL] += 1
    progress = try_to_free_pages(mem, cpu, SWAP_CLUSTER_MAX, highest_zoneidx)
    stall_ns = mem.work_ns - before + swap_wait_ns(mem, mem.work_ns - before)
    mem.metrics.stall_ns += stall_ns
    elapse(mem, stall_ns)
    return progress


@jit
def direct_compact(mem, cpu, order, migratetype, highest_zoneidx):
    """Compact in the caller's own time. Linux: __alloc_pages_direct_compact()."""
    before = mem.work_ns
    try_to_compact_pages(mem, cpu, order, migratetype, highest_zoneidx)
    stall_ns = mem.work_ns - before
    mem.metrics.stall_ns += stall_ns
    elapse(mem, stall_ns)


@jit
def alloc_pages_slowpath(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags):
    """Wake kswapd, then reclaim, compact and at last kill until the request can be served. NO_PAGE if nothing helps.

    Linux: __alloc_pages_slowpath()
    """
    wakeup_kswapd(mem, order, highest_zoneidx)
    if alloc_flags & ALLOC_NON_BLOCK:
        return alloc_atomic(mem, cpu, order, migratetype, highest_zoneidx)
    flags = alloc_flags | WMARK_MIN
    pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
    if pfn == NO_PAGE and order > PAGE_ALLOC_COSTLY_ORDER:
        direct_compact(mem, cpu, order, migratetype, highest_zoneidx)
        pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
    no_progress = 0
    while pfn == NO_PAGE:
        progress = direct_reclaim(mem, cpu, highest_zoneidx)
        kswapd_run(mem)
        if mem.node.pending_kill != NO_TASK and mem.node.pending_kill != mem.cursor.task:
            oom_reap(mem, cpu)
        pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
        if pfn == NO_PAGE and progress > 0:
            drain_all_pages(mem)
            unreserve_highatomic_pageblock(mem, MIGRATE_MOVABLE)
            pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
        if pfn == NO_PAGE and order > 0:
            direct_compact(mem, cpu, order, migratetype, highest_zoneidx)
            pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
        no_progress = 0 if progress > 0 and order <= PAGE_ALLOC_COSTLY_ORDER else no_progress + 1
        if pfn == NO_PAGE and no_progress >= MAX_RECLAIM_RETRIES:
            may_kill = order <= PAGE_ALLOC_COSTLY_ORDER and not alloc_flags & ALLOC_NORETRY
            if not may_kill or not out_of_memory(mem, cpu):
                mem.vm_event[VmEvent.ALLOC_FAIL] += 1
                return NO_PAGE
            no_progress = 0
    return pfn


@jit
def alloc_pages(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags):
    """A block of 2**order pages; NO_PAGE if the system cannot provide one. Linux: __alloc_pages().

    Args:
        mem: machine record.
        cpu: who asks.
        order: 0 .. 10.
        migratetype: of the request; for movable ones `alloc_flags` may carry ALLOC_CMA and ALLOC_CMA_FIRST.
        highest_zoneidx: highest zone that may serve it.
        alloc_flags: ALLOC_NON_BLOCK for requests that may not wait.
    """
    fast = alloc_flags | WMARK_LOW
    pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, fast)
    if pfn != NO_PAGE:
        return pfn
    return alloc_pages_slowpath(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags)
