"""Which virtual pages map a page: a chain through the page table, starting at `page.index`.

Linux: mm/rmap.c. Model: one chain a page instead of anon_vma trees.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.mmu_gather import tlb_remove_page
from cma_gym.mm.mmzone import NO_ENTRY, NO_PAGE, PageFlag
from cma_gym.mm.swap import is_swap_entry, swap_free, swap_slot_of
from cma_gym.support.jit import jit


@jit
def add_rmap(mem, pfn, vpn):
    """Map a page at one more virtual page."""
    page = mem.page[pfn]
    mem.pte[vpn].entry = pfn
    mem.pte[vpn].next = page.index if page.mapcount > 0 else NO_PAGE
    page.index = vpn
    page.mapcount += 1


@jit
def unlink_sharer(mem, first, vpn):
    """Take `vpn` out of the chain that starts at `first`; the new first one."""
    if first == vpn:
        return np.int64(mem.pte[vpn].next)
    before = first
    while mem.pte[before].next != vpn:
        before = np.int64(mem.pte[before].next)
    mem.pte[before].next = mem.pte[vpn].next
    return first


@jit
def zap_pte(mem, cpu, gather, vpn):
    """Empty one page table entry; what only it used goes to the gather.

    Linux: zap_present_ptes(), zap_nonpresent_ptes()
    """
    entry = np.int64(mem.pte[vpn].entry)
    if entry == NO_ENTRY:
        return
    if entry >= 0:
        page = mem.page[entry]
        page.index = unlink_sharer(mem, np.int64(page.index), vpn)
        page.mapcount -= 1
        if page.mapcount == 0:
            page.flag &= ~PageFlag.DIRTY
            tlb_remove_page(mem, cpu, gather, entry)
    elif is_swap_entry(entry):
        slot = swap_slot_of(entry)
        mem.swap[slot].vpn = unlink_sharer(mem, np.int64(mem.swap[slot].vpn), vpn)
        if mem.swap[slot].vpn < 0:
            swap_free(mem, cpu, slot)
    mem.pte[vpn].entry = NO_ENTRY
    mem.pte[vpn].next = NO_PAGE


@jit
def zap_pte_range(mem, cpu, gather, start, end):
    """Empty a range of page table entries. Linux: zap_pte_range()."""
    for vpn in range(start, end):
        zap_pte(mem, cpu, gather, vpn)


@jit
def remap(mem, old, new):
    """Point everything that maps `old` at `new`. Linux: remove_migration_ptes()."""
    vpn = np.int64(mem.page[old].index)
    while vpn >= 0:
        mem.pte[vpn].entry = new
        vpn = np.int64(mem.pte[vpn].next)
