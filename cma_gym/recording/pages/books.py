"""The books identity keeps: which page lies in which frame, which file page is cached where, who is doing what."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from cma_gym.recording.leaf import leaf
from cma_gym.recording.text.format import MAX_ORDER, MAX_PID
from cma_gym.recording.text.kinds import action_dtype, fpage_dtype, life_dtype


class Count(IntEnum):
    """What identity counts."""

    FAILED_ALLOCS = 0
    UNKNOWN_FREES = 1
    RETURNED_FREES = 2
    """Of the unknown frees: free pages that compaction had taken and gave back."""
    FOUND_FREES = 3
    """Of the unknown frees: taken for a page of the task that compaction had moved."""
    UNKNOWN_ADDS = 4
    UNKNOWN_REMOVALS = 5
    REUSED_FRAMES = 6
    """Allocated twice without a free between."""
    MOVED = 7
    """Followed through a migration."""
    LOST_MOVES = 8
    """Moved by compaction to a frame that no event names."""
    CORRECTED = 9
    """File pages that a removal found in another frame than assumed."""
    EVICTED = 10
    """Taken by the recorded kernel's reclaim or dropped for a contiguous allocation."""
    QUIET_PAGES = 11
    """Kernel pages allocated by reclaim, compaction and contiguous allocation themselves."""
    LEFT_IN_AREA = 12
    """Believed in a range that a contiguous allocation then obtained."""
    TIME_BACKWARDS = 13
    UNCLOSED = 14
    """Reclaim or contiguous allocation whose end is missing."""
    CACHE_FREED = 15
    """Page cache freed without its removal recorded."""
    BUFFER_FREES = 16
    """Pages of released contiguous allocations; they have no allocation line of their own."""
    UNDONE_MOVES = 17
    """Targets given back because their page did not move."""
    MOVED_UNKNOWN = 18
    """Targets of pages older than the recording."""
    OLD_PAGES = 19
    """Pages that were there when the recording began, as their end shows."""
    PLACED_PAGES = 20
    """Pages in use at the start by the page map."""
    VOID_PLACES = 21
    """Of them: allocated by the recording's first events, so that the map is a little younger than the recording."""
    NAMED_PLACES = 22
    """Of them: page cache whose name its removal told."""
    OWNED_PLACES = 23
    """Of them: anonymous pages whose owner their free told."""
    BDEV_PASSED = 24
    """Block-device pages that a contiguous allocation moved or dropped: nobody held them."""


NR_COUNTS = len(Count)

state_dtype = np.dtype(
    [
        ("time", "i8"),
        ("start", "i8"),  # time of the first event, or -1
        ("nr_lives", "i8"),
        ("nr_actions", "i8"),
        ("nr_threads", "i8"),
        ("nr_tasks", "i8"),
        ("nr_files", "i8"),
        ("nr_fpages", "i8"),
        ("low_pfn", "i8"),
        ("high_pfn", "i8"),
        ("counts", "i8", (NR_COUNTS,)),
    ],
    align=True,
)

thread_dtype = np.dtype(
    [
        ("reclaim", "i4"),  # inside direct reclaim
        ("cma", "i4"),  # inside cma_alloc()
        ("compaction", "i4"),
        ("kswapd", "i4"),
        ("born", "i4"),  # its fork was recorded
        ("queue_head", "i4"),  # targets of its migration, first in first out; -1: none
        ("queue_tail", "i4"),
    ],
    align=True,
)
"""What a thread is in the middle of."""

task_dtype = np.dtype(
    [("pid", "i4"), ("born", "i4"), ("dead", "i4"), ("lost_head", "i4"), ("lost_tail", "i4")], align=True
)
"""One address space; `lost_*`: its pages that compaction moved, oldest first."""

pid_dtype = np.dtype([("thread", "i4"), ("task", "i4")], align=True)
"""Of each pid: its thread + 1; of each thread group id: its task (0: none, it has no memory)."""

file_slot_dtype = np.dtype([("ino", "i8"), ("dev", "i4"), ("id", "i4")], align=True)
page_slot_dtype = np.dtype([("key", "i8"), ("id", "i8")], align=True)

SPARE = 1 << (MAX_ORDER + 1)
"""Entries of room that one line may need."""
_INDEX_BITS = 36
MAX_INDEX = (1 << _INDEX_BITS) - 1


class Books(NamedTuple):
    """All tables, as compiled code takes them. Ids in hash slots and frames are stored + 1, so that 0 means none."""

    state: np.ndarray
    frame: np.ndarray
    """Of each page frame: (life + 1) << 1 | 1 where an allocation of the frame was recorded; EMPTY; 0: never seen."""
    life: np.ndarray
    action: np.ndarray
    thread: np.ndarray
    task: np.ndarray
    pid: np.ndarray
    file_slot: np.ndarray
    page_slot: np.ndarray
    fpage: np.ndarray


def _zeros(size: int, dtype: np.dtype) -> np.ndarray:
    return np.zeros(size, dtype).view(np.recarray)


def new_books() -> Books:
    """Empty books. Tables are zero pages of the operating system until they are used."""
    state = _zeros(1, state_dtype)
    state[0]["start"] = -1
    state[0]["nr_tasks"] = 2  # the kernel, nobody
    state[0]["low_pfn"] = np.iinfo(np.int64).max
    task = _zeros(1 << 10, task_dtype)
    task["lost_head"][:2] = task["lost_tail"][:2] = -1
    return Books(
        state=state,
        frame=np.zeros(1 << 20, np.int32),
        life=_zeros(4 * SPARE, life_dtype),
        action=_zeros(4 * SPARE, action_dtype),
        thread=_zeros(1 << 10, thread_dtype),
        task=task,
        pid=_zeros(MAX_PID, pid_dtype),
        file_slot=_zeros(1 << 10, file_slot_dtype),
        page_slot=_zeros(4 * SPARE, page_slot_dtype),
        fpage=_zeros(4 * SPARE, fpage_dtype),
    )


def with_room(books: Books, highest_pfn: int) -> Books:
    """The same books with room for one more line in every table, and for frames up to `highest_pfn`."""
    state = books.state[0]
    grown = {}
    for name, used in (("life", "nr_lives"), ("action", "nr_actions"), ("fpage", "nr_fpages")):
        if state[used] + SPARE > len(getattr(books, name)):
            grown[name] = _doubled(getattr(books, name))
    for name, used in (("thread", "nr_threads"), ("task", "nr_tasks")):
        if state[used] + 4 > len(getattr(books, name)):
            grown[name] = _doubled(getattr(books, name))
    if highest_pfn >= len(books.frame):
        frame = np.zeros(1 << (int(highest_pfn) + 1).bit_length(), np.int32)
        frame[: len(books.frame)] = books.frame
        grown["frame"] = frame
    if 3 * (state["nr_fpages"] + SPARE) > 2 * len(books.page_slot):
        grown["page_slot"] = _zeros(2 * len(books.page_slot), page_slot_dtype)
        rehash_pages(books.page_slot, grown["page_slot"])
    if 3 * (state["nr_files"] + 4) > 2 * len(books.file_slot):
        grown["file_slot"] = _zeros(2 * len(books.file_slot), file_slot_dtype)
        rehash_files(books.file_slot, grown["file_slot"])
    return books._replace(**grown) if grown else books


def _doubled(table: np.ndarray) -> np.ndarray:
    # Halfway steps once large: a doubled table of ten million lines would be most of the memory the reader may use.
    size = len(table)
    bigger = _zeros(2 * size if size < 1 << 20 else size + size // 2, table.dtype)
    bigger[:size] = table
    return bigger


@leaf
def has_room(books):
    """Whether any line fits into every table."""
    state = books.state[0]
    return (
        state.nr_lives + SPARE <= len(books.life)
        and state.nr_actions + SPARE <= len(books.action)
        and state.nr_fpages + SPARE <= len(books.fpage)
        and state.nr_threads + 4 <= len(books.thread)
        and state.nr_tasks + 4 <= len(books.task)
        and 3 * (state.nr_fpages + SPARE) <= 2 * len(books.page_slot)
        and 3 * (state.nr_files + 4) <= 2 * len(books.file_slot)
    )


@leaf
def _mix(key, nr):
    """A slot below `nr` (a power of two) for a key."""
    value = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((value ^ (value >> np.uint64(29))) & np.uint64(nr - 1))


@leaf
def _page_at(page_slot, key):
    slot = _mix(key, len(page_slot))
    while page_slot[slot].id != 0 and page_slot[slot].key != key:
        slot = (slot + 1) & (len(page_slot) - 1)
    return slot


@leaf
def _file_at(file_slot, dev, ino):
    slot = _mix(ino * 31 + dev, len(file_slot))
    while file_slot[slot].id != 0 and (file_slot[slot].ino != ino or file_slot[slot].dev != dev):
        slot = (slot + 1) & (len(file_slot) - 1)
    return slot


@leaf
def rehash_pages(old, new):
    """Copy all entries of one table of file pages into a larger one."""
    for i in range(len(old)):
        if old[i].id != 0:
            slot = _page_at(new, old[i].key)
            new[slot].key = old[i].key
            new[slot].id = old[i].id


@leaf
def rehash_files(old, new):
    """Copy all entries of one table of files into a larger one."""
    for i in range(len(old)):
        if old[i].id != 0:
            slot = _file_at(new, old[i].dev, old[i].ino)
            new[slot].ino = old[i].ino
            new[slot].dev = old[i].dev
            new[slot].id = old[i].id


@leaf
def find_fpage(books, dev, ino, index, create):
    """Id of a file page; where it is not known yet, a new one if `create`, else -1."""
    state = books.state[0]
    at = _file_at(books.file_slot, dev, ino)
    if books.file_slot[at].id == 0:
        if not create:
            return np.int64(-1)
        state.nr_files += 1
        books.file_slot[at].ino = ino
        books.file_slot[at].dev = dev
        books.file_slot[at].id = state.nr_files
    key = np.int64(books.file_slot[at].id) << _INDEX_BITS | (index & MAX_INDEX)
    slot = _page_at(books.page_slot, key)
    if books.page_slot[slot].id == 0:
        if not create:
            return np.int64(-1)
        state.nr_fpages += 1
        books.page_slot[slot].key = key
        books.page_slot[slot].id = state.nr_fpages
        books.fpage[state.nr_fpages - 1].life = 0
    return books.page_slot[slot].id - 1


@leaf
def log(books, code, ident):
    """Append an action at the present time."""
    state = books.state[0]
    entry = books.action[state.nr_actions]
    entry.time = state.time
    entry.id = ident
    entry.code = code
    state.nr_actions += 1
