"""The order in which free lists are looked at, in mainline and in kernels that differ from it.

Linux: __rmqueue(), mm/page_alloc.c of 3.x; sticky MIGRATE_MOVABLE (Mel Gorman, April 2016) and Contiguitas (ISCA 2023),
neither merged (FACTS A2, A9.m)
Model: both latter keep CMA pageblocks under their own type, which is how the model knows the area; in taking pages from
them, they are movable pageblocks like others.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.list import list_empty, list_first
from cma_gym.mm.mmzone import (
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    NO_PAGE,
    NR_PAGE_ORDERS,
    PageFlag,
    VmEvent,
)
from cma_gym.mm.page_alloc import (
    ALLOC_CMA,
    ALLOC_PLACEMENT,
    change_pageblock_range,
    del_page_from_free_list,
    expand,
    find_fallback,
    free_one_page,
    get_pageblock_migratetype,
    move_freepages_block,
    rmqueue_buddy,
    rmqueue_smallest,
)
from cma_gym.support.jit import jit, jit_inline


@jit
def largest_foreign_order(mem, zone, order, migratetype):
    """Order of the largest free block that a request may borrow from another type; -1 if there is none."""
    for current in range(NR_PAGE_ORDERS - 1, order - 1, -1):
        if find_fallback(mem, zone, current, migratetype) >= 0:
            return current
    return -1


@jit
def rmqueue_by_table(mem, zone, order, migratetype, alloc_flags):
    """A movable request of 3.x: its own list, then the largest block of all other types, among equals CMA first.

    Linux: __rmqueue_fallback() up to 4.0. The rest of a split CMA block stays CMA.
    """
    pfn = rmqueue_smallest(mem, zone, order, migratetype)
    if pfn != NO_PAGE:
        return pfn
    foreign = largest_foreign_order(mem, zone, order, migratetype)
    for current in range(NR_PAGE_ORDERS - 1, max(order, foreign) - 1, -1):
        head = np.int64(zone.free_area[current].free_list[MIGRATE_CMA])
        if not list_empty(mem, head):
            pfn = list_first(mem, head)
            del_page_from_free_list(mem, zone, pfn, current, MIGRATE_CMA)
            expand(mem, zone, pfn, order, current, MIGRATE_CMA)
            return pfn
    return rmqueue_buddy(mem, zone, order, migratetype, alloc_flags & ~ALLOC_PLACEMENT)


@jit
def rmqueue_movable(mem, zone, order, alloc_flags):
    """The smallest free block that fits, of ordinary movable pageblocks and, where allowed, of CMA; NO_PAGE if none.

    Model: of two alike the ordinary one; one list of both would give the one freed last.
    """
    for current in range(order, NR_PAGE_ORDERS):
        area = zone.free_area[current]
        if not list_empty(mem, np.int64(area.free_list[MIGRATE_MOVABLE])):
            return rmqueue_smallest(mem, zone, order, MIGRATE_MOVABLE)
        if alloc_flags & ALLOC_CMA and not list_empty(mem, np.int64(area.free_list[MIGRATE_CMA])):
            return rmqueue_smallest(mem, zone, order, MIGRATE_CMA)
    return NO_PAGE


@jit
def grow_unmovable_region(mem, zone, migratetype):
    """The pageblock next to the region becomes part of it, free pages and all; False if there is none to take."""
    block_order = mem.kernel.pageblock_order
    start = np.int64(zone.unmovable_end)
    end = start + (1 << block_order)
    if end > zone.end_pfn or get_pageblock_migratetype(mem, start) != MIGRATE_MOVABLE:
        return False
    page = mem.page[start]
    if page.flag & PageFlag.BUDDY and page.order >= block_order:
        order = np.int64(page.order)
        del_page_from_free_list(mem, zone, start, order, MIGRATE_MOVABLE)
        expand(mem, zone, start, block_order, order, MIGRATE_MOVABLE)
        change_pageblock_range(mem, start, block_order, migratetype)
        free_one_page(mem, zone, start, block_order, migratetype)
    else:
        move_freepages_block(mem, zone, start, MIGRATE_MOVABLE, migratetype)
    zone.unmovable_end = end
    mem.vm_event[VmEvent.PAGEBLOCK_CLAIM] += 1
    return True


@jit
def shrink_unmovable_region(mem, zone):
    """Give the region's last pageblocks back if they are one free block; whether they were."""
    block_order = mem.kernel.pageblock_order
    for order in range(block_order, NR_PAGE_ORDERS):
        start = zone.unmovable_end - (1 << order)
        if start < zone.start_pfn or not mem.page[start].flag & PageFlag.BUDDY or mem.page[start].order != order:
            continue
        migratetype = get_pageblock_migratetype(mem, start)
        if migratetype == MIGRATE_HIGHATOMIC:
            return False
        del_page_from_free_list(mem, zone, start, order, migratetype)
        change_pageblock_range(mem, start, order, MIGRATE_MOVABLE)
        free_one_page(mem, zone, start, order, MIGRATE_MOVABLE)
        zone.unmovable_end = start
        return True
    return False


@jit
def rmqueue_unmovable(mem, zone, order, migratetype):
    """A block of the region for what cannot be moved, which takes in the next pageblock if that is free.

    Of the region's two types, one serves the other before it grows. Pageblocks that are not free are emptied first, by
    those who may wait (mm/contiguitas.py).
    """
    other = MIGRATE_RECLAIMABLE if migratetype == MIGRATE_UNMOVABLE else MIGRATE_UNMOVABLE
    pfn = rmqueue_smallest(mem, zone, order, migratetype)
    if pfn == NO_PAGE:
        pfn = rmqueue_smallest(mem, zone, order, other)
    block_order = mem.kernel.pageblock_order
    while pfn == NO_PAGE and zone.unmovable_end < zone.end_pfn:
        page = mem.page[zone.unmovable_end]
        if not page.flag & PageFlag.BUDDY or page.order < block_order:
            break
        if not grow_unmovable_region(mem, zone, migratetype):
            break
        pfn = rmqueue_smallest(mem, zone, order, migratetype)
    return pfn


@jit
def rmqueue_regions(mem, zone, order, migratetype, alloc_flags):
    """One block from the region of the request: movable pages never mix with others. Linux: Contiguitas."""
    if migratetype != MIGRATE_MOVABLE:
        return rmqueue_unmovable(mem, zone, order, migratetype)
    pfn = rmqueue_movable(mem, zone, order, alloc_flags)
    while pfn == NO_PAGE and shrink_unmovable_region(mem, zone):
        pfn = rmqueue_movable(mem, zone, order, alloc_flags)
    return pfn


@jit_inline
def rmqueue_block(mem, zone, order, migratetype, alloc_flags):
    """Take one block from the buddy lists as this kernel does; NO_PAGE if the zone has none. Linux: __rmqueue()."""
    if mem.kernel.contiguitas:
        return rmqueue_regions(mem, zone, order, migratetype, alloc_flags)
    if alloc_flags & ALLOC_CMA:
        if mem.kernel.cma_by_table:
            return rmqueue_by_table(mem, zone, order, migratetype, alloc_flags)
        if mem.kernel.cma_sticky:
            pfn = rmqueue_movable(mem, zone, order, alloc_flags)
            if pfn != NO_PAGE:
                return pfn
    return rmqueue_buddy(mem, zone, order, migratetype, alloc_flags)


@jit
def find_unmovable_end(mem, zone):
    """Put the boundary behind the zone's last pageblock that is not movable, in memory that others have laid out."""
    block = 1 << mem.kernel.pageblock_order
    for pfn in range(zone.start_pfn, zone.end_pfn - block + 1, block):
        migratetype = get_pageblock_migratetype(mem, pfn)
        if migratetype != MIGRATE_MOVABLE and migratetype <= MIGRATE_HIGHATOMIC:
            zone.unmovable_end = pfn + block
