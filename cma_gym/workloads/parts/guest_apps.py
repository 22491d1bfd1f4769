"""The apps of the recorded guest, as its program does them."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from cma_gym.machine.events import FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.parts.app_lives import SEGMENTS, AppLives, segments, table_pages, uneven
from cma_gym.workloads.scenario import SECOND_NS, Part, Seconds, SecondsRange, ShareRange, Stage, between_ns
from cma_gym.workloads.stream import Span, Stream, chop, spread

LAUNCHER_PAGES = 64
"""Stack, data and heap of the launcher, which its children share until they write (assumption: a small program)."""
CHILD_PAGES = 5
"""Of them, pages that a child writes at once. Source: 4 or 5 copies follow each of 20 forks in recording `apps`."""


class GuestApps(Part):
    """Apps that a launcher picks by popularity without waiting for them; a killed one is started afresh when picked.

    A launch forks; one that follows a kill, of which the stream cannot know, shares nothing with the launcher.

    Shapes and shares are those of the recordings' description, rates from what the program counted at the end of the
    recordings ("WL apps": 72 to 83 actions in 22 s, 15 to 20 of them launches); "assumption" marks the rest.
    """

    count: int = Field(default=16, ge=1, le=200, description="Installed apps [count].")
    zipf_exponent: float = Field(
        default=1.0, ge=0, le=4, description="Popularity of the app of rank r is r^-x [no unit]; 1 is an assumption."
    )
    alive_max: int = Field(
        default=14, ge=1, le=200, description="Apps alive at most [count]; the least recently used is ended first."
    )
    size_percent: float = Field(default=100, gt=0, le=400, description="Scales the heap and file of every app [%].")
    heap_percent: ShareRange = Field(default=(3, 12), description="Anonymous heap of an app [% of RAM].")
    file_percent: ShareRange = Field(default=(1, 4), description="Mapped file of an app [% of RAM].")
    action_gap_s: SecondsRange = Field(default=(0.1, 0.4), description="Time from one action to the next [s].")
    launch_s: SecondsRange = Field(
        default=(0.4, 1.2),
        description="How long a launch takes its memory [s]; unhindered ones took 0.5 s on average in the recordings.",
    )
    warm_s: SecondsRange = Field(default=(0.1, 0.5), description="How long an app touches its pages [s]; assumption.")
    background_s: Seconds = Field(
        default=5, description="Mean time between two touches of an app in the background [s]; assumption."
    )
    run_pages: int = Field(
        default=64, ge=1, le=4096, description="Longest run of pages that one event touches [pages]; assumption."
    )

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append the launcher's actions to the end of the stream."""
        launcher = _Launcher(self, stage, stream)
        time = 0
        while time < stage.duration_ns:
            time = launcher.act(time)


class _Launcher(AppLives):
    """What is alive, as far as the launcher knows, while the events are made."""

    def __init__(self, params: GuestApps, stage: Stage, stream: Stream) -> None:
        super().__init__(params, stage, stream)
        self.params = params
        self.launcher = stream.spawn(0, LAUNCHER_PAGES, Importance.SYSTEM)
        stream.one(0, Op.TOUCH, self.launcher.number, self.launcher.start, LAUNCHER_PAGES, TouchFlag.WRITE)

    def act(self, time: int) -> int:
        """One action, and what happens in the background until the next one, whose time is returned [ns]."""
        app = self.pick()
        if app in self.alive:
            self._warm(time, app)
        else:
            self._launch(time, app)
        gap = between_ns(self.times, self.params.action_gap_s)
        self._background(time, gap)
        return time + gap

    def _launch(self, time: int, app: int) -> None:
        if len(self.alive) >= self.params.alive_max:
            self.stream.exit(time, self.alive.pop(next(iter(self.alive)))[0])
        nr = self.heap_pages[app]
        task = self.stream.fork(time, self.launcher, Importance.FOREGROUND, nr + table_pages(nr))
        self.stream.one(time, Op.TOUCH, task.number, task.start, CHILD_PAGES, TouchFlag.WRITE)
        self.alive[app] = (task, Span(task.start + LAUNCHER_PAGES, nr))
        self.rank(time, app)
        self._grow(time, app, 0)

    def _grow(self, time: int, app: int, number: int) -> None:
        """A cold start: the heap grows while the file is faulted in, in sequential runs with jumps.

        A start with a number happens only if the app is found killed.
        """
        span = between_ns(self.times, self.params.launch_s)
        task, heap = self.alive[app]
        tables = table_pages(heap.nr)
        self.stream.kalloc(time, heap.start + heap.nr, tables, flags=KallocFlag.PAGE_TABLE, task=task.number)
        starts, lengths = chop(*heap, self.run_pages)
        times = spread(time, span, len(starts))
        flags = TouchFlag.WRITE | (TouchFlag.COLD if number else 0)
        self.stream.many(times, Op.TOUCH, task.number, starts, lengths, flags, number)
        starts, lengths = uneven(self.touches, *self.files[app], self.run_pages)
        order = self.touches.permutation(len(starts))
        times = spread(time, span, len(starts))
        flags = FileFlag.MAPPED | (FileFlag.COLD if number else 0)
        self.stream.many(times, Op.FILE, task.number, starts[order], lengths[order], flags, number)

    def _warm(self, time: int, app: int) -> None:
        """Bring an app to the foreground; if it was killed, that is a cold start."""
        task, heap = self.alive[app]
        number = self.ensure(time, app)
        self.rank(time, app)
        self._grow(time, app, number)
        span = between_ns(self.times, self.params.warm_s)
        starts, lengths = segments(*heap)
        chosen = self.touches.permutation(SEGMENTS)
        for place, segment in enumerate(chosen[: SEGMENTS // 2]):
            flags = TouchFlag.WRITE if place % 3 == 0 else 0
            self.touch(time + place * span // 8, span // 8, task, starts[segment], lengths[segment], flags)
        files, pages = segments(*self.files[app])
        half = np.sort(self.touches.permutation(SEGMENTS)[: SEGMENTS // 2])
        runs = chop(files[half], pages[half], self.run_pages)
        self.stream.many(spread(time, span, len(runs[0])), Op.FILE, task.number, *runs, FileFlag.MAPPED)
        refilled = chosen[-SEGMENTS // 8 :]
        times = np.full(len(refilled), time + span)
        self.stream.many(times, Op.UNMAP, task.number, starts[refilled], lengths[refilled])
        for segment in refilled:
            self.touch(time + span, span // 4, task, starts[segment], lengths[segment], TouchFlag.WRITE)

    def _background(self, time: int, gap: int) -> None:
        """Apps that nobody looks at touch a sixteenth of their heap now and then."""
        others = list(self.alive)[:-1]
        share = gap / (self.params.background_s * SECOND_NS)
        for app, chance in zip(others, self.picks.random(len(others)), strict=True):
            if chance < share:
                task, heap = self.alive[app]
                starts, lengths = segments(*heap)
                segment = int(self.touches.integers(SEGMENTS))
                self.touch(time, gap, task, starts[segment], lengths[segment], 0)
