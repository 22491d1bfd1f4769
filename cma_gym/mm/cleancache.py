"""Guaranteed CMA: the area holds copies of evicted clean file pages, and is given back by dropping them.

Linux: not merged; gcma (SeongJae Park 2015, Baghdasaryan and Kim 2025), mm/cleancache.c of 3.x-5.x (FACTS A9.h, A9.i)
Differs: pages of regular files only; no write-through copies of swapped pages; a full area drops its oldest copy.
Model: a file page whose copy lies here names it in its entry (CLEAN_ENTRY); its shadow waits in the copy's `stamp`.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import charge
from cma_gym.mm.jit import jit
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
    """Give up one copy; its file page is left with the shadow it would have had. Linux: gcma_discard_page()."""
    page = mem.page[pfn]
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
def cleancache_put(mem, pfn, shadow):
    """Keep a copy of a clean page that is being evicted, if there is room; the entry its file page gets.

    Linux: cleancache_put_page() in __delete_from_page_cache()
    """
    page = mem.page[pfn]
    if not mem.kernel.gcma or page.kind != KIND_FILE or mem.cma.busy:
        return shadow
    fpn = np.int64(page.index)
    copy = take_clean_page(mem)
    if copy == NO_PAGE:
        return shadow
    prep_new_page(mem, copy, 0, KIND_CLEANCACHE, fpn, np.int64(page.task))
    mem.page[copy].stamp = shadow
    list_add(mem, copy, np.int64(mem.node.cleancache))
    mem.node.nr_cleancache += 1
    charge(mem, Cost.COPY, 1)
    mem.vm_event[VmEvent.CLEANCACHE_PUT] += 1
    return CLEAN_ENTRY - 2 * copy


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
    """Copies that file pages name; NO_PAGE if one is not what its file page takes it for. Model: for validate()."""
    named = 0
    for fpn in range(mem.nr_fpages):
        entry = np.int64(mem.filemap[fpn].entry)
        if is_clean_entry(entry):
            page = mem.page[clean_pfn(entry)]
            if page.kind != PageKind.CLEANCACHE or page.index != fpn:
                return NO_PAGE
            named += 1
    return named
