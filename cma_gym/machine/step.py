"""Driving a machine: from event to event, from one placement question to the next.

Entry points take the array of machines; everything below takes a pointer to one record.
"""

from __future__ import annotations

import functools
from enum import IntEnum
from typing import Any

import numba
import numpy as np
from numba import types

from cma_gym.machine.decision import DecisionPointer
from cma_gym.machine.events import FileFlag, Op, TouchFlag, event_dtype
from cma_gym.machine.ops import (
    RUN_PAGES,
    answered,
    do_demand,
    do_exit,
    do_file,
    do_fork,
    do_kalloc,
    do_kfree,
    do_mlock,
    do_pin,
    do_spawn,
    do_sync,
    do_touch,
    do_truncate,
    do_unmap,
)
from cma_gym.machine.view import NR_VIEW
from cma_gym.machine.view_fill import write_subject, write_view
from cma_gym.mm.clock import due, elapse
from cma_gym.mm.cma import NEVER_NS, run_demands
from cma_gym.mm.hands import begin_operation, end_operation, note_lag
from cma_gym.mm.kcompactd import kcompactd_run
from cma_gym.mm.mmzone import NO_TASK, REQUEST_ZSMALLOC, DemandState, VmEvent
from cma_gym.mm.oom_kill import oom_reap
from cma_gym.mm.vmscan import kswapd_run
from cma_gym.mm.writeback import flusher_run
from cma_gym.support.jit import jit


class Status(IntEnum):
    """Why `advance` returned."""

    DONE = 0
    DECIDE = 1


@jit
def idle_until(mem, time):
    """Let time pass up to an event, with what demands do in it, step by step, and kswapd at work."""
    while mem.next_demand_ns <= time:
        elapse(mem, mem.next_demand_ns - mem.clock)
        background(mem)
        run_demands(mem)
    elapse(mem, time - mem.clock)


@jit
def background(mem):
    """What runs beside the tasks: kswapd, kcompactd, the flusher, the reaper of a task that was chosen to die."""
    if mem.node.kswapd_awake:
        kswapd_run(mem)
    kcompactd_run(mem)
    flusher_run(mem)
    if mem.node.pending_kill != NO_TASK:
        oom_reap(mem, 0)


@jit
def task_is_gone(mem, event):
    """Whether an event belongs to a task that was killed, or to a cold start that was none, and so does not happen."""
    op = event.op
    if op == Op.SPAWN or op == Op.FORK or op >= Op.DEMAND:
        return False
    task = mem.task[event.task]
    if op == Op.TOUCH and event.arg & TouchFlag.COLD or op == Op.FILE and event.arg & FileFlag.COLD:
        return not task.alive or task.cold != event.value
    return not task.alive


@jit
def dispatch(mem, event):
    """Do one event, or as much of it as the latest answer covers; False if a question is open."""
    op = event.op
    if op == Op.TOUCH:
        return do_touch(mem, event)
    if op == Op.FILE:
        return do_file(mem, event)
    if op == Op.UNMAP:
        do_unmap(mem, event)
    elif op == Op.KALLOC:
        do_kalloc(mem, event)
    elif op == Op.KFREE:
        do_kfree(mem, event)
    elif op == Op.TRUNCATE:
        do_truncate(mem, event)
    elif op == Op.SYNC:
        do_sync(mem, event)
    elif op == Op.PIN:
        do_pin(mem, event)
    elif op == Op.MLOCK:
        do_mlock(mem, event)
    elif op == Op.SPAWN:
        do_spawn(mem, event)
    elif op == Op.FORK:
        do_fork(mem, event)
    elif op == Op.EXIT:
        do_exit(mem, event)
    elif op == Op.IMPORTANCE:
        mem.task[event.task].importance = event.arg
    elif op == Op.DEMAND:
        do_demand(mem, event)
    return True


@jit
def begin_event(mem, event):
    """Time passes up to an event; False if it does not happen because its task was killed."""
    time = due(mem, event.time)
    note_lag(mem, time)
    idle_until(mem, time)
    run_demands(mem)
    background(mem)
    mem.cursor.task = event.task if event.op != Op.DEMAND else 0
    begin_operation(mem, mem.cursor.task)
    mem.cursor.budget = 0
    if task_is_gone(mem, event):
        mem.vm_event[VmEvent.EVENTS_SKIPPED] += 1
        return False
    return True


@jit
def end_event(mem):
    """Go on to the next event."""
    end_operation(mem)
    mem.cursor.next += 1
    mem.cursor.offset = 0
    mem.cursor.begun = 0
    mem.vm_event[VmEvent.EVENTS] += 1


@jit
def ask_for_zsmalloc(mem):
    """Whether the answer for zsmalloc pages is used up; swapping cannot stop to ask, so it is asked ahead of need."""
    if mem.node.zs_budget > 0:
        return False
    mem.cursor.task = 0
    mem.cursor.budget = 0
    return not answered(mem, REQUEST_ZSMALLOC, RUN_PAGES, 0)


@jit
def finish_demands(mem):
    """At the end of a stream, let demands that are still waited for come to their end."""
    while mem.next_demand_ns < NEVER_NS:
        waiting = False
        for slot in range(len(mem.demand)):
            state = mem.demand[slot].state
            waiting |= state == DemandState.WAITING or state == DemandState.TRYING
        if not waiting:
            return
        idle_until(mem, mem.next_demand_ns)


@jit
def advance_to(mem, events, stop):
    """Run until a question is open (Status) or event `stop` comes next."""
    cursor = mem.cursor
    while cursor.next < stop:
        event = events[cursor.next]
        if not cursor.begun:
            if ask_for_zsmalloc(mem):
                return 1
            if not begin_event(mem, event):
                end_event(mem)
                continue
            cursor.begun = 1
        if not dispatch(mem, event):
            return 1
        end_event(mem)
    return 0


@jit
def advance_one(mem, events):
    """Run until a question is open or the stream is over (Status)."""
    if advance_to(mem, events, mem.cursor.end):
        return 1
    finish_demands(mem)
    return 0


@jit
def answer_one(mem, action):
    """Accept the answer to the open question."""
    cursor = mem.cursor
    mem.vm_event[VmEvent.DECISIONS] += 1
    if cursor.kind == REQUEST_ZSMALLOC:
        mem.node.zs_action = action
        mem.node.zs_budget = RUN_PAGES
        return
    cursor.action = action
    cursor.answer_kind = cursor.kind
    cursor.budget = cursor.run


@jit
def load(mems, i, first, last):
    """Give machine `i` the window `events[first:last]`, as if its stream started now."""
    mem = mems[i]
    mem.cursor.next = first
    mem.cursor.end = last
    mem.cursor.offset = 0
    mem.cursor.begun = 0
    mem.cursor.budget = 0
    mem.cursor.slip_ns = 0


@jit
def advance(mems, i, events):
    """Run machine `i` to its next placement question.

    Args:
        mems: recarray of machine records.
        i: which one.
        events: array of event_dtype, shared by all machines.

    Returns:
        Status.DECIDE (1): call `fill_view` and `answer`. Status.DONE (0): the window is over.
    """
    return advance_one(mems[i], events)


@jit
def fill_view(mems, i, view):
    """Write what the open question of machine `i` may be decided by into `view`, int64[NR_VIEW]."""
    write_view(mems[i], view)


@jit
def answer(mems, i, action):
    """Answer machine `i`'s open question with an Action."""
    answer_one(mems[i], action)


def _rollout(mems, i, events, decide, params, view, stop):
    mem = mems[i]
    decisions = 0
    while advance_to(mem, events, stop):
        write_view(mem, view)
        if len(view) > NR_VIEW:
            write_subject(mem, events[mem.cursor.next], view)
        answer_one(mem, decide(view, params))
        decisions += 1
    if stop == mem.cursor.end:
        finish_demands(mem)
    return decisions


@functools.cache
def _compiled_rollout(dtype: np.dtype, layout: str) -> Any:
    """The rollout for one type of machine array, compiled once for all rules: they come as function pointers."""
    machines = types.Array(numba.from_dtype(dtype), 1, layout)
    integers = types.Array(types.int64, 1, "C")
    events = types.Array(numba.from_dtype(event_dtype), 1, "C")
    signature = types.int64(machines, types.int64, events, DecisionPointer, integers, integers, types.int64)
    compiled = jit(_rollout)
    compiled.compile(signature)
    compiled.disable_compile()
    return compiled


def rollout(
    mems: Any,
    i: int,
    events: np.ndarray,
    decide: Any,
    params: np.ndarray,
    view: np.ndarray,
    stop: int | None = None,
) -> int:
    """Run machine `i` to the end of its window, or a part of the way, under a compiled rule.

    Args:
        mems: recarray of machine records.
        i: which one.
        events: array of event_dtype.
        decide: rule made with `decision`.
        params: int64[any], handed to the rule.
        view: int64[NR_VIEW], working space; int64[NR_VIEW_AND_SUBJECT] for a clairvoyant rule.
        stop: the event before which to stop; a later call goes on from there as if it had not. None: the end.

    Returns:
        The number of decisions taken.
    """
    end = int(mems["cursor"]["end"][i])
    stop = end if stop is None else min(stop, end)
    if numba.config.DISABLE_JIT:
        return int(_rollout(mems, i, events, decide, params, view, stop))
    compiled = _compiled_rollout(mems.dtype, "C" if mems.flags.c_contiguous else "A")
    return int(compiled(mems, i, events, decide, params, view, stop))
