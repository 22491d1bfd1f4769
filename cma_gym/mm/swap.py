"""Swap to zram: slots, and the zsmalloc pages that hold their compressed content.

Linux: mm/swapfile.c, drivers/block/zram/zram_drv.c, mm/zsmalloc.c
Differs: five size classes; a zspage is one page; a slot goes when the page comes back (no swap cache).
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import charge
from cma_gym.mm.jit import jit
from cma_gym.mm.list import list_add, list_del, list_first
from cma_gym.mm.mmzone import (
    FILE_OWNER,
    KIND_ZSMALLOC,
    MIGRATE_MOVABLE,
    MIGRATE_UNMOVABLE,
    NO_PAGE,
    REQUEST_ZSMALLOC,
    SWAP_ENTRY,
    Cost,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import ALLOC_NO_WATERMARKS, prep_new_page
from cma_gym.mm.pcp import free_pages
from cma_gym.mm.zonelist import ZONE_HIGHMEM, get_page_from_freelist, gfp_zone, placement_flags

ZS_OBJECTS = (8, 4, 3, 2, 1)
"""Objects of each size class that fit a page."""
ZS_CLASS_OF_16 = (0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4)
"""Size class by content, in sixteenths: a mean ratio of 2.9. Assumption within FACTS D2 (Ariadne: 1.7-3.9)."""


@jit
def size_class(owner):
    """Size class of a page's compressed content. Model: fixed by who owns it, so that it is the same in every run."""
    mixed = (owner * 40503 + 12345) & 0x7FFFFFFF
    return ZS_CLASS_OF_16[(mixed >> 9) & 15]


@jit
def alloc_zspage(mem, cpu, size):
    """A page for objects of this class; NO_PAGE if memory is out. Linux: alloc_zspage().

    Reclaimers may use all reserves (PF_MEMALLOC); whether the page may lie in CMA is the rule's latest answer for
    zsmalloc. Up to 4.7 these pages could not be moved, and were allocated as unmovable HIGHMEM.
    """
    if mem.kernel.old_allocator:
        pfn = get_page_from_freelist(mem, cpu, 0, MIGRATE_UNMOVABLE, ZONE_HIGHMEM, ALLOC_NO_WATERMARKS)
    else:
        flags = ALLOC_NO_WATERMARKS | placement_flags(mem, mem.node.zs_action)
        highest = gfp_zone(mem, REQUEST_ZSMALLOC, flags)
        pfn = get_page_from_freelist(mem, cpu, 0, MIGRATE_MOVABLE, highest, flags)
    if pfn == NO_PAGE:
        return NO_PAGE
    prep_new_page(mem, pfn, 0, KIND_ZSMALLOC, NO_PAGE, size)
    mem.node.nr_zspages += 1
    mem.node.zs_budget -= 1
    list_add(mem, pfn, np.int64(mem.node.zspage_partial[size]))
    return pfn


@jit
def zs_store(mem, cpu, slot, size):
    """Put an object of this class into a zspage; False if there is no memory for one. Linux: zs_malloc()."""
    head = np.int64(mem.node.zspage_partial[size])
    pfn = list_first(mem, head)
    if pfn == head:
        pfn = alloc_zspage(mem, cpu, size)
        if pfn == NO_PAGE:
            return False
    page = mem.page[pfn]
    mem.swap[slot].zspage = pfn
    mem.swap[slot].next = page.index
    page.index = slot
    page.mapcount += 1
    if page.mapcount == ZS_OBJECTS[size]:
        list_del(mem, pfn)
    return True


@jit
def zs_free(mem, cpu, slot):
    """Remove an object; the zspage goes with its last one. Linux: zs_free()."""
    pfn = np.int64(mem.swap[slot].zspage)
    page = mem.page[pfn]
    size = np.int64(page.task)
    if page.index == slot:
        page.index = mem.swap[slot].next
    else:
        before = np.int64(page.index)
        while mem.swap[before].next != slot:
            before = np.int64(mem.swap[before].next)
        mem.swap[before].next = mem.swap[slot].next
    if page.mapcount == ZS_OBJECTS[size]:
        list_add(mem, pfn, np.int64(mem.node.zspage_partial[size]))
    page.mapcount -= 1
    if page.mapcount == 0:
        list_del(mem, pfn)
        mem.node.nr_zspages -= 1
        free_pages(mem, cpu, pfn, 0)


@jit
def swap_free(mem, cpu, slot):
    """Give up a slot and its content. Linux: swap_free()."""
    zs_free(mem, cpu, slot)
    mem.swap[slot].zspage = NO_PAGE
    mem.swap[slot].vpn = mem.node.swap_free_head
    mem.node.swap_free_head = slot
    mem.node.nr_swap_free += 1


@jit
def swap_out(mem, cpu, pfn, age):
    """Compress a page into a slot and point everything that maps it there; the page itself is left to the caller.

    Linux: add_to_swap(), zram_write_page(), try_to_unmap()

    Returns:
        False if there is no slot or no memory for the compressed copy; nothing has changed then.
    """
    if mem.node.nr_swap_free == 0:
        return False
    page = mem.page[pfn]
    owner = np.int64(page.index)
    if page.kind == PageKind.SHMEM:
        owner = FILE_OWNER - owner
    slot = np.int64(mem.node.swap_free_head)
    following = mem.swap[slot].vpn
    charge(mem, Cost.ZRAM_OUT, 1)
    if not zs_store(mem, cpu, slot, size_class(owner)):
        return False
    mem.node.swap_free_head = following
    mem.node.nr_swap_free -= 1
    mem.swap[slot].vpn = owner
    mem.swap[slot].age = age
    entry = SWAP_ENTRY - 2 * slot
    if page.kind == PageKind.SHMEM:
        mem.filemap[page.index].entry = entry
    else:
        vpn = np.int64(page.index)
        while vpn >= 0:
            mem.pte[vpn].entry = entry
            vpn = np.int64(mem.pte[vpn].next)
        page.mapcount = 0
    mem.vm_event[VmEvent.PSWPOUT] += 1
    return True


@jit
def swap_slot_of(entry):
    """Slot of a swap entry."""
    return (SWAP_ENTRY - np.int64(entry)) // 2


@jit
def is_swap_entry(entry):
    """Whether an entry names a swap slot (even) rather than a shadow (odd), a page or nothing."""
    return entry <= SWAP_ENTRY and (entry & 1) == 0
