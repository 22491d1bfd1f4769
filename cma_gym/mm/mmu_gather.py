"""Unmapping many pages: they are out of the page tables at once, and free when the batch is flushed.

Linux: mm/mmu_gather.c, mm/mmap.c (exit_mmap(), unmap_region()). In between each page has a reference that no mapping
explains, so that a contiguous allocation finds it neither free nor movable (FACTS B5, B6).
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.hands import NEVER_NS, stretched
from cma_gym.mm.lru import lruvec_del_folio, put_page
from cma_gym.mm.mmzone import HOLDER_FORK_EXIT, HOLDER_NONE, NO_ENTRY, NO_PAGE, NR_GATHERS, Cost, PageFlag
from cma_gym.support.jit import jit

MAX_GATHER_PAGES = 19 * 509
"""Pages one gather can hold. Linux: MAX_GATHER_BATCH_COUNT batches of MAX_GATHER_BATCH, include/asm-generic/tlb.h."""
UNMAP_SHARE = 4
"""Assumption: unmapping and freeing a page costs a quarter of what its fault did. In recordings of an emulated machine,
exits of 3000 to 12000 pages took 3 to 180 ms, some 10 us a page."""


@jit
def tlb_flush_mmu(mem, cpu, gather):
    """Free what was gathered. Linux: tlb_flush_mmu()."""
    pfn = np.int64(gather.first)
    gather.first = NO_PAGE
    gather.nr = 0
    gather.until_ns = NEVER_NS
    while pfn != NO_PAGE:
        page = mem.page[pfn]
        following = np.int64(page.next)
        page.next = pfn
        page.pincount -= 1
        if page.pincount == 0:
            page.holder = HOLDER_NONE
        put_page(mem, cpu, pfn)
        pfn = following


@jit
def tlb_gather_mmu(mem, cpu):
    """Index of an empty gather, if need be by flushing the one that would end first. Linux: tlb_gather_mmu()."""
    chosen = 0
    for index in range(NR_GATHERS):
        if mem.gather[index].nr == 0:
            mem.gather[index].cpu = cpu
            return index
        if mem.gather[index].until_ns < mem.gather[chosen].until_ns:
            chosen = index
    tlb_flush_mmu(mem, cpu, mem.gather[chosen])
    mem.gather[chosen].cpu = cpu
    return chosen


@jit
def tlb_remove_page(mem, cpu, index, pfn):
    """Keep a page that nobody maps any more until the flush. Linux: __tlb_remove_page()."""
    gather = mem.gather[index]
    page = mem.page[pfn]
    if page.flag & PageFlag.LRU:
        lruvec_del_folio(mem, pfn)
    if page.pincount == 0:
        page.holder = HOLDER_FORK_EXIT
    page.pincount += 1
    page.index = NO_ENTRY
    page.flag &= ~PageFlag.ISOLATED  # whoever was about to move it finds it gone
    page.next = gather.first
    gather.first = pfn
    gather.nr += 1
    if gather.nr >= MAX_GATHER_PAGES:
        tlb_flush_mmu(mem, cpu, gather)


@jit
def tlb_finish_mmu(mem, index):
    """Start the clock of a gather: its pages are free when all of them have been unmapped. Linux: tlb_finish_mmu()."""
    gather = mem.gather[index]
    if gather.nr == 0:
        return
    work_ns = mem.kernel.cost[Cost.FAULT] * gather.nr // UNMAP_SHARE
    gather.until_ns = mem.clock + stretched(mem, work_ns)
    mem.next_gather_ns = min(mem.next_gather_ns, gather.until_ns)


@jit
def expire_gathers(mem):
    """Flush the gathers whose time is over."""
    soonest = np.int64(NEVER_NS)
    for index in range(NR_GATHERS):
        gather = mem.gather[index]
        if gather.nr == 0:
            continue
        if gather.until_ns <= mem.clock:
            tlb_flush_mmu(mem, np.int64(gather.cpu), gather)
        else:
            soonest = min(soonest, gather.until_ns)
    mem.next_gather_ns = soonest
