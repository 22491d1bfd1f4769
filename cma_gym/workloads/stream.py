"""Building streams of events: one `Stream` per part of a scenario, with ranges of its own; `merge` makes one of all.

A part numbers its tasks, virtual pages, file pages and kernel handles from the start of its own stream, and reuses the
ranges of what has ended. Merging shifts every stream's numbers behind those of the streams before it, so that parts
never know of each other and a part that is added changes nothing in the others.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from cma_gym.machine.events import KALLOC_ORDER_SHIFT, Op, PinFlag, event_dtype
from cma_gym.mm.mmzone import Importance

KERNEL_TASK = 0
"""Owner of kernel memory that belongs to nobody, and of file pages that nobody has mapped."""

Numbers: TypeAlias = "int | np.ndarray"
"""One number, or an array with one for each event."""


class Task(NamedTuple):
    """A task and its range of virtual pages."""

    number: int
    start: int
    nr: int


class Span(NamedTuple):
    """A range of pages or handles."""

    start: int
    nr: int


class Ranges:
    """Numbers from 0 up, handed out in contiguous ranges; what is given back is used again, lowest place first."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        self.top = 0
        """One more than the largest number ever handed out."""

    def take(self, nr: int) -> int:
        """First number of a free range of `nr`."""
        for at, (start, room) in enumerate(self._free):
            if room >= nr:
                if room == nr:
                    del self._free[at]
                else:
                    self._free[at] = (start + nr, room - nr)
                return start
        start = self.top
        if self._free and sum(self._free[-1]) == start:
            start = self._free.pop()[0]
        self.top = start + nr
        return start

    def give(self, start: int, nr: int) -> None:
        """Take back the range `start .. start+nr-1`."""
        at = bisect.bisect(self._free, (start, nr))
        if at < len(self._free) and self._free[at][0] == start + nr:
            nr += self._free.pop(at)[1]
        if at > 0 and sum(self._free[at - 1]) == start:
            start, room = self._free.pop(at - 1)
            at, nr = at - 1, nr + room
        self._free.insert(at, (start, nr))


class Stream:
    """The events of one part, appended in any order of time; events of one time keep the order they were added in.

    Whoever adds events must take and give ranges in the order of time: what is given back at one time may be taken
    again for events of the same or a later time only.
    """

    def __init__(self) -> None:
        self.tasks = Ranges()
        self.tasks.take(1)  # number 0 is the kernel's in every stream
        self.vpages = Ranges()
        self.fpages = Ranges()
        self.handles = Ranges()
        """Handles of task 0, the kernel."""
        self._events = np.zeros(1024, dtype=event_dtype)
        self._used = 0

    @property
    def events(self) -> np.ndarray:
        """`event_dtype[n]`: all events in the order they were added."""
        return self._events[: self._used]

    def one(self, time: int, op: Op, task: int = 0, start: int = 0, nr: int = 0, arg: int = 0, value: int = 0) -> None:
        """Append one event; `time` in ns."""
        if self._used == len(self._events):
            self._grow(1)
        self._events[self._used] = (time, op, task, start, nr, arg, value)
        self._used += 1

    def many(
        self, time: np.ndarray, op: Op, task: int, start: Numbers, nr: Numbers, arg: Numbers = 0, value: Numbers = 0
    ) -> None:
        """Append one event per entry of `time` (ns); single numbers hold for all of them."""
        first, last = self._used, self._used + len(time)
        if last > len(self._events):
            self._grow(len(time))
        rows = self._events[first:last]
        rows["time"] = time
        rows["op"] = op
        rows["task"] = task
        rows["start"] = start
        rows["nr"] = nr
        rows["arg"] = arg
        rows["value"] = value
        self._used = last

    def spawn(self, time: int, nr: int, importance: Importance) -> Task:
        """Start a task with `nr` virtual pages."""
        task = Task(self.tasks.take(1), self.vpages.take(nr), nr)
        self.one(time, Op.SPAWN, task.number, task.start, nr, importance)
        return task

    def fork(self, time: int, parent: Task, importance: Importance, more: int = 0) -> Task:
        """Start a task as a copy of `parent`, whose range has room for `more` pages behind the parent's."""
        nr = parent.nr + more
        task = Task(self.tasks.take(1), self.vpages.take(nr), nr)
        self.one(time, Op.FORK, task.number, task.start, task.nr, importance, parent.number)
        return task

    def exit(self, time: int, task: Task) -> None:
        """End a task at `time`; its number and range may be used again from then on."""
        self.one(time, Op.EXIT, task.number)
        self.release(task)

    def ensure(self, time: int, task: Task, importance: Importance, number: int) -> None:
        """Start a task again if the machine has killed it; `number` > 0 marks what happens only then (COLD)."""
        self.one(time, Op.SPAWN, task.number, task.start, task.nr, importance, value=number)

    def restart(self, time: int, task: Task, importance: Importance) -> None:
        """End a task and start it anew, with its number and range."""
        self.one(time, Op.EXIT, task.number)
        self.one(time, Op.SPAWN, task.number, task.start, task.nr, importance)

    def release(self, task: Task) -> None:
        """Give back the number and range of a task whose EXIT was added before."""
        self.tasks.give(task.number, 1)
        self.vpages.give(task.start, task.nr)

    def file(self, nr: int) -> Span:
        """A range of file pages."""
        return Span(self.fpages.take(nr), nr)

    def kalloc(self, time: int, start: int, nr: int, order: int = 0, flags: int = 0, task: int = KERNEL_TASK) -> None:
        """Allocate `nr` blocks of kernel memory of this order into the handles `start ..`; flags: KallocFlag."""
        self.one(time, Op.KALLOC, task, start, nr, flags | order << KALLOC_ORDER_SHIFT)

    def _grow(self, nr: int) -> None:
        room = np.zeros(max(2 * len(self._events), self._used + nr), dtype=event_dtype)
        room[: self._used] = self.events
        self._events = room


class Merged(NamedTuple):
    """One stream out of several."""

    events: np.ndarray
    """`event_dtype[n]`, sorted by time."""
    nr_vpages: int
    nr_fpages: int
    nr_tasks: int


def merge(streams: Sequence[Stream], end_ns: int) -> Merged:
    """All events of all streams in the order of time, with a last TICK at `end_ns`.

    Kernel handles come first in the table of virtual pages, as the range of task 0. Events of one time come in the
    order of the streams. Events beyond the end are left out.
    """
    handles = sum(stream.handles.top for stream in streams)
    shift = {"task": 0, "vpage": handles, "fpage": 0, "handle": 0}
    first = np.zeros(1 if handles else 0, dtype=event_dtype)
    if handles:
        first[0] = (0, Op.SPAWN, KERNEL_TASK, 0, handles, Importance.SYSTEM, 0)
    pieces = [first]
    for stream in streams:
        pieces.append(_shifted(stream.events, shift))
        shift["task"] += stream.tasks.top - 1
        shift["vpage"] += stream.vpages.top
        shift["fpage"] += stream.fpages.top
        shift["handle"] += stream.handles.top
    events = np.concatenate(pieces)
    events = events[np.argsort(events["time"], kind="stable")]
    last = np.zeros(1, dtype=event_dtype)
    last[0] = (end_ns, Op.TICK, 0, 0, 0, 0, 0)
    events = np.concatenate([events[: np.searchsorted(events["time"], end_ns, side="right")], last])
    return Merged(events, max(1, shift["vpage"]), max(1, shift["fpage"]), 1 + shift["task"])


def _shifted(events: np.ndarray, shift: dict[str, int]) -> np.ndarray:
    """A copy of a stream's events with its numbers moved behind those of the streams before it."""
    moved = events.copy()
    op, by_kernel = events["op"], events["task"] == KERNEL_TASK
    demand = op == Op.DEMAND
    file_pin = (op == Op.PIN) & (events["arg"] & PinFlag.FILE != 0)
    names_file = np.isin(op, (Op.FILE, Op.SYNC, Op.TRUNCATE)) | file_pin
    names_virtual = np.isin(op, (Op.SPAWN, Op.FORK, Op.TOUCH, Op.UNMAP, Op.MLOCK)) | ((op == Op.PIN) & ~file_pin)
    kernel_memory = np.isin(op, (Op.KALLOC, Op.KFREE))
    moved["task"][~by_kernel & ~demand] += shift["task"]
    moved["value"][op == Op.FORK] += shift["task"]
    moved["start"][names_file] += shift["fpage"]
    moved["start"][names_virtual | (kernel_memory & ~by_kernel)] += shift["vpage"]
    moved["start"][kernel_memory & by_kernel] += shift["handle"]
    return moved


def chop(start: Numbers, nr: Numbers, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut ranges into runs of at most `longest` pages, in order.

    Returns:
        Starts and lengths of the runs; empty ranges vanish.
    """
    starts, lengths = np.atleast_1d(start), np.atleast_1d(nr)
    cuts = -(-lengths // longest)
    piece = np.arange(cuts.sum()) - np.repeat(np.cumsum(cuts) - cuts, cuts)
    run_starts = np.repeat(starts, cuts) + piece * longest
    run_lengths = np.minimum(longest, np.repeat(starts + lengths, cuts) - run_starts)
    return run_starts, run_lengths


def spread(start_ns: int, span_ns: int, nr: int) -> np.ndarray:
    """`nr` times, evenly over `span_ns` from `start_ns`; the last one lies before the end."""
    return start_ns + np.arange(nr, dtype=np.int64) * span_ns // max(nr, 1)
