"""Pages that somebody holds on to: pipes, direct I/O, registered buffers, drivers.

Who holds a page, and for how long, is part of the demand on memory: all placement rules see the same holders. Where the
page lies when it is taken is the rule's business.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from cma_gym.machine.events import PIN_HOLDER_SHIFT, Op, PinFlag, TouchFlag
from cma_gym.mm.mmzone import Holder, Importance
from cma_gym.workloads.scenario import LONGEST_US, US_NS, PagesRange, Part, SecondsRange, Stage, between_ns
from cma_gym.workloads.stream import Stream, Task

ROUNDS = 6
"""A worker starts anew after so many rounds; if killed by the machine it would else be gone for good (assumption)."""


class Holding(Part):
    """Workers that fault in pages, hold them for a while, and give them back, again and again."""

    holder: ClassVar[Holder]
    pin_flags: ClassVar[int] = 0
    touch_flags: ClassVar[int] = TouchFlag.WRITE
    pinned: ClassVar[bool] = True
    """Whether an extra reference is taken; else the pages themselves are the obstacle."""
    importance: ClassVar[Importance] = Importance.BACKGROUND

    workers: int = Field(default=1, ge=0, le=64, description="Holders at the same time [count].")
    pages: PagesRange = Field(default=(1, 1), description="Pages held at a time, at 512 MB; scales with RAM [pages].")
    hold_s: SecondsRange = Field(default=(1, 1), description="How long they are held [s].")
    gap_s: SecondsRange = Field(default=(1, 1), description="Time between two holds of a worker [s].")

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append every worker's rounds to the end of the stream."""
        for number in range(self.workers):
            rng = stage.rng(f"worker{number}")
            nr = stage.scaled(self.pages[1])
            task = stream.spawn(0, nr, self.importance)
            time, rounds = between_ns(rng, self.gap_s), 0
            while time < stage.duration_ns:
                rounds += 1
                if rounds % ROUNDS == 0:
                    stream.restart(time, task, self.importance)
                time = self._round(time, task, rng, stage, stream) + between_ns(rng, self.gap_s)

    def _round(self, time: int, task: Task, rng: np.random.Generator, stage: Stage, stream: Stream) -> int:
        """Take, hold and give back once; when the pages are free again [ns]."""
        nr = min(task.nr, stage.scaled(rng.uniform(*self.pages)))
        value = min(between_ns(rng, self.hold_s) // US_NS + 1, LONGEST_US)
        stream.one(time, Op.TOUCH, task.number, task.start, nr, self.touch_flags)
        if self.pinned:
            arg = self.pin_flags | self.holder << PIN_HOLDER_SHIFT
            stream.one(time, Op.PIN, task.number, task.start, nr, arg, value)
        end = time + value * US_NS + US_NS
        stream.one(end, Op.UNMAP, task.number, task.start, nr)
        return end


class SlowPipes(Holding):
    """Pages given to a pipe (vmsplice) whose reader is slow; times as in the recorded guest."""

    holder = Holder.PIPE
    workers: int = Field(default=4, ge=0, le=64, description="Pipes [count]; assumption.")
    pages: PagesRange = Field(
        default=(4, 16), description="Pages in a pipe, at 512 MB [pages]; 16 is a pipe's default."
    )
    hold_s: SecondsRange = Field(default=(0.2, 1.7), description="Until the reader takes them [s]; as the recordings.")
    gap_s: SecondsRange = Field(default=(0.1, 1.0), description="Time between two writes of a pipe [s]; assumption.")


class DirectIo(Holding):
    """Buffers under direct I/O, pinned for the length of it (cause B7)."""

    holder = Holder.DIRECT_IO
    workers: int = Field(default=2, ge=0, le=64, description="Programs that do direct I/O [count]; assumption.")
    pages: PagesRange = Field(default=(16, 256), description="Pages of one request, at 512 MB [pages]; assumption.")
    hold_s: SecondsRange = Field(
        default=(0.001, 0.02), description="Length of the I/O [s]; assumption, flash speed (C10)."
    )
    gap_s: SecondsRange = Field(default=(0.02, 0.3), description="Time between two requests [s]; assumption.")


class RegisteredBuffers(Holding):
    """Buffers registered for long (FOLL_LONGTERM): the kernel moves them out of CMA first (kernel fact 4)."""

    holder = Holder.LONGTERM
    pin_flags = PinFlag.LONGTERM
    workers: int = Field(default=1, ge=0, le=64, description="Programs with registered buffers [count]; assumption.")
    pages: PagesRange = Field(default=(512, 2048), description="Pages registered, at 512 MB [pages]; assumption.")
    hold_s: SecondsRange = Field(default=(3, 12), description="How long they stay registered [s]; assumption.")
    gap_s: SecondsRange = Field(default=(1, 4), description="Time between two registrations [s]; assumption.")


class DriverPins(Holding):
    """A driver that takes short-term pins and keeps them; counts and times as in the recorded guest."""

    holder = Holder.DRIVER
    workers: int = Field(default=1, ge=0, le=64, description="Such drivers [count].")
    pages: PagesRange = Field(default=(64, 1023), description="Pages held, at 512 MB [pages]; as the recordings.")
    hold_s: SecondsRange = Field(default=(0.05, 0.95), description="How long they are held [s]; as the recordings.")
    gap_s: SecondsRange = Field(default=(0.2, 1.5), description="Time between two holds [s]; assumption.")


class DriverPages(Holding):
    """A driver's own pages, asked for as movable although it cannot move them (cause B16)."""

    holder = Holder.UNMOVABLE
    pinned = False
    touch_flags = TouchFlag.WRITE | TouchFlag.DRIVER
    importance = Importance.SYSTEM
    workers: int = Field(default=1, ge=0, le=64, description="Such drivers [count]; assumption.")
    pages: PagesRange = Field(default=(8, 64), description="Pages of a buffer, at 512 MB [pages]; assumption.")
    hold_s: SecondsRange = Field(default=(0.3, 3.0), description="Life of a buffer [s]; assumption (B16 says: long).")
    gap_s: SecondsRange = Field(default=(3, 9), description="Time between two buffers [s]; assumption.")
