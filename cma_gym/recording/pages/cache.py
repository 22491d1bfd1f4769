"""Identity in the page cache, where events name a page by device, inode and offset."""

# Compiled code: its types are the compiler's business.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from cma_gym.recording.leaf import leaf
from cma_gym.recording.pages.books import Count, find_fpage, log
from cma_gym.recording.pages.lives import is_moved_stranger, new_life, old_life, reclaims, task_at
from cma_gym.recording.text.kinds import EMPTY, KERNEL_TASK, Code, Kind, Mark, is_block_device

# NumPy integers, not enums or literals: the compiler makes a version of a function for each distinct type it is given.
_ZERO = np.int64(0)
_ONE = np.int64(1)
_KERNEL = np.int64(KERNEL_TASK)
_FILE = np.int64(Kind.FILE)
_MOVABLE = np.int64(Mark.MOVABLE)
_BDEV = np.int64(Kind.BDEV)
_CREATE = np.bool_(True)
_ONLY_FIND = np.bool_(False)


@leaf
def cache_add(books, record, thread):
    """Pages enter the page cache under their file's name: now their kind is known."""
    for i in range(np.int64(1) << record.order):
        entry = books.frame[record.pfn + i]
        ident = np.int64(entry >> 1) - 1
        task = task_at(books, record.tgid, thread.born)
        if ident < 0:
            books.state[0].counts[Count.UNKNOWN_ADDS] += 1
            ident = new_life(books, task, record.pfn + i, _FILE, _MOVABLE, _ZERO, _ONE)
            books.frame[record.pfn + i] = np.int32((ident + 1) << 1)
        life = books.life[ident]
        if life.left > 1 or life.kind == Kind.TARGET:
            continue  # one frame of a block of kernel memory cannot be named alone
        fpage = find_fpage(books, record.dev, record.ino, record.index + i, _CREATE)
        kind = Kind.BDEV if is_block_device(record.dev, record.ino, life.mark) else Kind.FILE
        before = books.fpage[fpage].life - 1
        if before >= 0 and before != ident:
            books.life[before].mark |= Mark.UNCACHED
        books.fpage[fpage].life = ident + 1
        books.fpage[fpage].kind = kind
        life.kind = kind
        life.fpage = fpage
        life.mark &= ~np.uint16(Mark.QUEUED | Mark.UNCACHED)
        if life.mark & Mark.MOVABLE:
            life.task = task
            log(books, Code.CACHE, ident)


@leaf
def _set_right(books, pfn, ident, current):
    """Frame `pfn` holds life `current`, whatever (`ident`, or -1) was believed there; exchange the two."""
    books.state[0].counts[Count.CORRECTED] += 1
    elsewhere = books.life[current].pfn
    if elsewhere >= 0:
        known = books.frame[elsewhere] & 1
        books.frame[elsewhere] = np.int32((ident + 1) << 1 | known) if ident >= 0 else np.int32(EMPTY)
    if ident >= 0:
        books.life[ident].pfn = elsewhere
    known = books.frame[pfn] & 1 if books.frame[pfn] > EMPTY else 0
    books.frame[pfn] = np.int32((current + 1) << 1 | known)
    books.life[current].pfn = pfn


@leaf
def _uncache_named(books, pfn, ident, fpage, evicted):
    """A page of a known file page leaves the cache."""
    current = np.int64(books.fpage[fpage].life) - 1
    if current >= 0 and current != ident:
        movable = books.life[current].mark & Mark.MOVABLE
        if movable and (ident < 0 or (books.life[ident].kind <= Kind.SHMEM and books.life[ident].mark & Mark.MOVABLE)):
            _set_right(books, pfn, ident, current)
        ident = current
    if ident >= 0:
        books.life[ident].mark |= Mark.UNCACHED
    books.fpage[fpage].life = 0
    if evicted:
        books.state[0].counts[Count.EVICTED] += 1
        if ident >= 0 and books.life[ident].kind == Kind.BDEV:
            log(books, Code.LET_GO, ident)
    else:
        log(books, Code.TRUNCATE, fpage)


@leaf
def _old_file_page(books, record, pfn, index, evicted):
    """A file page that is older than the recording leaves the cache. Block-device pages are taken to be unmovable."""
    fpage = find_fpage(books, record.dev, record.ino, index, _CREATE)
    is_device = is_block_device(record.dev, record.ino, _ZERO)
    ident = old_life(books, _KERNEL, _BDEV if is_device else _FILE, _ZERO if is_device else _MOVABLE)
    known = books.frame[pfn] & 1
    books.frame[pfn] = np.int32((ident + 1) << 1 | known)
    life = books.life[ident]
    life.fpage = fpage
    life.pfn = pfn
    life.mark |= Mark.UNCACHED
    if evicted:
        books.state[0].counts[Count.EVICTED] += 1
    elif not is_device:
        log(books, Code.TRUNCATE, fpage)


@leaf
def _name_placed(books, record, ident, index, evicted):
    """Page cache that was there at the start tells its name as it leaves."""
    life = books.life[ident]
    if not Kind.FILE <= life.kind <= Kind.SHMEM or life.fpage >= 0:
        life.mark |= Mark.UNCACHED
        return
    fpage = find_fpage(books, record.dev, record.ino, index, _CREATE)
    books.fpage[fpage].kind = life.kind
    life.fpage = fpage
    life.mark |= Mark.UNCACHED
    books.state[0].counts[Count.NAMED_PLACES] += 1
    if evicted:
        books.state[0].counts[Count.EVICTED] += 1
    elif life.mark & Mark.MOVABLE:
        log(books, Code.TRUNCATE, fpage)


@leaf
def cache_delete(books, record, thread):
    """Pages leave the page cache: truncated, or evicted by reclaim or for a contiguous allocation."""
    evicted = reclaims(thread) or thread.cma != 0
    for i in range(np.int64(1) << record.order):
        pfn = record.pfn + i
        ident = np.int64(books.frame[pfn] >> 1) - 1
        if thread.cma and not thread.reclaim and ident >= 0 and books.life[ident].kind == Kind.BDEV:
            books.state[0].counts[Count.BDEV_PASSED] += books.life[ident].mark & Mark.MOVABLE != 0
        fpage = find_fpage(books, record.dev, record.ino, record.index + i, _ONLY_FIND)
        if fpage >= 0:
            _uncache_named(books, pfn, ident, fpage, evicted)
        elif ident >= 0 and books.life[ident].mark & Mark.PLACED and books.life[ident].kind >= Kind.FILE:
            _name_placed(books, record, ident, record.index + i, evicted)
        elif ident >= 0 and books.life[ident].kind <= Kind.COPY:
            # Never added by name and yet in a page cache: tmpfs, which has no event for that.
            fpage = find_fpage(books, record.dev, record.ino, record.index + i, _CREATE)
            books.fpage[fpage].kind = Kind.SHMEM
            life = books.life[ident]
            life.kind = Kind.SHMEM
            life.fpage = fpage
            life.mark |= Mark.UNCACHED
            if not evicted:
                log(books, Code.TRUNCATE, fpage)
        else:
            books.state[0].counts[Count.UNKNOWN_REMOVALS] += 1
            if books.frame[pfn] == 0 or is_moved_stranger(books, books.frame[pfn]):
                _old_file_page(books, record, pfn, record.index + i, evicted)
            elif ident >= 0:
                books.life[ident].mark |= Mark.UNCACHED
