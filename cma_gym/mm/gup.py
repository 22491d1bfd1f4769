"""Pins: references that I/O and drivers take on user pages.

Linux: mm/gup.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.contig_alloc import migrate_one
from cma_gym.mm.lru import lru_add_drain_all
from cma_gym.mm.migrate import isolate_folio, putback_folio, wait_on_folio
from cma_gym.mm.mmzone import HOLDER_NONE, MIGRATE_CMA, PageFlag, VmEvent
from cma_gym.mm.page_alloc import get_pageblock_migratetype
from cma_gym.mm.page_ref import get_page
from cma_gym.mm.zonelist import ZONE_CMA
from cma_gym.support.jit import jit

LONGTERM_TRIES = 16
"""A target from the movable per-CPU list may lie in CMA again (kernel fact 8); Linux loops without a bound."""


@jit
def is_cma_page(mem, pfn):
    """Whether a page lies in the CMA area, in either layout. Linux: folio_is_longterm_pinnable(), negated."""
    return mem.page[pfn].zone == ZONE_CMA or get_pageblock_migratetype(mem, pfn) == MIGRATE_CMA


@jit
def migrate_longterm_unpinnable(mem, cpu, pfn):
    """Move a page out of CMA before a long-term pin (kernel fact 4); whether it has left.

    Linux: migrate_longterm_unpinnable_folios(); its target allocation carries PF_MEMALLOC_PIN and so avoids CMA.
    """
    if mem.page[pfn].flag & PageFlag.LRU_BATCH:
        lru_add_drain_all(mem)
    if not mem.page[pfn].flag & PageFlag.LRU:
        return False
    lend = mem.kernel.lend
    mem.kernel.lend = 0
    isolate_folio(mem, pfn)
    wait_on_folio(mem, pfn)
    holder = migrate_one(mem, cpu, pfn)
    mem.kernel.lend = lend
    if holder != HOLDER_NONE:
        putback_folio(mem, pfn)
        return False
    mem.vm_event[VmEvent.LONGTERM_MOVED] += 1
    return True


@jit
def pin_vpage(mem, cpu, vpn, holder, duration_ns, longterm):
    """Pin the page at a virtual page, if it is present; whether a reference was taken. Linux: pin_user_pages()."""
    pfn = np.int64(mem.pte[vpn].entry)
    tries = LONGTERM_TRIES
    while longterm and pfn >= 0 and is_cma_page(mem, pfn):
        tries -= 1
        if tries == 0 or not migrate_longterm_unpinnable(mem, cpu, pfn):
            return False
        pfn = np.int64(mem.pte[vpn].entry)
    return pfn >= 0 and get_page(mem, pfn, holder, duration_ns)


@jit
def pin_fpage(mem, fpn, holder, duration_ns):
    """Hold a file page, if it is cached; whether a reference was taken. Linux: get_bh(), folio_get()."""
    pfn = np.int64(mem.filemap[fpn].entry)
    return pfn >= 0 and get_page(mem, pfn, holder, duration_ns)
