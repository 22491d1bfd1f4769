"""Building a Linux kernel with make -jN: programs of the sizes they really have, on a machine of known memory."""

from __future__ import annotations

import heapq

import numpy as np
from pydantic import Field

from cma_gym.machine.events import FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.machine.spec import PAGES_PER_MB
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.scenario import MS_NS, Chance, Megabytes, MegabytesRange, Part, SecondsRange, Stage, between_ns
from cma_gym.workloads.stream import Span, Stream, Task, chop, spread

RUN_PAGES = 32
PAGES_PER_TABLE = 512
KERNEL_PAGES = 160
"""Stacks, page tables of libraries, pipes, file and inode structures of the four processes of one compilation (shell,
driver, compiler, assembler), 40 each; assumption. It makes 2 % of all allocations unmovable, kernel fact 13: 2-8 %."""
KERNEL_STEPS = 8
"""Batches in which they come, over the life of a job."""


class KernelMake(Part):
    """make -jN: each job forks, becomes a compiler, reads its source and headers, grows, writes an object, ends.

    Now and then a job is a linker instead, which reads what was compiled since the last one and writes it again, as the
    `built-in.o` of every folder did. All sizes are assumptions about gcc 4.x and a kernel of 2014 without debug data.
    """

    reference_mb: int = Field(
        default=1024,
        ge=16,
        le=65536,
        description="RAM for which the sizes hold [MB]; on other machines they scale with it.",
    )
    jobs: int = Field(default=16, ge=1, le=256, description="Compilers at the same time, N of make -jN [count].")
    compile_s: SecondsRange = Field(
        default=(0.3, 1.1), description="Life of a compiler, with the share of a CPU it gets [s]."
    )
    pause_s: SecondsRange = Field(default=(0.001, 0.005), description="Time between two jobs of one place [s].")
    heap_mb: MegabytesRange = Field(default=(14, 46), description="Anonymous memory of a compiler at its end [MB].")
    again: int = Field(
        default=1, ge=0, le=16, description="Runs of older heap that are used again for each new one [count]."
    )
    make_mb: Megabytes = Field(default=8, description="Memory of make, shared copy-on-write by every fork [MB].")
    program_mb: Megabytes = Field(default=14, description="Code of compiler, assembler and shell, mapped by all [MB].")
    headers_mb: Megabytes = Field(default=25, description="Header files [MB].")
    headers_share: Chance = Field(default=0.2, description="Headers that one job reads [0..1].")
    sources_mb: Megabytes = Field(default=65, description="Source files, each read by one job [MB].")
    source_mb: MegabytesRange = Field(default=(0.01, 0.05), description="Source file of one job [MB].")
    objects_mb: Megabytes = Field(default=1000, description="All objects; a ring, should it be too small [MB].")
    object_mb: MegabytesRange = Field(default=(0.05, 0.25), description="Object of one job [MB].")
    link_every: int = Field(default=15, ge=2, description="Jobs from one link to the next [count].")

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append jobs to the end of the stream, each in the place of one that has ended."""
        make = _Make(self, stage, stream)
        places: list[tuple[int, int, Task | None]] = [(200 * MS_NS + i * 20 * MS_NS, i, None) for i in range(self.jobs)]
        while places[0][0] < stage.duration_ns:
            time, place, ended = places[0]
            if ended is not None:
                stream.release(ended)
            end, task = make.job(time)
            heapq.heapreplace(places, (end, place, task))


class _Ring:
    """Files that are used one after the other, again from the start when all are."""

    def __init__(self, span: Span) -> None:
        self.span, self.used = span, 0

    def take(self, nr: int) -> Span:
        nr = min(nr, self.span.nr)
        self.used = self.used if self.used + nr <= self.span.nr else 0
        found = Span(self.span.start + self.used, nr)
        self.used += nr
        return found


class _Make:
    """Files and make itself while the events are made."""

    def __init__(self, params: KernelMake, stage: Stage, stream: Stream) -> None:
        self.params, self.stream = params, stream
        self.scale = stage.spec.ram_mb / params.reference_mb
        self.kernel_pages = max(1, round(KERNEL_PAGES * self.scale))
        self.rng = stage.rng("jobs")
        self.program = stream.file(self._pages(params.program_mb))
        self.headers = stream.file(self._pages(params.headers_mb))
        self.sources = _Ring(stream.file(self._pages(params.sources_mb)))
        self.objects = _Ring(stream.file(self._pages(params.objects_mb)))
        self.make = stream.spawn(0, self._pages(params.make_mb), Importance.SYSTEM)
        stream.one(0, Op.TOUCH, self.make.number, self.make.start, self.make.nr, TouchFlag.WRITE)
        self.number = 0
        self.unlinked: list[tuple[int, Span]] = []
        """Objects and when they are complete."""

    def _pages(self, megabytes: float) -> int:
        return max(1, round(megabytes * PAGES_PER_MB * self.scale))

    def job(self, time: int) -> tuple[int, Task]:
        """One compiler, or a linker when it is time; when its place is free again [ns], and its task."""
        params = self.params
        self.number += 1
        done = [span for complete, span in self.unlinked if complete <= time]
        linking = self.number % params.link_every == 0 and len(done) > 0
        inputs = done if linking else [self.sources.take(self._pages(self.rng.uniform(*params.source_mb)))]
        heap = sum(span.nr for span in inputs) if linking else self._pages(self.rng.uniform(*params.heap_mb))
        span = between_ns(self.rng, params.compile_s)
        task = self._exec(time, span, max(heap, 8))
        self._grow(time + 2 * MS_NS, span, task, max(heap, 8))
        self._read(time + MS_NS, span // 2, task, self.program, 0.5, FileFlag.MAPPED | FileFlag.EXEC)
        if not linking:
            self._read(time + MS_NS, span // 3, task, self.headers, params.headers_share)
        for number, given in enumerate(inputs):
            at = time + MS_NS + span // 2 * number // len(inputs)
            self.stream.many(np.array([at]), Op.FILE, task.number, given.start, given.nr)
        end = time + span + 3 * MS_NS
        nr = heap if linking else self._pages(self.rng.uniform(*params.object_mb))
        written = self.objects.take(nr)
        if linking:
            self.unlinked = [entry for entry in self.unlinked if entry[0] > time]
        else:
            self.unlinked.append((end, written))
        self.stream.one(end, Op.TRUNCATE, task.number, *written)
        self.stream.one(end, Op.FILE, task.number, *written, FileFlag.WRITE | FileFlag.WRITABLE)
        self.stream.one(end, Op.EXIT, task.number)
        return end + between_ns(self.rng, params.pause_s), task

    def _exec(self, time: int, span: int, heap: int) -> Task:
        """Fork from make, then become another program: make's pages go, a new range comes."""
        kernel = heap // PAGES_PER_TABLE + self.kernel_pages
        room = max(heap + kernel, self.make.nr)
        task = Task(self.stream.tasks.take(1), self.stream.vpages.take(room), room)
        number, start, make = task.number, task.start, self.make
        self.stream.one(time, Op.FORK, number, start, make.nr, Importance.BACKGROUND, make.number)
        self.stream.one(time, Op.TOUCH, number, start, max(1, make.nr // 8), TouchFlag.WRITE)
        self.stream.one(time + MS_NS, Op.EXIT, number)
        self.stream.one(time + MS_NS, Op.SPAWN, number, start, room, Importance.BACKGROUND)
        starts, lengths = chop(start + heap, kernel, -(-kernel // KERNEL_STEPS))
        times = spread(time + MS_NS, span, len(starts))
        self.stream.many(times, Op.KALLOC, number, starts, lengths, KallocFlag.PAGE_TABLE)
        return task

    def _grow(self, time: int, span: int, task: Task, heap: int) -> None:
        """Touch the heap page by page, and older parts of it again all the while: half of that the youngest eighth."""
        starts, lengths = chop(task.start, heap, RUN_PAGES)
        times = spread(time, span, len(starts))
        self.stream.many(times, Op.TOUCH, task.number, starts, lengths, TouchFlag.WRITE)
        for _ in range(self.params.again):
            back = np.arange(len(starts)) * self.rng.random(len(starts)) ** 3
            older = np.arange(len(starts)) - back.astype(np.int64)
            self.stream.many(times, Op.TOUCH, task.number, starts[older], lengths[older], TouchFlag.WRITE)

    def _read(self, time: int, span: int, task: Task, files: Span, share: float, flags: int = 0) -> None:
        """Read some share of a range in runs, in a random order of them."""
        starts, lengths = chop(*files, RUN_PAGES)
        order = self.rng.permutation(len(starts))[: max(1, round(share * len(starts)))]
        self.stream.many(spread(time, span, len(order)), Op.FILE, task.number, starts[order], lengths[order], flags)
