"""Events of a soak: everything a workload can ask for, at random, many at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cma_gym.machine.events import (
    KALLOC_ORDER_SHIFT,
    NR_OPS,
    PIN_HOLDER_SHIFT,
    FileFlag,
    KallocFlag,
    Op,
    PinFlag,
    TouchFlag,
    event_dtype,
)
from cma_gym.mm.mmzone import Holder

TASKS = 12
"""Task 0, the kernel, and eleven more."""
RUN = 64
"""Pages of an event at most."""
HANDLES = 96
"""Blocks of kernel memory held at a time."""

_WEIGHTS = {
    Op.TOUCH: 46,
    Op.FILE: 22,
    Op.UNMAP: 9,
    Op.TRUNCATE: 2,
    Op.SYNC: 0.5,
    Op.KALLOC: 4,
    Op.KFREE: 3,
    Op.PIN: 4,
    Op.MLOCK: 1,
    Op.SPAWN: 3,
    Op.FORK: 1.5,
    Op.EXIT: 1,
    Op.IMPORTANCE: 0.5,
    Op.DEMAND: 0.5,
    Op.TICK: 2,
}
_HOLDERS = np.array([Holder.BUFFER_HEAD, Holder.JOURNAL, Holder.DIRECT_IO, Holder.DRIVER, Holder.PIPE])


@dataclass(frozen=True)
class Sizes:
    """What the events of a life range over."""

    each: int
    """Virtual pages of a task."""
    files: int
    """File pages of each of three areas: regular files, shmem, block device."""
    cma_pages: int

    @property
    def nr_vpages(self) -> int:
        """Virtual pages of all tasks."""
        return TASKS * self.each

    @property
    def nr_fpages(self) -> int:
        """File pages of all areas."""
        return 3 * self.files


def first_events(sizes: Sizes, importance: np.ndarray) -> np.ndarray:
    """Start every task, the kernel's included, at time 0; `importance` is of length TASKS."""
    events = np.zeros(TASKS, event_dtype)
    events["op"] = Op.SPAWN
    events["task"] = np.arange(TASKS)
    events["start"] = events["task"] * sizes.each
    events["nr"] = sizes.each
    events["arg"] = importance
    return events


def last_events(sizes: Sizes, clock: int) -> np.ndarray:
    """Free everything a life may hold; then let references, writeback and held buffers run out."""
    events = np.zeros(TASKS + 3, event_dtype)
    events["time"] = clock
    events["op"][: TASKS - 1] = Op.EXIT
    events["task"][: TASKS - 1] = np.arange(1, TASKS)
    events[TASKS - 1] = (clock, Op.KFREE, 0, 0, sizes.each, 0, 0)
    events[TASKS] = (clock, Op.TRUNCATE, 0, 0, sizes.nr_fpages, 0, 0)
    events[TASKS + 1 :]["op"] = Op.TICK
    events[TASKS + 1 :]["time"] = clock + np.array([5, 20]) * 1_000_000_000
    return events


def random_events(rng: np.random.Generator, nr: int, sizes: Sizes, clock: int) -> np.ndarray:
    """`nr` events after `clock`.

    Args:
        rng: decides everything.
        nr: how many.
        sizes: what they range over.
        clock: nanoseconds.
    """
    weights = np.array([_WEIGHTS[Op(op)] for op in range(NR_OPS)])
    events = np.zeros(nr, event_dtype)
    gaps = rng.exponential(400_000, nr) * np.where(rng.random(nr) < 0.002, 1000, 1)
    events["time"] = clock + np.cumsum(gaps.astype(np.int64))
    events["op"] = rng.choice(NR_OPS, nr, p=weights / weights.sum())
    events["task"] = rng.integers(1, TASKS, nr)
    events["nr"] = np.minimum(1 + rng.geometric(0.05, nr), RUN)
    events["start"] = events["task"] * sizes.each + rng.integers(0, sizes.each - RUN, nr)
    for op, fill in _FILLERS.items():
        chosen = np.flatnonzero(events["op"] == op)
        if len(chosen):
            events[chosen] = fill(rng, events[chosen], sizes)
    return events


def _chance(rng: np.random.Generator, events: np.ndarray, share: float) -> np.ndarray:
    return rng.random(len(events)) < share


def _touch(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    events["arg"] = TouchFlag.WRITE * _chance(rng, events, 0.7) | TouchFlag.DRIVER * _chance(rng, events, 0.01)
    return events


def _file_page(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    area = rng.integers(0, 3, len(events))
    events["start"] = area * sizes.files + rng.integers(0, sizes.files - RUN, len(events))
    return area


def _file(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    area = _file_page(rng, events, sizes)
    journal = (area == 2) & _chance(rng, events, 0.3)
    events["arg"] = (
        FileFlag.WRITE * _chance(rng, events, 0.3)
        | FileFlag.MAPPED * _chance(rng, events, 0.4)
        | FileFlag.EXEC * _chance(rng, events, 0.1)
        | FileFlag.WRITABLE * _chance(rng, events, 0.2)
        | FileFlag.SHMEM * (area == 1)
        | FileFlag.BDEV * (area == 2)
        | FileFlag.JOURNAL * journal
    )
    events["value"] = journal * rng.integers(1, 100_000, len(events))
    return events


def _of_file(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    _file_page(rng, events, sizes)
    return events


def _handles(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    events["task"] = 0
    events["nr"] = rng.integers(1, 12, len(events))
    events["start"] = rng.integers(0, min(HANDLES, sizes.each) - 12, len(events))
    return events


def _kalloc(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    _handles(rng, events, sizes)
    order = np.minimum(rng.geometric(0.45, len(events)) - 1, 5)
    events["arg"] = (
        KallocFlag.RECLAIMABLE * _chance(rng, events, 0.3)
        | KallocFlag.ATOMIC * _chance(rng, events, 0.4)
        | KallocFlag.SLAB * _chance(rng, events, 0.4)
        | KallocFlag.PAGE_TABLE * _chance(rng, events, 0.2)
        | order << KALLOC_ORDER_SHIFT
    )
    return events


def _pin(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    of_file = _chance(rng, events, 0.3)
    longterm = ~of_file & _chance(rng, events, 0.2)
    pages = _file_page(rng, events.copy(), sizes) * sizes.files + rng.integers(0, sizes.files - RUN, len(events))
    events["start"] = np.where(of_file, pages, events["start"])
    events["nr"] = rng.integers(1, 8, len(events))
    events["value"] = rng.integers(1, 200_000, len(events))
    holder = np.where(longterm, Holder.LONGTERM, _HOLDERS[rng.integers(0, len(_HOLDERS), len(events))])
    events["arg"] = PinFlag.FILE * of_file | PinFlag.LONGTERM * longterm | holder << PIN_HOLDER_SHIFT
    return events


def _mlock(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    events["arg"] = _chance(rng, events, 0.3)
    events["nr"] = rng.integers(1, 8, len(events))
    return events


def _spawn(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    events["start"] = events["task"] * sizes.each
    events["nr"] = sizes.each
    events["arg"] = rng.integers(0, 4, len(events))
    return events


def _fork(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    _spawn(rng, events, sizes)
    others = rng.integers(1, TASKS - 1, len(events))
    events["value"] = 1 + (events["task"] - 1 + others) % (TASKS - 1)
    return events


def _importance(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    events["arg"] = rng.integers(0, 4, len(events))
    return events


def _demand(rng: np.random.Generator, events: np.ndarray, sizes: Sizes) -> np.ndarray:
    """A third each: the whole area, a few pieces of any size, very many small blocks."""
    shape = rng.integers(0, 3, len(events))
    pages = np.stack([
        np.full(len(events), sizes.cma_pages),
        rng.integers(1, sizes.cma_pages // 8, len(events)),
        np.full(len(events), 16),
    ])
    pieces = np.stack([
        np.ones(len(events), np.int64),
        rng.integers(1, 7, len(events)),
        rng.integers(1, sizes.cma_pages // 16, len(events)),
    ])
    every = np.arange(len(events))
    events["start"] = every
    events["nr"] = pages[shape, every]
    events["value"] = pieces[shape, every]
    events["arg"] = rng.integers(0, 5, len(events))
    events["task"] = rng.integers(0, 100, len(events))
    return events


_FILLERS = {
    Op.TOUCH: _touch,
    Op.FILE: _file,
    Op.SYNC: _of_file,
    Op.TRUNCATE: _of_file,
    Op.KALLOC: _kalloc,
    Op.KFREE: _handles,
    Op.PIN: _pin,
    Op.MLOCK: _mlock,
    Op.SPAWN: _spawn,
    Op.FORK: _fork,
    Op.IMPORTANCE: _importance,
    Op.DEMAND: _demand,
}
