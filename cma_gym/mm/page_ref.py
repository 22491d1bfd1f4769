"""Extra references with an end: each is a page, a holder and a time of release, kept in a heap.

Model: the kernel has a bare count (include/linux/page_ref.h). Knowing who holds a page until when is what makes a
failed contiguous allocation explainable, and what lets a pin last as long as its cause (FACTS B1-B10).
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.lru import is_orphan, put_page
from cma_gym.mm.mmzone import PINCOUNT_MAX, PageKind, VmEvent
from cma_gym.support.jit import jit


@jit
def heap_swap(mem, a, b):
    """Exchange two entries of the heap."""
    first = mem.pin[a]
    second = mem.pin[b]
    expire = first.expire
    pfn = first.pfn
    holder = first.holder
    since = first.since
    first.expire = second.expire
    first.pfn = second.pfn
    first.holder = second.holder
    first.since = second.since
    second.expire = expire
    second.pfn = pfn
    second.holder = holder
    second.since = since


@jit
def sift_up(mem, slot):
    """Move an entry towards the root, past all that end later."""
    while slot > 0 and mem.pin[slot].expire < mem.pin[(slot - 1) // 2].expire:
        heap_swap(mem, slot, (slot - 1) // 2)
        slot = (slot - 1) // 2


@jit
def hasten_references(mem, holder, end_ns):
    """All references of this holder end by `end_ns`."""
    for slot in range(mem.nr_pins):
        if mem.pin[slot].holder == holder and mem.pin[slot].expire > end_ns:
            mem.pin[slot].expire = end_ns
            sift_up(mem, slot)


@jit
def get_page(mem, pfn, holder, duration_ns):
    """Hold a page for a while. Linux: folio_get(), or try_grab_folio() for pins.

    Returns:
        False if the table of references or the page's counter is full; the reference is then not taken, and counted as
        PIN_LOST.
    """
    slot = mem.nr_pins
    if slot >= len(mem.pin) or mem.page[pfn].pincount >= PINCOUNT_MAX:
        mem.vm_event[VmEvent.PIN_LOST] += 1
        return False
    mem.nr_pins += 1
    mem.pin[slot].expire = mem.clock + duration_ns
    mem.pin[slot].pfn = pfn
    mem.pin[slot].holder = holder
    mem.pin[slot].since = mem.clock
    sift_up(mem, slot)
    page = mem.page[pfn]
    page.pincount += 1
    page.holder = holder
    return True


@jit
def heap_pop(mem):
    """Remove the earliest reference from the heap."""
    mem.nr_pins -= 1
    last = mem.nr_pins
    heap_swap(mem, 0, last)
    slot = 0
    while True:
        child = 2 * slot + 1
        if child >= last:
            return
        if child + 1 < last and mem.pin[child + 1].expire < mem.pin[child].expire:
            child += 1
        if mem.pin[slot].expire <= mem.pin[child].expire:
            return
        heap_swap(mem, slot, child)
        slot = child


@jit
def expire_references(mem):
    """Release every reference whose time has come; a page that was only kept by it becomes free."""
    while mem.nr_pins > 0 and mem.pin[0].expire <= mem.clock:
        pfn = np.int64(mem.pin[0].pfn)
        heap_pop(mem)
        page = mem.page[pfn]
        page.pincount -= 1
        if page.pincount == 0:
            page.holder = 0
            if page.kind != PageKind.ZSMALLOC and is_orphan(mem, pfn):
                put_page(mem, 0, pfn)
