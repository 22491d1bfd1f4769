"""The events a workload is made of: plain integers that name tasks, virtual pages and file pages, never page frames.

A stream that names no page frames can be replayed under every placement rule. What the rule changes - a reclaimed page
that is read again, a killed task whose later events do not happen - is the machine's business.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

event_dtype = np.dtype(
    [
        ("time", "i8"),
        ("op", "i4"),
        ("task", "i4"),
        ("start", "i4"),
        ("nr", "i4"),
        ("arg", "i4"),
        ("value", "i4"),
    ],
    align=True,
)
"""One event, 32 bytes. `time` is nanoseconds from the start of the stream and never falls."""


class Op(IntEnum):
    """What happens. Fields not named are 0."""

    SPAWN = 0
    """Start `task`; its virtual pages are `start .. start+nr-1`; arg: Importance. Task 0 is the kernel and always
    runs; a first event may SPAWN it to give it its range of handles. value n > 0: only if it does not run (a launcher
    finds the app gone, killed by the machine); n tells the events of this start from those of others (COLD)."""
    FORK = 1
    """Start `task` as a copy of task `value`; its range is `start .. start+nr-1`, `nr` at least the parent's;
    arg: Importance. Present pages are shared copy-on-write; swapped ones share their slot."""
    EXIT = 2
    """End `task`; frees all its virtual pages."""
    TOUCH = 3
    """Access anonymous pages `start .. start+nr-1` of `task`; arg: TouchFlag."""
    UNMAP = 4
    """Free anonymous pages `start .. start+nr-1` of `task` (munmap, MADV_DONTNEED)."""
    FILE = 5
    """Access file pages `start .. start+nr-1`; arg: FileFlag. Missing pages are read (or created by a write)."""
    SYNC = 6
    """fsync of file pages `start .. start+nr-1`."""
    TRUNCATE = 7
    """Drop file pages `start .. start+nr-1` from the page cache for good (truncate, unlink); dirty data is lost."""
    KALLOC = 8
    """Unmovable kernel memory: `nr` blocks held in handles `start ..` of `task`'s range; arg: KallocFlag and order."""
    KFREE = 9
    """Free the `nr` blocks in handles `start ..`."""
    PIN = 10
    """Hold references on present pages `start .. start+nr-1` for `value` microseconds; arg: PinFlag and Holder."""
    MLOCK = 11
    """Lock (arg 1) or unlock (arg 0) virtual pages `start ..`; present ones leave or enter the evictable lists."""
    IMPORTANCE = 12
    """Set `task`'s importance class to arg."""
    DEMAND = 13
    """Ask CMA for `value` pieces of `nr` pages each, aligned to 2**arg pages; held `task` milliseconds, then
    released. `start`: an id chosen by the workload, unique in the stream."""
    TICK = 14
    """Nothing but the passing of time; the last event of a stream lets it run out."""


NR_OPS = len(Op)


class TouchFlag(IntEnum):
    """Bits of a TOUCH's arg."""

    WRITE = 1
    DRIVER = 2
    """The page is a driver's, claimed movable but not migratable (FACTS B16)."""
    COLD = 4
    """Part of a cold start that a warm one leaves out: only if the SPAWN with the same value started the task."""


class FileFlag(IntEnum):
    """Bits of a FILE's arg. Without SHMEM or BDEV it is a regular file."""

    WRITE = 1
    MAPPED = 2
    EXEC = 4
    SHMEM = 8
    """tmpfs and shared anonymous memory: swap-backed."""
    BDEV = 16
    """Block-device page cache through the movable path (metadata read by sb_bread)."""
    JOURNAL = 32
    """The journal takes a reference on the buffers for `value` microseconds (FACTS B3, kernel fact 1)."""
    WRITABLE = 64
    """The file is open for writing."""
    UNMOVABLE = 128
    """With BDEV: not through the movable path: reads of the raw device, and with METADATA the superblock and group
    descriptors of ext4 (kernel fact 2). Nobody is asked where such a page goes; it is page cache all the same."""
    METADATA = 256
    """With BDEV and UNMOVABLE: read by a file system (sb_bread_unmovable), so that a buffer-head LRU may hold it."""
    COLD = 512
    """As TouchFlag.COLD."""


class PinFlag(IntEnum):
    """Bits of a PIN's arg; the Holder is `arg >> PIN_HOLDER_SHIFT`."""

    FILE = 1
    """`start` names file pages, not virtual pages."""
    LONGTERM = 2
    """FOLL_LONGTERM: pages are moved out of CMA first."""


PIN_HOLDER_SHIFT = 4


class KallocFlag(IntEnum):
    """Bits of a KALLOC's arg; the order is `arg >> KALLOC_ORDER_SHIFT & KALLOC_ORDER_MASK`."""

    RECLAIMABLE = 1
    ATOMIC = 2
    """May not reclaim; fails and is counted instead."""
    SLAB = 4
    PAGE_TABLE = 8
    NOWAIT = 256
    """May not reclaim and has no right to the reserve either (GFP_NOWAIT, kernel fact 14)."""


KALLOC_ORDER_SHIFT = 4
KALLOC_ORDER_MASK = 15
