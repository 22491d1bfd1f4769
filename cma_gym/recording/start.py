"""The start of a recording: what lay where, from the page map, and who it belonged to, from what the trace tells later.

`seed` puts every page of the map into identity's books before the first line is read; `start_state` looks at what
became of them and makes the state that a machine is booted from.

Assumptions, since neither map nor trace say:

* a page that the recording never frees belongs to nobody who acts in it: anonymous memory to a task that never runs,
  page cache to files that nobody reads;
* LRU lists stand in order of address, the first pages on the active list, as many as the kernel counted;
* locked pages are, among those that stay, mapped shmem first, then anonymous memory, as many as the kernel counted;
* block-device cache in unmovable pageblocks was allocated as unmovable (raw reads), elsewhere as movable (metadata);
* free pages outside the free lists are on the CPUs' lists, as many as the kernel counted; more are kernel memory;
* each zsmalloc page stores pages of that task that never runs, as many as there are slots in use, at least one each.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cma_gym.machine.boot_state import Frame, StartState, start_page_dtype, start_slot_dtype, start_zone_dtype
from cma_gym.machine.events import KallocFlag
from cma_gym.mm.mmzone import NO_PAGE, MigrateType, PageFlag, PageKind, ZoneType
from cma_gym.mm.swap import ZS_OBJECTS
from cma_gym.recording.layout import Layout
from cma_gym.recording.pages.books import Books, Count, with_room
from cma_gym.recording.pages.plan import Plan, Told
from cma_gym.recording.text.kernel import KernelText, KernelTextError
from cma_gym.recording.text.kinds import EMPTY, KERNEL_TASK, NOBODY_TASK, Code, Kind, Mark

_KINDS = {
    "a": (Kind.ANON, PageKind.ANON),
    "A": (Kind.ANON, PageKind.ANON),
    "H": (Kind.ANON, PageKind.ANON),
    "f": (Kind.FILE, PageKind.FILE),
    "b": (Kind.BDEV, PageKind.BDEV),
    "s": (Kind.SHMEM, PageKind.SHMEM),
    "m": (Kind.ZSMALLOC, PageKind.ZSMALLOC),
    "p": (Kind.KERNEL, PageKind.SLAB),
    "T": (Kind.KERNEL, PageKind.PAGE_TABLE),
    "o": (Kind.KERNEL, PageKind.KERNEL),
}
"""The map's characters for pages in use: kind in a recording, kind in a machine."""
_ARGS = {"p": KallocFlag.SLAB, "T": KallocFlag.PAGE_TABLE}
_ORDERS = "0123456789@"
_OUTSIDE = ord("-")
_MIGRATETYPES = {
    "Unmovable": MigrateType.UNMOVABLE,
    "Movable": MigrateType.MOVABLE,
    "Reclaimable": MigrateType.RECLAIMABLE,
    "HighAtomic": MigrateType.HIGHATOMIC,
    "CMA": MigrateType.CMA,
    "Isolate": MigrateType.ISOLATE,
}
_ZONES = {
    "DMA": ZoneType.DMA32,
    "DMA32": ZoneType.DMA32,
    "Normal": ZoneType.NORMAL,
    "HighMem": ZoneType.HIGHMEM,
    "Movable": ZoneType.MOVABLE,
}
"""The model has no ZONE_DMA: its pages count as DMA32."""
_PAGE_KB = 4
MAPPED_AT_LEAST = 0.05
"""Share of the page cache below which nobody is taken to map files (assumption)."""


@dataclass(frozen=True)
class Seed:
    """The lives that stand for the pages in use at the start: the first ones of the books."""

    pfn: np.ndarray
    """Of each life: its frame; for a page in swap, the frame that stores it."""
    nr_pages: int
    """Of them: pages in memory; those in swap follow."""


def block_types(text: KernelText) -> np.ndarray:
    """Migratetype of each pageblock of the map as the model numbers them: the kernel's numbers follow its own list."""
    names = next((list(types) for types in text.start.block_types.values()), [])
    types = np.full(len(text.map.migratetype), int(MigrateType.UNMOVABLE), np.uint8)
    for number in np.unique(text.map.migratetype):
        if number < 0:
            continue
        if names and number >= len(names):
            raise KernelTextError(
                f"{text.path}: the page map has pageblocks of type {number}, START names only {', '.join(names)}; "
                "the file is damaged, copy it again"
            )
        name = names[number] if names else list(_MIGRATETYPES)[number]
        types[text.map.migratetype == number] = _MIGRATETYPES.get(name, MigrateType.UNMOVABLE)
    # A block that was isolated for a moment goes on as what it will be again.
    types[types == MigrateType.ISOLATE] = MigrateType.CMA if (types == MigrateType.CMA).any() else MigrateType.MOVABLE
    return types


def seed(books: Books, text: KernelText) -> tuple[Books, Seed]:
    """Enter every page of the map into the books. Call before the first record is followed."""
    chars = text.map.text
    used = np.flatnonzero(np.isin(chars, [ord(char) for char in _KINDS]))
    stores = np.flatnonzero(chars == ord("m"))
    slots = np.repeat(stores, _objects(text, len(stores))) if len(stores) else stores
    books = _room(books, len(used) + len(slots), len(chars))
    nr = len(used)
    life = books.life[: nr + len(slots)]
    life["task"], life["fpage"], life["link"], life["left"] = NOBODY_TASK, -1, -1, 1
    life["pfn"][:nr], life["pfn"][nr:] = used, -1
    for char, (kind, _) in _KINDS.items():
        mine = np.flatnonzero(chars[used] == ord(char))
        life["kind"][mine] = kind
        life["arg"][mine] = _ARGS.get(char, 0)
        if kind in (Kind.KERNEL, Kind.BDEV):
            life["task"][mine] = KERNEL_TASK
    life["kind"][nr:] = Kind.ANON
    movable = life["kind"] != Kind.KERNEL
    unmovable = np.isin(block_types(text), (MigrateType.UNMOVABLE, MigrateType.RECLAIMABLE))
    movable[:nr] &= (life["kind"][:nr] != Kind.BDEV) | ~unmovable[used // text.map.block_pages]
    life["mark"] = Mark.OLD | Mark.PLACED
    life["mark"][movable] |= np.uint16(Mark.MOVABLE)
    books.frame[: len(chars)] = np.where(chars == _OUTSIDE, 0, EMPTY)
    books.frame[used] = (np.arange(nr) + 1) << 1
    actions = books.action[: len(slots)]
    actions["time"], actions["code"], actions["id"] = 0, Code.EVICT, nr + np.arange(len(slots))
    state = books.state[0]
    state["nr_lives"], state["nr_actions"] = len(life), len(slots)
    state["counts"][Count.PLACED_PAGES] = nr
    return books, Seed(np.concatenate([used, slots]), nr)


def _room(books: Books, nr_lives: int, nr_frames: int) -> Books:
    grown = {}
    for name in ("life", "action"):
        old = getattr(books, name)
        grown[name] = np.zeros(len(old) + nr_lives, old.dtype).view(np.recarray)
    return with_room(books._replace(**grown), nr_frames)


def _objects(text: KernelText, nr_stores: int) -> np.ndarray:
    """How many swapped pages each zsmalloc page stores."""
    info = text.start.meminfo
    in_use = max(0, info.get("SwapTotal", 0) - info.get("SwapFree", 0)) // _PAGE_KB
    objects = np.full(nr_stores, max(1, in_use // nr_stores), np.int64)
    objects[: in_use % nr_stores if in_use > nr_stores else 0] += 1
    return np.minimum(objects, ZS_OBJECTS[0])


def text_beside(trace: str | os.PathLike[str]) -> Path:
    """The `NAME.kernel.txt` that belongs to a trace `NAME.ftrace[.xz]`.

    Raises:
        KernelTextError: there is no such file.
    """
    path = Path(trace)
    name = path.name
    for ending in (".xz", ".gz", ".zst", ".ftrace", ".txt", ".trace"):
        name = name.removesuffix(ending)
    beside = path.with_name(f"{name}.kernel.txt")
    if not beside.is_file():
        raise KernelTextError(
            f"{path}: there is no {beside.name} beside it; a replay needs what the kernel said at the start of the "
            "recording (name it with --kernel-text, or import the trace without it: import-trace)"
        )
    return beside


def told(text: KernelText, seeded: Seed, books: Books, start_ns: int) -> Told:
    """What the second pass needs to know of the text.

    Args:
        text: what the kernel said.
        seeded: what `seed` returned.
        books: after the whole recording was followed.
        start_ns: time of the recording's first event, on the clock of the text's times [ns].
    """
    refused = {
        (demand.tag, pfn): int(attempt.end_s * 1e9) - start_ns
        for demand in text.demands
        for attempt in demand.attempts
        for kind, pfn in attempt.refused
        if kind == "bdev"
    }
    # A whole-area attempt stops at the first page that refuses, so that it meets few of those in the area.
    through = [demand for demand in text.demands if demand.attempts and (demand.ok or not demand.whole)]
    tags = {demand.tag for demand in through or text.demands}
    census = sum(demand.snap.scan.get("bdev", 0) for demand in through)
    nr_refused = sum(tag in tags for tag, _ in refused)
    states = [snap.vmstat for snap in text.snaps()] + [text.stop.vmstat]
    shares = [
        (state.get("nr_mapped", 0) - state.get("nr_shmem", 0)) / state["nr_file_pages"]
        for state in states
        if state.get("nr_file_pages", 0) > 0
    ]
    held = _lives_at(books, [(pfn, time) for (_, pfn), time in refused.items()])
    return Told(len(seeded.pfn), nr_refused, census, held, max(shares, default=0.0) > MAPPED_AT_LEAST)


def _lives_at(books: Books, places: list[tuple[int, int]]) -> tuple[int, ...]:
    """Block-device pages that entered the cache last in these frames before these times, as far as they are known."""
    actions = books.action[: int(books.state[0]["nr_actions"])]
    cached = actions[actions["code"] == Code.CACHE]
    cached = cached[books.life["kind"][cached["id"]] == Kind.BDEV]
    pfns = books.life["pfn"][cached["id"]]
    found: set[int] = set()
    for pfn, time in places:
        there = cached["id"][(pfns == pfn) & (cached["time"] <= time)]
        found.update(int(ident) for ident in there[-1:])
    return tuple(sorted(found))


def start_state(text: KernelText, seeded: Seed, books: Books, plan: Plan, layout: Layout) -> tuple[StartState, int]:
    """The state a machine is booted from, and how many file pages the workload now has.

    Args:
        text: what the kernel said.
        seeded: what `seed` returned.
        books: after the whole recording was followed.
        plan: built from them; its lives are the books'.
        layout: of that plan.
    """
    chars, frames = text.map.text, _sizes(text)
    life = plan.life[: len(seeded.pfn)]
    there = (life["mark"] & Mark.OLD) != 0
    page = np.zeros(frames, start_page_dtype)
    page["index"] = NO_PAGE
    page["kind"][: len(chars)][np.isin(chars, (ord("R"), ord(" ")))] = PageKind.RESERVED
    page["kind"][len(chars) :] = PageKind.RESERVED
    types = np.zeros(frames // text.map.block_pages, np.uint8)
    types[: len(text.map.migratetype)] = block_types(text)
    _free(text, page, types, books.frame[: len(chars)] == 0)
    nr = seeded.nr_pages
    void = seeded.pfn[:nr][~there[:nr]]
    page["frame"][void], page["kind"][void], page["order"][void] = Frame.BLOCK, PageKind.FREE, 0
    number = np.where(plan.placed >= 0, plan.placed, NO_PAGE)
    anon = (life["kind"] <= Kind.COPY) & (number >= 0)
    number[anon] += layout.starts[life["task"][anon]]
    nr_fpages = _fill_used(text, page, life[:nr], there[:nr], number[:nr], seeded.pfn[:nr], layout)
    slots = np.zeros(len(life) - nr, start_slot_dtype)
    slots["vpn"], slots["zspage"] = number[nr:], seeded.pfn[nr:]
    _mark_lru(text, page, seeded.pfn[:nr][there[:nr] & ~_ended(books, len(life))[:nr]])
    zones = _zones(text, page)
    base, count = _area(text)
    state = StartState(
        page=page,
        block=types,
        zone=zones,
        swap=slots,
        pageblock_order=text.map.block_pages.bit_length() - 1,
        nr_swap=text.start.meminfo.get("SwapTotal", 0) // _PAGE_KB,
        cma_base=base,
        cma_pages=count,
    )
    return state, nr_fpages


def _ended(books: Books, nr_lives: int) -> np.ndarray:
    """Of each life: whether the recording frees it, takes it to swap, or drops it from the page cache."""
    actions = books.action[: int(books.state[0]["nr_actions"])]
    ids = actions["id"][(actions["code"] == Code.FREE) | (actions["code"] == Code.EVICT)]
    ended: np.ndarray = (books.life["mark"][:nr_lives] & Mark.UNCACHED) != 0
    ended[ids[ids < nr_lives]] = True
    return ended


def _sizes(text: KernelText) -> int:
    """Frames of the machine: the map's, up to a whole number of megabytes."""
    per_mb = 256
    return -(-len(text.map.text) // per_mb) * per_mb


def _free(text: KernelText, page: np.ndarray, types: np.ndarray, untouched: np.ndarray) -> None:
    """Free blocks and the CPUs' pages, as the map has them."""
    chars, block = text.map.text, text.map.block_pages
    dots = np.concatenate([[0], np.cumsum(chars == ord("."))])
    rest = chars == ord(".")
    outside = chars == _OUTSIDE
    for order, char in enumerate(_ORDERS):
        for pfn in np.flatnonzero(chars == ord(char)):
            size = 1 << order
            whole = pfn % size == 0 and pfn + size <= len(chars) and dots[pfn + size] - dots[pfn] == size - 1
            if not whole or len(set(types[pfn // block : max(pfn // block + 1, (pfn + size) // block)])) > 1:
                outside[pfn] = True  # caught while it changed; its pages are free one by one
                continue
            page["frame"][pfn], page["order"][pfn] = Frame.BLOCK, order
            page["frame"][pfn + 1 : pfn + size] = Frame.TAIL
            rest[pfn + 1 : pfn + size] = False
    outside[np.flatnonzero(rest)] = True
    counts = _pcp_counts(text)
    pages = np.flatnonzero(outside)
    pages = pages[np.argsort(untouched[pages], kind="stable")]  # what the recording allocates was free for certain
    free, kept = pages[: sum(counts)], pages[sum(counts) :]
    page["frame"][free] = Frame.PCP
    page["cpu"][free] = np.repeat(np.arange(len(counts)), counts)[: len(free)]
    page["kind"][kept] = PageKind.KERNEL


def _pcp_counts(text: KernelText) -> list[int]:
    """Free pages on each CPU's lists, all zones together."""
    sets = [zone.pagesets for zone in text.start.zones.values() if zone.pagesets]
    nr_cpus = max((len(pagesets) for pagesets in sets), default=1)
    return [sum(pagesets[cpu].count for pagesets in sets if cpu < len(pagesets)) for cpu in range(nr_cpus)]


def _fill_used(
    text: KernelText,
    page: np.ndarray,
    life: np.ndarray,
    there: np.ndarray,
    number: np.ndarray,
    pfns: np.ndarray,
    layout: Layout,
) -> int:
    """Pages in use, with what names them; returns the number of file pages, those that nobody reads included."""
    kinds = np.zeros(256, np.uint8)
    for char, (_, kind) in _KINDS.items():
        kinds[ord(char)] = kind
    kind = kinds[text.map.text[pfns]]
    cached = np.isin(kind, (PageKind.FILE, PageKind.BDEV, PageKind.SHMEM))
    unmovable = cached & ((life["mark"] & Mark.MOVABLE) == 0)
    kind[unmovable] = PageKind.KERNEL
    cached &= ~unmovable
    # Page cache that turned out to be something else keeps the kind that the recording told.
    kind[there & (kind == PageKind.ANON) & (life["kind"] == Kind.SHMEM)] = PageKind.SHMEM
    cached |= kind == PageKind.SHMEM
    nameless = there & cached & (number < 0)
    nr_fpages = layout.nr_fpages + int(nameless.sum())
    number[nameless] = np.arange(layout.nr_fpages, nr_fpages)
    at = pfns[there]
    page["kind"][at], page["index"][at] = kind[there], number[there]
    anon = there & (kind == PageKind.ANON)
    page["task"][pfns[anon]] = layout.ids[life["task"][anon]]
    if (number[anon] < 0).any():
        raise KernelTextError(f"{text.path}: an anonymous page of the map has no virtual page; report this as a bug")
    return nr_fpages


def _mark_lru(text: KernelText, page: np.ndarray, staying: np.ndarray) -> None:
    """Which pages are locked, active and dirty: as many as the kernel counted."""
    node = text.start.node | text.start.vmstat
    stays = np.zeros(len(page), np.bool_)
    stays[staying] = True
    shmem, anon = (stays & (page["kind"] == kind) for kind in (PageKind.SHMEM, PageKind.ANON))
    left = node.get("nr_unevictable", 0)
    for candidates, most in ((shmem, node.get("nr_mapped", 0)), (anon, left), (shmem, left)):
        chosen = np.flatnonzero(candidates & ((page["mark"] & PageFlag.MLOCKED) == 0))[: min(most, left)]
        page["mark"][chosen] |= PageFlag.MLOCKED
        left -= len(chosen)
    swap_backed = np.isin(page["kind"], (PageKind.ANON, PageKind.SHMEM))
    file_backed = np.isin(page["kind"], (PageKind.FILE, PageKind.BDEV))
    for mine, name in ((swap_backed, "nr_active_anon"), (file_backed, "nr_active_file")):
        evictable = np.flatnonzero(mine & ((page["mark"] & PageFlag.MLOCKED) == 0))
        page["mark"][evictable[: node.get(name, 0)]] |= PageFlag.ACTIVE
    dirty = np.flatnonzero(page["kind"] == PageKind.FILE)[: node.get("nr_dirty", 0)]
    page["mark"][dirty] |= PageFlag.DIRTY


def _area(text: KernelText) -> tuple[int, int]:
    """First frame and frames of the CMA area: by the census of a SNAP, else by the map's pageblocks."""
    for snap in text.snaps():
        if snap.scan.get("count", 0) > 0:
            return snap.scan["base"], snap.scan["count"]
    blocks = np.flatnonzero(block_types(text) == MigrateType.CMA)
    if not len(blocks) or blocks[-1] - blocks[0] + 1 != len(blocks):
        raise KernelTextError(
            f"{text.path}: neither a SCAN line (base=, count=) nor one range of CMA pageblocks in the page map; "
            "a replay needs to know where the CMA area lies: record with it"
        )
    return int(blocks[0]) * text.map.block_pages, len(blocks) * text.map.block_pages


def _zones(text: KernelText, page: np.ndarray) -> np.ndarray:
    """The zones by the map's pageblocks, with the watermarks that zoneinfo gave."""
    found: dict[int, list[int]] = {}
    highest = 0
    for block, name in enumerate(text.map.zone):
        if name and name not in _ZONES:
            known = ", ".join(_ZONES)
            raise KernelTextError(f"{text.path}: the page map names a zone {name!r}; the model knows {known}")
        if name:
            # The model's zones do not lie within each other: what is behind a higher zone counts as part of it.
            highest = max(highest, int(_ZONES[name]))
            found.setdefault(highest, []).append(block)
    zones = np.zeros(len(found), start_zone_dtype)
    size = text.map.block_pages
    for at, (index, blocks) in enumerate(sorted(found.items())):
        part = zones[at : at + 1]
        part["index"], part["start_pfn"], part["end_pfn"] = index, blocks[0] * size, (blocks[-1] + 1) * size
        _recorded_marks(text, part)
    outside = np.ones(len(page), np.bool_)
    for zone in zones:
        outside[zone["start_pfn"] : zone["end_pfn"]] = False
    page["kind"][outside], page["frame"][outside] = PageKind.RESERVED, Frame.USED
    return zones


def _recorded_marks(text: KernelText, zone: np.ndarray) -> None:
    """Watermarks, reserves and batch of the zone (an array of one) from zoneinfo, several zones' where they are one."""
    names = list(text.start.zones)
    for name in names:
        if _ZONES.get(name) != zone["index"][0] or not text.start.zones[name].value("managed"):
            continue
        info = text.start.zones[name]
        zone["managed"] += info.value("managed")
        boost = info.value("boost")
        zone["watermark"] += [info.value(mark) - boost for mark in ("min", "low", "high")]
        for other, reserve in zip(names, info.protection, strict=False):
            if other in _ZONES:
                kept = zone["lowmem_reserve"][:, _ZONES[other]]
                kept[:] = np.maximum(kept, reserve)
        zone["batch"] = np.max([int(zone["batch"][0]), *(pageset.batch for pageset in info.pagesets)])
    if zone["managed"][0] == 0:
        zone["managed"] = zone["end_pfn"] - zone["start_pfn"]
