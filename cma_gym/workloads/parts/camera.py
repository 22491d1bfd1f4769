"""Use of the camera: what asks for the CMA area."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from cma_gym.machine.events import Op, TouchFlag
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.scenario import SECOND_NS, Clock, Seconds, Share, Stage
from cma_gym.workloads.stream import Stream, chop, spread

PIECES = 9
PIECE_OF_AREA = (20, 256)
"""A piece is 20 MB of an area of 256 MB (the product test), or the same share of another area."""
BLOCK_ORDER = 4
BLOCKS_OF_AREA = (4800, 6144)
"""Scattered blocks: 4800 of 64 KiB in an area of 384 MB (the product test), or the same share of another area."""
RUN_PAGES = 128


class Camera(Clock):
    """Product tests that take turns: the whole area in one piece, 9 pieces of 20/256 of it each, scattered blocks."""

    jitter: ClassVar[float] = 0.5
    """Part of its gap over which the time of a demand is spread."""

    warmup_s: Seconds = Field(
        default=20, description="Use before the first demand [s]; stands for hours of use at this pace."
    )
    count: int = Field(default=8, ge=1, le=100_000, description="Demands in the stream [count].")
    gap_s: Seconds = Field(
        default=6, description="Mean time from one demand to the next [s]; assumption (the recordings: about 3 s)."
    )
    hold_s: Seconds = Field(
        default=1.0,
        description="How long the memory is held [s], at most gap_s / 4; assumption (the recordings: 0.3 s).",
    )
    tests: tuple[Literal["whole", "pieces", "blocks"], ...] = Field(
        default=("whole", "pieces"), min_length=1, description="Which tests take turns, in this order."
    )
    align_order: int = Field(
        default=8,
        ge=0,
        le=10,
        description="Largest alignment [order], as CONFIG_CMA_ALIGNMENT; smaller where it would pad a piece by more "
        "than a sixteenth, as it would on small twins.",
    )
    app_percent: Share = Field(
        default=2, description="Heap of the camera app while it holds the area [% of RAM]; assumption."
    )

    @model_validator(mode="after")
    def _demands_end_in_time(self) -> Camera:
        if self.hold_s > self.gap_s / 4:
            raise ValueError(
                f"hold_s={self.hold_s:g} is more than a quarter of gap_s={self.gap_s:g}, so that demands would pile "
                "up; make it shorter, or the gap longer"
            )
        return self

    @property
    def duration_s(self) -> float:
        """Warm-up and one gap after each demand [s]."""
        return self.warmup_s + self.count * self.gap_s

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append the demands; each falls into the first part of its gap, so that it ends before the next begins."""
        rng = stage.rng("times")
        for number in range(self.count):
            start_s = self.warmup_s + (number + rng.uniform(0, self.jitter)) * self.gap_s
            pieces, nr = demand_size(self.tests[number % len(self.tests)], stage.spec)
            order = alignment(nr, self.align_order)
            time = round(start_s * SECOND_NS)
            stream.one(time, Op.DEMAND, max(1, round(self.hold_s * 1000)), number, nr, order, pieces)
            self._run_app(time, stage, stream)

    def _run_app(self, time: int, stage: Stage, stream: Stream) -> None:
        nr = stage.pages(self.app_percent)
        hold_ns = round(self.hold_s * SECOND_NS)
        task = stream.spawn(time, nr, Importance.FOREGROUND)
        starts, lengths = chop(task.start, nr, RUN_PAGES)
        times = spread(time, hold_ns // 2, len(starts))
        stream.many(times, Op.TOUCH, task.number, starts, lengths, TouchFlag.WRITE)
        stream.exit(time + hold_ns, task)


def demand_size(test: str, spec: MachineSpec) -> tuple[int, int]:
    """Pieces and pages of a piece of one product test on this machine."""
    if test == "whole":
        return 1, spec.cma_pages
    if test == "blocks":
        asked, of = BLOCKS_OF_AREA
        return max(1, (spec.cma_pages >> BLOCK_ORDER) * asked // of), 1 << BLOCK_ORDER
    share, of = PIECE_OF_AREA
    return PIECES, spec.cma_pages * share // of


def alignment(nr: int, largest: int) -> int:
    """The largest order, up to `largest`, whose alignment pads a piece of `nr` pages by at most a sixteenth.

    Linux: dma_alloc_contiguous() aligns to the order of the size, cma_alloc callers to CONFIG_CMA_ALIGNMENT at most.
    """
    return max(order for order in range(largest + 1) if -nr % (1 << order) <= nr // 16)
