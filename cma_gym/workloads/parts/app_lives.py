"""What every family of apps shares: sizes, popularity, who is alive and in which class, the shapes of touches."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from cma_gym.machine.events import Op
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.scenario import Stage
from cma_gym.workloads.stream import Span, Stream, Task, chop, spread

SEGMENTS = 16
"""Heaps and files are used in sixteenths, as the recorded guest's programs do."""
PAGES_PER_TABLE = 512


class Sizes(Protocol):
    """What the parameters of all families of apps have in common."""

    count: int
    zipf_exponent: float
    size_percent: float
    heap_percent: tuple[float, float]
    file_percent: tuple[float, float]
    run_pages: int


class AppLives:
    """Installed apps, and those that are alive as far as their launcher knows, while the events are made."""

    def __init__(self, sizes: Sizes, stage: Stage, stream: Stream) -> None:
        self.stream = stream
        self.run_pages = sizes.run_pages
        self.picks = stage.rng("picks")
        self.times = stage.rng("times")
        self.touches = stage.rng("touches")
        rng, scale = stage.rng("sizes"), sizes.size_percent / 100
        heaps = rng.uniform(*sizes.heap_percent, sizes.count) * scale
        files = rng.uniform(*sizes.file_percent, sizes.count) * scale
        self.heap_pages = [stage.pages(percent, least=SEGMENTS) for percent in heaps]
        self.files = [stream.file(stage.pages(percent, least=SEGMENTS)) for percent in files]
        weights = np.arange(1, sizes.count + 1, dtype=float) ** -sizes.zipf_exponent
        self.popularity = np.cumsum(weights / weights.sum())
        self.alive: dict[int, tuple[Task, Span]] = {}
        """Task and heap of the apps that were started and not ended, the most recently used last."""
        self.starts = 0
        """Starts that happen only if the app was killed."""

    def pick(self) -> int:
        """The app that the user wants next."""
        place = np.searchsorted(self.popularity, self.picks.random(), side="right")
        return int(place.clip(max=len(self.popularity) - 1))

    def ensure(self, time: int, app: int) -> int:
        """Start an app if the machine has killed it; the number of that start, for what happens only then."""
        self.starts += 1
        self.stream.ensure(time, self.alive[app][0], Importance.FOREGROUND, self.starts)
        return self.starts

    def rank(self, time: int, app: int) -> None:
        """Make an app the foreground one, the last one visible, the one before it background."""
        self.alive[app] = self.alive.pop(app)
        for (task, _), importance in zip(reversed(self.alive.values()), list(Importance)[:3], strict=False):
            self.stream.one(time, Op.IMPORTANCE, task.number, arg=importance)

    def touch(self, time: int, span: int, task: Task, start: int, nr: int, flags: int, number: int = 0) -> None:
        """Touch a range in runs, evenly over a span."""
        starts, lengths = chop(start, nr, self.run_pages)
        self.stream.many(spread(time, span, len(starts)), Op.TOUCH, task.number, starts, lengths, flags, number)


def segments(start: int, nr: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of the sixteenths of a range."""
    edges = start + nr * np.arange(SEGMENTS + 1) // SEGMENTS
    return edges[:-1], np.diff(edges)


def uneven(rng: np.random.Generator, start: int, nr: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a range into runs of uneven length, at most `longest` pages, at least eight of them where it can be."""
    cuts = max(SEGMENTS // 2, 2 * nr // longest)
    edges = np.sort(np.concatenate([[0, nr], rng.integers(0, nr, cuts)]))
    edges = edges[np.diff(edges, prepend=-1) > 0]
    return chop(start + edges[:-1], np.diff(edges), longest)


def table_pages(nr: int) -> int:
    """Page tables of a heap: one for each 512 pages, and the levels above."""
    return nr // PAGES_PER_TABLE + 3
