"""The contiguous memory allocator, and demands: buffers that a device asks for, retries and holds.

Linux: mm/cma.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.clock import elapse
from cma_gym.mm.contig_alloc import alloc_contig_range
from cma_gym.mm.jit import jit
from cma_gym.mm.mmzone import (
    DEMAND_LOG,
    NO_PAGE,
    NR_DEMANDS,
    NR_HOLDERS,
    NR_PAGE_KINDS,
    DemandState,
    PageFlag,
    VmEvent,
)
from cma_gym.mm.page_isolation import EBUSY
from cma_gym.mm.pcp import free_pages
from cma_gym.mm.vmscan import try_to_free_pages
from cma_gym.mm.zonelist import ZONE_MOVABLE, nr_free_cma, nr_free_pages

NEVER_NS = 1 << 62
DEMAND_CPU = 0
"""Model: the driver that asks runs on CPU 0."""


@jit
def find_next_zero_area(mem, start, nr_pages, align_order):
    """First aligned place at or after `start` (offset in the area) whose bits are clear; NO_PAGE if none.

    Linux: bitmap_find_next_zero_area_off()
    """
    align = (1 << align_order) - 1
    place = ((mem.cma.base_pfn + start + align) & ~align) - mem.cma.base_pfn
    while place + nr_pages <= mem.cma.nr_pages:
        taken = NO_PAGE
        for offset in range(place + nr_pages - 1, place - 1, -1):
            if mem.page[mem.cma.base_pfn + offset].flag & PageFlag.CMA_BITMAP:
                taken = offset
                break
        if taken == NO_PAGE:
            return place
        place = ((mem.cma.base_pfn + taken + 1 + align) & ~align) - mem.cma.base_pfn
    return NO_PAGE


@jit
def set_bitmap(mem, pfn, nr_pages, taken):
    """Set or clear the bits of a range. Linux: bitmap_set(), cma_clear_bitmap()."""
    for frame in range(pfn, pfn + nr_pages):
        if taken:
            mem.page[frame].flag |= PageFlag.CMA_BITMAP
        else:
            mem.page[frame].flag &= ~PageFlag.CMA_BITMAP


@jit
def cma_alloc(mem, nr_pages, align_order):
    """A contiguous buffer of the area: first place that can be emptied; its first pfn, or NO_PAGE.

    Linux: cma_alloc(), FACTS C8, kernel fact 11: a busy place moves the search on, any other error ends it.
    """
    start = 0
    while True:
        place = find_next_zero_area(mem, start, nr_pages, align_order)
        if place == NO_PAGE:
            break
        pfn = mem.cma.base_pfn + place
        set_bitmap(mem, pfn, nr_pages, True)
        error = alloc_contig_range(mem, DEMAND_CPU, pfn, pfn + nr_pages)
        if error == 0:
            mem.cma.nr_allocated += nr_pages
            mem.vm_event[VmEvent.CMA_ALLOC_SUCCESS] += 1
            mem.vm_event[VmEvent.CMA_ALLOC_PAGES] += nr_pages
            return pfn
        set_bitmap(mem, pfn, nr_pages, False)
        if error != EBUSY:
            break
        mem.vm_event[VmEvent.CMA_BUSY_RETRY] += 1
        start = place + (1 << align_order)
    mem.vm_event[VmEvent.CMA_ALLOC_FAIL] += 1
    return NO_PAGE


@jit
def cma_release(mem, pfn, nr_pages):
    """Give a buffer back. Linux: cma_release(), free_contig_range()."""
    set_bitmap(mem, pfn, nr_pages, False)
    for frame in range(pfn, pfn + nr_pages):
        free_pages(mem, DEMAND_CPU, frame, 0)
    mem.cma.nr_allocated -= nr_pages


@jit
def shrink_for_demand(mem, nr_pages):
    """Make room for what will be moved out. Linux: shrink_all_memory_for_cma() of CMA_AGGRESSIVE (FACTS A5)."""
    normal = nr_free_pages(mem) - nr_free_cma(mem) - mem.node.totalreserve_pages
    if normal >= nr_pages:
        return
    before = mem.work_ns
    try_to_free_pages(mem, DEMAND_CPU, nr_pages - normal, ZONE_MOVABLE)
    elapse(mem, mem.work_ns - before)


@jit
def refresh_next_demand(mem):
    """Note when the next demand wants attention."""
    soonest = NEVER_NS
    waiting = 0
    for slot in range(NR_DEMANDS):
        demand = mem.demand[slot]
        if demand.state == DemandState.WAITING:
            waiting = 1
            soonest = min(soonest, demand.next_try_ns)
        elif demand.state == DemandState.HELD:
            soonest = min(soonest, demand.release_ns)
    mem.cma.busy = waiting
    mem.next_demand_ns = soonest


@jit
def release_pieces(mem, demand):
    """Give back everything a demand has."""
    for piece in range(demand.got):
        cma_release(mem, np.int64(demand.piece_pfn[piece]), np.int64(demand.nr_pages))
    demand.got = 0


@jit
def log_demand(mem, demand, ok):
    """Write down how a demand ended, and count it under its shape."""
    record = mem.demand_log[mem.nr_demands_logged % DEMAND_LOG]
    mem.nr_demands_logged += 1
    record.start_ns = demand.start_ns
    record.latency_ns = mem.clock - demand.start_ns
    record.work_ns = demand.work_ns
    record.id = demand.id
    record.nr_pages = demand.nr_pages
    record.pieces = demand.pieces
    record.got = demand.got
    record.tries = demand.tries
    record.ok = ok
    record.first_ok = demand.first_ok
    record.nr_blamed = demand.nr_blamed
    record.free_before = demand.free_before
    record.whole = demand.pieces == 1 and demand.nr_pages == mem.cma.nr_pages
    for kind in range(NR_PAGE_KINDS):
        for holder in range(NR_HOLDERS):
            record.blamed[kind, holder] = demand.blamed[kind, holder]
    metrics = mem.metrics
    metrics.demand_ns += record.latency_ns
    if record.whole:
        metrics.whole_tried += 1
        metrics.whole_ok += ok
        metrics.whole_first_ok += record.first_ok
    else:
        metrics.pieces_tried += 1
        metrics.pieces_ok += ok
        metrics.pieces_first_ok += record.first_ok
    mem.last_demand_ns = mem.clock
    mem.last_demand_failed = 1 - ok


@jit
def try_demand(mem, slot):
    """One try of a demand: the pieces it still lacks, in turn. It ends held, failed, or waiting for the next try."""
    demand = mem.demand[slot]
    started = mem.clock
    mem.blame_demand = slot
    if mem.kernel.shrink_before_cma_alloc:
        shrink_for_demand(mem, np.int64(demand.nr_pages) * (demand.pieces - demand.got))
    while demand.got < demand.pieces:
        pfn = cma_alloc(mem, np.int64(demand.nr_pages), np.int64(demand.align_order))
        if pfn == NO_PAGE:
            break
        demand.piece_pfn[demand.got] = pfn
        demand.got += 1
    mem.blame_demand = -1
    demand.tries += 1
    demand.work_ns += mem.clock - started
    if demand.got == demand.pieces:
        demand.first_ok = demand.tries == 1
        log_demand(mem, demand, 1)
        demand.state = DemandState.HELD
        demand.release_ns = mem.clock + demand.hold_ns
    elif demand.tries >= mem.kernel.demand_tries:
        log_demand(mem, demand, 0)
        release_pieces(mem, demand)
        demand.state = DemandState.IDLE
    else:
        demand.next_try_ns = mem.clock + mem.kernel.demand_retry_ns
    refresh_next_demand(mem)


@jit
def start_demand(mem, ident, nr_pages, pieces, align_order, hold_ns):
    """Take on a new demand; False if too many are open."""
    for slot in range(NR_DEMANDS):
        demand = mem.demand[slot]
        if demand.state != DemandState.IDLE:
            continue
        demand.state = DemandState.WAITING
        demand.id = ident
        demand.nr_pages = nr_pages
        demand.pieces = pieces
        demand.align_order = align_order
        demand.hold_ns = hold_ns
        demand.got = 0
        demand.tries = 0
        demand.first_ok = 0
        demand.start_ns = mem.clock
        demand.next_try_ns = mem.clock
        demand.work_ns = 0
        demand.nr_blamed = 0
        demand.free_before = nr_free_cma(mem)
        demand.blamed[:] = 0
        refresh_next_demand(mem)
        return True
    mem.vm_event[VmEvent.DEMAND_LOST] += 1
    return False


@jit
def run_demands(mem):
    """Retry or release the demands whose time has come."""
    while mem.next_demand_ns <= mem.clock:
        for slot in range(NR_DEMANDS):
            demand = mem.demand[slot]
            if demand.state == DemandState.WAITING and demand.next_try_ns <= mem.clock:
                try_demand(mem, slot)
            elif demand.state == DemandState.HELD and demand.release_ns <= mem.clock:
                release_pieces(mem, demand)
                demand.state = DemandState.IDLE
        refresh_next_demand(mem)
