"""Places for the tasks of an imported recording: ids and ranges of virtual pages, used again after an exit."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from cma_gym.machine.events import Op, event_dtype
from cma_gym.recording.leaf import leaf
from cma_gym.recording.pages.plan import Plan
from cma_gym.recording.text.kinds import KERNEL_TASK

EXIT_GAP_NS = 100_000_000
"""Frees of a task that follow each other within this gap up to its exit are the exit's own."""
_NAMES_VPAGES = (Op.SPAWN, Op.TOUCH, Op.UNMAP, Op.KALLOC, Op.KFREE)


class _Ranges:
    """First fit in free ranges of numbers, which grow together again when their neighbours are freed."""

    def __init__(self, top: int) -> None:
        self.top = top
        self._free: list[tuple[int, int]] = []  # (start, end), sorted, never touching

    def take(self, size: int) -> int:
        for i, (start, end) in enumerate(self._free):
            if end - start >= size:
                self._free[i : i + 1] = [(start + size, end)] if end - start > size else []
                return start
        start = self.top
        if self._free and self._free[-1][1] == self.top:
            start = self._free.pop()[0]
        self.top = start + size
        return start

    def give(self, start: int, size: int) -> None:
        merged = []
        new = (start, start + size)
        for old in self._free:
            if old[1] == new[0] or new[1] == old[0]:
                new = (min(old[0], new[0]), max(old[1], new[1]))
            else:
                merged.append(old)
        self._free = sorted([*merged, new])


@leaf
def fold_exits(events, ends_at):
    """Let each EXIT free what its task unmapped on the way out (exit_mm() runs before the exit is reported).

    Args:
        events: sorted by time; the frees that an EXIT takes over become TICKs with `nr` -1, and the EXIT's time becomes
            that of the first of them.
        ends_at: scratch, one entry a task, all -1.
    """
    for i in range(len(events) - 1, -1, -1):
        event = events[i]
        if event.op == Op.DEMAND or event.op == Op.TICK:
            continue
        end = ends_at[event.task]
        if event.op == Op.EXIT:
            ends_at[event.task] = i
        elif end >= 0 and event.op == Op.UNMAP and events[end].time - event.time <= EXIT_GAP_NS:
            events[end].time = event.time
            event.op = Op.TICK
            event.nr = -1
        else:
            ends_at[event.task] = -1


class Layout(NamedTuple):
    """The events of a workload, what they name, and where each task of the plan went."""

    events: np.ndarray
    nr_vpages: int
    nr_fpages: int
    nr_tasks: int
    ids: np.ndarray
    """Of each task of the plan: its id."""
    starts: np.ndarray
    """Of each task of the plan: its first virtual page."""


def lay_out(plan: Plan, more: np.ndarray) -> Layout:
    """Sort the events in time and give each task its place.

    Tasks without a virtual page of their own (kernel threads, short-lived helpers) act as the kernel, task 0.

    Args:
        plan: the built plan.
        more: events that name no task (demands, the last tick).

    Returns:
        Events in order of time, and where things went.
    """
    sizes = plan.space["top"][:-1].astype(np.int64)
    events = plan.event[: int(plan.nr[0])].view(event_dtype)
    demand = np.ones(len(events), np.bool_)
    demand[1 : int(plan.nr[3])] = events["op"][1 : int(plan.nr[3])] == Op.SPAWN
    events = np.concatenate([events[demand], more])
    events = events[np.argsort(events["time"], kind="stable")]
    fold_exits(events.view(np.recarray), np.full(len(sizes), -1, np.int64))
    events = events[events["nr"] >= 0]
    events = events[np.argsort(events["time"], kind="stable")]
    ended_or_began = (events["op"] == Op.SPAWN) | (events["op"] == Op.EXIT)
    own = sizes > 0
    own[KERNEL_TASK] = True
    named = events["op"] != Op.DEMAND
    events = events[~ended_or_began | own[np.where(named, events["task"], 0)]]
    ids, starts, nr_vpages, nr_tasks = _places(events, sizes)
    task = np.where(events["op"] != Op.DEMAND, events["task"], KERNEL_TASK)
    shifted = np.isin(events["op"], _NAMES_VPAGES)
    events["start"][shifted] += starts[task[shifted]].astype(np.int32)
    spawns = events["op"] == Op.SPAWN
    events["nr"][spawns] = sizes[task[spawns]]
    named = events["op"] != Op.DEMAND
    events["task"][named] = ids[task[named]]
    return Layout(events, nr_vpages, int(plan.space[-1]["top"]), nr_tasks, ids, starts)


def _places(events: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Id and first virtual page of each task, in the order in which they start and end."""
    ids, starts = np.zeros(len(sizes), np.int32), np.zeros(len(sizes), np.int64)
    ranges = _Ranges(int(sizes[KERNEL_TASK]))
    free_ids: list[int] = []
    nr_tasks = 1
    for event in events[(events["op"] == Op.SPAWN) | (events["op"] == Op.EXIT)]:
        task = int(event["task"])
        if task == KERNEL_TASK:
            continue
        if event["op"] == Op.EXIT:
            ranges.give(int(starts[task]), int(sizes[task]))
            heapq.heappush(free_ids, int(ids[task]))
            continue
        if not free_ids:
            free_ids.append(nr_tasks)
            nr_tasks += 1
        ids[task] = heapq.heappop(free_ids)
        starts[task] = ranges.take(int(sizes[task]))
    return ids, starts, ranges.top, nr_tasks
