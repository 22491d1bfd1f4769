"""Swap: slots, and where their content lies - zsmalloc pages that hold it compressed (zram), or a disk.

Linux: mm/swapfile.c, mm/page_io.c, drivers/block/zram/zram_drv.c, mm/zsmalloc.c
Differs: five size classes; a zspage is one page; a slot goes when the page comes back (no swap cache), so a page that
is evicted again is written again; a page on its way to the disk is unmapped at once and free when it is written.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.cleancache import frontswap_invalidate, frontswap_load, frontswap_store
from cma_gym.mm.clock import charge
from cma_gym.mm.list import list_add, list_del, list_first
from cma_gym.mm.mmzone import (
    FILE_OWNER,
    INFLIGHT,
    KIND_ZSMALLOC,
    MIGRATE_MOVABLE,
    MIGRATE_UNMOVABLE,
    NO_PAGE,
    NR_ZSPAGE_CLASSES,
    ON_DISK,
    REQUEST_ZSMALLOC,
    SWAP_CLUSTER_MAX,
    SWAP_ENTRY,
    Cost,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import ALLOC_NO_WATERMARKS, prep_new_page
from cma_gym.mm.pcp import free_pages
from cma_gym.mm.writeback import submit_write
from cma_gym.mm.zonelist import ZONE_HIGHMEM, get_page_from_freelist, gfp_zone, placement_flags
from cma_gym.support.jit import jit

ZS_OBJECTS = (8, 4, 3, 2, 1)
"""Objects of each size class that fit a page."""
ZS_CLASS_OF_16 = (0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4)
"""Size class by content, in sixteenths: a mean ratio of 2.9. Assumption within FACTS D2 (Ariadne: 1.7-3.9)."""


@jit
def size_class(mem, owner):
    """Size class of a page's compressed content.

    Model: fixed by who owns it, so that it is the same in every run.
    """
    mixed = (owner * 40503 + 12345) & 0x7FFFFFFF
    if mem.kernel.zs_half:
        return (mixed >> 12 & 1) * (NR_ZSPAGE_CLASSES - 1)
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
def swap_congested(mem):
    """Whether background reclaim should wait for the swap disk. Linux: get_request() sleeps on a full queue."""
    return mem.kernel.swap_disk and mem.node.inflight_tail - mem.node.inflight_head >= INFLIGHT // 2


@jit
def swap_wait_ns(mem, worked_ns):
    """How long a direct reclaimer that worked `worked_ns` then waits until a cluster of pages is written.

    Linux: reclaim_throttle() and congestion_wait(): pages under writeback are no progress.
    """
    if not mem.kernel.swap_disk or mem.node.inflight_head == mem.node.inflight_tail:
        return 0
    last = min(mem.node.inflight_head + SWAP_CLUSTER_MAX, mem.node.inflight_tail) - 1
    return max(mem.inflight_ns[last % INFLIGHT] - mem.clock - worked_ns, 0)


@jit
def charge_swapin(mem):
    """The time it takes to read one page back, and its count. Linux: zram_read_page(), swap_readpage().

    A disk reads before it writes (the I/O scheduler's rule), so the queue of writes is only moved back.
    """
    mem.vm_event[VmEvent.PSWPIN] += 1
    if not mem.kernel.swap_disk:
        charge(mem, Cost.ZRAM_IN, 1)
        return
    charge(mem, Cost.SWAP_DISK_IN, 1)
    mem.node.disk_free_ns = max(mem.node.disk_free_ns, mem.clock) + mem.kernel.cost[Cost.SWAP_DISK_IN]


@jit
def store(mem, cpu, pfn, slot, owner):
    """Put a page's content where this machine swaps to; False if there is no room for it.

    Linux: swap_writepage(). A page on its way to a disk stays under writeback, which keeps it from being free.
    """
    if mem.kernel.swap_disk:
        if mem.node.inflight_tail - mem.node.inflight_head >= INFLIGHT:
            return False
        mem.swap[slot].zspage = ON_DISK
        submit_write(mem, pfn, Cost.SWAP_DISK_OUT)
        return True
    charge(mem, Cost.ZRAM_OUT, 1)
    return zs_store(mem, cpu, slot, size_class(mem, owner))


@jit
def swap_in(mem, cpu, slot):
    """Bring a slot's page back and give the slot up; the age at which it was evicted. Linux: swap_readpage()."""
    copied = frontswap_load(mem, slot)
    age = np.int64(mem.swap[slot].age)
    swap_free(mem, cpu, slot)
    if not copied:
        charge_swapin(mem)
    return age


@jit
def swap_free(mem, cpu, slot):
    """Give up a slot and its content. Linux: swap_free()."""
    frontswap_invalidate(mem, slot)
    if mem.swap[slot].zspage != ON_DISK:
        zs_free(mem, cpu, slot)
    mem.swap[slot].zspage = NO_PAGE
    mem.swap[slot].vpn = mem.node.swap_free_head
    mem.node.swap_free_head = slot
    mem.node.nr_swap_free += 1


@jit
def swap_out(mem, cpu, pfn, age):
    """Store a page in a slot and point everything that maps it there; the page itself is left to the caller.

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
    if not store(mem, cpu, pfn, slot, owner):
        return False
    mem.node.swap_free_head = following
    mem.node.nr_swap_free -= 1
    mem.swap[slot].vpn = owner
    mem.swap[slot].age = age
    frontswap_store(mem, slot, np.int64(page.task))
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
