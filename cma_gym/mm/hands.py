"""Operations in progress: the pages that reclaim, a read or a fault of somebody else has in hand right now.

Linux: has no such list. These are the references and locks that live on kernel stacks: shrink_inactive_list()'s
page_list, filemap_read()'s folio batch, the folio of a fault.
Model: an event happens at once, but its last step stays visible for as long as it took, stretched by the tasks that
wait for a CPU meanwhile. Without this nothing would ever be in flight when a contiguous allocation comes by, and its
first try would fail for long pins only (FACTS B1, B10, B13; kernel fact 3).
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.lru import is_orphan, lruvec_add_folio, put_page
from cma_gym.mm.mmzone import HOLDER_NONE, HOLDER_PAGE_LOCK, HOLDER_RECLAIM, NR_HANDS, PageFlag
from cma_gym.support.jit import jit

NEVER_NS = 1 << 62
KSWAPD_HAND = 0
KERNEL_HAND = 1
"""Of work that is nobody's: a demand's own reclaim."""
FIRST_TASK_HAND = 2
RUN_QUEUE_MAX = 16
"""Assumption: no more than this many tasks wait for a CPU at a time. Recordings of 16 apps on 2 CPUs show at most 11 in
direct reclaim at a time."""
RUN_AVERAGE_SHIFT = 3
"""The mean time of an event follows the latest eight or so."""


@jit
def hand_index(mem, task):
    """A task's hand: it does one thing at a time. Where tasks share one, the later one ends the earlier's work."""
    return FIRST_TASK_HAND + task % (NR_HANDS - FIRST_TASK_HAND) if task > 0 else KERNEL_HAND


@jit
def current_task(mem):
    """The task whose event this is; 0 for a demand, which runs beside the events."""
    return mem.cursor.task if mem.contig.stepping == 0 else 0


@jit
def take_in_hand(mem, hand, pfn, holder):
    """Add a page to a hand; it has a reference more from now on. A holder that was there before keeps the blame."""
    page = mem.page[pfn]
    if page.pincount == 0:
        page.holder = holder
    page.pincount += 1
    if holder == HOLDER_RECLAIM:
        page.flag |= PageFlag.RECLAIM
    hand.holder = holder
    hand.pfn[hand.nr] = pfn
    hand.nr += 1


@jit
def drop_from_hand(mem, cpu, pfn, holder):
    """Let go of one page: it returns to its LRU list, or is free if nobody else knows it."""
    page = mem.page[pfn]
    page.pincount -= 1
    if page.pincount == 0:
        page.holder = HOLDER_NONE
    orphan = is_orphan(mem, pfn)
    if holder == HOLDER_RECLAIM:
        page.flag &= ~PageFlag.RECLAIM
        if not orphan:
            lruvec_add_folio(mem, pfn, False)
    if orphan:
        put_page(mem, cpu, pfn)


@jit
def release_hand(mem, cpu, hand):
    """The operation is over. Linux: move_folios_to_lru(), folio_put()."""
    for slot in range(hand.nr):
        drop_from_hand(mem, cpu, np.int64(hand.pfn[slot]), np.int64(hand.holder))
    hand.nr = 0
    hand.done = 0
    hand.until_ns = NEVER_NS


@jit
def run_queue(mem):
    """Tasks that run or wait for a CPU, kswapd and the caller of cma_alloc() among them.

    Model: of the others, the backlog of events in time, divided by what one takes.
    """
    node = mem.node
    waiting = node.run_lag_ns // max(node.run_mean_ns, 1000)
    return min(waiting + mem.cursor.begun, RUN_QUEUE_MAX) + node.kswapd_awake + (mem.contig.slot >= 0)


@jit
def stretched(mem, work_ns):
    """How long work takes when so many tasks share the CPUs."""
    return work_ns * max(run_queue(mem), mem.kernel.nr_cpus) // mem.kernel.nr_cpus


@jit
def hold_for(mem, hand, work_ns):
    """Keep a hand until its operation is over: its work takes as many times longer as there are tasks for a CPU."""
    if hand.nr == 0:
        return
    hand.until_ns = mem.clock + stretched(mem, work_ns)
    mem.next_hand_ns = min(mem.next_hand_ns, hand.until_ns)


@jit
def expire_hands(mem):
    """End the operations whose time is over."""
    soonest = np.int64(NEVER_NS)
    for index in range(KERNEL_HAND, NR_HANDS):
        hand = mem.hand[index]
        if hand.nr == 0:
            continue
        if hand.until_ns <= mem.clock:
            release_hand(mem, 0, hand)
        else:
            soonest = min(soonest, hand.until_ns)
    mem.next_hand_ns = soonest


@jit
def note_lag(mem, time):
    """How far the CPUs are behind an event whose time is `time`; nothing is waiting if that has still to come."""
    mem.node.run_lag_ns = max(mem.clock - time, 0)


@jit
def begin_operation(mem, task):
    """A task starts its next operation, so that its last one is over."""
    mem.node.run_begin_ns = mem.clock
    mem.node.run_begin_work = mem.work_ns
    if task > 0:
        hand = mem.hand[hand_index(mem, task)]
        if hand.nr > 0:
            release_hand(mem, 0, hand)


@jit
def end_operation(mem):
    """Learn how long an event takes, those that take time at all."""
    node = mem.node
    took = mem.clock - node.run_begin_ns
    if took > 0:
        node.run_mean_ns += (took - node.run_mean_ns) >> RUN_AVERAGE_SHIFT


@jit
def hold_page(mem, task, pfn, holder):
    """The operation that a task has just done still uses this page. A reclaimer's hand is full already."""
    hand = mem.hand[hand_index(mem, task)]
    if hand.nr < len(hand.pfn) and (hand.nr == 0 or hand.holder == holder):
        take_in_hand(mem, hand, pfn, holder)


@jit
def hold_operation(mem, task):
    """Start the clock of what `hold_page` collected: it lasts as long as the operation took."""
    hand = mem.hand[hand_index(mem, task)]
    if hand.nr > 0 and hand.until_ns == NEVER_NS:
        hold_for(mem, hand, mem.work_ns - mem.node.run_begin_work)


@jit
def lock_end_ns(mem, pfn):
    """When the operation ends that has this page locked; 0 if none has."""
    end = np.int64(0)
    for index in range(FIRST_TASK_HAND, NR_HANDS):
        hand = mem.hand[index]
        if hand.holder != HOLDER_PAGE_LOCK:
            continue
        for slot in range(hand.nr):
            if hand.pfn[slot] == pfn:
                end = max(end, np.int64(hand.until_ns))
    return end
