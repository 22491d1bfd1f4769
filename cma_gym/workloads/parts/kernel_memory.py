"""Unmovable memory of the kernel, and of the services that are always there."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from cma_gym.machine.events import FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.scenario import MS_NS, SECOND_NS, Chance, Part, Seconds, Share, Stage
from cma_gym.workloads.stream import KERNEL_TASK, Stream, chop, spread

STEPS = 48
"""Batches of allocations in one cycle of growth."""
ORDER_SHARE = (0.955, 0.03, 0.01, 0.005)
"""Blocks by order 0..3; the recordings have 98-99.97 % of order 0 among all allocations (kernel fact 13)."""


class KernelMemory(Part):
    """Slab, sockets, pipes and driver buffers that grow, and fall by half again and again (recordings: `kmem`)."""

    peak_percent: Share = Field(
        default=4,
        description="Largest amount [% of RAM]; with the 4 % of boot near a phone's slab and stacks (D1: 8.1 %).",
    )
    cycle_s: Seconds = Field(
        default=5, description="Time from one fall to the next [s]; median lifetimes are 1.3-6.7 s (kernel fact 13)."
    )
    slab_chance: Chance = Field(default=0.6, description="Batches that are slab [0..1]; D1: slab 6.4 of 10 % of RAM.")
    reclaimable_chance: Chance = Field(
        default=0.05,
        description="Batches marked reclaimable [0..1]; at most 0.5 % of all allocations (kernel fact 13).",
    )
    atomic_chance: Chance = Field(
        default=0.15,
        description="Batches that may not reclaim and can fail [0..1]; assumption, such failures: kernel fact 14.",
    )

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append growth and falls to the end of the stream."""
        rng = stage.rng("blocks")
        peak, cycle_ns = stage.pages(self.peak_percent, least=2), round(self.cycle_s * SECOND_NS)
        held: list[tuple[int, int, int]] = []
        time = 0
        while time < stage.duration_ns and self.peak_percent > 0:
            room = max(1, peak - sum(nr << order for _, nr, order in held))
            for step in spread(time, cycle_ns, STEPS).tolist():
                held.append(self._grow(step, max(1, room // STEPS), rng, stream))
            time = max(time + round(cycle_ns * rng.uniform(0.8, 1.2)), step)
            held = self._fall(time, held, rng, stream)

    def _grow(self, time: int, pages: int, rng: np.random.Generator, stream: Stream) -> tuple[int, int, int]:
        """Allocate one batch; its first handle, number of blocks and order."""
        slab, reclaimable, atomic = rng.random(3)
        order = int(np.searchsorted(np.cumsum(ORDER_SHARE), rng.random() * sum(ORDER_SHARE)))
        nr = max(1, pages >> order)
        flags = KallocFlag.SLAB if slab < self.slab_chance else 0
        flags |= KallocFlag.RECLAIMABLE if reclaimable < self.reclaimable_chance else 0
        flags |= KallocFlag.ATOMIC if atomic < self.atomic_chance else 0
        start = stream.handles.take(nr)
        stream.kalloc(time, start, nr, order, flags)
        return start, nr, order

    @staticmethod
    def _fall(
        time: int, held: list[tuple[int, int, int]], rng: np.random.Generator, stream: Stream
    ) -> list[tuple[int, int, int]]:
        """Free every other batch, in a random order of them; what is left."""
        order = rng.permutation(len(held))
        for place in order[: len(held) // 2]:
            start, nr, _ = held[place]
            stream.one(time, Op.KFREE, KERNEL_TASK, start, nr)
            stream.handles.give(start, nr)
        return [held[place] for place in sorted(order[len(held) // 2 :])]


class System(Part):
    """Services that are always there: part of their memory locked, some of it in use all the time, and their files."""

    heap_percent: Share = Field(default=5, description="Anonymous memory of all services [% of RAM]; assumption.")
    locked_percent: Share = Field(default=2, description="Of it, locked in memory [% of RAM]; a phone has 3.8 % (D1).")
    file_percent: Share = Field(default=5, description="Their code and shared libraries [% of RAM]; assumption.")
    period_s: Seconds = Field(default=0.5, description="Time between two touches [s]; assumption.")
    touch_share: Chance = Field(default=0.05, description="Part of heap and files used at a touch [0..1]; assumption.")

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append start and regular touches."""
        rng = stage.rng("touches")
        nr, files = stage.pages(self.heap_percent), stream.file(stage.pages(self.file_percent))
        task = stream.spawn(0, nr, Importance.SYSTEM)
        boot_ns = 200 * MS_NS
        starts, lengths = chop(task.start, nr, 128)
        stream.many(spread(0, boot_ns, len(starts)), Op.TOUCH, task.number, starts, lengths, TouchFlag.WRITE)
        locked = min(nr, stage.pages(self.locked_percent, least=0))
        if locked:
            stream.one(boot_ns, Op.MLOCK, task.number, task.start, locked, 1)
        period_ns = round(self.period_s * SECOND_NS)
        times = np.arange(boot_ns, stage.duration_ns, period_ns, dtype=np.int64)
        heap_run, file_run = max(1, round(nr * self.touch_share)), max(1, round(files.nr * self.touch_share))
        heap_at = task.start + rng.integers(0, nr - heap_run + 1, len(times))
        writes = np.where(rng.random(len(times)) < 1 / 3, TouchFlag.WRITE, 0)
        stream.many(times, Op.TOUCH, task.number, heap_at, heap_run, writes)
        file_at = files.start + rng.integers(0, files.nr - file_run + 1, len(times))
        stream.many(times, Op.FILE, task.number, file_at, file_run, FileFlag.MAPPED | FileFlag.EXEC)
