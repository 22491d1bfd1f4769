"""The contiguous memory allocator, and demands: buffers that a device asks for, retries and holds.

Linux: mm/cma.c
Model: demands are served in steps, on a CPU of their own, while time passes for everybody (`run_demands`); one attempt
at a place runs at a time, as under `cma_mutex` up to 6.14, and whoever has waited longest comes next.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.bitmap import NO_BIT, bitmap_fill, find_last_bit, find_next_bit
from cma_gym.mm.blame import note_blame, share_delay
from cma_gym.mm.clock import elapse
from cma_gym.mm.contig_alloc import begin_contig, contig_step
from cma_gym.mm.mmzone import (
    CONTIG_DONE,
    CONTIG_IDLE,
    DEMAND_LOG,
    HOLDER_JOURNAL,
    HOLDER_UNMOVABLE,
    NO_PAGE,
    NR_BLAME_STAGES,
    NR_DEMANDS,
    NR_HOLDERS,
    NR_PAGE_KINDS,
    STAGE_BITMAP,
    SWAP_CLUSTER_MAX,
    DemandState,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import ALLOC_CMA
from cma_gym.mm.page_isolation import EBUSY
from cma_gym.mm.page_ref import hasten_references
from cma_gym.mm.pcp import free_pages
from cma_gym.mm.vmscan import try_to_free_pages, wakeup_kswapd
from cma_gym.mm.writeback import sync_device
from cma_gym.mm.zonelist import ZONE_MOVABLE, nr_free_cma, nr_free_pages
from cma_gym.support.jit import jit, jit_inline

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
        taken = find_last_bit(mem.cma_bitmap, place, place + nr_pages)
        if taken == NO_BIT:
            return place
        place = ((mem.cma.base_pfn + taken + 1 + align) & ~align) - mem.cma.base_pfn
    return NO_PAGE


@jit
def set_bitmap(mem, pfn, nr_pages, taken):
    """Set or clear the bits of a range. Linux: bitmap_set(), cma_clear_bitmap()."""
    bitmap_fill(mem.cma_bitmap, pfn - mem.cma.base_pfn, nr_pages, taken)


@jit
def cma_release(mem, pfn, nr_pages):
    """Give a buffer back. Linux: cma_release(), free_contig_range()."""
    set_bitmap(mem, pfn, nr_pages, False)
    for frame in range(pfn, pfn + nr_pages):
        free_pages(mem, DEMAND_CPU, frame, 0)
    mem.cma.nr_allocated -= nr_pages


@jit
def refresh_next_demand(mem):
    """Note when the next demand wants attention, and whether a try is under way."""
    contig = mem.contig
    soonest = NEVER_NS if contig.phase == CONTIG_IDLE else contig.ready_ns
    busy = 0
    for slot in range(NR_DEMANDS):
        demand = mem.demand[slot]
        if demand.state == DemandState.WAITING:
            soonest = min(soonest, demand.next_try_ns)
        elif demand.state == DemandState.HELD:
            soonest = min(soonest, demand.release_ns)
        elif demand.state == DemandState.TRYING:
            busy = 1
            if contig.phase == CONTIG_IDLE:
                soonest = min(soonest, demand.queue_ns)
    mem.cma.busy = busy
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
    record.delay_ns = demand.delay_ns
    record.writeback_ns = demand.writeback_ns
    record.reclaim_ns = demand.reclaim_ns
    record.moved = demand.moved
    record.dropped = demand.dropped
    for kind in range(NR_PAGE_KINDS):
        for holder in range(NR_HOLDERS):
            record.blamed[kind, holder] = demand.blamed[kind, holder]
        for stage in range(NR_BLAME_STAGES):
            record.refused[stage, kind] = demand.refused[stage, kind]
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
def begin_try(mem, demand):
    """A demand whose time has come queues for the pieces it still lacks.

    Linux: cma_alloc(); CMA_AGGRESSIVE first makes room for what will be moved out (shrink_all_memory_for_cma(), A5)
    """
    demand.state = DemandState.TRYING
    demand.try_ns = mem.clock
    demand.queue_ns = mem.clock
    demand.search = 0
    demand.busy_places = 0
    demand.sleeps = 0
    demand.lost_ns = 0
    demand.shrink_left = 0
    if mem.kernel.shrink_before_cma_alloc:
        normal = nr_free_pages(mem) - nr_free_cma(mem) - mem.node.totalreserve_pages
        demand.shrink_left = max(np.int64(demand.nr_pages) * (demand.pieces - demand.got) - normal, 0)


@jit
def goes_on(mem, demand, ok):
    """Count a try; when the driver tries again, or NEVER_NS. Model: tries of a demand, or of each of its pieces."""
    kernel = mem.kernel
    demand.piece_tries += 1
    demand.tries = max(demand.tries, demand.piece_tries) if kernel.demand_tries_per_piece else demand.tries + 1
    if ok or demand.got + demand.missed == demand.pieces:
        return NEVER_NS
    if demand.piece_tries < kernel.demand_tries:
        return mem.clock + kernel.demand_retry_ns
    if kernel.demand_tries_per_piece == 0:
        return NEVER_NS
    demand.missed += 1
    demand.piece_tries = 0
    return mem.clock if demand.got + demand.missed < demand.pieces else NEVER_NS


@jit
def count_piece(mem, demand):
    """Where tries count for each piece, one that was obtained ends its own, the last one with the demand."""
    if mem.kernel.demand_tries_per_piece and demand.got + demand.missed < demand.pieces:
        demand.tries = max(demand.tries, demand.piece_tries + 1)
        demand.piece_tries = 0


@jit
def end_try(mem, demand):
    """The pieces are complete, or no place is left: the demand is held, has failed, or waits for its next try.

    Model: a driver that tries for each piece holds the pieces that it got, even if others are missing.
    """
    ok = demand.got == demand.pieces
    demand.work_ns += mem.clock - demand.try_ns
    next_ns = goes_on(mem, demand, ok)
    if next_ns != NEVER_NS:
        demand.lost_ns += next_ns - mem.clock
    demand.delay_ns += demand.lost_ns
    share_delay(mem, demand, not ok)
    if next_ns != NEVER_NS:
        demand.state = DemandState.WAITING
        demand.next_try_ns = next_ns
        return
    demand.first_ok = ok and demand.tries == 1
    log_demand(mem, demand, np.int64(ok))
    if ok or (mem.kernel.demand_tries_per_piece and demand.got > 0):
        demand.state = DemandState.HELD
        demand.release_ns = mem.clock + demand.hold_ns
        return
    release_pieces(mem, demand)
    demand.state = DemandState.IDLE


@jit
def is_bulk(mem, demand):
    """Whether a demand is served block by block, skipping busy ones. Linux: cma_alloc_bulk(), 2020 (FACTS A9)."""
    if mem.kernel.cma_alloc_bulk == 0 or demand.pieces == 1:
        return False
    return demand.nr_pages <= 1 << mem.kernel.pageblock_order


@jit
def leave_search(mem, demand):
    """Every place was tried: sleep and begin again where the kernel does that, else the try is over.

    Linux: the end of the loop in cma_alloc(); the sleep is Goldsworthy's (FACTS A9)
    """
    if demand.busy_places > 0 and demand.sleeps < mem.kernel.cma_alloc_retries:
        demand.sleeps += 1
        demand.search = 0
        demand.busy_places = 0
        demand.lost_ns += mem.kernel.cma_alloc_retry_ns
        demand.queue_ns = mem.clock + mem.kernel.cma_alloc_retry_ns
        return
    if demand.busy_places == 0:
        taken = find_next_bit(mem.cma_bitmap, 0, mem.cma.nr_pages)
        if taken != NO_BIT:
            note_blame(mem, mem.cma.base_pfn + taken, HOLDER_UNMOVABLE, STAGE_BITMAP)
    mem.vm_event[VmEvent.CMA_ALLOC_FAIL] += 1
    end_try(mem, demand)


@jit
def begin_attempt(mem, slot):
    """Go for the next place in the bitmap. Linux: cma_alloc(), FACTS C8."""
    demand = mem.demand[slot]
    nr_pages = np.int64(demand.nr_pages)
    place = find_next_zero_area(mem, demand.search, nr_pages, np.int64(demand.align_order))
    if place == NO_PAGE:
        leave_search(mem, demand)
        return
    pfn = mem.cma.base_pfn + place
    set_bitmap(mem, pfn, nr_pages, True)
    bulk = is_bulk(mem, demand)
    begin_contig(mem, slot, pfn, pfn + nr_pages, bulk, not bulk or demand.search == 0)


@jit
def answer_busy(mem):
    """What some vendors do when a place was busy: wake kswapd (Amlogic), or sync the device behind a page of its own
    cache that refused (Realtek), which commits the journal too and is not waited for (FACTS A9.j).

    Linux: fsync_bdev() from the hook android_vh_cma_alloc_busy_info
    """
    contig = mem.contig
    if mem.kernel.wake_kswapd_on_busy:
        wakeup_kswapd(mem, 0, ZONE_MOVABLE)
    if not mem.kernel.sync_on_busy:
        return
    for pfn in range(contig.start_pfn, contig.cursor_pfn):
        if mem.page[pfn].kind == PageKind.BDEV:
            sync_device(mem)
            hasten_references(mem, HOLDER_JOURNAL, max(mem.node.disk_free_ns, mem.clock + 1))
            return


@jit
def end_attempt(mem, demand):
    """A place was emptied: next piece. Or was busy: next place. Any other error ends the search (kernel fact 11)."""
    contig = mem.contig
    pfn = contig.start_pfn
    nr_pages = np.int64(demand.nr_pages)
    bulk = is_bulk(mem, demand)
    demand.queue_ns = mem.clock
    if contig.error == 0:
        mem.cma.nr_allocated += nr_pages
        mem.vm_event[VmEvent.CMA_ALLOC_SUCCESS] += 1
        mem.vm_event[VmEvent.CMA_ALLOC_PAGES] += nr_pages
        demand.piece_pfn[demand.got] = pfn
        demand.got += 1
        count_piece(mem, demand)
        if bulk:
            demand.search = pfn + nr_pages - mem.cma.base_pfn
        else:
            demand.search = 0
            demand.busy_places = 0
            demand.sleeps = 0
        if demand.got + demand.missed == demand.pieces:
            end_try(mem, demand)
        return
    set_bitmap(mem, pfn, nr_pages, False)
    demand.lost_ns += mem.clock - contig.begun_ns
    if contig.error != EBUSY:
        mem.vm_event[VmEvent.CMA_ALLOC_FAIL] += 1
        end_try(mem, demand)
        return
    mem.vm_event[VmEvent.CMA_BUSY_RETRY] += 1
    demand.busy_places += 1
    answer_busy(mem)
    if bulk:
        demand.search = (pfn | ((1 << mem.kernel.pageblock_order) - 1)) + 1 - mem.cma.base_pfn
    else:
        demand.search = pfn - mem.cma.base_pfn + (1 << np.int64(demand.align_order))


@jit
def shrink_for_demand(mem, demand):
    """Reclaim another cluster before the try. Linux: shrink_all_memory_for_cma() of CMA_AGGRESSIVE (FACTS A5)."""
    before = mem.work_ns
    progress = try_to_free_pages(mem, DEMAND_CPU, SWAP_CLUSTER_MAX, ZONE_MOVABLE, ALLOC_CMA)
    demand.shrink_left = demand.shrink_left - progress if progress > 0 else 0
    demand.reclaim_ns += mem.work_ns - before


@jit
def step_demand(mem, slot):
    """The next bit of work for a demand: reclaim, a place to try, a step at that place, its outcome."""
    contig = mem.contig
    demand = mem.demand[slot]
    if contig.phase == CONTIG_IDLE:
        if demand.shrink_left > 0:
            shrink_for_demand(mem, demand)
        else:
            begin_attempt(mem, slot)
    elif contig.phase == CONTIG_DONE:
        contig.phase = CONTIG_IDLE
        end_attempt(mem, demand)
    else:
        contig_step(mem, DEMAND_CPU)


@jit
def next_in_queue(mem):
    """The demand that has waited longest for its turn, whose turn it may be by now; -1 if there is none."""
    found = -1
    for slot in range(NR_DEMANDS):
        demand = mem.demand[slot]
        if demand.state != DemandState.TRYING or demand.queue_ns > mem.clock:
            continue
        if found < 0 or demand.queue_ns < mem.demand[found].queue_ns:
            found = slot
    return found


@jit
def settle_step(mem, demand, work_ns):
    """After a step: its work takes its time, on the demand's own CPU, or on everybody's if there is one only.

    Amlogic's kernels share the work of a large request out to boosted threads, on all CPUs but one (FACTS A9.j).
    """
    contig = mem.contig
    if mem.kernel.cma_helpers and 2 * demand.nr_pages >= 1 << mem.kernel.pageblock_order:
        helpers = max(mem.kernel.nr_cpus - 1, 1)
        work_ns = (work_ns + helpers - 1) // helpers
    work_ns += work_ns * mem.kernel.cpu_contention // 100
    if mem.kernel.nr_cpus == 1:
        elapse(mem, work_ns)
        contig.ready_ns = mem.clock
    else:
        contig.ready_ns += work_ns
    if contig.wake_ns > contig.ready_ns:
        demand.writeback_ns += contig.wake_ns - contig.ready_ns
        contig.ready_ns = contig.wake_ns
    contig.wake_ns = 0
    if contig.phase == CONTIG_IDLE:
        contig.slot = -1
        demand.queue_ns = max(demand.queue_ns, contig.ready_ns)


@jit
def serve_demand(mem):
    """Do one step of whoever is being served, or of the next in the queue; what it costs is charged to that demand.

    Direct reclaim for migration targets is the demand's own, and no stall of any task.
    """
    contig = mem.contig
    if contig.phase == CONTIG_IDLE:
        contig.slot = next_in_queue(mem)
        if contig.slot < 0:
            return
        contig.ready_ns = max(contig.ready_ns, mem.demand[contig.slot].queue_ns)
    slot = contig.slot
    demand = mem.demand[slot]
    work = mem.work_ns
    stall = mem.metrics.stall_ns
    moved = mem.vm_event[VmEvent.CMA_MIGRATED]
    dropped = mem.vm_event[VmEvent.CMA_DROPPED]
    contig.stepping = 1
    step_demand(mem, slot)
    contig.stepping = 0
    demand.reclaim_ns += mem.metrics.stall_ns - stall
    mem.metrics.stall_ns = stall
    demand.moved += mem.vm_event[VmEvent.CMA_MIGRATED] - moved
    demand.dropped += mem.vm_event[VmEvent.CMA_DROPPED] - dropped
    settle_step(mem, demand, max(mem.work_ns - work, contig.phase != CONTIG_IDLE))


@jit_inline
def run_demands(mem):
    """Serve, retry or release the demands whose time has come."""
    if mem.next_demand_ns <= mem.clock:
        run_due_demands(mem)


@jit
def run_due_demands(mem):
    """Some demand's time has come. With one CPU, a demand and the tasks take turns, a step and an event each."""
    while mem.next_demand_ns <= mem.clock:
        for slot in range(NR_DEMANDS):
            demand = mem.demand[slot]
            if demand.state == DemandState.WAITING and demand.next_try_ns <= mem.clock:
                begin_try(mem, demand)
            elif demand.state == DemandState.HELD and demand.release_ns <= mem.clock:
                release_pieces(mem, demand)
                demand.state = DemandState.IDLE
        refresh_next_demand(mem)
        if mem.cma.busy and mem.next_demand_ns <= mem.clock:
            serve_demand(mem)
            refresh_next_demand(mem)
            if mem.kernel.nr_cpus == 1:
                return


@jit
def start_demand(mem, ident, nr_pages, pieces, align_order, hold_ns):
    """Take on a new demand; its slot, or -1 if too many are open."""
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
        demand.piece_tries = 0
        demand.missed = 0
        demand.first_ok = 0
        demand.start_ns = mem.clock
        demand.next_try_ns = mem.clock
        demand.work_ns = 0
        demand.delay_ns = 0
        demand.writeback_ns = 0
        demand.reclaim_ns = 0
        demand.moved = 0
        demand.dropped = 0
        demand.nr_blamed = 0
        demand.free_before = nr_free_cma(mem)
        demand.blamed[:] = 0
        demand.refused[:] = 0
        refresh_next_demand(mem)
        return slot
    mem.vm_event[VmEvent.DEMAND_LOST] += 1
    return -1
