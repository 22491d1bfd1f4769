"""What a page is, from what a stock kernel says about it: the rules, and the names the following passes share.

A page's kind is read from the gfp flags of its allocation and from the page-cache events that name it later:

anonymous         movable, for user space, zero-filled (`__GFP_ZERO`) or huge (`__GFP_NOMEMALLOC`)
                  Linux: vma_alloc_zeroed_movable_folio(), vma_alloc_anon_folio_pmd()
anonymous (copy)  as above without `__GFP_ZERO`, never in the page cache: swap-in or copy-on-write
                  Linux: alloc_swap_folio(), wp_page_copy()
shmem             as copy, but removed from the page cache later: tmpfs does not trace additions
                  Linux: shmem_alloc_folio(), truncate_inode_folio()
file              added to the page cache of any other inode, or meant to be: movable, for user space, with the flags
                  of read-ahead or of a write (a page that loses a race is freed without having been added)
                  Linux: page_cache_ra_unbounded(), filemap_add_folio()
bdev              added to the page cache of an inode of the bdev file system
                  Linux: grow_dev_folio(), blkdev_readahead()
zsmalloc          movable, may be in high memory, not for user space
                  Linux: zs_malloc() from zram_write_page()
migration target  movable, for user space, by a task inside cma_alloc(), outside direct reclaim; not counted by kind
                  Linux: alloc_migration_target()
kernel            anything else

The bdev file system is anonymous (major 0) and numbers its inodes by device: dev 0:3 ino fe00000 is 254:0. Kernels
before 5.11 leave the inode number 0. Its mapping allows no `__GFP_HIGHMEM`, other page caches do, which keeps
overlayfs, fuse and the like (major 0 too) apart.

Assumptions, since a stock kernel does not say: that a movable page without `__GFP_HIGHMEM` and without `__GFP_HARDWALL`
is page cache (sb_getblk() of a file system's own metadata); that shmem which is still alive at the end of the recording
is anonymous (it is as movable and as swappable); that a single frame which was allocated before the recording and is
freed by a task is anonymous memory of that task (other kinds are a few per cent); that threads share memory with others
only where the recording has the column of thread group ids.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from cma_gym.machine.events import KALLOC_ORDER_SHIFT, KallocFlag
from cma_gym.mm.mmzone import NR_PAGE_ORDERS
from cma_gym.recording.leaf import leaf
from cma_gym.recording.text.format import Gfp


class Kind(IntEnum):
    """What one page, or one block of kernel memory, was allocated for."""

    ANON = 0
    COPY = 1
    FILE = 2
    BDEV = 3
    SHMEM = 4
    ZSMALLOC = 5
    KERNEL = 6
    READAHEAD = 7
    """Meant for the page cache, not in it yet."""
    CANDIDATE = 8
    """Kernel memory, unless the same system call frees a user page for it: then the target of a migration."""
    TARGET = 9
    """A migration's target; the page keeps its identity, this allocation is not a demand."""
    BUFFER = 10
    """Part of a contiguous allocation."""


KIND_NAMES = {
    Kind.ANON: "anon",
    Kind.COPY: "anon",
    Kind.FILE: "file",
    Kind.READAHEAD: "file",
    Kind.BDEV: "bdev",
    Kind.SHMEM: "shmem",
    Kind.ZSMALLOC: "zsmalloc",
    Kind.KERNEL: "kernel",
    Kind.CANDIDATE: "kernel",
}
"""Kinds as reports name them; migration targets are reported apart."""


class Mark(IntEnum):
    """Bits of what else is known of a page."""

    MOVABLE = 1
    HIGHMEM = 2
    WRITE = 4
    """Allocated by a write into its file."""
    UNCACHED = 8
    """Taken out of the page cache; its free means nothing more."""
    WRITTEN = 16
    """Reclaim wrote it to swap."""
    QUEUED = 32
    """Waits for the page that moves into it."""
    QUIET = 64
    """Allocated by the recorded kernel's own reclaim, compaction or contiguous allocation: not a demand."""
    SEEN = 128
    """Its allocation was recorded."""
    OLD = 256
    """It was there when the recording began, as its end or a page map shows."""
    PLACED = 512
    """A page map says in which frame it was when the recording began."""
    NOWAIT = 1024
    """May not reclaim, and has no right to the reserve."""


class Code(IntEnum):
    """Actions of the log that identity leaves for the demand."""

    APPEAR = 0
    CACHE = 1
    TRUNCATE = 2
    """The id is a file page's; elsewhere a life's."""
    FREE = 3
    EVICT = 4
    EXIT = 5
    """The id is a task's."""
    LET_GO = 6
    """Nobody held this block-device page: reclaim took it, or it was moved."""


action_dtype = np.dtype([("time", "i8"), ("id", "i4"), ("code", "i4")], align=True)
"""One action: 16 bytes."""

life_dtype = np.dtype(
    [
        ("task", "i4"),  # who asked for it
        ("fpage", "i4"),  # file page it holds, or -1
        ("link", "i4"),  # next in a queue, or -1
        ("pfn", "i4"),  # where it is, or -1
        ("left", "i4"),  # frames not yet freed (blocks of kernel memory)
        ("mark", "u2"),
        ("arg", "u1"),  # KallocFlag and order
        ("kind", "u1"),
    ],
    align=True,
)
"""One page from allocation to free, wherever it is moved meanwhile, or one block of kernel memory: 24 bytes."""

fpage_dtype = np.dtype([("life", "i4"), ("kind", "i4")], align=True)
"""One page of a file: the life that holds it + 1 (0: not cached) and the kind of its file."""

KERNEL_TASK = 0
NOBODY_TASK = 1
"""Stands for the owners of anonymous pages that are older than the recording and were taken by reclaim."""
EMPTY = 1
"""Entry of a frame that the recording has seen and that is free; 0: never seen."""


@leaf
def classify(gfp, order, in_cma):
    """Kind of an allocation by its gfp flags, as far as they tell; see the table above."""
    user = gfp & Gfp.HARDWALL
    if gfp & Gfp.MOVABLE:
        if not user:
            return np.int64(Kind.ZSMALLOC if gfp & Gfp.HIGHMEM else Kind.READAHEAD)
        if gfp & (Gfp.ZERO | Gfp.NOMEMALLOC):
            return np.int64(Kind.ANON)
        if in_cma:
            return np.int64(Kind.TARGET)
        if gfp & (Gfp.WRITE | Gfp.NORETRY) or not gfp & Gfp.FS:
            return np.int64(Kind.READAHEAD)
        return np.int64(Kind.COPY if gfp & Gfp.HIGHMEM else Kind.CANDIDATE)
    if user and gfp & Gfp.FS and order == 0 and not gfp & (Gfp.HIGHMEM | Gfp.ZERO | Gfp.NORETRY):
        return np.int64(Kind.CANDIDATE)
    return np.int64(Kind.KERNEL)


@leaf
def kalloc_arg(gfp, order):
    """KallocFlag and order of kernel memory. Slab and page tables are told by how SLUB and pagetable_alloc() ask.

    Blocks above the model's largest order (arm64 with large pages has them) count as blocks of that order.
    """
    arg = np.int64(min(order, NR_PAGE_ORDERS - 1)) << KALLOC_ORDER_SHIFT
    if gfp & Gfp.RECLAIMABLE:
        arg |= KallocFlag.RECLAIMABLE | KallocFlag.SLAB
    elif gfp & Gfp.COMP and gfp & Gfp.NORETRY and not gfp & Gfp.HARDWALL:
        arg |= KallocFlag.SLAB
    elif order == 0 and gfp & Gfp.ZERO and gfp & Gfp.ACCOUNT and not gfp & Gfp.NOWARN:
        arg |= KallocFlag.PAGE_TABLE
    if not gfp & Gfp.DIRECT and gfp & Gfp.HIGH:
        arg |= KallocFlag.ATOMIC
    return arg


@leaf
def is_nowait(gfp):
    """Whether a request neither reclaims nor may use the reserve (GFP_NOWAIT)."""
    return not gfp & (Gfp.DIRECT | Gfp.HIGH)


@leaf
def is_block_device(dev, ino, mark):
    """Whether an inode of the page cache is a block device's (dev is major << 20 | minor)."""
    if dev >> 20 != 0:
        return False
    if mark & Mark.SEEN and mark & Mark.HIGHMEM:
        return False
    return ino == 0 or 1 <= ino >> 20 <= 4095
