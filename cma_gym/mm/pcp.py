"""Per-CPU page lists and the order in which a request looks at them.

Linux: mm/page_alloc.c (rmqueue_pcplist(), rmqueue_bulk(), free_unref_page(), drain_all_pages())
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.jit import jit
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
    PageFlag,
    PcpCma,
)
from cma_gym.mm.page_alloc import (
    ALLOC_CMA,
    ALLOC_CMA_FIRST,
    ALLOC_NO_STEAL,
    free_one_page,
    free_pages_prepare,
    get_pageblock_migratetype,
    prefers_cma,
    rmqueue_buddy,
    rmqueue_smallest,
)

PCP_CMA = 3
"""Index of the per-CPU list for CMA pages, where there is one."""


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
def rmqueue_bulk(mem, zone, pcp, order, kind, migratetype, alloc_flags):
    """Refill a per-CPU list with up to a batch of blocks. Linux: rmqueue_bulk()."""
    head = np.int64(pcp.lists[order * NR_PCP_TYPES + kind])
    for _ in range(max(1, np.int64(pcp.batch) >> order)):
        if migratetype == MIGRATE_CMA:
            pfn = rmqueue_smallest(mem, zone, order, MIGRATE_CMA)
        else:
            pfn = rmqueue_buddy(mem, zone, order, migratetype, alloc_flags)
        if pfn == NO_PAGE:
            break
        page = mem.page[pfn]
        page.flag |= PageFlag.PCP
        page.order = order
        list_add_tail(mem, pfn, head)
        pcp.nr += 1 << order


@jit
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
def rmqueue(mem, zone, cpu, order, migratetype, alloc_flags):
    """Take one block of the zone for this request; NO_PAGE if there is none. Linux: rmqueue(), mm/page_alloc.c."""
    if order > PAGE_ALLOC_COSTLY_ORDER:
        return rmqueue_buddy(mem, zone, order, migratetype, alloc_flags)
    pcp = zone.pcp[cpu]
    if alloc_flags & ALLOC_CMA and mem.kernel.cma_pcp != PcpCma.SHARED and zone.cma_pages > 0:
        return rmqueue_split_cma(mem, zone, pcp, order, migratetype, alloc_flags)
    return rmqueue_pcplist(mem, zone, pcp, order, migratetype, migratetype, alloc_flags)


@jit
def free_pcppages_bulk(mem, zone, pcp, count):
    """Return `count` pages of a CPU to the buddy lists, taking from each list in turn. Linux: free_pcppages_bulk()."""
    index = NR_PCP_LISTS - 1
    while count > 0 and pcp.nr > 0:
        index = index + 1 if index + 1 < NR_PCP_LISTS else 0
        head = np.int64(pcp.lists[index])
        pfn = list_last(mem, head)
        if pfn == head:
            continue
        order = index // NR_PCP_TYPES
        list_del(mem, pfn)
        mem.page[pfn].flag &= ~PageFlag.PCP
        pcp.nr -= 1 << order
        count -= 1 << order
        free_one_page(mem, zone, pfn, order, get_pageblock_migratetype(mem, pfn))


@jit
def free_pages(mem, cpu, pfn, order):
    """Free a block. Its pages must not be on any list or be held by anyone.

    Linux: __free_pages() -> free_unref_page(), mm/page_alloc.c
    """
    zone = mem.zones[mem.page[pfn].zone]
    free_pages_prepare(mem, pfn, order)
    migratetype = get_pageblock_migratetype(mem, pfn)
    kind = pcp_type(mem, migratetype)
    if order > PAGE_ALLOC_COSTLY_ORDER or kind < 0:
        free_one_page(mem, zone, pfn, order, migratetype)
        return
    pcp = zone.pcp[cpu]
    page = mem.page[pfn]
    page.flag |= PageFlag.PCP
    page.order = order
    list_add(mem, pfn, np.int64(pcp.lists[order * NR_PCP_TYPES + kind]))
    pcp.nr += 1 << order
    if pcp.nr >= pcp.high:
        free_pcppages_bulk(mem, zone, pcp, np.int64(pcp.batch))


@jit
def drain_all_pages(mem):
    """Empty all per-CPU lists. Linux: drain_all_pages()."""
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        if zone.managed_pages == 0:
            continue
        for cpu in range(mem.kernel.nr_cpus):
            free_pcppages_bulk(mem, zone, zone.pcp[cpu], np.int64(zone.pcp[cpu].nr))
