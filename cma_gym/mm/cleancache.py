"""Guaranteed CMA: the area holds copies of evicted clean file pages, and is given back by dropping them.

With `gcma_frontswap` also copies of pages that are swapped out, which go to the swap device all the same.

Linux: not merged; gcma (SeongJae Park 2015, Baghdasaryan and Kim 2025), mm/cleancache.c of 3.x-5.x and mm/frontswap.c
of 3.5-6.5 (FACTS A9.h, A9.i)
Differs: pages of regular files only; both kinds of copies share one list, and a full area drops its oldest copy.
Model: a file page whose copy lies here names it in its entry (CLEAN_ENTRY); its shadow waits in the copy's `stamp`. A
swap slot names its copy in its age, as COPY_AGE - pfn; its age waits in the same place. A copy's `index` is its file
page, or SLOT_OWNER - slot.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import charge
from cma_gym.mm.list import list_add, list_del, list_last
from cma_gym.mm.mmzone import (
    CLEAN_ENTRY,
    KIND_CLEANCACHE,
    KIND_FILE,
    MIGRATE_CMA,
    NO_ENTRY,
    NO_PAGE,
    Cost,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import (
    free_one_page,
    free_pages_prepare,
    get_pageblock_migratetype,
    prep_new_page,
    rmqueue_smallest,
)
from cma_gym.support.jit import jit

COPY_AGE = -1
"""From here downwards, the age of a swap slot names a copy of its page in the area (COPY_AGE - pfn)."""
SLOT_OWNER = -2
"""Index of a copy of a swapped page: SLOT_OWNER - slot."""


@jit
def is_clean_entry(entry):
    """Whether a file page's entry names a copy in the cleancache."""
    return entry <= CLEAN_ENTRY and (entry & 1) != 0


@jit
def clean_pfn(entry):
    """The copy that such an entry names."""
    return (CLEAN_ENTRY - np.int64(entry)) // 2


@jit
def cleancache_drop(mem, pfn):
    """Give up one copy; its file page or swap slot is left with what it would have had. Linux: gcma_discard_page()."""
    page = mem.page[pfn]
    if page.index <= SLOT_OWNER:
        mem.swap[SLOT_OWNER - page.index].age = page.stamp
    else:
        mem.filemap[page.index].entry = page.stamp
    list_del(mem, pfn)
    mem.node.nr_cleancache -= 1
    free_pages_prepare(mem, pfn, 0)
    free_one_page(mem, mem.zones[page.zone], pfn, 0, get_pageblock_migratetype(mem, pfn))


@jit
def take_clean_page(mem):
    """A free page of the area, or the one with the oldest copy; NO_PAGE while the area is handed out."""
    zone = mem.zones[mem.page[mem.cma.base_pfn].zone]
    pfn = rmqueue_smallest(mem, zone, 0, MIGRATE_CMA)
    if pfn == NO_PAGE and mem.node.nr_cleancache > 0:
        mem.vm_event[VmEvent.CLEANCACHE_DROP] += 1
        cleancache_drop(mem, list_last(mem, np.int64(mem.node.cleancache)))
        pfn = rmqueue_smallest(mem, zone, 0, MIGRATE_CMA)
    return pfn


@jit
def keep_copy(mem, index, task, stamp):
    """Copy a page into the area, to be known by `index`; the copy, or NO_PAGE if there is no room for it."""
    copy = take_clean_page(mem)
    if copy == NO_PAGE:
        return copy
    prep_new_page(mem, copy, 0, KIND_CLEANCACHE, index, task)
    mem.page[copy].stamp = stamp
    list_add(mem, copy, np.int64(mem.node.cleancache))
    mem.node.nr_cleancache += 1
    charge(mem, Cost.COPY, 1)
    mem.vm_event[VmEvent.CLEANCACHE_PUT] += 1
    return copy


@jit
def cleancache_put(mem, pfn, shadow):
    """Keep a copy of a clean page that is being evicted, if there is room; the entry its file page gets.

    Linux: cleancache_put_page() in __delete_from_page_cache()
    """
    page = mem.page[pfn]
    if not mem.kernel.gcma or page.kind != KIND_FILE or mem.cma.busy:
        return shadow
    copy = keep_copy(mem, np.int64(page.index), np.int64(page.task), shadow)
    return shadow if copy == NO_PAGE else CLEAN_ENTRY - 2 * copy


@jit
def cleancache_get(mem, fpn):
    """Copy a page back on a refault, instead of reading it; whether there was a copy, which is gone then.

    Linux: cleancache_get_page(), in mpage_readahead()
    """
    entry = np.int64(mem.filemap[fpn].entry)
    if not is_clean_entry(entry):
        return False
    cleancache_drop(mem, clean_pfn(entry))
    charge(mem, Cost.COPY, 1)
    mem.vm_event[VmEvent.CLEANCACHE_GET] += 1
    return True


@jit
def cleancache_invalidate(mem, fpn):
    """The file page is gone: so is its copy. Linux: cleancache_invalidate_page()."""
    entry = np.int64(mem.filemap[fpn].entry)
    if is_clean_entry(entry):
        cleancache_drop(mem, clean_pfn(entry))
        mem.filemap[fpn].entry = NO_ENTRY
        mem.vm_event[VmEvent.CLEANCACHE_DROP] += 1


@jit
def frontswap_store(mem, slot, task):
    """Keep a copy of a page that was just written to a swap slot, if there is room.

    Linux: __frontswap_store() with frontswap_writethrough()
    """
    if mem.kernel.gcma_frontswap and not mem.cma.busy:
        copy = keep_copy(mem, SLOT_OWNER - slot, task, np.int64(mem.swap[slot].age))
        if copy != NO_PAGE:
            mem.swap[slot].age = COPY_AGE - copy


@jit
def frontswap_load(mem, slot):
    """Copy a page back from the area instead of reading its slot; whether there was a copy, which is gone then.

    Linux: __frontswap_load(), with frontswap_tmem_exclusive_gets()
    """
    age = np.int64(mem.swap[slot].age)
    if age > COPY_AGE:
        return False
    cleancache_drop(mem, COPY_AGE - age)
    charge(mem, Cost.COPY, 1)
    mem.vm_event[VmEvent.CLEANCACHE_GET] += 1
    return True


@jit
def frontswap_invalidate(mem, slot):
    """A slot needs its copy no more. Linux: __frontswap_invalidate_page()."""
    age = np.int64(mem.swap[slot].age)
    if age <= COPY_AGE:
        cleancache_drop(mem, COPY_AGE - age)
        mem.vm_event[VmEvent.CLEANCACHE_DROP] += 1


@jit
def cleancache_drop_range(mem, start, end):
    """A contiguous allocation wants these frames: drop what lies there, without any migration (FACTS A9.h).

    It takes them one by one, whether there is a copy to drop or not: its least time is 1.0 us a page at any size.
    """
    charge(mem, Cost.RECLAIM_DROP, end - start)
    if mem.node.nr_cleancache == 0:
        return
    for pfn in range(start, end):
        if mem.page[pfn].kind == PageKind.CLEANCACHE:
            cleancache_drop(mem, pfn)
            mem.vm_event[VmEvent.CLEANCACHE_DROP] += 1


@jit
def count_named_copies(mem):
    """Copies that file pages and swap slots name; NO_PAGE if one is not what it is taken for. Model: for validate()."""
    named = 0
    for slot in range(mem.node.nr_swap_total):
        age = np.int64(mem.swap[slot].age)
        if age <= COPY_AGE:
            page = mem.page[COPY_AGE - age]
            if page.kind != PageKind.CLEANCACHE or page.index != SLOT_OWNER - slot:
                return NO_PAGE
            named += 1
    for fpn in range(mem.nr_fpages):
        entry = np.int64(mem.filemap[fpn].entry)
        if is_clean_entry(entry):
            page = mem.page[clean_pfn(entry)]
            if page.kind != PageKind.CLEANCACHE or page.index != fpn:
                return NO_PAGE
            named += 1
    return named
