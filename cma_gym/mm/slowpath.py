"""Allocating pages: the fast path, and what happens when it fails.

Linux: mm/page_alloc.c (__alloc_pages(), __alloc_pages_slowpath())
Differs: the 4.6 profile follows the same order of steps; there a round of reclaim without any progress leads to killing
at once, and a request up to order 3 is repeated as long as something can be reclaimed.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import elapse
from cma_gym.mm.compaction import (
    COMPACT_PRIO_ASYNC,
    COMPACT_PRIO_SYNC_FULL,
    COMPACT_PRIO_SYNC_LIGHT,
    COMPACT_SKIPPED,
    compaction_zonelist_suitable,
    try_to_compact_pages,
)
from cma_gym.mm.contiguitas import make_unmovable_room
from cma_gym.mm.list import list_empty, list_first
from cma_gym.mm.mmzone import (
    MAX_RECLAIM_RETRIES,
    MIGRATE_HIGHATOMIC,
    MIGRATE_MOVABLE,
    MIGRATE_UNMOVABLE,
    NO_PAGE,
    NO_TASK,
    NR_PAGE_ORDERS,
    NR_ZONES,
    PAGE_ALLOC_COSTLY_ORDER,
    SWAP_CLUSTER_MAX,
    WMARK_LOW,
    WMARK_MIN,
    Importance,
    VmEvent,
    ZoneStat,
)
from cma_gym.mm.oom_kill import oom_reap, out_of_memory
from cma_gym.mm.page_alloc import (
    ALLOC_HIGHATOMIC,
    ALLOC_MIN_RESERVE,
    ALLOC_NO_WATERMARKS,
    ALLOC_NON_BLOCK,
    ALLOC_NORETRY,
    ALLOC_OOM,
    ALLOC_PLACEMENT,
    change_pageblock_range,
    get_pageblock_migratetype,
    migratetype_is_mergeable,
    move_freepages_block,
)
from cma_gym.mm.pcp import drain_all_pages
from cma_gym.mm.swap import swap_wait_ns
from cma_gym.mm.vmscan import kswapd_run, try_to_free_pages, wakeup_kswapd
from cma_gym.mm.watermark import watermark_ok_with, wmark_pages
from cma_gym.mm.zonelist import get_page_from_freelist
from cma_gym.support.jit import jit


@jit
def highatomic_limit(mem, zone):
    """Pages of a zone that may be reserved before one more pageblock is.

    Linux: reserve_highatomic_pageblock(): 1 % and a pageblock in 4.6; since 6.7 1 %, nothing where that is less than
    a pageblock
    """
    block = 1 << mem.kernel.pageblock_order
    percent = zone.managed_pages // 100
    if mem.kernel.old_allocator:
        return percent + block
    return 0 if percent < block else (percent + block - 1) & ~(block - 1)


@jit
def reserve_highatomic_pageblock(mem, pfn, order):
    """Keep the pageblock of a block just taken for high-order atomic requests, all of them if it spans several.

    Linux: reserve_highatomic_pageblock()
    """
    zone = mem.zones[mem.page[pfn].zone]
    block = 1 << mem.kernel.pageblock_order
    migratetype = get_pageblock_migratetype(mem, pfn)
    if zone.nr_reserved_highatomic >= highatomic_limit(mem, zone) or not migratetype_is_mergeable(migratetype):
        return
    zone.nr_reserved_highatomic += max(block, 1 << order)
    if order < mem.kernel.pageblock_order:
        move_freepages_block(mem, zone, pfn & ~(block - 1), migratetype, MIGRATE_HIGHATOMIC)
    else:
        change_pageblock_range(mem, pfn, order, MIGRATE_HIGHATOMIC)


@jit
def unreserve_highatomic_pageblock(mem, migratetype, force):
    """Give one reserved block back when memory is short, a zone's last one only by force; whether there was one.

    Linux: unreserve_highatomic_pageblock()
    """
    block = 1 << mem.kernel.pageblock_order
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        if zone.nr_reserved_highatomic <= (0 if force else block):
            continue
        for order in range(NR_PAGE_ORDERS):
            head = np.int64(zone.free_area[order].free_list[MIGRATE_HIGHATOMIC])
            if list_empty(mem, head):
                continue
            pfn = list_first(mem, head)
            if mem.kernel.contiguitas:
                migratetype = MIGRATE_UNMOVABLE  # it lies in that region
            zone.nr_reserved_highatomic -= min(max(block, 1 << order), zone.nr_reserved_highatomic)
            move_freepages_block(mem, zone, pfn & ~(block - 1), MIGRATE_HIGHATOMIC, migratetype)
            change_pageblock_range(mem, pfn, order, migratetype)  # reserved neighbours may have merged
            return True
    return False


@jit
def alloc_nonblocking(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags):
    """A request that may not wait. GFP_ATOMIC may use three quarters of the reserve, GFP_NOWAIT none (kernel fact 14).

    Linux: gfp_to_alloc_flags(), and __alloc_pages_slowpath() without __GFP_DIRECT_RECLAIM
    """
    flags = WMARK_MIN | ALLOC_NON_BLOCK | alloc_flags & (ALLOC_MIN_RESERVE | ALLOC_PLACEMENT)
    if order > 0 and alloc_flags & ALLOC_MIN_RESERVE:
        flags |= ALLOC_HIGHATOMIC
    pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
    if pfn == NO_PAGE:
        mem.vm_event[VmEvent.ATOMIC_FAIL] += 1
        mem.vm_event[VmEvent.NOWAIT_FAIL] += 0 if alloc_flags & ALLOC_MIN_RESERVE else 1
    elif flags & ALLOC_HIGHATOMIC:
        reserve_highatomic_pageblock(mem, pfn, order)
    return pfn


@jit
def spend_stall(mem, before):
    """The work since `before` was done in the caller's own time, and so were its waits for a swap disk."""
    stall_ns = mem.work_ns - before + swap_wait_ns(mem, mem.work_ns - before)
    mem.metrics.stall_ns += stall_ns
    elapse(mem, stall_ns)


@jit
def direct_reclaim(mem, cpu, highest_zoneidx, alloc_flags):
    """Reclaim a cluster in the caller's own time; pages freed. Linux: __perform_reclaim()."""
    before = mem.work_ns
    mem.vm_event[VmEvent.ALLOCSTALL] += 1
    progress = try_to_free_pages(mem, cpu, SWAP_CLUSTER_MAX, highest_zoneidx, alloc_flags)
    spend_stall(mem, before)
    kswapd_run(mem)
    if mem.node.pending_kill != NO_TASK and mem.node.pending_kill != mem.cursor.task:
        oom_reap(mem, cpu)
    return progress


@jit
def get_page_after_reclaim(mem, cpu, order, migratetype, highest_zoneidx, flags):
    """Look again; if there is still nothing, empty the per-CPU lists and part of the reserve, and look once more.

    Linux: the second half of __alloc_pages_direct_reclaim()
    """
    pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
    if pfn == NO_PAGE:
        unreserve_highatomic_pageblock(mem, migratetype, False)
        drain_all_pages(mem)
        pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
    return pfn


@jit
def get_page_or_grow(mem, cpu, order, migratetype, highest_zoneidx, flags):
    """Look again, and where a kernel has a region for what cannot be moved, once more after letting it grow."""
    pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
    if pfn == NO_PAGE:
        before = mem.work_ns
        if make_unmovable_room(mem, cpu, order, migratetype, highest_zoneidx, flags):
            spend_stall(mem, before)
            pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)
    return pfn


@jit
def direct_compact(mem, cpu, order, migratetype, highest_zoneidx, flags, priority):
    """Compact in the caller's own time, and look again. Linux: __alloc_pages_direct_compact()."""
    before = mem.work_ns
    mem.node.compact_result = try_to_compact_pages(mem, cpu, order, migratetype, highest_zoneidx, priority)
    if mem.node.compact_result == COMPACT_SKIPPED:
        return NO_PAGE
    spend_stall(mem, before)
    return get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, flags)


@jit
def zone_reclaimable_pages(mem, zone):
    """Pages that reclaim could free. Linux: zone_reclaimable_pages()."""
    stat = zone.vm_stat
    pages = stat[ZoneStat.INACTIVE_FILE] + stat[ZoneStat.ACTIVE_FILE]
    if mem.node.nr_swap_free > 0:
        pages += stat[ZoneStat.INACTIVE_ANON] + stat[ZoneStat.ACTIVE_ANON]
    return pages


@jit
def should_reclaim_retry(mem, order, highest_zoneidx, flags, no_progress):
    """Whether the request could be served if all were reclaimed. Linux: should_reclaim_retry()."""
    if no_progress <= MAX_RECLAIM_RETRIES:
        for index in range(highest_zoneidx + 1):
            zone = mem.zones[index]
            available = zone_reclaimable_pages(mem, zone) + zone.vm_stat[ZoneStat.FREE_PAGES]
            mark = wmark_pages(zone, WMARK_MIN)
            if zone.managed_pages > 0 and watermark_ok_with(mem, zone, order, mark, highest_zoneidx, flags, available):
                return True
    return unreserve_highatomic_pageblock(mem, MIGRATE_MOVABLE, True)


@jit
def is_dying(mem):
    """Whether the running task was chosen to be killed. Linux: tsk_is_oom_victim()."""
    return mem.node.pending_kill != NO_TASK and mem.node.pending_kill == mem.cursor.task


@jit
def alloc_pages_may_oom(mem, cpu, order, migratetype, highest_zoneidx, flags):
    """Kill somebody if that may help, the running task if there is nobody else; whether to go on trying.

    Linux: __alloc_pages_may_oom(); it does not kill for costly orders or for those who rather fail
    """
    if order > PAGE_ALLOC_COSTLY_ORDER or flags & ALLOC_NORETRY or is_dying(mem):
        return False
    if out_of_memory(mem, cpu):
        return True
    task = mem.cursor.task
    if task <= 0 or not mem.task[task].alive or mem.task[task].importance >= Importance.SYSTEM:
        return False
    mem.node.pending_kill = task
    return True


@jit
def reserve_flags(mem, flags):
    """What the running task may use beyond its request: a dying one half of the reserve, in 4.6 all of it.

    Linux: __gfp_pfmemalloc_flags()
    """
    if not is_dying(mem):
        return flags
    return flags | (ALLOC_NO_WATERMARKS if mem.kernel.old_allocator else ALLOC_OOM)


@jit
def compacts_first(mem, order, migratetype):
    """Whether compaction is tried before anything is reclaimed: for costly orders, and for those that would mix types.

    Linux: the first attempt in __alloc_pages_slowpath(); in 4.6 for every order
    """
    if mem.kernel.old_allocator:
        return order > 0
    return order > PAGE_ALLOC_COSTLY_ORDER or (order > 0 and migratetype != MIGRATE_MOVABLE)


@jit
def wake_all_kswapds(mem, order, highest_zoneidx):
    """Linux: wake_all_kswapds()."""
    mem.node.kswapd_alloc_order = max(mem.node.kswapd_alloc_order, order)
    wakeup_kswapd(mem, order, highest_zoneidx)


@jit
def reclaim_until_served(mem, cpu, order, migratetype, highest_zoneidx, wanted):
    """Reclaim, compact and at last kill until the request can be served; NO_PAGE if nothing helps.

    Linux: the loop of __alloc_pages_slowpath()
    """
    no_progress = 0
    priority = COMPACT_PRIO_SYNC_LIGHT
    while True:
        wake_all_kswapds(mem, order, highest_zoneidx)
        flags = reserve_flags(mem, wanted)
        pfn = get_page_or_grow(mem, cpu, order, migratetype, highest_zoneidx, flags)
        if pfn != NO_PAGE:
            return pfn
        progress = direct_reclaim(mem, cpu, highest_zoneidx, flags)
        if progress > 0:
            pfn = get_page_after_reclaim(mem, cpu, order, migratetype, highest_zoneidx, flags)
        if pfn == NO_PAGE and order > 0:
            pfn = direct_compact(mem, cpu, order, migratetype, highest_zoneidx, flags, priority)
        if pfn != NO_PAGE:
            return pfn
        if order > PAGE_ALLOC_COSTLY_ORDER and not flags & ALLOC_NORETRY:
            return NO_PAGE
        no_progress = 0 if progress > 0 and order <= PAGE_ALLOC_COSTLY_ORDER else no_progress + 1
        if should_reclaim_retry(mem, order, highest_zoneidx, flags, no_progress):
            continue
        if progress > 0 and order > 0:
            if mem.node.compact_result == COMPACT_SKIPPED:
                if compaction_zonelist_suitable(mem, order, highest_zoneidx):
                    continue
            elif priority > COMPACT_PRIO_SYNC_FULL:  # Linux: should_compact_retry()
                priority -= 1
                continue
        if not alloc_pages_may_oom(mem, cpu, order, migratetype, highest_zoneidx, flags):
            return NO_PAGE
        no_progress = 0


@jit
def alloc_pages_slowpath(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags):
    """Wake kswapd, look again at the min watermark, then reclaim, compact and at last kill. NO_PAGE if nothing helps.

    Linux: __alloc_pages_slowpath()
    """
    wake_all_kswapds(mem, order, highest_zoneidx)
    if alloc_flags & ALLOC_NON_BLOCK:
        return alloc_nonblocking(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags)
    flags = alloc_flags | WMARK_MIN
    pfn = get_page_or_grow(mem, cpu, order, migratetype, highest_zoneidx, flags)
    if pfn == NO_PAGE and compacts_first(mem, order, migratetype):
        pfn = direct_compact(mem, cpu, order, migratetype, highest_zoneidx, flags, COMPACT_PRIO_ASYNC)
    if pfn == NO_PAGE:
        pfn = reclaim_until_served(mem, cpu, order, migratetype, highest_zoneidx, flags)
    if pfn == NO_PAGE:
        mem.vm_event[VmEvent.ALLOC_FAIL] += 1
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
        alloc_flags: ALLOC_NON_BLOCK for requests that may not wait, with ALLOC_MIN_RESERVE if they may use the reserve.
    """
    fast = alloc_flags & ALLOC_PLACEMENT | WMARK_LOW
    pfn = get_page_from_freelist(mem, cpu, order, migratetype, highest_zoneidx, fast)
    if mem.node.boosted:
        mem.node.boosted = 0
        wakeup_kswapd(mem, 0, highest_zoneidx)
    if pfn != NO_PAGE:
        return pfn
    return alloc_pages_slowpath(mem, cpu, order, migratetype, highest_zoneidx, alloc_flags)
