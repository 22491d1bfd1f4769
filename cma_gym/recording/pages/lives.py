"""What can happen to one page: it gets a frame, moves to another, is lost sight of; and who did it."""

# Compiled code: its types are the compiler's business.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from cma_gym.recording.leaf import leaf
from cma_gym.recording.pages.books import Count, log
from cma_gym.recording.text.kinds import EMPTY, Code, Kind, Mark

# NumPy integers, not enums or literals: the compiler makes a version of a function for each distinct type it is given.
_ZERO = np.int64(0)
_ONE = np.int64(1)


@leaf
def thread_at(books, pid):
    """Index of a pid's thread, made at first sight."""
    at = books.pid[pid].thread
    if at == 0:
        state = books.state[0]
        state.nr_threads += 1
        at = np.int32(state.nr_threads)
        books.pid[pid].thread = at
        thread = books.thread[at - 1]
        thread.queue_head = -1
        thread.queue_tail = -1
    return np.int64(at) - 1


@leaf
def task_at(books, tgid, born):
    """Index of a thread group's task, made at first use."""
    at = books.pid[tgid].task
    if at == 0:
        state = books.state[0]
        at = np.int32(state.nr_tasks)
        state.nr_tasks += 1
        books.pid[tgid].task = at
        task = books.task[at]
        task.pid = tgid
        task.born = born
        task.dead = 0
        task.lost_head = -1
        task.lost_tail = -1
    return np.int64(at)


@leaf
def reclaims(thread):
    """Whether what this thread frees is taken by reclaim."""
    return thread.reclaim != 0 or thread.kswapd != 0


@leaf
def new_life(books, task, pfn, kind, mark, arg, frames):
    """Begin a life in `frames` frames from `pfn` on; returns its id. The frames do not name it yet."""
    state = books.state[0]
    ident = state.nr_lives
    state.nr_lives += 1
    life = books.life[ident]
    life.task = task
    life.fpage = -1
    life.link = -1
    life.pfn = pfn
    life.left = frames
    life.arg = arg
    life.kind = kind
    life.mark = mark
    return ident


@leaf
def old_life(books, task, kind, mark):
    """A page shows by its end that it was there when the recording began."""
    books.state[0].counts[Count.OLD_PAGES] += 1
    return new_life(books, task, -_ONE, kind, mark | Mark.OLD, _ZERO, _ONE)


@leaf
def push_target(books, thread, ident):
    """The frame of this life waits for the page that the thread is about to move."""
    books.life[ident].mark |= Mark.QUEUED
    books.life[ident].link = -1
    if thread.queue_head < 0:
        thread.queue_head = ident
    else:
        books.life[thread.queue_tail].link = ident
    thread.queue_tail = ident


@leaf
def pop_target(books, thread):
    """The oldest target that still waits for its page; -1 if none."""
    while thread.queue_head >= 0:
        ident = thread.queue_head
        thread.queue_head = books.life[ident].link
        if books.life[ident].mark & Mark.QUEUED:
            books.life[ident].mark &= ~np.uint16(Mark.QUEUED)
            return ident
    return np.int64(-1)


@leaf
def lose(books, ident):
    """An anonymous page goes where no event tells; remember it with its task."""
    life = books.life[ident]
    task = books.task[life.task]
    life.pfn = -1
    life.link = -1
    if task.lost_head < 0:
        task.lost_head = ident
    else:
        books.life[task.lost_tail].link = ident
    task.lost_tail = ident


@leaf
def move(books, ident, target):
    """The page of life `ident` now lies in the frame allocated as `target`."""
    life, there = books.life[ident], books.life[target]
    books.frame[there.pfn] = np.int32((ident + 1) << 1 | 1)
    life.pfn = there.pfn
    there.kind = Kind.TARGET
    there.pfn = -1
    books.state[0].counts[Count.MOVED] += 1
    if life.kind == Kind.BDEV:
        log(books, Code.LET_GO, ident)


@leaf
def is_moved_stranger(books, entry):
    """Whether a frame holds a page that is older than the recording and was seen to move there."""
    if entry <= EMPTY:
        return False
    life = books.life[(entry >> 1) - 1]
    return life.kind == Kind.TARGET and not life.mark & Mark.QUEUED
