"""Anonymous memory: faults, copy-on-write, fork, unmapping, locking.

Linux: mm/memory.c, mm/mlock.c, kernel/fork.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import charge, elapse
from cma_gym.mm.hands import hold_operation, hold_page
from cma_gym.mm.lru import folio_add_lru, lruvec_add_folio, lruvec_del_folio
from cma_gym.mm.mmu_gather import tlb_finish_mmu, tlb_gather_mmu
from cma_gym.mm.mmzone import (
    HOLDER_ACCESS,
    HOLDER_FORK_EXIT,
    HOLDER_PAGE_LOCK,
    KIND_ANON,
    KIND_DRIVER,
    NO_ENTRY,
    NO_PAGE,
    REQUEST_ANON,
    REQUEST_COW,
    REQUEST_DRIVER,
    REQUEST_SWAPIN,
    Cost,
    PageFlag,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import prep_new_page
from cma_gym.mm.rmap import add_rmap, unlink_sharer, zap_pte_range
from cma_gym.mm.swap import swap_in, swap_slot_of
from cma_gym.mm.workingset import workingset_refault
from cma_gym.support.jit import jit

NO_REQUEST = -1
FORK_BATCH = 32
"""Page table entries copied between two chances to be scheduled. Linux: the progress limit of copy_pte_range()."""


@jit
def fault_request(mem, vpn, write, driver):
    """What an access to a virtual page needs to allocate (RequestKind), or NO_REQUEST. Linux: handle_pte_fault()."""
    entry = np.int64(mem.pte[vpn].entry)
    if entry == NO_ENTRY:
        return REQUEST_DRIVER if driver else REQUEST_ANON
    if entry < 0:
        return REQUEST_SWAPIN
    if write and mem.page[entry].mapcount > 1:
        return REQUEST_COW
    return NO_REQUEST


@jit
def finish_anon_fault(mem, cpu, task, pfn, vpn):
    """Map a fresh page at a virtual page that had none. Linux: do_anonymous_page()."""
    prep_new_page(mem, pfn, 0, KIND_ANON, NO_PAGE, task)
    add_rmap(mem, pfn, vpn)
    if mem.kernel.new_anon_active:
        mem.page[pfn].flag |= PageFlag.ACTIVE
    mem.page[pfn].flag |= PageFlag.YOUNG
    folio_add_lru(mem, cpu, pfn)


@jit
def finish_driver_fault(mem, task, pfn, vpn):
    """Give a driver its page: movable by its flags, on no list and known to nobody (FACTS B16)."""
    prep_new_page(mem, pfn, 0, KIND_DRIVER, NO_PAGE, task)
    add_rmap(mem, pfn, vpn)


@jit
def finish_cow(mem, cpu, task, pfn, vpn):
    """Give one sharer a copy of its own. Linux: wp_page_copy()."""
    old = mem.page[mem.pte[vpn].entry]
    old.index = unlink_sharer(mem, np.int64(old.index), vpn)
    old.mapcount -= 1
    charge(mem, Cost.COPY, 1)
    finish_anon_fault(mem, cpu, task, pfn, vpn)


@jit
def finish_swapin(mem, cpu, task, pfn, vpn):
    """Bring a page back from zram for all that share its slot. Linux: do_swap_page().

    Differs: all sharers are mapped at once, and the slot is given up (no swap cache).
    """
    slot = swap_slot_of(np.int64(mem.pte[vpn].entry))
    first = np.int64(mem.swap[slot].vpn)
    before = mem.work_ns
    prep_new_page(mem, pfn, 0, KIND_ANON, first, task)
    sharer = first
    while sharer >= 0:
        mem.pte[sharer].entry = pfn
        mem.page[pfn].mapcount += 1
        sharer = np.int64(mem.pte[sharer].next)
    mem.swap[slot].vpn = NO_PAGE
    age = swap_in(mem, cpu, slot)
    mem.vm_event[VmEvent.PGMAJFAULT] += 1
    mem.page[pfn].flag |= PageFlag.YOUNG
    folio_add_lru(mem, cpu, pfn)
    workingset_refault(mem, pfn, age)
    mem.metrics.swap_ns += mem.work_ns - before
    elapse(mem, mem.work_ns - before)


@jit
def finish_fault(mem, cpu, task, request, pfn, vpn):
    """Install the page that a fault asked for. `request`: RequestKind of fault_request()."""
    mem.vm_event[VmEvent.PGFAULT] += 1
    charge(mem, Cost.FAULT, 1)
    if request == REQUEST_SWAPIN:
        finish_swapin(mem, cpu, task, pfn, vpn)
    elif request == REQUEST_COW:
        finish_cow(mem, cpu, task, pfn, vpn)
    elif request == REQUEST_DRIVER:
        finish_driver_fault(mem, task, pfn, vpn)
    else:
        finish_anon_fault(mem, cpu, task, pfn, vpn)


@jit
def hold_fault(mem, task, request, pfn, vpn):
    """The fault that a task has just had is still at work on its page, which is locked while it comes from swap."""
    if mem.pte[vpn].entry == pfn and mem.page[pfn].kind == KIND_ANON:
        hold_page(mem, task, pfn, HOLDER_PAGE_LOCK if request == REQUEST_SWAPIN else HOLDER_ACCESS)
        hold_operation(mem, task)


@jit
def hold_fork(mem, task, parent, nr):
    """The end of a copy of page tables: references are taken before mappings are counted (FACTS B5).

    Linux: copy_present_ptes(). Assumption: an entry costs what a scanned page costs.
    """
    charge(mem, Cost.ISOLATE_PAGE, nr)
    for vpn in range(max(parent, parent + nr - FORK_BATCH), parent + nr):
        pfn = np.int64(mem.pte[vpn].entry)
        if pfn >= 0 and mem.page[pfn].kind == KIND_ANON:
            hold_page(mem, task, pfn, HOLDER_FORK_EXIT)
    hold_operation(mem, task)


@jit
def copy_page_range(mem, parent, child, nr):
    """Share the parent's pages with a child, copy-on-write. Linux: copy_page_range().

    Args:
        mem: machine record.
        parent: first virtual page of the parent.
        child: first virtual page of the child; its range is empty.
        nr: pages.
    """
    for offset in range(nr):
        entry = np.int64(mem.pte[parent + offset].entry)
        if entry == NO_ENTRY:
            continue
        if entry >= 0:
            if mem.page[entry].kind == PageKind.ANON:
                add_rmap(mem, entry, child + offset)
        else:
            slot = swap_slot_of(entry)
            mem.pte[child + offset].entry = entry
            mem.pte[child + offset].next = mem.swap[slot].vpn
            mem.swap[slot].vpn = child + offset


@jit
def unmap_range(mem, cpu, start, nr):
    """Free a range of virtual pages. Linux: zap_page_range_single()."""
    gather = tlb_gather_mmu(mem, cpu)
    zap_pte_range(mem, cpu, gather, start, start + nr)
    tlb_finish_mmu(mem, gather)


@jit
def mlock_vpage(mem, vpn, lock):
    """Lock or unlock a present page: it leaves or enters the lists that reclaim looks at. Linux: mlock_folio()."""
    pfn = np.int64(mem.pte[vpn].entry)
    if pfn < 0 or mem.page[pfn].kind != PageKind.ANON:
        return
    page = mem.page[pfn]
    if (page.flag & PageFlag.MLOCKED != 0) == lock:
        return
    on_list = page.flag & PageFlag.LRU
    if on_list:
        lruvec_del_folio(mem, pfn)
    page.flag ^= PageFlag.MLOCKED
    if on_list:
        lruvec_add_folio(mem, pfn, False)
