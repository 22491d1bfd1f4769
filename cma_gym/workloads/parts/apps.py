"""Apps of a phone: launched, brought to the foreground, left in the background, closed."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from cma_gym.machine.events import PIN_HOLDER_SHIFT, FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.mm.mmzone import Holder, Importance
from cma_gym.workloads.scenario import MS_NS, US_NS, Chance, Part, SecondsRange, Share, ShareRange, Stage, between_ns
from cma_gym.workloads.stream import KERNEL_TASK, Span, Stream, Task, chop, spread

SEGMENTS = 16
"""Heaps and files are used in sixteenths, as the recorded guest's programs do."""
PAGES_PER_TABLE = 512
PIN_MS = (2, 60)
"""Length of an app's brief pins (assumption: direct I/O and GPU submissions of a few frames)."""
PIN_PAGES = 32
"""Longest of them, on a machine of 512 MB (assumption)."""


class Apps(Part):
    """Apps picked by popularity, one action after the other, as a single user does.

    Shapes and shares without another mark are those of the recorded guest's `apps` program (see the recordings'
    description); "assumption" marks what has no source.
    """

    count: int = Field(default=16, ge=1, le=200, description="Installed apps [count].")
    zipf_exponent: float = Field(
        default=1.0,
        ge=0,
        le=4,
        description="Popularity of the app of rank r is r^-x [no unit]; the form is the recordings'.",
    )
    alive_max: int = Field(
        default=14, ge=1, le=200, description="Apps alive at most [count]; the least recently used is killed first."
    )
    size_percent: float = Field(default=100, gt=0, le=400, description="Scales the heap and file of every app [%].")
    heap_percent: ShareRange = Field(default=(3, 12), description="Anonymous heap of an app [% of RAM].")
    file_percent: ShareRange = Field(
        default=(1, 4), description="Mapped file of an app: code and resources [% of RAM]."
    )
    shmem_percent: Share = Field(
        default=0.1, description="Shared buffers of an app, tmpfs [% of RAM]; a phone in use has 0.5 % in all (D1)."
    )
    zygote_percent: Share = Field(
        default=1.5, description="Preloaded pages every forked app shares copy-on-write [% of RAM]; assumption."
    )
    fork_chance: Chance = Field(
        default=0.75, description="Launches that fork from the zygote; the rest start afresh [0..1]; assumption."
    )
    action_gap_s: SecondsRange = Field(default=(0.1, 0.4), description="Pause between two actions of the user [s].")
    launch_s: SecondsRange = Field(
        default=(0.3, 1.0), description="How long a launch takes its memory [s]; assumption."
    )
    switch_s: SecondsRange = Field(
        default=(0.05, 0.3), description="How long an app touches its pages [s]; assumption."
    )
    background_chance: Chance = Field(default=0.5, description="Background touches per pause [0..1]; assumption.")
    restart_chance: Chance = Field(
        default=0.1,
        description="A switch finds the app gone and launches it afresh [0..1]; assumption. It also brings back apps "
        "that the machine has killed, of which the stream cannot know.",
    )
    close_chance: Chance = Field(default=0.02, description="An action ends by closing the app [0..1]; assumption.")
    pin_chance: Chance = Field(
        default=0.3, description="An action pins up to 32 pages (at 512 MB) for 2-60 ms [0..1]; assumption on cause B7."
    )
    run_pages: int = Field(
        default=128, ge=1, le=4096, description="Longest run of pages that one event touches [pages]."
    )

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append the user's actions to the end of the stream."""
        phone = _Phone(self, stage, stream)
        time = phone.boot()
        while time < stage.duration_ns:
            time = phone.act(time)


class _Phone:
    """What is alive while the events are made."""

    def __init__(self, params: Apps, stage: Stage, stream: Stream) -> None:
        self.params = params
        self.stage = stage
        self.stream = stream
        self.picks = stage.rng("picks")
        self.times = stage.rng("times")
        self.touches = stage.rng("touches")
        sizes, scale = stage.rng("sizes"), params.size_percent / 100
        heaps = sizes.uniform(*params.heap_percent, params.count) * scale
        files = sizes.uniform(*params.file_percent, params.count) * scale
        self.heap_pages = [stage.pages(percent, least=SEGMENTS) for percent in heaps]
        self.files = [stream.file(stage.pages(percent, least=SEGMENTS)) for percent in files]
        self.shmem = [stream.file(stage.pages(params.shmem_percent * scale)) for _ in range(params.count)]
        weights = np.arange(1, params.count + 1, dtype=float) ** -params.zipf_exponent
        self.popularity = np.cumsum(weights / weights.sum())
        self.alive: dict[int, tuple[Task, Span]] = {}
        """Task and heap of the apps that run, the most recently used last."""
        self.zygote_pages = stage.pages(params.zygote_percent)

    def boot(self) -> int:
        """Start the zygote; the time when it is ready [ns]."""
        room = self.zygote_pages + max(self.heap_pages)
        self.zygote = self.stream.spawn(0, room + table_pages(room), Importance.SYSTEM)
        span = 200 * MS_NS
        self._touch(0, span, self.zygote, self.zygote.start, self.zygote_pages, TouchFlag.WRITE)
        return span

    def act(self, time: int) -> int:
        """One action of the user and the pause after it; the time of the next one [ns]."""
        app = int(np.searchsorted(self.popularity, self.picks.random(), side="right").clip(max=self.params.count - 1))
        restart, close, pin, background = self.picks.random(4)
        if app in self.alive and restart < self.params.restart_chance:
            self.leave(time, app)
        if app in self.alive:
            end = self.switch(time, app)
        else:
            end = self.launch(time, app)
        if pin < self.params.pin_chance:
            self.pin(end, app)
        if close < self.params.close_chance:
            self.leave(end, app)
        gap = between_ns(self.times, self.params.action_gap_s)
        if background < self.params.background_chance and len(self.alive) > 1:
            self.background(end, gap)
        return end + gap

    def launch(self, time: int, app: int) -> int:
        """Start an app: its heap grows while it faults in its file; when it is done [ns]."""
        if len(self.alive) >= self.params.alive_max:
            self.leave(time, next(iter(self.alive)))
        span = between_ns(self.times, self.params.launch_s)
        task, heap = self._start(time, span, app)
        self.alive[app] = (task, heap)
        self._rank(time, app)
        tables = table_pages(heap.nr)
        self.stream.kalloc(time, heap.start + heap.nr, tables, flags=KallocFlag.PAGE_TABLE, task=task.number)
        starts, lengths = self._uneven(heap.start, heap.nr)
        self.stream.many(spread(time, span, len(starts)), Op.TOUCH, task.number, starts, lengths, TouchFlag.WRITE)
        starts, lengths = self._uneven(*self.files[app])
        order = self.touches.permutation(len(starts))[: max(1, (3 * len(starts)) // 4)]
        self._read_file(time, span, task, app, starts[order], lengths[order])
        self._share(time + span // 2, task, app)
        return time + span

    def switch(self, time: int, app: int) -> int:
        """Bring a running app to the foreground; when it has touched its pages [ns]."""
        span = between_ns(self.times, self.params.switch_s)
        task, heap = self.alive[app]
        self._rank(time, app)
        starts, lengths = segments(*heap)
        chosen = self.touches.permutation(SEGMENTS)
        refilled = np.sort(chosen[8:10])
        self.stream.many(np.full(2, time), Op.UNMAP, task.number, starts[refilled], lengths[refilled])
        for place, segment in enumerate(chosen[:8]):
            flags = TouchFlag.WRITE if place % 3 == 0 else 0
            self._touch(time + place * span // 8, span // 8, task, starts[segment], lengths[segment], flags)
        for segment in refilled:
            self._touch(time + span // 4, span // 2, task, starts[segment], lengths[segment], TouchFlag.WRITE)
        starts, lengths = segments(*self.files[app])
        half = np.sort(self.touches.permutation(SEGMENTS)[: SEGMENTS // 2])
        self._read_file(time, span, task, app, *chop(starts[half], lengths[half], self.params.run_pages))
        self._share(time, task, app)
        return time + span

    def background(self, time: int, span: int) -> None:
        """Some app that nobody looks at touches a sixteenth of its heap."""
        others = list(self.alive)[:-1]
        task, heap = self.alive[others[int(self.picks.integers(len(others)))]]
        starts, lengths = segments(*heap)
        segment = int(self.touches.integers(SEGMENTS))
        flags = TouchFlag.WRITE if self.touches.random() < 1 / 3 else 0
        self._touch(time, span, task, starts[segment], lengths[segment], flags)

    def leave(self, time: int, app: int) -> None:
        """End an app; its shared buffers go with it, its file stays in the cache."""
        task, _ = self.alive.pop(app)
        self.stream.exit(time, task)
        self.stream.one(time, Op.TRUNCATE, KERNEL_TASK, *self.shmem[app])

    def pin(self, time: int, app: int) -> None:
        """Pin a few pages that the app has just written, for the length of an I/O."""
        task, heap = self.alive[app]
        nr = min(heap.nr, int(self.touches.integers(1, self.stage.scaled(PIN_PAGES) + 1)))
        start = heap.start + int(self.touches.integers(heap.nr - nr + 1))
        value = round(self.touches.uniform(*PIN_MS) * MS_NS) // US_NS
        holder = Holder.DIRECT_IO if self.touches.random() < 0.5 else Holder.DRIVER
        self.stream.one(time, Op.TOUCH, task.number, start, nr, TouchFlag.WRITE)
        self.stream.one(time, Op.PIN, task.number, start, nr, holder << PIN_HOLDER_SHIFT, value)

    def _start(self, time: int, span: int, app: int) -> tuple[Task, Span]:
        """The app's process and where its heap lies; a forked one writes part of what it shares with the zygote."""
        nr = self.heap_pages[app]
        if self.picks.random() >= self.params.fork_chance:
            task = self.stream.spawn(time, nr + table_pages(nr), Importance.FOREGROUND)
            return task, Span(task.start, nr)
        task = self.stream.fork(time, self.zygote, Importance.FOREGROUND)
        shared = self.zygote_pages
        self._touch(time, span, task, task.start, shared // 3, TouchFlag.WRITE)
        self._touch(time, span, task, task.start + shared // 3, shared // 3, 0)
        return task, Span(task.start + shared, nr)

    def _rank(self, time: int, app: int) -> None:
        """Make an app the foreground one, the last one visible, the one before it background."""
        self.alive[app] = self.alive.pop(app)
        for (task, _), importance in zip(reversed(self.alive.values()), list(Importance)[:3], strict=False):
            self.stream.one(time, Op.IMPORTANCE, task.number, arg=importance)

    def _touch(self, time: int, span: int, task: Task, start: int, nr: int, flags: int) -> None:
        starts, lengths = chop(start, nr, self.params.run_pages)
        self.stream.many(spread(time, span, len(starts)), Op.TOUCH, task.number, starts, lengths, flags)

    def _read_file(self, time: int, span: int, task: Task, app: int, starts: np.ndarray, lengths: np.ndarray) -> None:
        """Mapped faults; the first 3/8 of a file are code (assumption)."""
        code_end = self.files[app].start + self.files[app].nr * 3 // 8
        flags = np.where(starts < code_end, FileFlag.MAPPED | FileFlag.EXEC, FileFlag.MAPPED)
        self.stream.many(spread(time, span, len(starts)), Op.FILE, task.number, starts, lengths, flags)

    def _share(self, time: int, task: Task, app: int) -> None:
        self.stream.one(time, Op.FILE, task.number, *self.shmem[app], FileFlag.SHMEM | FileFlag.WRITE | FileFlag.MAPPED)

    def _uneven(self, start: int, nr: int) -> tuple[np.ndarray, np.ndarray]:
        return uneven(self.touches, start, nr, self.params.run_pages)


def segments(start: int, nr: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of the sixteenths of a range."""
    edges = start + nr * np.arange(SEGMENTS + 1) // SEGMENTS
    return edges[:-1], np.diff(edges)


def uneven(rng: np.random.Generator, start: int, nr: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a range into runs of uneven length, at most `longest` pages, at least eight of them where it can be."""
    cuts = max(SEGMENTS // 2, 2 * nr // longest)
    edges = np.unique(np.concatenate([[0, nr], rng.integers(0, nr, cuts)]))
    return chop(start + edges[:-1], np.diff(edges), longest)


def table_pages(nr: int) -> int:
    """Page tables of a heap: one for each 512 pages, and the levels above."""
    return nr // PAGES_PER_TABLE + 3
