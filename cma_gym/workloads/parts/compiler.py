"""A parallel build: make, compilers that come and go, a linker now and then."""

from __future__ import annotations

import heapq

import numpy as np
from pydantic import Field

from cma_gym.machine.events import FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.scenario import MS_NS, Part, SecondsRange, Share, ShareRange, Stage, between_ns
from cma_gym.workloads.stream import Span, Stream, Task, chop, spread

RUN_PAGES = 64
PAGES_PER_TABLE = 512


class ParallelBuild(Part):
    """make -jN over a source tree: every job forks from make, becomes a compiler, reads, grows, writes, ends.

    No recording of a build exists here: all sizes are assumptions, chosen so that all jobs, the source tree and the
    objects together want more than RAM; C10 and F1 measure builds under memory pressure too.
    """

    jobs: int = Field(default=8, ge=1, le=256, description="Compilers at the same time, N of make -jN [count].")
    job_s: SecondsRange = Field(default=(0.4, 2.5), description="Life of a compiler [s].")
    idle_s: SecondsRange = Field(
        default=(0.005, 0.05), description="Time from a job's end to the next one in its place [s]."
    )
    heap_percent: ShareRange = Field(
        default=(3, 15), description="Anonymous heap of a compiler when it ends [% of RAM]."
    )
    make_percent: Share = Field(
        default=0.5, description="Memory of make, shared copy-on-write by every fork [% of RAM]."
    )
    program_percent: Share = Field(default=4, description="The compiler's own code, mapped by all jobs [% of RAM].")
    headers_percent: Share = Field(default=5, description="Headers that most jobs read [% of RAM].")
    sources_percent: Share = Field(default=40, description="Source files, read one after the other [% of RAM].")
    source_percent: ShareRange = Field(default=(0.1, 1.0), description="Sources read by one job [% of RAM].")
    objects_percent: Share = Field(
        default=20, description="Object files; a ring that is written over and over [% of RAM]."
    )
    object_percent: ShareRange = Field(default=(0.1, 0.8), description="Object file of one job [% of RAM].")
    link_every: int = Field(default=40, ge=1, description="Jobs from one link to the next [count].")
    link_percent: Share = Field(default=12, description="Heap of the linker [% of RAM]; it reads every object.")

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append jobs to the end of the stream, each in the place of one that has ended."""
        build = _Build(self, stage, stream)
        places: list[tuple[int, int, Task | None]] = [(200 * MS_NS + i * MS_NS, i, None) for i in range(self.jobs)]
        while places[0][0] < stage.duration_ns:
            time, place, ended = places[0]
            if ended is not None:
                stream.release(ended)
            end, task = build.job(time)
            heapq.heapreplace(places, (end, place, task))


class _Build:
    """Files and make itself while the events are made."""

    def __init__(self, params: ParallelBuild, stage: Stage, stream: Stream) -> None:
        self.params, self.stage, self.stream = params, stage, stream
        self.rng = stage.rng("jobs")
        self.program = stream.file(stage.pages(params.program_percent, least=8))
        self.headers = stream.file(stage.pages(params.headers_percent, least=8))
        self.sources = stream.file(stage.pages(params.sources_percent, least=8))
        self.objects = stream.file(stage.pages(params.objects_percent, least=8))
        self.make = stream.spawn(0, stage.pages(params.make_percent), Importance.SYSTEM)
        stream.one(0, Op.TOUCH, self.make.number, self.make.start, self.make.nr, TouchFlag.WRITE)
        self.number = self.read = self.written = 0

    def job(self, time: int) -> tuple[int, Task]:
        """One compiler, or the linker when it is time; when its place is free again [ns], and its task."""
        params, stage = self.params, self.stage
        self.number += 1
        linking = self.number % params.link_every == 0
        heap = stage.pages(params.link_percent if linking else self.rng.uniform(*params.heap_percent), least=8)
        span = between_ns(self.rng, params.job_s)
        task = self._exec(time, heap)
        starts, lengths = chop(task.start, heap, RUN_PAGES)
        self.stream.many(
            spread(time + 2 * MS_NS, span, len(starts)), Op.TOUCH, task.number, starts, lengths, TouchFlag.WRITE
        )
        self._read(time + MS_NS, span // 2, task, self.program, FileFlag.MAPPED | FileFlag.EXEC, 0.5)
        if linking:
            self._read(time + MS_NS, span // 2, task, self.objects, 0, 1.0)
        else:
            self._read(time + MS_NS, span // 3, task, self.headers, 0, 0.7)
            self._read(time + MS_NS, span // 3, task, self._next_sources(), 0, 1.0)
        end = time + span + 3 * MS_NS
        written = self._next_object()
        self.stream.one(end, Op.TRUNCATE, task.number, *written)
        self.stream.one(end, Op.FILE, task.number, *written, FileFlag.WRITE | FileFlag.WRITABLE)
        self.stream.one(end, Op.EXIT, task.number)
        return end + between_ns(self.rng, params.idle_s), task

    def _exec(self, time: int, heap: int) -> Task:
        """Fork from make, then become another program: make's pages go, a new range comes."""
        tables = heap // PAGES_PER_TABLE + 3
        room = max(heap + tables, self.make.nr)
        task = Task(self.stream.tasks.take(1), self.stream.vpages.take(room), room)
        number, start, make = task.number, task.start, self.make
        self.stream.one(time, Op.FORK, number, start, make.nr, Importance.BACKGROUND, make.number)
        self.stream.one(time, Op.TOUCH, number, start, max(1, make.nr // 8), TouchFlag.WRITE)
        self.stream.one(time + MS_NS, Op.EXIT, number)
        self.stream.one(time + MS_NS, Op.SPAWN, number, start, room, Importance.BACKGROUND)
        self.stream.kalloc(time + MS_NS, start + heap, tables, flags=KallocFlag.PAGE_TABLE, task=number)
        return task

    def _read(self, time: int, span: int, task: Task, files: Span, flags: int, share: float) -> None:
        """Read some share of a range in runs, in a random order of them."""
        starts, lengths = chop(*files, RUN_PAGES)
        order = self.rng.permutation(len(starts))[: max(1, round(share * len(starts)))]
        order = np.sort(order) if share == 1.0 else order
        self.stream.many(spread(time, span, len(order)), Op.FILE, task.number, starts[order], lengths[order], flags)

    def _next_sources(self) -> Span:
        nr = min(self.sources.nr, self.stage.pages(self.rng.uniform(*self.params.source_percent)))
        self.read = self.read if self.read + nr <= self.sources.nr else 0
        span = Span(self.sources.start + self.read, nr)
        self.read += nr
        return span

    def _next_object(self) -> Span:
        nr = min(self.objects.nr, self.stage.pages(self.rng.uniform(*self.params.object_percent)))
        self.written = self.written if self.written + nr <= self.objects.nr else 0
        span = Span(self.objects.start + self.written, nr)
        self.written += nr
        return span
