"""The check that everything else relies on: every deliberate corruption is found, and called by its name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cma_gym.machine.events import FileFlag, Op
from cma_gym.mm.bitmap import BITS_PER_WORD
from cma_gym.mm.check.validate import ValidationError, Violation, validate
from cma_gym.mm.mmzone import Cost, DemandState, Holder, PageFlag, PageKind, ZoneStat
from tests.mm.tiny import DMA32, EACH, LONG_NS, MS, Do, Tiny


def busy_machine() -> Tiny:
    """A machine with something of everything; sound."""
    m = Tiny(256, 64, nr_swap=64, pcp=(4, 64))
    m.spawn(2)
    m.file(100, 6, FileFlag.SHMEM | FileFlag.WRITE)
    m.do(Do.DRAIN_LRU)
    m.touch(1, 0, 30)
    m.event(Op.FORK, 3, 3 * EACH, EACH, 0, 1)
    m.file(0, 20)
    m.do(Do.DRAIN_LRU)
    m.page["flag"][:256] &= ~(PageFlag.YOUNG | PageFlag.REFERENCED)
    m.do(Do.RECLAIM, 24, 3)
    m.write(40, 6)
    m.mem["kernel"]["cost"][Cost.FLASH_WRITE] = 1000 * MS
    m.mem["kernel"]["dirty_expire_ns"] = 0
    m.mem["node"]["flusher_next_ns"] = 0
    m.idle(1)
    m.write(50, 3)
    m.event(Op.KALLOC, 0, 0, 2, 1 << 4)
    m.touch(2, 0, 5, action=2)
    for n in range(3):
        m.hold(m.entry(2, n), LONG_NS + n, Holder.DIRECT_IO)
    assert m.do(Do.CMA_ALLOC, 20, 0) >= 0
    m.touch(2, 5, 3)
    return m


def first(m: Tiny, condition: np.ndarray) -> int:
    """First page for which it holds."""
    found = np.flatnonzero(condition[: m.mem["nr_pages"]])
    assert len(found), "the machine has no such page"
    return int(found[0])


def flagged(m: Tiny, flag: int) -> int:
    return first(m, m.page["flag"] & flag != 0)


def of_kind(m: Tiny, kind: PageKind) -> int:
    return first(m, m.page["kind"] == kind)


def head_of(m: Tiny, order: int = -1) -> int:
    """A free block (of this order)."""
    page = m.page
    return first(m, (page["flag"] & PageFlag.BUDDY != 0) & ((page["order"] == order) | (order < 0)))


def mapped_page(m: Tiny) -> int:
    return first(m, (m.page["kind"] == PageKind.ANON) & (m.page["mapcount"] == 1))


def used_slot(m: Tiny) -> int:
    return int(np.flatnonzero(m.mem["swap"]["zspage"][:64] >= 0)[0])


def shmem_slot(m: Tiny) -> int:
    return int(np.flatnonzero((m.mem["swap"]["zspage"][:64] >= 0) & (m.mem["swap"]["vpn"][:64] <= -2))[0])


def add(values: np.ndarray, index: object, nr: int = 1) -> None:
    values[index] += nr


def lose_a_page(m: Tiny) -> None:
    """Nobody maps it any more, and nothing else holds it."""
    pfn = first(m, (m.page["kind"] == PageKind.ANON) & (m.page["mapcount"] == 1) & (m.page["pincount"] == 0)
                & (m.page["flag"] & PageFlag.LRU != 0))
    m.mem["pte"]["entry"][m.page["index"][pfn]] = -1
    m.page["mapcount"][pfn] = 0
    m.page["index"][pfn] = -1


def leave_two_halves(m: Tiny) -> None:
    """Split a free block of order 1 or more without using a half of it."""
    zone = m.mem["zones"][DMA32]
    order = next(o for o in range(3, 0, -1) if np.any((m.page["flag"] & PageFlag.BUDDY != 0) & (m.page["order"] == o)))
    pfn = head_of(m, order)
    half = pfn + (1 << order - 1)
    kind = m.mem["pageblock"]["migratetype"][pfn >> 4]
    before, after = int(m.page["prev"][pfn]), int(m.page["next"][pfn])
    m.page["next"][before], m.page["prev"][after] = after, before
    head = int(zone["free_area"]["free_list"][order - 1, kind])
    tail = int(m.page["prev"][head])
    m.page["next"][tail], m.page["prev"][pfn] = pfn, tail
    m.page["next"][pfn], m.page["prev"][half] = half, pfn
    m.page["next"][half], m.page["prev"][head] = head, half
    m.page["flag"][half] = PageFlag.BUDDY
    m.page["order"][[pfn, half]] = order - 1
    zone["free_area"]["nr_free"][order] -= 1
    zone["free_area"]["nr_free"][order - 1] += 2


def swap_heap(m: Tiny) -> None:
    pins = m.mem["pin"]
    for name in ("expire", "pfn"):
        pins[name][0], pins[name][2] = int(pins[name][2]), int(pins[name][0])


def miss_a_piece(m: Tiny) -> None:
    m.mem["demand"]["state"][0] = DemandState.HELD
    m.mem["demand"]["missed"][0] = m.mem["demand"]["pieces"][0] - m.mem["demand"]["got"][0] + 1


def zone_stat(m: Tiny, stat: int) -> None:
    add(m.mem["zones"]["vm_stat"], (DMA32, stat))


def unmark(m: Tiny, flag: PageFlag) -> None:
    m.page["flag"][flagged(m, flag)] &= ~flag


def clear_a_bit(m: Tiny) -> None:
    bit = m.bits()[0]
    m.mem["cma_bitmap"][bit // BITS_PER_WORD] &= ~(1 << bit % BITS_PER_WORD)


def set_flag(m: Tiny, pfn: int, flag: PageFlag) -> None:
    m.page["flag"][pfn] |= flag


def wrong_block_type(m: Tiny, pfn: int, kind: int) -> None:
    m.mem["pageblock"]["migratetype"][pfn >> 4] = kind


def upper_block_of_a_large_one(m: Tiny) -> int:
    return head_of(m, int(m.page["order"][(m.page["flag"] & PageFlag.BUDDY) != 0].max())) + 16


Corruption = Callable[[Tiny], object]
CORRUPTIONS: list[tuple[Violation, str, Corruption]] = [
    (Violation.LIST_LINKS, "back link", lambda m: m.page["prev"].__setitem__(head_of(m, 4), 3)),
    (Violation.LIST_LINKS, "LRU back link", lambda m: m.page["prev"].__setitem__(flagged(m, PageFlag.LRU), 3)),
    (Violation.LIST_LINKS, "pcp back link", lambda m: m.page["prev"].__setitem__(flagged(m, PageFlag.PCP), 3)),
    (Violation.FREE_BLOCK, "mark", lambda m: unmark(m, PageFlag.BUDDY)),
    (Violation.FREE_BLOCK, "order", lambda m: add(m.page["order"], head_of(m))),
    (Violation.FREE_BLOCK, "kind", lambda m: m.page["kind"].__setitem__(head_of(m), PageKind.SLAB)),
    (Violation.FREE_TYPE, "type of its block", lambda m: wrong_block_type(m, head_of(m), 2)),
    (Violation.FREE_TYPE, "type of its second block", lambda m: wrong_block_type(m, upper_block_of_a_large_one(m), 2)),
    (Violation.NR_FREE, "count of an order", lambda m: add(m.mem["zones"][DMA32]["free_area"]["nr_free"], 2)),
    (Violation.PCP_PAGE, "mark", lambda m: unmark(m, PageFlag.PCP)),
    (Violation.PCP_PAGE, "order", lambda m: add(m.page["order"], flagged(m, PageFlag.PCP))),
    (Violation.PCP_COUNT, "count", lambda m: add(m.mem["zones"][DMA32]["pcp"]["nr"], 0)),
    (Violation.FREE_PAGES, "count", lambda m: zone_stat(m, ZoneStat.FREE_PAGES)),
    (Violation.FREE_CMA, "count", lambda m: zone_stat(m, ZoneStat.FREE_CMA)),
    (Violation.PAGE_STATE, "use inside a free block",
     lambda m: m.page["kind"].__setitem__(head_of(m, 4) + 3, PageKind.SLAB)),
    (Violation.PAGE_STATE, "free and nowhere", lambda m: m.page["kind"].__setitem__(mapped_page(m), PageKind.FREE)),
    (Violation.PAGE_STATE, "isolated but listed",
     lambda m: set_flag(m, flagged(m, PageFlag.LRU), PageFlag.ISOLATED)),
    (Violation.LRU_PAGE, "wrong list", lambda m: m.page["flag"].__setitem__(
        flagged(m, PageFlag.LRU), m.page["flag"][flagged(m, PageFlag.LRU)] ^ PageFlag.ACTIVE)),
    (Violation.LRU_PAGE, "mark", lambda m: unmark(m, PageFlag.LRU)),
    (Violation.LRU_COUNT, "marked but on no list",
     lambda m: set_flag(m, flagged(m, PageFlag.LRU_BATCH), PageFlag.LRU)),
    (Violation.LRU_COUNT, "count", lambda m: add(m.mem["lruvec"]["nr"], (0, 0))),
    (Violation.LRU_COUNT, "count of the zone", lambda m: zone_stat(m, ZoneStat.INACTIVE_FILE)),
    (Violation.LRU_BATCH, "mark", lambda m: unmark(m, PageFlag.LRU_BATCH)),
    (Violation.LRU_BATCH, "count", lambda m: add(m.mem["lru_add"]["nr"], int(m.mem["lru_add"]["nr"].argmax()), -1)),
    (Violation.RMAP, "mapcount", lambda m: add(m.page["mapcount"], mapped_page(m))),
    (Violation.RMAP, "entry", lambda m: m.mem["pte"]["entry"].__setitem__(m.page["index"][mapped_page(m)], 0)),
    (Violation.RMAP, "a second entry",
     lambda m: m.mem["pte"]["entry"].__setitem__(5 * EACH, mapped_page(m))),
    (Violation.FILEMAP, "entry", lambda m: m.mem["filemap"]["entry"].__setitem__(
        m.page["index"][of_kind(m, PageKind.FILE)], -1)),
    (Violation.FILEMAP, "a second entry",
     lambda m: m.mem["filemap"]["entry"].__setitem__(900, of_kind(m, PageKind.FILE))),
    (Violation.SWAP_SLOT, "owner", lambda m: m.mem["swap"]["vpn"].__setitem__(used_slot(m), 5 * EACH)),
    (Violation.SWAP_SLOT, "owner of shmem", lambda m: m.mem["swap"]["vpn"].__setitem__(shmem_slot(m), -2 - 500)),
    (Violation.SWAP_SLOT, "entry of a free slot", lambda m: m.mem["pte"]["entry"].__setitem__(5 * EACH, -2 - 2 * 63)),
    (Violation.SWAP_COUNT, "count", lambda m: add(m.mem["node"], "nr_swap_free")),
    (Violation.ZSPAGE, "objects", lambda m: add(m.page["mapcount"], of_kind(m, PageKind.ZSMALLOC))),
    (Violation.ZSPAGE, "count", lambda m: add(m.mem["node"], "nr_zspages")),
    (Violation.ZSPAGE, "class", lambda m: add(m.page["task"], of_kind(m, PageKind.ZSMALLOC), -1)),
    (Violation.DIRTY_COUNT, "count", lambda m: add(m.mem["node"], "nr_dirty")),
    (Violation.DIRTY_COUNT, "mark", lambda m: unmark(m, PageFlag.DIRTY)),
    (Violation.WRITEBACK_COUNT, "count", lambda m: add(m.mem["node"], "nr_writeback")),
    (Violation.WRITEBACK_COUNT, "queue", lambda m: add(m.mem["node"], "inflight_head")),
    (Violation.PIN_COUNT, "count", lambda m: add(m.page["pincount"], of_kind(m, PageKind.ANON))),
    (Violation.PIN_COUNT, "page", lambda m: m.mem["pin"]["pfn"].__setitem__(0, of_kind(m, PageKind.FILE))),
    (Violation.PIN_HEAP, "order", swap_heap),
    (Violation.OCCUPANCY, "census", lambda m: add(m.mem["cma"]["occupancy"], int(PageKind.ANON))),
    (Violation.BITMAP, "count", lambda m: add(m.mem["cma"], "nr_allocated")),
    (Violation.BITMAP, "bit of a held page", clear_a_bit),
    (Violation.LEAK, "a page nobody knows", lose_a_page),
    (Violation.LEAK, "a handle that is gone", lambda m: m.mem["pte"]["entry"].__setitem__(0, -1)),
    (Violation.UNMERGED, "two halves", leave_two_halves),
    (Violation.HAND, "mark", lambda m: set_flag(m, of_kind(m, PageKind.FILE), PageFlag.RECLAIM)),
    (Violation.PAGEBLOCKS, "isolated", lambda m: add(m.mem["zones"]["nr_isolated_pageblocks"], DMA32)),
    (Violation.HIGHATOMIC, "count", lambda m: add(m.mem["zones"]["nr_free_highatomic"], DMA32)),
    (Violation.PCP_BOUNDS, "high", lambda m: add(m.mem["zones"]["pcp"]["high"], (DMA32, 0))),
    (Violation.PCP_BOUNDS, "batch scale", lambda m: add(m.mem["zones"]["pcp"]["alloc_factor"], (DMA32, 1))),
    (Violation.CLEANCACHE, "count", lambda m: add(m.mem["node"], "nr_cleancache")),
    (Violation.PAGEBLOCKS, "reserved", lambda m: add(m.mem["zones"]["nr_reserved_highatomic"], DMA32)),
    (Violation.CONTIG, "left isolated", lambda m: set_flag(m, mapped_page(m), PageFlag.ISOLATED)),
    (Violation.CONTIG, "pages in nobody's hand", lambda m: add(m.mem["contig"], "nr_cluster")),
    (Violation.CONTIG, "batches left off", lambda m: add(m.mem["node"], "lru_disabled")),
    (Violation.CONTIG, "busy for nobody", lambda m: add(m.mem["cma"], "busy")),
    (Violation.CONTIG, "more pieces than wanted", miss_a_piece),
    (Violation.CONTIG, "serving nobody", lambda m: add(m.mem["contig"], "slot")),
]


@pytest.fixture(scope="module")
def sound() -> Tiny:
    return busy_machine()


def test_the_machine_to_be_corrupted_is_sound_and_has_something_of_everything(sound):
    sound.validate()
    node = sound.mem["node"]
    assert set(sound.kinds()) >= set("afzko")
    assert node["nr_dirty"] > 0 and node["nr_writeback"] > 0 and sound.mem["nr_pins"] == 3


@pytest.mark.parametrize(
    ("expected", "what", "corrupt"), CORRUPTIONS, ids=[f"{expected.name}: {what}" for expected, what, _ in CORRUPTIONS]
)
def test_a_corruption_is_found_and_named(sound, expected, what, corrupt):
    kept = sound.mems.copy()
    corrupt(sound)
    try:
        with pytest.raises(ValidationError, match=rf"machine 0 .*: {expected.name} at \d+"):
            validate(sound.mems)
    finally:
        sound.mems[:] = kept
    sound.validate()


def test_every_violation_has_a_corruption():
    assert {expected for expected, _, _ in CORRUPTIONS} == set(Violation) - {Violation.NONE}
