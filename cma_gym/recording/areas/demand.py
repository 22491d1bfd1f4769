"""From identity's log of actions to a workload's events, compiled: numbers for pages, runs, swap-ins, tasks' lives.

Virtual pages and file pages are numbered when a run of first touches ends, so that one run is one range of numbers
even where two CPUs took turns; numbers of freed pages are used again, so that ranges stay near what was live at the
peak.

Assumptions, since a stock kernel does not say:

* an anonymous page that is neither zero-filled nor in the page cache is, while its task has pages in swap, a swap-in;
  else a copy. Which page comes back, and which pages that were in memory are used on the way: see `_walk`;
* pages that reclaim took and that are older than the recording belong to a task of their own, until a copy or a swap-in
  of a task without pages in swap shows that one of them has found its owner;
* zero-filled pages and copies are written, swap-ins are read;
* kernel memory is nobody's, it ends by its own free; when the journal holds block-device pages: see `journal_holds`.
"""

from __future__ import annotations

import numpy as np

from cma_gym.machine.events import FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.mm.mmzone import Importance
from cma_gym.recording.leaf import leaf
from cma_gym.recording.pages.books import Books
from cma_gym.recording.pages.plan import NONE, RUN_PAGES, STREAMS, WALK_RUNS, Plan, Told, new_plan
from cma_gym.recording.text.kinds import KERNEL_TASK, NOBODY_TASK, Code, Kind, Mark

RUN_GAP_NS = 1_000_000
RUN_SPAN_NS = 10_000_000
"""Pages of one run follow each other within the gap, and all lie within the span."""
_MANY_PAGES = 1 << 20

_ANON, _FILE, _KERNEL = range(STREAMS)
# NumPy integers, not enums or literals: the compiler makes a version of a function for each distinct type it is given.
_NONE, _STREAMS = NONE, STREAMS
_WAITS, _NO_ARG = np.int64(-2), np.int64(0)
_SPAWN, _EXIT, _FILE_OP, _TRUNCATE = np.int64(Op.SPAWN), np.int64(Op.EXIT), np.int64(Op.FILE), np.int64(Op.TRUNCATE)
_TOUCH, _UNMAP, _KALLOC, _KFREE = np.int64(Op.TOUCH), np.int64(Op.UNMAP), np.int64(Op.KALLOC), np.int64(Op.KFREE)
_KERNEL_TASK, _NOWAIT = np.int64(KERNEL_TASK), np.int64(KallocFlag.NOWAIT)


@leaf
def _emit(plan, time, op, task, start, nr, arg, value):
    event = plan.event[plan.nr[0]]
    plan.nr[0] += 1
    event.time = time
    event.op = op
    event.task = task
    event.start = start
    event.nr = nr
    event.arg = arg
    event.value = value


@leaf
def _take(plan, space, want, time):
    """First number and length of a free range of at most `want` numbers, freed before `time` or never used."""
    if space.free != _NONE:
        extent = plan.extent[space.free]
        if extent.time <= time:
            got = min(want, np.int64(extent.nr))
            start = np.int64(extent.start)
            extent.start += got
            extent.nr -= got
            if extent.nr == 0:
                space.free = extent.next
            return start, got
    start = np.int64(space.top)
    space.top += want
    return start, want


@leaf
def _give(plan, space, start, nr, time):
    """Numbers that are free from `time` on."""
    ident = plan.nr[1]
    plan.nr[1] += 1
    extent = plan.extent[ident]
    extent.time = time
    extent.start = start
    extent.nr = nr
    extent.next = space.free
    space.free = ident


@leaf
def _flush(plan, slot):
    """End a run: number what waits in it and emit its events."""
    run = plan.run[slot]
    nr, task, op, arg = np.int64(run.nr), slot // _STREAMS, np.int64(run.op), np.int64(run.arg)
    value = np.int64(run.value)
    if nr == 0:
        return
    run.nr = 0
    is_file = op == Op.FILE or op == Op.TRUNCATE
    space = plan.space[len(plan.space) - 1 if is_file else task]
    if run.start != _NONE:
        # Frees stand where the last page goes: it may not have been there when the first one went.
        frees = op == Op.UNMAP or op == Op.KFREE or op == Op.TRUNCATE
        _emit(plan, run.last if frees else run.time, op, task, np.int64(run.start), nr, arg, value)
        if frees:
            _give(plan, space, run.start, nr, run.last)
        return
    done = np.int64(0)
    while done < nr:
        start, got = _take(plan, space, nr - done, run.time)
        for i in range(got):
            item = run.items[done + i]
            if is_file:
                plan.fpage[item].number = start + i
            else:
                plan.life[item].number = start + i
                if op == Op.TOUCH:
                    plan.at[space.first + start + i] = item + 1
        _emit(plan, run.time, op, task, start, got, arg, value)
        done += got


@leaf
def _append(plan, slot, op, arg, item, start, time):
    """Add one page to a run, or end the run and begin another; `start` is its number, _NONE where it waits for one."""
    run = plan.run[slot]
    frees = op == Op.UNMAP or op == Op.KFREE or op == Op.TRUNCATE
    fits = (
        0 < run.nr < (_MANY_PAGES if frees else RUN_PAGES)
        and run.op == op
        and run.arg == arg
        and time - run.last <= RUN_GAP_NS
        and time - run.time <= RUN_SPAN_NS
    )
    if fits and start == _NONE:
        fits = run.start == _NONE
    elif fits and run.start != _NONE and frees and start == run.start - 1:
        run.start -= 1
    elif fits:
        fits = run.start != _NONE and start == run.start + run.nr
    if not fits:
        _flush(plan, slot)
        plan.nr[2] += 1
        run.op = op
        run.arg = arg
        run.value = 0
        run.time = time
        run.start = start
        run.serial = plan.nr[2]
    if start == _NONE:
        run.items[run.nr] = item
    run.nr += 1
    run.last = time


@leaf
def _begin(plan, task, time):
    """Start a task at its first action; whether it is alive."""
    space = plan.space[task]
    if space.state == 0:
        space.state = 1
        # Assumption: what started during the recording is an application in the background, the rest is the system.
        importance = Importance.BACKGROUND if plan.task[task].born else Importance.SYSTEM
        _emit(plan, time, _SPAWN, task, _NO_ARG, _NO_ARG, np.int64(importance), _NO_ARG)
    return space.state == 1


@leaf
def _walk(plan, task, uses, time):
    """The life that comes back from swap when its task walks on through its memory; if `uses`, with what lies between.

    Assumption: a task that swaps in is on a walk through its memory in the order of addresses, and goes on where it
    stopped. What it passes was in memory, so that the recording does not show its use; as many such pages are used for
    one swap-in as there are in memory for one in swap, which is what use regardless of place would give. A walk uses no
    more than RUN_PAGES pages in WALK_RUNS runs for one swap-in: where hardly anything is in swap, one swap-in says
    little.
    """
    space = plan.space[task]
    slot = task * _STREAMS + _ANON
    number = np.int64(space.walk)
    last = _NONE
    used = np.int64(0)
    runs = np.int64(0)
    while True:
        number = number + 1 if number + 1 < space.top else np.int64(0)
        entry = np.int64(plan.at[space.first + number])
        if entry < 0:
            break
        if entry == 0 or not uses or used >= RUN_PAGES:
            continue
        runs += number != last + 1
        if runs >= WALK_RUNS:
            used = np.int64(RUN_PAGES)
            continue
        _append(plan, slot, _TOUCH, _NO_ARG, entry - 1, number, time)
        last = number
        used += 1
    space.walk = number
    space.swapped -= 1
    plan.at[space.first + number] = 0
    return -entry - 1


@leaf
def _adopt(plan, time):
    """A page that somebody had in swap since before the recording has found its owner, who gets a number of his own."""
    space = plan.space[NOBODY_TASK]
    if space.swapped > 0:
        back = _walk(plan, np.int64(NOBODY_TASK), False, time)
        slot = np.int64(NOBODY_TASK) * _STREAMS + _ANON
        _append(plan, slot, _UNMAP, _NO_ARG, back, np.int64(plan.life[back].number), time)
        plan.life[back].number = _NONE


@leaf
def _touch(plan, ident, task, kind, time):
    """A task gets an anonymous page."""
    slot = task * _STREAMS + _ANON
    space = plan.space[task]
    if kind == Kind.COPY and space.swapped > 0:
        back = _walk(plan, task, True, time)
        plan.life[ident].number = plan.life[back].number
        plan.life[back].number = _NONE
        plan.at[space.first + plan.life[ident].number] = ident + 1
        _append(plan, slot, _TOUCH, _NO_ARG, ident, np.int64(plan.life[ident].number), time)
        return
    if kind == Kind.COPY:
        _adopt(plan, time)
    plan.life[ident].number = _WAITS
    _append(plan, slot, _TOUCH, np.int64(TouchFlag.WRITE), ident, _NONE, time)


@leaf
def _settle(plan, fpage):
    """End the run that a file page waits in, so that what comes next stands behind it."""
    slot = plan.fpage[fpage].waits_in - 1
    if slot >= 0 and plan.run[slot].nr and plan.run[slot].serial == plan.fpage[fpage].waits_for:
        _flush(plan, slot)


@leaf
def _file(plan, fpage, task, arg, time):
    """A task reads or writes a page of a file that the recorded kernel did not have in its cache."""
    if not _begin(plan, task, time):
        task = _KERNEL_TASK
    if plan.fpage[fpage].number == _WAITS:
        _settle(plan, fpage)
    slot = task * _STREAMS + _FILE
    start = np.int64(plan.fpage[fpage].number)
    if start == _NONE:
        plan.fpage[fpage].number = _WAITS
    _append(plan, slot, _FILE_OP, arg, fpage, start, time)
    plan.fpage[fpage].waits_in = slot + 1
    plan.fpage[fpage].waits_for = plan.run[slot].serial


@leaf
def _appear(plan, ident, time):
    life = plan.life[ident]
    kind = np.int64(life.kind)
    if kind == Kind.ANON or kind == Kind.COPY:
        if _begin(plan, np.int64(life.task), time):
            _touch(plan, ident, np.int64(life.task), kind, time)
    elif kind == Kind.SHMEM:
        _file(plan, np.int64(life.fpage), np.int64(life.task), np.int64(FileFlag.SHMEM | FileFlag.WRITE), time)
    elif kind == Kind.KERNEL or kind == Kind.CANDIDATE or (kind <= Kind.BDEV and not life.mark & Mark.MOVABLE):
        plan.life[ident].number = _WAITS
        arg = np.int64(life.arg) | (_NOWAIT if life.mark & Mark.NOWAIT else _NO_ARG)
        _append(plan, _KERNEL_TASK * _STREAMS + _KERNEL, _KALLOC, arg, ident, _NONE, time)


@leaf
def _cached(plan, ident, time):
    life = plan.life[ident]
    arg = np.int64(FileFlag.WRITE if life.mark & Mark.WRITE else 0)
    if life.kind != Kind.BDEV:
        if arg == 0 and plan.maps[life.task]:
            arg = np.int64(FileFlag.MAPPED)
        _file(plan, np.int64(life.fpage), np.int64(life.task), arg, time)
        return
    for stream_of in (np.int64(life.task), _KERNEL_TASK):
        _flush(plan, stream_of * _STREAMS + _FILE)
    arg = np.int64(FileFlag.BDEV | (FileFlag.JOURNAL if plan.hold[ident] > 0 else 0))
    _file(plan, np.int64(life.fpage), np.int64(life.task), arg, time)
    slot = np.int64(plan.fpage[life.fpage].waits_in) - 1
    plan.run[slot].value = plan.hold[ident]
    _flush(plan, slot)


@leaf
def _was_there(plan, ident):
    """A page that is older than the recording appears at its begin; the longest unused ones, which end first, first."""
    if plan.life[ident].kind == Kind.FILE:
        _file(plan, np.int64(plan.life[ident].fpage), _KERNEL_TASK, _NO_ARG, _NO_ARG)
    else:
        _appear(plan, ident, _NO_ARG)


@leaf
def _number_placed(plan, ident):
    """A page with a place at the start gets its number, if anything that is to come names it."""
    life = plan.life[ident]
    kind = np.int64(life.kind)
    if kind <= Kind.COPY:
        _appear(plan, ident, _NO_ARG)
    elif Kind.FILE <= kind <= Kind.SHMEM and life.mark & Mark.MOVABLE:
        if life.fpage >= 0 and plan.fpage[life.fpage].number == _NONE:
            _file(plan, np.int64(life.fpage), _KERNEL_TASK, _NO_ARG, _NO_ARG)
            plan.placed[ident] = _WAITS
    elif kind <= Kind.KERNEL and kind != Kind.ZSMALLOC and life.left == 0:
        _appear(plan, ident, _NO_ARG)


@leaf
def _place(plan):
    """Number all pages that have a place at the start; the events that come of it are not part of the demand."""
    for ident in range(len(plan.placed)):
        if plan.life[ident].mark & Mark.OLD:
            _number_placed(plan, ident)
    for slot in range(len(plan.run)):
        _flush(plan, slot)
    plan.nr[3] = plan.nr[0]
    for ident in range(len(plan.placed)):
        if plan.placed[ident] == _WAITS:
            plan.placed[ident] = plan.fpage[plan.life[ident].fpage].number
        else:
            plan.placed[ident] = plan.life[ident].number


@leaf
def _truncated(plan, fpage, time):
    _settle(plan, fpage)
    if plan.fpage[fpage].number >= 0:
        slot = _KERNEL_TASK * _STREAMS + _FILE
        _append(plan, slot, _TRUNCATE, _NO_ARG, fpage, np.int64(plan.fpage[fpage].number), time)
        plan.fpage[fpage].number = _NONE


@leaf
def _gone(plan, ident, evicted, time):
    """An anonymous page or a block of kernel memory is freed by its owner, or (`evicted`) put into swap."""
    life = plan.life[ident]
    anon = life.kind <= Kind.COPY
    slot = np.int64(life.task) * _STREAMS + _ANON if anon else _KERNEL_TASK * _STREAMS + _KERNEL
    space = plan.space[life.task]
    if anon and space.state != 1:
        return
    if plan.life[ident].number == _WAITS:
        _flush(plan, slot)
    start = np.int64(plan.life[ident].number)
    if start == _NONE:
        return
    if not evicted:
        plan.life[ident].number = _NONE
        if anon:
            space.swapped -= plan.at[space.first + start] < 0
            plan.at[space.first + start] = 0
        _append(plan, slot, _UNMAP if anon else _KFREE, _NO_ARG, ident, start, time)
        return
    space.swapped += plan.at[space.first + start] > 0
    plan.at[space.first + start] = -(ident + 1)


@leaf
def _exit(plan, task, time):
    for stream in range(_STREAMS):
        _flush(plan, task * _STREAMS + stream)
    if plan.space[task].state == 1:
        _emit(plan, time, _EXIT, task, _NO_ARG, _NO_ARG, _NO_ARG, _NO_ARG)
    plan.space[task].state = 2


@leaf
def _build(plan, actions):
    """Take all actions; events stand in `plan.event[:plan.nr[0]]`, in no order of time yet."""
    plan.space[KERNEL_TASK].state = 1
    _emit(plan, _NO_ARG, _SPAWN, _KERNEL_TASK, _NO_ARG, _NO_ARG, np.int64(Importance.SYSTEM), _NO_ARG)
    _place(plan)
    for old in range(len(plan.placed), len(plan.life)):
        if plan.life[old].mark & Mark.OLD:
            _was_there(plan, old)
    for slot in range(len(plan.run)):
        _flush(plan, slot)
    for i in range(len(actions)):
        time, code, ident = actions[i].time, actions[i].code, np.int64(actions[i].id)
        if code == Code.APPEAR:
            _appear(plan, ident, time)
        elif code == Code.CACHE:
            _cached(plan, ident, time)
        elif code == Code.FREE or code == Code.EVICT:
            _gone(plan, ident, code == Code.EVICT, time)
        elif code == Code.TRUNCATE:
            _truncated(plan, ident, time)
        elif code == Code.EXIT:
            _exit(plan, ident, time)
    for slot in range(len(plan.run)):
        _flush(plan, slot)


def build(books: Books, told: Told) -> Plan:
    """The demand behind what identity found; tasks are numbered as in the books, virtual pages from 0 in each task."""
    plan = new_plan(books, told)
    _build(plan, books.action[: int(books.state[0]["nr_actions"])])
    return plan
