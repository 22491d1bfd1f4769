"""Moving a page's content to another frame.

Linux: mm/migrate.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import charge, elapse
from cma_gym.mm.hands import lock_end_ns
from cma_gym.mm.list import list_add, list_del, list_empty
from cma_gym.mm.lru import folio_add_lru, lruvec_add_folio, lruvec_del_folio
from cma_gym.mm.mmzone import (
    HOLDER_LRU_BATCH,
    HOLDER_NONE,
    HOLDER_PAGE_LOCK,
    HOLDER_RECLAIM,
    HOLDER_UNMOVABLE,
    HOLDER_WRITEBACK,
    INFLIGHT,
    NO_PAGE,
    Cost,
    PageFlag,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import set_page_kind
from cma_gym.mm.pcp import free_pages
from cma_gym.mm.rmap import remap
from cma_gym.mm.writeback import end_oldest_writeback
from cma_gym.support.jit import jit


@jit
def refusal(mem, pfn):
    """Who keeps a page from being moved right now (Holder); HOLDER_NONE if nobody does.

    Linux: folio_expected_ref_count() against folio_ref_count(), and the movability of the page itself
    """
    page = mem.page[pfn]
    kind = page.kind
    if kind < PageKind.ANON or kind > PageKind.ZSMALLOC:
        return HOLDER_UNMOVABLE
    if page.flag & PageFlag.LRU_BATCH:
        return HOLDER_LRU_BATCH
    if page.flag & PageFlag.RECLAIM:
        return HOLDER_RECLAIM
    if page.pincount > 0:
        return np.int64(page.holder)
    if page.flag & PageFlag.WRITEBACK:
        return HOLDER_WRITEBACK
    return HOLDER_NONE


@jit
def wait_on_folio(mem, pfn):
    """Wait for a page's writeback and lock, as a caller that has nothing else to do. Linux: folio_wait_writeback()."""
    page = mem.page[pfn]
    while page.flag & PageFlag.WRITEBACK:
        wait_ns = mem.inflight_ns[mem.node.inflight_head % INFLIGHT] - mem.clock
        if wait_ns > 0:
            elapse(mem, wait_ns)
        else:
            end_oldest_writeback(mem)
    if page.pincount > 0 and page.holder == HOLDER_PAGE_LOCK:
        elapse(mem, lock_end_ns(mem, pfn) - mem.clock)


@jit
def isolate_folio(mem, pfn):
    """Take a page off its LRU list for migration. Linux: folio_isolate_lru(), isolate_movable_page()."""
    if mem.page[pfn].flag & PageFlag.LRU:
        lruvec_del_folio(mem, pfn)
    mem.page[pfn].flag |= PageFlag.ISOLATED


@jit
def putback_folio(mem, pfn):
    """Return a page that was not moved. Linux: putback_movable_pages()."""
    page = mem.page[pfn]
    page.flag &= ~PageFlag.ISOLATED
    if page.kind != PageKind.ZSMALLOC:
        lruvec_add_folio(mem, pfn, False)


@jit
def move_zspage(mem, src, dst):
    """Point the objects of a zspage at its copy. Linux: zs_page_migrate()."""
    slot = np.int64(mem.page[src].index)
    while slot >= 0:
        mem.swap[slot].zspage = dst
        slot = np.int64(mem.swap[slot].next)
    if not list_empty(mem, src):
        before = np.int64(mem.page[src].prev)
        list_del(mem, src)
        list_add(mem, dst, before)


@jit
def move_folio(mem, cpu, src, dst):
    """Make `dst` what `src` is, and free `src`, which must be isolated and refused by nobody. Linux: migrate_folio().

    `dst` is a freshly allocated page off all lists.
    """
    old = mem.page[src]
    new = mem.page[dst]
    kind = np.int64(old.kind)
    new.flag = old.flag & ~(PageFlag.LRU | PageFlag.ISOLATED)
    new.index = old.index
    new.mapcount = old.mapcount
    new.task = old.task
    new.stamp = old.stamp
    set_page_kind(mem, dst, kind)
    if kind == PageKind.ANON:
        remap(mem, src, dst)
    elif kind == PageKind.ZSMALLOC:
        move_zspage(mem, src, dst)
    else:
        mem.filemap[old.index].entry = dst
    charge(mem, Cost.MIGRATE, 1)
    mem.vm_event[VmEvent.PGMIGRATE_SUCCESS] += 1
    old.index = NO_PAGE
    old.mapcount = 0
    free_pages(mem, cpu, src, 0)
    if kind != PageKind.ZSMALLOC:
        folio_add_lru(mem, cpu, dst)
