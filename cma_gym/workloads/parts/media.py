"""Large files: media that is played, clips that are recorded."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from cma_gym.machine.events import FileFlag, Op, TouchFlag
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.scenario import SECOND_NS, Chance, Part, SecondsRange, Share, ShareRange, Stage, between_ns
from cma_gym.workloads.stream import Span, Stream, chop

READ_PAGES = 32
"""128 KiB, as the recorded guest reads."""
WRITE_PAGES = 256
"""1 MB at a time on a machine of 512 MB, as the recorded guest writes."""


class Playback(Part):
    """Media files read from end to end in pieces of 128 KiB, with pauses between."""

    files: int = Field(
        default=4, ge=1, le=100, description="Media files that take turns at random [count]; assumption."
    )
    file_percent: Share = Field(
        default=12.5, gt=0, description="Size of a media file [% of RAM]; the recordings: 64 MB of 512 MB."
    )
    speed_percent_per_s: float = Field(
        default=2, gt=0, le=100, description="Reading speed [% of RAM per s]; assumption."
    )
    pause_s: SecondsRange = Field(default=(1, 4), description="Time between two files [s]; assumption.")
    stop_chance: Chance = Field(default=0.5, description="A file is left at some random place [0..1]; assumption.")

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append one file after the other to the end of the stream."""
        rng = stage.rng("play")
        files = [stream.file(stage.pages(self.file_percent)) for _ in range(self.files)]
        buffers = stage.scaled(4 * READ_PAGES)
        player = stream.spawn(0, buffers, Importance.VISIBLE)
        step_ns = SECOND_NS * READ_PAGES // stage.pages(self.speed_percent_per_s)
        time = between_ns(rng, self.pause_s)
        while time < stage.duration_ns:
            start, nr = files[int(rng.integers(self.files))]
            if rng.random() < self.stop_chance:
                nr = int(rng.integers(1, nr + 1))
            starts, lengths = chop(start, nr, READ_PAGES)
            times = time + np.arange(len(starts), dtype=np.int64) * step_ns
            stream.restart(time, player, Importance.VISIBLE)
            stream.one(time, Op.TOUCH, player.number, player.start, buffers, TouchFlag.WRITE)
            stream.many(times, Op.FILE, player.number, starts, lengths)
            time = int(times[-1]) + step_ns + between_ns(rng, self.pause_s)


class Clips(Part):
    """Clips recorded 1 MB at a time: some flushed as they grow, some fsynced at the end, overwritten later."""

    slots: int = Field(
        default=6, ge=1, le=100, description="Clips kept; a new one replaces one of them [count]; assumption."
    )
    clip_percent: ShareRange = Field(default=(2, 6), description="Size of a clip [% of RAM]; as the recordings.")
    speed_percent_per_s: float = Field(
        default=2, gt=0, le=100, description="Writing speed [% of RAM per s]; assumption."
    )
    pause_s: SecondsRange = Field(default=(2, 8), description="Time between two clips [s]; assumption.")
    flush_chance: Chance = Field(default=0.3, description="Clips flushed after each megabyte [0..1]; assumption.")
    fsync_chance: Chance = Field(default=0.4, description="Clips synced when complete [0..1]; assumption.")
    in_place_chance: Chance = Field(
        default=0.5, description="An old clip is overwritten in place, else cut to nothing first [0..1]; assumption."
    )

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append one clip after the other to the end of the stream."""
        rng = stage.rng("record")
        slots = [stream.file(stage.pages(self.clip_percent[1])) for _ in range(self.slots)]
        recorder = stream.spawn(0, 1, Importance.VISIBLE)
        time, number = between_ns(rng, self.pause_s), 0
        while time < stage.duration_ns:
            stream.restart(time, recorder, Importance.VISIBLE)
            slot = slots[number % self.slots]
            nr = min(slot.nr, stage.pages(rng.uniform(*self.clip_percent)))
            if number >= self.slots and rng.random() >= self.in_place_chance:
                stream.one(time, Op.TRUNCATE, recorder.number, *slot)
            time = self._record(time, Span(slot.start, nr), recorder.number, rng, stage, stream)
            time += between_ns(rng, self.pause_s)
            number += 1

    def _record(self, time: int, clip: Span, task: int, rng: np.random.Generator, stage: Stage, stream: Stream) -> int:
        """Write one clip; when it is complete [ns]."""
        flush, fsync = rng.random(2)
        piece = stage.scaled(WRITE_PAGES)
        starts, lengths = chop(clip.start, clip.nr, piece)
        step_ns = SECOND_NS * piece // stage.pages(self.speed_percent_per_s)
        times = time + np.arange(len(starts), dtype=np.int64) * step_ns
        stream.many(times, Op.FILE, task, starts, lengths, FileFlag.WRITE | FileFlag.WRITABLE)
        if flush < self.flush_chance:
            stream.many(times + step_ns // 2, Op.SYNC, task, starts, lengths)
        end = int(times[-1]) + step_ns
        if fsync < self.fsync_chance:
            stream.one(end, Op.SYNC, task, *clip)
        return end
