"""Taking pageblocks out of circulation, so that freed pages of a range stay free.

Linux: mm/page_isolation.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.mmzone import MIGRATE_ISOLATE, NO_PAGE, NR_PAGE_ORDERS, PageFlag
from cma_gym.mm.page_alloc import (
    del_page_from_free_list,
    free_one_page,
    get_pageblock_migratetype,
    move_freepages_block,
    set_pageblock_migratetype,
)
from cma_gym.support.jit import jit

EBUSY = -16


@jit
def free_block_head(mem, pfn):
    """Head of the free block that contains `pfn`; NO_PAGE if it is not free. Linux: find_large_buddy()."""
    for order in range(NR_PAGE_ORDERS):
        head = pfn & ~((1 << order) - 1)
        page = mem.page[head]
        if page.flag & PageFlag.BUDDY and head + (1 << np.int64(page.order)) > pfn:
            return head
    return NO_PAGE


@jit
def split_large_buddy(mem, zone, start_pfn):
    """Split a free block that spans more pageblocks than the one at `start_pfn`, which gets a type of its own.

    Linux: move_freepages_block_isolate(), split_large_buddy()
    """
    block_order = mem.kernel.pageblock_order
    head = free_block_head(mem, start_pfn)
    if head == NO_PAGE or mem.page[head].order <= block_order:
        return
    order = np.int64(mem.page[head].order)
    old_type = get_pageblock_migratetype(mem, head)
    del_page_from_free_list(mem, zone, head, order, old_type)
    set_pageblock_migratetype(mem, start_pfn, MIGRATE_ISOLATE)
    for pfn in range(head, head + (1 << order), 1 << block_order):
        free_one_page(mem, zone, pfn, block_order, get_pageblock_migratetype(mem, pfn))


@jit
def set_migratetype_isolate(mem, start_pfn):
    """Isolate one pageblock. Linux: set_migratetype_isolate()."""
    zone = mem.zones[mem.page[start_pfn].zone]
    block = mem.pageblock[start_pfn >> mem.kernel.pageblock_order]
    old_type = np.int64(block.migratetype)
    block.isolated_from = old_type
    split_large_buddy(mem, zone, start_pfn)
    if block.migratetype != MIGRATE_ISOLATE:
        move_freepages_block(mem, zone, start_pfn, old_type, MIGRATE_ISOLATE)
    zone.nr_isolated_pageblocks += 1


@jit
def unset_migratetype_isolate(mem, start_pfn):
    """Return one pageblock to the type it had. Linux: unset_migratetype_isolate()."""
    zone = mem.zones[mem.page[start_pfn].zone]
    block = mem.pageblock[start_pfn >> mem.kernel.pageblock_order]
    split_large_buddy(mem, zone, start_pfn)
    old_type = np.int64(block.isolated_from)
    move_freepages_block(mem, zone, start_pfn, MIGRATE_ISOLATE, old_type)
    zone.nr_isolated_pageblocks -= 1
    order = mem.kernel.pageblock_order
    if mem.page[start_pfn].flag & PageFlag.BUDDY and mem.page[start_pfn].order == order:
        del_page_from_free_list(mem, zone, start_pfn, order, old_type)  # so that it merges with its neighbours again
        free_one_page(mem, zone, start_pfn, order, old_type)


@jit
def start_isolate_page_range(mem, start_pfn, end_pfn):
    """Isolate all pageblocks of a range; EBUSY, with nothing changed, if somebody has isolated one of them already.

    Linux: start_isolate_page_range(); for CMA its search for unmovable pages is skipped.
    """
    block = 1 << mem.kernel.pageblock_order
    for pfn in range(start_pfn, end_pfn, block):
        if get_pageblock_migratetype(mem, pfn) == MIGRATE_ISOLATE:
            return EBUSY
    for pfn in range(start_pfn, end_pfn, block):
        set_migratetype_isolate(mem, pfn)
    return 0


@jit
def undo_isolate_page_range(mem, start_pfn, end_pfn):
    """Linux: undo_isolate_page_range()."""
    for pfn in range(start_pfn, end_pfn, 1 << mem.kernel.pageblock_order):
        unset_migratetype_isolate(mem, pfn)


@jit
def first_not_isolated(mem, start_pfn, end_pfn):
    """First page of an isolated range that is not free; NO_PAGE if all are. Linux: test_pages_isolated()."""
    pfn = start_pfn
    head = free_block_head(mem, pfn)
    if head == NO_PAGE:
        return pfn
    pfn = head
    while pfn < end_pfn:
        page = mem.page[pfn]
        if not page.flag & PageFlag.BUDDY:
            return pfn
        pfn += 1 << np.int64(page.order)
    return NO_PAGE
