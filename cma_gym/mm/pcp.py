"""Per-CPU page lists and the order in which a request looks at them.

Linux: mm/page_alloc.c (rmqueue_pcplist(), rmqueue_bulk(), free_unref_page(), drain_all_pages(), decay_pcp_high())
Differs: in 4.6 a page keeps the type of its pageblock from the moment it is freed, also if the block changes meanwhile;
there the lists give pages of the fuller lists first.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.list import list_add, list_add_tail, list_del, list_first, list_last
from cma_gym.mm.mmzone import (
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    NO_PAGE,
    NR_PCP_LISTS,
    NR_PCP_TYPES,
    NR_ZONES,
    PAGE_ALLOC_COSTLY_ORDER,
    WMARK_HIGH,
    PageFlag,
    PcpCma,
    ZoneType,
)
from cma_gym.mm.page_alloc import (
    ALLOC_CMA,
    ALLOC_CMA_FIRST,
    ALLOC_HIGHATOMIC,
    ALLOC_NO_STEAL,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
    ALLOC_RESERVES,
    free_one_page,
    free_pages_prepare,
    get_pageblock_migratetype,
    prefers_cma,
    rmqueue_smallest,
)
from cma_gym.mm.rmqueue import rmqueue_block
from cma_gym.mm.watermark import wmark_pages, zone_watermark_ok
from cma_gym.support.jit import jit, jit_inline

PCP_CMA = 3
"""Index of the per-CPU list for CMA pages, where there is one."""
MOVABLE_ZONE = int(ZoneType.MOVABLE)
STAT_INTERVAL_NS = 1_000_000_000
"""Linux: sysctl_stat_interval."""


@jit
def pcp_type(mem, migratetype):
    """Per-CPU list for pages of a pageblock of this type; -1 if they go straight to the buddy lists."""
    if migratetype < MIGRATE_HIGHATOMIC:
        return migratetype
    if migratetype == MIGRATE_HIGHATOMIC:
        return MIGRATE_MOVABLE
    if migratetype == MIGRATE_ISOLATE or mem.kernel.cma_pcp == PcpCma.NONE or not mem.kernel.lend:
        return -1
    return PCP_CMA if mem.kernel.cma_pcp == PcpCma.OWN else MIGRATE_MOVABLE


@jit
def pcp_high(pcp):
    """The size a CPU's lists may reach, kept between its bounds."""
    pcp.high = min(max(pcp.high, pcp.high_min), pcp.high_max)
    return np.int64(pcp.high)


@jit
def nr_pcp_alloc(mem, zone, pcp, order):
    """Blocks of a refill. A CPU that only allocates gets twice as many each time, and longer lists.

    Linux: nr_pcp_alloc() of 6.7+; always a batch before
    """
    base = np.int64(pcp.batch)
    if mem.kernel.pcp_scale_max == 0:
        return max(1, base >> order)
    high = pcp_high(pcp)
    if high < base:
        return 1
    batch = base if order > 0 else base << np.int64(pcp.alloc_factor)
    if pcp.high_min != pcp.high_max and not zone.below_high:
        high = min(high + batch, np.int64(pcp.high_max))
        pcp.high = high
    if order == 0:
        most = max(high - np.int64(pcp.nr) - base, base)
        if batch <= most and pcp.alloc_factor < mem.kernel.pcp_scale_max:
            pcp.alloc_factor += 1
        batch = min(batch, most)
    return max(batch >> order, 2) if batch > 1 else batch


@jit_inline
def rmqueue_bulk(mem, zone, pcp, order, kind, migratetype, alloc_flags):
    """Refill a per-CPU list. Linux: rmqueue_bulk()."""
    head = np.int64(pcp.lists[order * NR_PCP_TYPES + kind])
    mem.refill += 1
    for _ in range(nr_pcp_alloc(mem, zone, pcp, order)):
        if migratetype == MIGRATE_CMA:
            pfn = rmqueue_smallest(mem, zone, order, MIGRATE_CMA)
        else:
            pfn = rmqueue_block(mem, zone, order, migratetype, alloc_flags)
        if pfn == NO_PAGE:
            break
        page = mem.page[pfn]
        page.flag |= PageFlag.PCP
        page.order = order
        list_add_tail(mem, pfn, head)
        pcp.nr += 1 << order


@jit_inline
def rmqueue_pcplist(mem, zone, pcp, order, kind, migratetype, alloc_flags):
    """Take a block from a per-CPU list, refilled if empty; NO_PAGE if the zone has none. Linux: rmqueue_pcplist()."""
    head = np.int64(pcp.lists[order * NR_PCP_TYPES + kind])
    pfn = list_first(mem, head)
    if pfn == head:
        rmqueue_bulk(mem, zone, pcp, order, kind, migratetype, alloc_flags)
        pfn = list_first(mem, head)
        if pfn == head:
            return NO_PAGE
    list_del(mem, pfn)
    mem.page[pfn].flag &= ~PageFlag.PCP
    pcp.nr -= 1 << order
    return pfn


@jit
def rmqueue_split_cma(mem, zone, pcp, order, migratetype, alloc_flags):
    """A movable request in a kernel that keeps CMA pages off the movable list: CMA and ordinary lists in turn.

    Linux: the vendors' CMA pcp list (FACTS A4, A6) or none at all (A3)
    """
    plain = alloc_flags & ~(ALLOC_CMA | ALLOC_CMA_FIRST)
    own = mem.kernel.cma_pcp == PcpCma.OWN
    for turn in range(2):
        if (turn == 0) == prefers_cma(mem, zone, alloc_flags):
            if own:
                pfn = rmqueue_pcplist(mem, zone, pcp, order, PCP_CMA, MIGRATE_CMA, plain)
            else:
                pfn = rmqueue_smallest(mem, zone, order, MIGRATE_CMA)
        else:
            pfn = rmqueue_pcplist(mem, zone, pcp, order, migratetype, migratetype, plain | ALLOC_NO_STEAL)
        if pfn != NO_PAGE:
            return pfn
    return rmqueue_pcplist(mem, zone, pcp, order, migratetype, migratetype, plain)


@jit
def pcp_max_order(mem):
    """Largest order that has per-CPU lists. Linux: pcp_allowed_order(); single pages only up to 5.12."""
    return 0 if mem.kernel.old_allocator else PAGE_ALLOC_COSTLY_ORDER


@jit
def rmqueue_reserve(mem, zone, order, migratetype, alloc_flags):
    """From the buddy lists, with the HIGHATOMIC reserve for those who may use it.

    Linux: rmqueue_buddy(); in 4.6 buffered_rmqueue(), where only a high-order atomic request may
    """
    reserve = zone.nr_free_highatomic > 0
    if reserve and alloc_flags & ALLOC_HIGHATOMIC:
        pfn = rmqueue_smallest(mem, zone, order, MIGRATE_HIGHATOMIC)
        if pfn != NO_PAGE:
            return pfn
    mem.refill += 1
    pfn = rmqueue_block(mem, zone, order, migratetype, alloc_flags)
    last_resort = alloc_flags & (ALLOC_OOM | ALLOC_NON_BLOCK) and not mem.kernel.old_allocator
    if pfn == NO_PAGE and reserve and last_resort:
        return rmqueue_smallest(mem, zone, order, MIGRATE_HIGHATOMIC)
    return pfn


@jit_inline
def rmqueue(mem, zone, cpu, order, migratetype, alloc_flags):
    """Take one block of the zone for this request; NO_PAGE if there is none. Linux: rmqueue(), mm/page_alloc.c."""
    if order > pcp_max_order(mem):
        return rmqueue_reserve(mem, zone, order, migratetype, alloc_flags)
    pcp = zone.pcp[cpu]
    pcp.free_count >>= 1
    if alloc_flags & ALLOC_CMA and mem.kernel.cma_pcp != PcpCma.SHARED and zone.cma_pages > 0:
        return rmqueue_split_cma(mem, zone, pcp, order, migratetype, alloc_flags)
    pfn = rmqueue_pcplist(mem, zone, pcp, order, migratetype, migratetype, alloc_flags)
    if pfn == NO_PAGE and alloc_flags & ALLOC_RESERVES and zone.nr_free_highatomic > 0:
        return rmqueue_reserve(mem, zone, order, migratetype, alloc_flags)
    return pfn


@jit_inline
def free_pcp_block(mem, zone, pcp, index):
    """Return the oldest block of a per-CPU list to the buddy lists; its pages, 0 if the list is empty."""
    head = np.int64(pcp.lists[index])
    pfn = list_last(mem, head)
    if pfn == head:
        return 0
    order = index // NR_PCP_TYPES
    list_del(mem, pfn)
    mem.page[pfn].flag &= ~PageFlag.PCP
    pcp.nr -= 1 << order
    free_one_page(mem, zone, pfn, order, get_pageblock_migratetype(mem, pfn))
    return 1 << order


@jit_inline
def free_pcppages_bulk(mem, zone, pcp, count, first_list):
    """Return `count` pages of a CPU to the buddy lists, beginning with the list that was freed into last.

    Linux: free_pcppages_bulk(); since 5.18 a list is emptied before the next one is looked at, before they took turns
    """
    count = min(count, np.int64(pcp.nr))
    in_turn = mem.kernel.old_allocator != 0
    index = first_list
    while count > 0:
        freed = free_pcp_block(mem, zone, pcp, index)
        count -= freed
        if in_turn or freed == 0:
            index = index + 1 if index + 1 < NR_PCP_LISTS else 0


@jit
def nr_pcp_high(mem, zone, pcp, batch, free_high):
    """Pages a CPU may keep; more after much freeing, fewer while the zone is short. Linux: nr_pcp_high() of 6.7+."""
    high = pcp_high(pcp)
    high_min = np.int64(pcp.high_min)
    freed = np.int64(pcp.free_count)
    if free_high:
        pcp.high = max(high - (batch << mem.kernel.pcp_scale_max), high_min)
        return 0
    if mem.node.kswapd_awake and zone.index <= mem.node.kswapd_highest_zoneidx:
        pcp.high = max(high - max(freed, batch), high_min)
        return min(batch << 2, np.int64(pcp.high))
    if pcp.high_min == pcp.high_max:
        return high
    if zone.below_high:
        pcp.high = max(high - max(freed, batch), high_min)
        return max(np.int64(pcp.nr), high_min)
    if pcp.nr >= high and pcp.high < freed + batch:
        pcp.high = min(max(freed + batch, high_min), np.int64(pcp.high_max))
    return high


@jit
def nr_pcp_free(mem, pcp, batch, high, free_high):
    """Pages to give back at once. Linux: nr_pcp_free()."""
    if free_high:
        return min(np.int64(pcp.nr), batch << mem.kernel.pcp_scale_max)
    if high < batch:
        return 1
    return min(max(np.int64(pcp.free_count), batch), max(high - batch, batch))


@jit
def free_high_orders(pcp, order, batch):
    """Whether a row of freed higher-order blocks should leave the lists, which they would fragment.

    Linux: free_high of free_unref_page_commit(); PCPF_FREE_HIGH_BATCH is taken as set, as it is with 1 MB of cache
    """
    before = pcp.freed_high_order != 0
    pcp.freed_high_order = 1 if order > 0 else 0
    return order > 0 and before and pcp.free_count >= batch and pcp.nr >= batch


@jit_inline
def pcp_overflow(mem, zone, pcp, order, index):
    """After a block was put on list `index`: give back what is too much. Linux: free_unref_page_commit()."""
    batch = np.int64(pcp.batch)
    if mem.kernel.pcp_scale_max == 0:
        if pcp.nr >= pcp.high:
            free_pcppages_bulk(mem, zone, pcp, batch, index)
        return
    pcp.alloc_factor >>= 1
    free_high = free_high_orders(pcp, order, batch)
    if pcp.free_count < batch << mem.kernel.pcp_scale_max:
        pcp.free_count += 1 << order
    high = nr_pcp_high(mem, zone, pcp, batch, free_high)
    if pcp.nr < high:
        return
    free_pcppages_bulk(mem, zone, pcp, nr_pcp_free(mem, pcp, batch, high, free_high), index)
    if zone.below_high and zone_watermark_ok(mem, zone, 0, wmark_pages(zone, WMARK_HIGH), MOVABLE_ZONE, 0):
        zone.below_high = 0


@jit_inline
def free_pages(mem, cpu, pfn, order):
    """Free a block. Its pages must not be on any list or be held by anyone.

    Linux: __free_pages() -> free_unref_page(), mm/page_alloc.c
    """
    zone = mem.zones[mem.page[pfn].zone]
    free_pages_prepare(mem, pfn, order)
    migratetype = get_pageblock_migratetype(mem, pfn)
    kind = pcp_type(mem, migratetype)
    if order > pcp_max_order(mem) or kind < 0:
        free_one_page(mem, zone, pfn, order, migratetype)
        return
    pcp = zone.pcp[cpu]
    page = mem.page[pfn]
    page.flag |= PageFlag.PCP
    page.order = order
    index = order * NR_PCP_TYPES + kind
    list_add(mem, pfn, np.int64(pcp.lists[index]))
    pcp.nr += 1 << order
    pcp_overflow(mem, zone, pcp, order, index)


@jit
def drain_pages_zone(mem, zone, cpu):
    """Empty a CPU's lists of a zone. Linux: drain_pages_zone()."""
    free_pcppages_bulk(mem, zone, zone.pcp[cpu], np.int64(zone.pcp[cpu].nr), 0)


@jit
def drain_all_pages(mem):
    """Empty all per-CPU lists. Linux: drain_all_pages()."""
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        if zone.managed_pages == 0:
            continue
        for cpu in range(mem.kernel.nr_cpus):
            drain_pages_zone(mem, zone, cpu)


@jit
def decay_pcp_high(mem, zone, pcp):
    """Shorten a CPU's lists towards their least size and give back what is too much; whether anything changed.

    Linux: decay_pcp_high() of 6.7+
    """
    changed = False
    if pcp.high > pcp.high_min:
        least = max(np.int64(pcp.nr) - (np.int64(pcp.batch) << mem.kernel.pcp_scale_max), np.int64(pcp.high_min))
        pcp.high = max(least, np.int64(pcp.high) - (np.int64(pcp.high) >> 3))
        changed = pcp.high > pcp.high_min
    if pcp.nr > pcp.high:
        free_pcppages_bulk(mem, zone, pcp, np.int64(pcp.nr) - np.int64(pcp.high), 0)
        changed = True
    return changed


@jit
def vmstat_update(mem):
    """What each CPU does once a second: let its page lists decay. Linux: vmstat_update(), refresh_cpu_vm_stats()."""
    node = mem.node
    changed = mem.kernel.pcp_scale_max > 0
    while changed and node.vmstat_next_ns <= mem.clock:
        changed = False
        for index in range(NR_ZONES):
            zone = mem.zones[index]
            if zone.managed_pages > 0:
                for cpu in range(mem.kernel.nr_cpus):
                    changed |= decay_pcp_high(mem, zone, zone.pcp[cpu])
        node.vmstat_next_ns += STAT_INTERVAL_NS
    if node.vmstat_next_ns <= mem.clock:
        node.vmstat_next_ns = mem.clock + STAT_INTERVAL_NS - mem.clock % STAT_INTERVAL_NS
