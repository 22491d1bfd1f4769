"""Contiguous buffers that are asked for at regular times, as the test drivers of published tables do."""

from __future__ import annotations

from pydantic import Field

from cma_gym.machine.events import Op
from cma_gym.workloads.parts.camera import alignment
from cma_gym.workloads.scenario import MS_NS, SECOND_NS, Clock, Seconds, Stage
from cma_gym.workloads.stream import Stream


class Requests(Clock):
    """Buffers of given sizes in turn, each given back at once; or none at all, where only a job's course matters."""

    first_s: Seconds = Field(default=20, description="When the first buffer is asked for [s].")
    every_s: Seconds = Field(default=5, description="Time from one request to the next [s]; A8: 5 s.")
    count: int = Field(default=0, ge=0, le=100_000, description="Requests in the stream [count].")
    sizes_pages: tuple[int, ...] = Field(default=(2048,), min_length=1, description="Sizes, in turn [pages]; A8: 8 MB.")
    hold_ms: int = Field(default=1, ge=1, le=100_000, description="How long a buffer is held [ms].")
    align_order: int = Field(default=8, ge=0, le=10, description="Largest alignment [order], as CONFIG_CMA_ALIGNMENT.")
    length_s: Seconds = Field(default=90, description="Length of the stream [s], longer if requests need it.")

    @property
    def duration_s(self) -> float:
        """The length asked for, and one interval after the last request [s]."""
        return max(self.length_s, self.first_s + self.count * self.every_s)

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append the requests."""
        for number in range(self.count):
            nr = self.sizes_pages[number % len(self.sizes_pages)]
            time = round((self.first_s + number * self.every_s) * SECOND_NS) + MS_NS
            stream.one(time, Op.DEMAND, self.hold_ms, number, nr, alignment(nr, self.align_order), 1)
