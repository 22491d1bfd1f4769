"""The tables of the second pass: numbers of tasks and files, runs that may still grow, and what has been emitted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cma_gym.machine.events import event_dtype
from cma_gym.recording.pages.books import Books, Count
from cma_gym.recording.text.kinds import KERNEL_TASK, NOBODY_TASK, Code, Kind, Mark

NONE = np.int64(-1)
"""No number; a NumPy integer, since the compiler makes a version of a function for each distinct type it is given."""
COMMIT_NS = 5_000_000_000
"""ext4 commits its journal at least this often. Linux: JBD2_DEFAULT_MAX_COMMIT_AGE."""
WRITEBACK_NS = 30_000_000_000
"""Dirty blocks are written at this age. Linux: dirty_expire_interval."""
FEWEST_MET = 8
"""Fewer block-device pages that were met tell no share (assumption)."""
OWN_TO_READ = 4
"""A task that fills a page of its own for every four that it reads maps its files. Assumption; in the recordings tasks
have either more pages of their own than they read, or less than a hundredth."""
STREAMS = 3
"""Runs of one task that grow side by side: of anonymous memory, of files, of kernel memory."""
RUN_PAGES = 32
"""Pages one decision can cover."""
WALK_RUNS = 4
"""Runs of pages that one swap-in can tell of, its own included."""

run_dtype = np.dtype(
    [
        ("time", "i8"),
        ("last", "i8"),
        ("op", "i4"),
        ("arg", "i4"),
        ("value", "i4"),
        ("nr", "i4"),
        ("start", "i4"),  # first page, or NONE: numbers are given at the end
        ("serial", "i4"),
        ("pad", "i4"),
        ("items", "i4", (RUN_PAGES,)),  # lives or file pages that wait for their number
    ],
    align=True,
)
"""Pages of one task that may still become one event."""

space_dtype = np.dtype(
    [
        ("top", "i4"),  # numbers given out so far
        ("free", "i4"),  # latest freed range, or -1
        ("swapped", "i4"),  # lives in swap
        ("walk", "i4"),  # number at which its latest swap-in was
        ("state", "i4"),  # 0 not started, 1 alive, 2 ended
        ("first", "i4"),  # index in Plan.at of its number 0
    ],
    align=True,
)
"""The numbers of one task, or of all files."""

extent_dtype = np.dtype([("time", "i8"), ("start", "i4"), ("nr", "i4"), ("next", "i4"), ("pad", "i4")], align=True)


numbered_life_dtype = np.dtype(
    [
        ("task", "i4"),
        ("fpage", "i4"),
        ("pad", "i4"),
        ("number", "i4"),  # virtual page, NONE or WAITS
        ("left", "i4"),
        ("mark", "u2"),
        ("arg", "u1"),
        ("kind", "u1"),
    ],
    align=True,
)
"""`life_dtype`, with the two fields that end with the frames put to new use."""

numbered_fpage_dtype = np.dtype([("number", "i4"), ("waits_in", "i4"), ("waits_for", "i4")], align=True)
"""A file page: its number, NONE or WAITS; slot + 1 of the run that last took it, and that run's serial."""


class Plan(NamedTuple):
    """All tables of the second pass."""

    event: np.ndarray
    nr: np.ndarray
    """[events, extents, runs] so far; then the events at the begin that only give placed pages their numbers."""
    run: np.ndarray
    space: np.ndarray
    """Of each task; the last one is that of all files."""
    extent: np.ndarray
    life: np.ndarray
    fpage: np.ndarray
    task: np.ndarray
    placed: np.ndarray
    """Of each page with a place at the start: its virtual page, file page or handle; NONE where nothing names it."""
    hold: np.ndarray
    """Of each block-device page: how long the journal holds it from its reading on [us]."""
    maps: np.ndarray
    """Of each task: whether it maps the files that it reads."""
    at: np.ndarray
    """Of each number of each task: life + 1 of the anonymous page there, negative while it is in swap; 0: none."""


class Told(NamedTuple):
    """What the kernel's text adds to a recording; the defaults are for one without a text."""

    nr_placed: int = 0
    """Lives, the first ones, whose place at the start is known."""
    refused: int = 0
    """Block-device pages that refused to move for demands that went through the area."""
    census: int = 0
    """Block-device pages in the area before those demands."""
    held: tuple[int, ...] = ()
    """Lives of the pages that refused any demand, as far as they could be told."""
    maps_files: bool = False
    """Files are mapped, not only read and written."""


def new_plan(books: Books, told: Told) -> Plan:
    """An empty plan for what identity found; the books' lives are taken over and lose their frames."""
    state = books.state[0]
    nr_tasks, nr_lives, nr_fpages = int(state["nr_tasks"]), int(state["nr_lives"]), int(state["nr_fpages"])
    code = books.action["code"][: int(state["nr_actions"])]
    frees = int(np.count_nonzero((code == Code.FREE) | (code == Code.TRUNCATE)))
    # Upper bounds; what is not used is never touched and takes no memory.
    old = int(np.count_nonzero(books.life["mark"][:nr_lives] & Mark.OLD))
    life = books.life[:nr_lives].view(np.ndarray).view(numbered_life_dtype)
    life["number"] = NONE
    fpage = np.zeros(nr_fpages, numbered_fpage_dtype)
    fpage["number"] = NONE
    space = np.zeros(nr_tasks + 1, space_dtype)
    space["free"] = space["walk"] = NONE
    anon = life["kind"] <= Kind.COPY
    most = np.bincount(life["task"][anon], minlength=nr_tasks + 1)[: nr_tasks + 1]
    space["first"][1:] = np.cumsum(most)[:-1]
    walked = WALK_RUNS * int(np.count_nonzero(life["kind"] == Kind.COPY))
    return Plan(
        event=np.empty(len(code) + 2 * old + 2 * nr_tasks + walked + 1, event_dtype).view(np.recarray),
        nr=np.zeros(4, np.int64),
        run=np.zeros(nr_tasks * STREAMS, run_dtype).view(np.recarray),
        space=space.view(np.recarray),
        extent=np.empty(frees + old + 1, extent_dtype).view(np.recarray),
        life=life.view(np.recarray),
        fpage=fpage.view(np.recarray),
        task=books.task[:nr_tasks],
        placed=np.full(told.nr_placed, NONE, np.int32),
        hold=journal_holds(books, nr_lives, held_share(books, told.refused, told.census), told.held),
        maps=mapping_tasks(books, nr_tasks) if told.maps_files else np.zeros(nr_tasks, np.bool_),
        at=np.zeros(int(most.sum()) + 1, np.int32),
    )


def mapping_tasks(books: Books, nr_tasks: int) -> np.ndarray:
    """Which tasks map what they read. Call while the machine has mapped files at all.

    Assumption: a program that fills memory of its own beside the files it reads maps them, as applications map code
    and assets; one with hardly any memory of its own streams them through read().
    """
    actions = books.action[: int(books.state[0]["nr_actions"])]
    life = books.life
    ids = actions["id"][actions["code"] == Code.APPEAR]
    own = np.bincount(life["task"][ids[life["kind"][ids] == Kind.ANON]], minlength=nr_tasks)
    ids = actions["id"][actions["code"] == Code.CACHE]
    read = np.bincount(life["task"][ids[life["kind"][ids] == Kind.FILE]], minlength=nr_tasks)
    maps: np.ndarray = OWN_TO_READ * own[:nr_tasks] > read[:nr_tasks]
    maps[[KERNEL_TASK, NOBODY_TASK]] = False
    return maps


def held_share(books: Books, refused: int, census: int) -> float:
    """Share of the block-device pages that the journal holds: of those that contiguous allocations met.

    A page that refused was held, one that was moved or dropped was not; nor one that a census found before and that was
    gone when its turn came. Where hardly any was met, all are taken to be held until the next commit (assumption).
    """
    met = max(int(books.state[0]["counts"][Count.BDEV_PASSED]) + refused, census)
    return refused / met if refused > 0 and met >= FEWEST_MET else 1.0


def journal_holds(books: Books, nr_lives: int, share: float, seen: tuple[int, ...] = ()) -> np.ndarray:
    """How long the journal holds each block-device page that is read [us].

    Assumption: it holds what is read while files are being written, that is within a commit interval of a page that was
    allocated by a write; until the next commit, at most. Where the recorded kernel reclaimed or moved the page before,
    nobody held it any more. Without writes nothing is held. Where only a share is held, it is spread evenly, and held
    until its blocks are written back, which is what removes a page from the journal's checkpoint list; as are the pages
    that were `seen` to refuse.
    """
    actions = books.action[: int(books.state[0]["nr_actions"])]
    cached = actions[actions["code"] == Code.CACHE]
    kind, mark = books.life["kind"][cached["id"]], books.life["mark"][cached["id"]]
    writes = cached["time"][(kind == Kind.FILE) & ((mark & Mark.WRITE) != 0)]
    read = cached[kind == Kind.BDEV][::-1]
    end = np.full(nr_lives, np.iinfo(np.int64).max)
    let_go = actions[actions["code"] == Code.LET_GO][::-1]
    end[let_go["id"]] = let_go["time"]
    after = np.searchsorted(writes, read["time"] - COMMIT_NS)
    beside = np.append(writes, np.iinfo(np.int64).max)[after] <= read["time"] + COMMIT_NS
    known = np.isin(read["id"], seen)
    rest = max(0.0, share * len(read) - known.sum()) / max(1, np.count_nonzero(~known))
    turn = np.cumsum(~known)
    beside &= np.floor(turn * rest) > np.floor((turn - 1) * rest)
    beside |= known
    hold = np.zeros(nr_lives, np.int32)
    longest = COMMIT_NS if share == 1.0 else WRITEBACK_NS
    lasts = np.clip(end[read["id"]] - read["time"], 1000, longest) // 1000
    hold[read["id"]] = np.where(beside, lasts, 0)
    return hold
