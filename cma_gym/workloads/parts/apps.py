"""Apps of a phone: launched, brought to the foreground, left in the background, closed."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from cma_gym.machine.events import PIN_HOLDER_SHIFT, FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.mm.mmzone import Holder, Importance
from cma_gym.workloads.parts.app_lives import SEGMENTS, AppLives, segments, table_pages, uneven
from cma_gym.workloads.scenario import MS_NS, US_NS, Chance, Part, SecondsRange, Share, ShareRange, Stage, between_ns
from cma_gym.workloads.stream import KERNEL_TASK, Span, Stream, Task, chop, spread

COLD_RUNS = 8
"""How much longer the runs of pages of a cold start are than others, since most of its events do not happen
(assumption: as even then a start is dozens of them)."""
PIN_MS = (2, 60)
"""Length of an app's brief pins (assumption: direct I/O and GPU submissions of a few frames)."""
PIN_PAGES = 32
"""Longest of them, on a machine of 512 MB (assumption)."""


class Apps(Part):
    """Apps picked by popularity, one action after the other, as a single user does.

    An app that the machine has killed stays gone until the user comes back to it: a cold start, which shares nothing
    with the zygote. Its touches in the background do not happen meanwhile.

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


class _Phone(AppLives):
    """What is alive while the events are made."""

    def __init__(self, params: Apps, stage: Stage, stream: Stream) -> None:
        super().__init__(params, stage, stream)
        self.params = params
        self.stage = stage
        shmem = params.shmem_percent * params.size_percent / 100
        self.shmem = [stream.file(stage.pages(shmem)) for _ in range(params.count)]
        self.zygote_pages = stage.pages(params.zygote_percent)
        self.ready = [0] * params.count
        """When the latest start of each app is over, even if it is a cold one [ns]."""

    def boot(self) -> int:
        """Start the zygote; the time when it is ready [ns]."""
        room = self.zygote_pages + max(self.heap_pages)
        self.zygote = self.stream.spawn(0, room + table_pages(room), Importance.SYSTEM)
        span = 200 * MS_NS
        self.touch(0, span, self.zygote, self.zygote.start, self.zygote_pages, TouchFlag.WRITE)
        return span

    def act(self, time: int) -> int:
        """One action of the user and the pause after it; the time of the next one [ns]."""
        app = self.pick()
        close, pin, background = self.picks.random(3)
        end = self.switch(time, app) if app in self.alive else self.launch(time, app)
        if pin < self.params.pin_chance:
            self.pin(end, app)
        if close < self.params.close_chance:
            end = self.leave(end, app)
        gap = between_ns(self.times, self.params.action_gap_s)
        if background < self.params.background_chance and len(self.alive) > 1:
            self.background(end, gap)
        return end + gap

    def launch(self, time: int, app: int) -> int:
        """Start an app that the user has closed, or never used; when it is done [ns]."""
        if len(self.alive) >= self.params.alive_max:
            time = self.leave(time, next(iter(self.alive)))
        self.alive[app] = self._start(time, app)
        self.rank(time, app)
        self._grow(time, app)
        return self.ready[app]

    def _grow(self, time: int, app: int, number: int = 0) -> None:
        """A start: the heap grows while the file is faulted in. One with a number happens only after a kill."""
        span = between_ns(self.times, self.params.launch_s)
        self.ready[app] = time + span
        task, heap = self.alive[app]
        touch, read, longest = 0, 0, self.run_pages
        if number:
            touch, read, longest = TouchFlag.COLD, FileFlag.COLD, self.run_pages * COLD_RUNS
        shared, writable = heap.start - task.start, TouchFlag.WRITE | touch
        if shared:
            self.touch(time, span, task, task.start, shared // 3, writable, number)
            self.touch(time, span, task, task.start + shared // 3, shared // 3, touch, number)
        tables = table_pages(heap.nr)
        self.stream.kalloc(time, heap.start + heap.nr, tables, flags=KallocFlag.PAGE_TABLE, task=task.number)
        starts, lengths = uneven(self.touches, *heap, longest)
        times = spread(time, span, len(starts))
        self.stream.many(times, Op.TOUCH, task.number, starts, lengths, writable, number)
        starts, lengths = uneven(self.touches, *self.files[app], longest)
        order = self.touches.permutation(len(starts))[: max(1, (3 * len(starts)) // 4)]
        self._read_file(time, span, app, starts[order], lengths[order], read, number)
        self._share(time + span // 2, app, read, number)

    def switch(self, time: int, app: int) -> int:
        """Bring an app to the foreground, by a cold start if it was killed; when it has touched its pages [ns]."""
        number = self.ensure(time, app)
        self.rank(time, app)
        self._grow(time, app, number)
        span = between_ns(self.times, self.params.switch_s)
        task, heap = self.alive[app]
        starts, lengths = segments(*heap)
        chosen = self.touches.permutation(SEGMENTS)
        refilled = np.sort(chosen[8:10])
        self.stream.many(np.full(2, time), Op.UNMAP, task.number, starts[refilled], lengths[refilled])
        for place, segment in enumerate(chosen[:8]):
            flags = TouchFlag.WRITE if place % 3 == 0 else 0
            self.touch(time + place * span // 8, span // 8, task, starts[segment], lengths[segment], flags)
        for segment in refilled:
            self.touch(time + span // 4, span // 2, task, starts[segment], lengths[segment], TouchFlag.WRITE)
        starts, lengths = segments(*self.files[app])
        half = np.sort(self.touches.permutation(SEGMENTS)[: SEGMENTS // 2])
        self._read_file(time, span, app, *chop(starts[half], lengths[half], self.run_pages))
        self._share(time, app)
        return time + span

    def background(self, time: int, span: int) -> None:
        """Some app that nobody looks at touches a sixteenth of its heap."""
        others = list(self.alive)[:-1]
        task, heap = self.alive[others[int(self.picks.integers(len(others)))]]
        starts, lengths = segments(*heap)
        segment = int(self.touches.integers(SEGMENTS))
        flags = TouchFlag.WRITE if self.touches.random() < 1 / 3 else 0
        self.touch(time, span, task, starts[segment], lengths[segment], flags)

    def leave(self, time: int, app: int) -> int:
        """End an app, which completes its start first; when [ns]. Its buffers go with it, its file stays cached."""
        time = max(time, self.ready[app])
        task, _ = self.alive.pop(app)
        self.stream.exit(time, task)
        self.stream.one(time, Op.TRUNCATE, KERNEL_TASK, *self.shmem[app])
        return time

    def pin(self, time: int, app: int) -> None:
        """Pin a few pages that the app has just written, for the length of an I/O."""
        task, heap = self.alive[app]
        nr = min(heap.nr, int(self.touches.integers(1, self.stage.scaled(PIN_PAGES) + 1)))
        start = heap.start + int(self.touches.integers(heap.nr - nr + 1))
        value = round(self.touches.uniform(*PIN_MS) * MS_NS) // US_NS
        holder = Holder.DIRECT_IO if self.touches.random() < 0.5 else Holder.DRIVER
        self.stream.one(time, Op.TOUCH, task.number, start, nr, TouchFlag.WRITE)
        self.stream.one(time, Op.PIN, task.number, start, nr, holder << PIN_HOLDER_SHIFT, value)

    def _start(self, time: int, app: int) -> tuple[Task, Span]:
        """The app's process, which most often is the zygote's child, and where its heap lies."""
        nr = self.heap_pages[app]
        if self.picks.random() >= self.params.fork_chance:
            task = self.stream.spawn(time, nr + table_pages(nr), Importance.FOREGROUND)
            return task, Span(task.start, nr)
        task = self.stream.fork(time, self.zygote, Importance.FOREGROUND)
        return task, Span(task.start + self.zygote_pages, nr)

    def _read_file(
        self, time: int, span: int, app: int, starts: np.ndarray, lengths: np.ndarray, flags: int = 0, number: int = 0
    ) -> None:
        """Mapped faults; the first 3/8 of a file are code (assumption)."""
        code_end = self.files[app].start + self.files[app].nr * 3 // 8
        mapped = flags | FileFlag.MAPPED
        args = np.where(starts < code_end, mapped | FileFlag.EXEC, mapped)
        task, _ = self.alive[app]
        self.stream.many(spread(time, span, len(starts)), Op.FILE, task.number, starts, lengths, args, number)

    def _share(self, time: int, app: int, flags: int = 0, number: int = 0) -> None:
        task, _ = self.alive[app]
        flags |= FileFlag.SHMEM | FileFlag.WRITE | FileFlag.MAPPED
        self.stream.one(time, Op.FILE, task.number, *self.shmem[app], flags, number)
