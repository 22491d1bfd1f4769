"""Thousands of small files: metadata in the block-device page cache, held by the journal."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field, model_validator

from cma_gym.machine.events import FileFlag, Op
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.scenario import (
    LONGEST_US,
    REFERENCE_PAGES,
    SECOND_NS,
    US_NS,
    Chance,
    Part,
    Seconds,
    SecondsRange,
    Share,
    Stage,
    between_ns,
)
from cma_gym.workloads.stream import Stream

SLOT_PAGES = 8
"""Room for one small file."""
MEAN_FILE_PAGES = 3
"""Mean size of a small file (assumption)."""
RAW_READ_PAGES = 8
"""Pages that one read of the raw device brings in: the recorded guest reads 16 KiB at a time, and read-ahead doubles it
(recording `meta`: 33,536 kB read, 16,183 unmovable pages added to the block device's cache)."""
RAW_RANGE_PERCENT = 12.5
"""Part of the device that raw reads go round [% of RAM]: 64 MB of 512 MB (assumption). Places are random on the real
one, so that a page is hardly ever read again while it is cached."""
WALK_PAGES = 4
"""Directory and inode blocks that one step of a walk reads, at most (assumption)."""
RESTART_NS = 5 * SECOND_NS
"""A worker starts anew so often: one that the machine has killed would else be gone for good (assumption)."""


class SmallFiles(Part):
    """Small files made, written, renamed and unlinked, directories walked, now and then an fsync.

    Every change touches metadata pages, which the journal then holds until its transaction is committed and written
    back (kernel fact 1: pages with a journal head refuse to move, and do not clear within three tries). A page joins a
    transaction once, so that it is held once however often it is changed.
    """

    operations_per_s: float = Field(
        default=150, gt=0, le=20_000, description="Operations on files, at 512 MB; scales with RAM [1/s]; assumption."
    )
    files_percent: Share = Field(default=6, description="Room of all small files [% of RAM]; assumption.")
    metadata_percent: Share = Field(
        default=0.3,
        description="Metadata pages in use, in the block-device cache [% of RAM]; assumption that leaves some 40-220 "
        "of them in an area of 128 MB (kernel fact 1).",
    )
    commit_s: Seconds = Field(
        default=5, description="Longest time from a change to the journal's commit [s]; ext4's default commit interval."
    )
    checkpoint_s: Seconds = Field(
        default=1.5,
        description="Mean time that the journal holds a page beyond its commit [s]; assumption on kernel fact 1.",
    )
    writeback_s: SecondsRange | None = Field(
        default=None,
        description="Time from the commit until a changed page has been written back and the next commit takes it off "
        "the checkpoint list [s]; with dirty_expire_centisecs at its default some 30 to 40 s. None: checkpoint_s.",
    )
    create_share: Chance = Field(default=0.35, description="Operations that make and write a file [0..1]; assumption.")
    unlink_share: Chance = Field(default=0.25, description="Operations that unlink a file [0..1]; assumption.")
    rename_share: Chance = Field(
        default=0.1,
        description="Operations that rename a file [0..1]; assumption. The rest read a file or walk a directory.",
    )
    fsync_chance: Chance = Field(
        default=0.01, description="A file just written is synced, which commits the journal [0..1]; assumption."
    )
    raw_read_percent_per_s: Share = Field(
        default=0.3,
        description="Page cache that raw reads of the block device bring in [% of RAM per s]. It is unmovable (kernel "
        "fact 2: 15,220 of 15,578 pages), so that it never enters CMA, and stays until reclaimed.",
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> SmallFiles:
        total = self.create_share + self.unlink_share + self.rename_share
        if total > 1:
            raise ValueError(f"create_share, unlink_share and rename_share add up to {total:g}, above 1; lower one")
        return self

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append file operations and raw reads to the end of the stream."""
        disk = _Disk(self, stage, stream)
        rate = self.operations_per_s * stage.spec.nr_pages / REFERENCE_PAGES
        enough = math.ceil(1.2 * stage.duration_ns / SECOND_NS * rate) + 20
        gaps = stage.rng("times").exponential(SECOND_NS / rate, enough)
        times = np.cumsum(gaps).astype(np.int64)
        for time in times[times < stage.duration_ns].tolist():
            disk.operate(time)
        if self.raw_read_percent_per_s > 0:
            self._read_raw(stage, stream, disk.task.number)

    def _read_raw(self, stage: Stage, stream: Stream, task: int) -> None:
        """Raw reads at a steady pace."""
        step_ns = SECOND_NS * RAW_READ_PAGES // stage.pages(self.raw_read_percent_per_s)
        times = np.arange(step_ns, stage.duration_ns, step_ns, dtype=np.int64)
        device = stream.file(stage.pages(RAW_RANGE_PERCENT, least=RAW_READ_PAGES))
        turns = np.arange(len(times), dtype=np.int64) % (device.nr // RAW_READ_PAGES)
        starts = device.start + turns * RAW_READ_PAGES
        stream.many(times, Op.FILE, task, starts, RAW_READ_PAGES, FileFlag.BDEV | FileFlag.UNMOVABLE)


class _Disk:
    """The file system while the events are made."""

    def __init__(self, params: SmallFiles, stage: Stage, stream: Stream) -> None:
        self.params = params
        self.stream = stream
        self.rng = stage.rng("operations")
        self.nr_slots = max(4, stage.pages(params.files_percent) // SLOT_PAGES)
        self.data = stream.file(self.nr_slots * SLOT_PAGES)
        self.metadata = stream.file(stage.pages(params.metadata_percent, least=8))
        self.size = np.zeros(self.nr_slots, dtype=np.int64)
        """Pages of the file in each slot; 0: there is none."""
        self.groups = stream.file(1)
        """The group descriptors, which every change of a bitmap changes too."""
        self.held_until: dict[int, int] = {}
        """When the journal lets go of the metadata pages it holds [ns]."""
        self.commit_ns = round(params.commit_s * SECOND_NS)
        self.next_commit = self.commit_ns
        self.task = stream.spawn(0, 1, Importance.BACKGROUND)
        self.next_restart = RESTART_NS

    def operate(self, time: int) -> None:
        """One operation on one file."""
        if time >= self.next_commit:
            self.next_commit = time + self.commit_ns
        if time >= self.next_restart:
            self.stream.restart(time, self.task, Importance.BACKGROUND)
            self.next_restart = time + RESTART_NS
        slot = int(self.rng.integers(self.nr_slots))
        what, size = self.rng.random(), self.size[slot]
        params = self.params
        if what < params.create_share:
            self._create(time, slot)
        elif what < params.create_share + params.unlink_share:
            if size:
                self.stream.one(time, Op.TRUNCATE, self.task.number, self._start(slot), SLOT_PAGES)
                self.size[slot] = 0
                self._change(time, slot)
        elif what < params.create_share + params.unlink_share + params.rename_share:
            self._change(time, slot)
            self._change(time, int(self.rng.integers(self.nr_slots)))
        elif size and self.rng.random() < 0.5:
            self.stream.one(time, Op.FILE, self.task.number, self._start(slot), int(size))
        else:
            self._walk(time)

    def _create(self, time: int, slot: int) -> None:
        nr = min(SLOT_PAGES, 1 + int(self.rng.exponential(MEAN_FILE_PAGES - 1)))
        self.size[slot] = nr
        start, flags = self._start(slot), FileFlag.WRITE | FileFlag.WRITABLE
        self.stream.one(time, Op.FILE, self.task.number, start, nr, flags)
        self._change(time, slot)
        if self.rng.random() < self.params.fsync_chance:
            self.stream.one(time, Op.SYNC, self.task.number, start, nr)
            self.next_commit = time

    def _change(self, time: int, slot: int) -> None:
        """Change the inode and directory block of a file, a bitmap block of its group, and the group's descriptor."""
        inode = slot * self.metadata.nr // self.nr_slots
        for place in dict.fromkeys((inode, (inode * 7 + 3) % self.metadata.nr)):
            self._journal(time, self.metadata.start + place, FileFlag.BDEV)
        self._journal(time, self.groups.start, FileFlag.BDEV | FileFlag.UNMOVABLE | FileFlag.METADATA)

    def _journal(self, time: int, page: int, flags: int) -> None:
        """Write a page of metadata, which joins the running transaction unless it belongs to one already."""
        flags, value = flags | FileFlag.WRITE, 0
        if self.held_until.get(page, 0) <= time:
            flags |= FileFlag.JOURNAL
            hold = self.next_commit - time + self._until_checkpoint()
            value = min(max(1, int(hold) // US_NS), LONGEST_US)
            self.held_until[page] = time + value * US_NS
        self.stream.one(time, Op.FILE, self.task.number, page, 1, flags, value)

    def _until_checkpoint(self) -> float:
        """Time from a page's commit to the end of the journal's hold [ns].

        Linux: __jbd2_journal_remove_checkpoint(): once written back, at the next commit or checkpoint.
        """
        if self.params.writeback_s is None:
            return float(self.rng.exponential(self.params.checkpoint_s * SECOND_NS))
        return between_ns(self.rng, self.params.writeback_s)

    def _walk(self, time: int) -> None:
        """Read some directory and inode blocks that follow each other."""
        nr = min(self.metadata.nr, int(self.rng.integers(1, WALK_PAGES + 1)))
        start = self.metadata.start + int(self.rng.integers(self.metadata.nr - nr + 1))
        self.stream.one(time, Op.FILE, self.task.number, start, nr, FileFlag.BDEV)

    def _start(self, slot: int) -> int:
        return self.data.start + slot * SLOT_PAGES
