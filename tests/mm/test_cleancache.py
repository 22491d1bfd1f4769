"""GCMA, background balancing into CMA, and background compaction."""

from __future__ import annotations

import pytest

from cma_gym.machine.events import FileFlag, Op
from cma_gym.mm.check.validate import ValidationError, validate
from cma_gym.mm.mmzone import Cost, MigrateType, PageKind, VmEvent
from tests.mm.tiny import DMA32, EACH, MOVABLE_ZONE, MS, Do, Tiny, age, reclaim, swap_out_everything

GCMA = {"lend": False, "gcma": True, "compact_into_cma": False, "migrate_into_cma": False}
MOVABLE = int(MigrateType.MOVABLE)


def with_copies(nr: int = 8) -> Tiny:
    """A machine whose area holds copies of file pages 0 .. nr-1."""
    m = Tiny(64, 16, **GCMA)
    m.file(0, nr)
    m.do(Do.DRAIN_LRU)
    age(m)
    assert reclaim(m, nr) == nr
    m.validate()
    return m


def test_an_evicted_clean_file_page_goes_to_the_area():
    m = with_copies()
    assert m.kinds(48) == {"c": 8}
    assert m.events(VmEvent.CLEANCACHE_PUT) == 8
    assert m.free_cma() == 8


def test_a_refault_copies_the_page_back_instead_of_reading_it():
    m = with_copies()
    read = m.events(VmEvent.PGPGIN)
    m.mem["kernel"]["cost"][Cost.FLASH_READ] = 10**9
    before = m.clock()
    m.file(0, 3)
    assert m.events(VmEvent.PGPGIN) == read
    assert m.events(VmEvent.CLEANCACHE_GET) == 3
    assert m.events(VmEvent.WORKINGSET_REFAULT_FILE) == 3
    assert 3 * m.mem["kernel"]["cost"][Cost.COPY] <= m.clock() - before < 10**9
    assert m.kinds(48) == {"c": 5}
    m.validate()


def test_the_area_is_given_back_by_dropping_without_any_migration():
    m = with_copies()
    assert m.do(Do.CMA_ALLOC, 16, 0) == 48
    assert m.kinds(48) == {"o": 16}
    assert (m.events(VmEvent.CMA_MIGRATED), m.events(VmEvent.CLEANCACHE_DROP)) == (0, 8)
    m.validate()
    read = m.events(VmEvent.PGPGIN)
    m.file(0, 3)
    assert m.events(VmEvent.PGPGIN) == read + 3
    assert m.events(VmEvent.WORKINGSET_REFAULT_FILE) == 3, "a dropped copy leaves the shadow behind"


def test_nothing_else_ever_lies_in_the_area():
    m = Tiny(64, 16, **GCMA)
    m.touch(1, 0, 25, action=2)
    m.file(100, 6, FileFlag.SHMEM | FileFlag.WRITE, action=2)
    m.file(200, 4, FileFlag.BDEV, action=2)
    m.do(Do.COMPACT, 0, 3, MOVABLE, MOVABLE_ZONE)
    assert set(m.kinds(48)) <= {"c"}
    m.validate()


def test_a_full_area_drops_its_oldest_copy():
    m = Tiny(64, 16, **GCMA)
    for first in range(0, 24, 8):
        m.file(first, 8)
        m.do(Do.DRAIN_LRU)
        age(m)
        assert reclaim(m, 8) == 8
    assert m.kinds(48) == {"c": 16}
    read = m.events(VmEvent.PGPGIN)
    m.file(8, 16)
    assert m.events(VmEvent.PGPGIN) == read
    m.file(0, 8)
    assert m.events(VmEvent.PGPGIN) == read + 8
    m.validate()


def test_a_truncated_file_has_no_copies():
    m = with_copies()
    m.event(Op.TRUNCATE, 1, 0, 8)
    assert m.kinds(48) == {}
    assert m.mem["node"]["nr_cleancache"] == 0
    m.validate()


def test_a_copy_that_nobody_knows_is_found():
    m = with_copies()
    m.mem["filemap"]["entry"][0] = -1
    with pytest.raises(ValidationError, match="CLEANCACHE"):
        validate(m.mems)


# Copies of swapped pages.


def swapped(nr: int = 6) -> Tiny:
    """A machine with `nr` anonymous pages in swap, and copies of them in the area."""
    m = Tiny(64, 16, **GCMA, gcma_frontswap=True)
    m.touch(1, 0, nr)
    swap_out_everything(m)
    assert m.events(VmEvent.PSWPOUT) == nr, "written through, copy or not"
    assert m.kinds(48) == {"c": nr}
    m.validate()
    return m


def test_a_swapped_page_comes_back_from_its_copy():
    m = swapped()
    m.mem["kernel"]["cost"][Cost.ZRAM_IN] = 10**9
    before = m.clock()
    m.touch(1, 0, 4)
    assert (m.events(VmEvent.PSWPIN), m.events(VmEvent.CLEANCACHE_GET)) == (0, 4)
    assert m.events(VmEvent.WORKINGSET_REFAULT_ANON) == 4
    assert m.clock() - before < 10**9
    assert m.kinds(48) == {"c": 2}
    m.validate()


def test_a_dropped_copy_of_a_swapped_page_is_read_from_swap():
    m = swapped()
    assert m.do(Do.CMA_ALLOC, 16, 0) == 48
    assert m.events(VmEvent.CLEANCACHE_DROP) == 6
    m.validate()
    m.touch(1, 0, 4)
    assert (m.events(VmEvent.PSWPIN), m.events(VmEvent.CLEANCACHE_GET)) == (4, 0)
    assert m.events(VmEvent.WORKINGSET_REFAULT_ANON) == 4
    m.validate()


def test_a_slot_that_is_given_up_takes_its_copy_along():
    m = swapped()
    m.event(Op.UNMAP, 1, EACH, 6)
    assert m.kinds(48) == {}
    m.validate()


def test_copies_of_files_and_of_swapped_pages_share_the_area():
    m = swapped(10)
    m.file(0, 10)
    m.do(Do.DRAIN_LRU)
    age(m)
    assert reclaim(m, 10) == 10
    assert m.kinds(48) == {"c": 16}
    m.touch(1, 0, 10)
    m.file(0, 10)
    assert m.events(VmEvent.CLEANCACHE_GET) == 16
    assert m.events(VmEvent.PSWPIN) == 4, "the oldest copies went"
    m.validate()


# Background balancing.


def short_of_memory(**switches: object) -> Tiny:
    """Ordinary memory full of movable pages and below its high watermark, CMA free."""
    m = Tiny(256, 128, nr_swap=0, lmk=False, **switches)
    m.mem["zones"]["watermark"][DMA32] = (8, 16, 64)
    m.paint("\n".join(["M aaaaaaaaaaaaaaaa"] * 8))
    return m


def test_kswapd_moves_movable_pages_into_cma_when_balancing():
    m = short_of_memory(cma_balance=True)
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    m.do(Do.RUN_KSWAPD, 100 * MS)
    assert m.events(VmEvent.CMA_BALANCED) >= 64
    assert m.kinds(128)["a"] == m.events(VmEvent.CMA_BALANCED)
    assert m.free() - m.free_cma() > 64
    assert m.mem["node"]["kswapd_awake"] == 0
    m.validate()


def test_without_balancing_free_cma_does_not_help():
    m = short_of_memory()
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    m.do(Do.RUN_KSWAPD, 100 * MS)
    assert m.kinds(128) == {}
    assert m.free() == m.free_cma() == 128


@pytest.mark.parametrize(("limit", "borrowed"), [(0, 8), (60, 0), (100, 0)])
def test_the_first_limit_decides_when_cma_comes_first(limit, borrowed):
    """Half of free memory is CMA: above a limit of 0 %, not above one of 60 %."""
    m = Tiny(64, 32, cma_first_limit=limit)
    m.touch(1, 0, 8)
    assert m.kinds(32).get("a", 0) == borrowed


# Background compaction.


def test_kcompactd_makes_a_block_when_kswapd_has_done_its_part():
    m = Tiny(128, nr_swap=0, lmk=False)
    m.paint("M a.a.a.a.a.a.a.a.\n" * 8)
    m.mem["node"]["kswapd_alloc_order"] = 3
    m.do(Do.WAKE_KSWAPD, 3, MOVABLE_ZONE)
    for _ in range(30):
        m.idle(1000 * MS)
    assert m.events(VmEvent.KCOMPACTD_WAKE) >= 1
    assert m.events(VmEvent.COMPACT_STALL) == 0
    assert m.events(VmEvent.PGMIGRATE_SUCCESS) > 0
    m.validate()


def test_proactive_compaction_lowers_the_fragmentation_score():
    m = Tiny(128, nr_swap=0, compaction_proactiveness=20)
    m.paint("M a.a.a.a.a.a.a.a.\n" * 8)
    m.idle(600 * MS)
    large = sum(row[2:] == "4..............." for row in m.draw())
    assert large >= 1
    m.validate()


def test_proactive_compaction_waits_when_it_does_not_help():
    m = Tiny(64, nr_swap=0, compaction_proactiveness=20)
    m.paint("M k.k.k.k.k.k.k.k.\n" * 4)
    m.idle(600 * MS)
    assert m.mem["node"]["proactive_defer"] == 64
    scanned = m.events(VmEvent.COMPACT_MIGRATE_SCANNED)
    m.idle(600 * MS)
    assert m.events(VmEvent.COMPACT_MIGRATE_SCANNED) == scanned
    assert m.mem["node"]["proactive_defer"] == 63


# Direct compaction.


def test_asynchronous_compaction_takes_blocks_of_the_requests_own_type():
    """An unmovable request does not empty movable blocks until it is desperate; a sync one takes all."""
    m = Tiny(64)
    m.paint("M a.a.a.a.a.a.a.a.\n" * 4)
    m.do(Do.COMPACT_ZONE, DMA32, 0, 4, int(MigrateType.UNMOVABLE), 2)
    assert m.events(VmEvent.PGMIGRATE_SUCCESS) == 0
    m.do(Do.COMPACT_ZONE, DMA32, 0, 4, int(MigrateType.UNMOVABLE), 1)
    assert m.events(VmEvent.PGMIGRATE_SUCCESS) > 0


def test_blocks_that_gave_nothing_are_skipped_until_kswapd_has_slept():
    m = Tiny(64)
    m.paint("M k.k.k.k.k.k.k.k.\n" * 4)
    m.do(Do.COMPACT_ZONE, DMA32, 0, 4, MOVABLE, 1)
    scanned = m.events(VmEvent.COMPACT_MIGRATE_SCANNED)
    m.do(Do.COMPACT_ZONE, DMA32, 0, 4, MOVABLE, 1)
    assert m.events(VmEvent.COMPACT_MIGRATE_SCANNED) == scanned
    m.do(Do.COMPACT_ZONE, DMA32, 0, 4, MOVABLE, 0)
    assert m.events(VmEvent.COMPACT_MIGRATE_SCANNED) > scanned
    assert set(m.mem["pageblock"]["skip"][:2]) == {1}
    m.mem["node"]["kswapd_awake"] = 1
    m.do(Do.RUN_KSWAPD, MS)
    assert not m.mem["pageblock"]["skip"][:4].any()


def test_whole_free_blocks_of_cma_are_no_targets():
    """Linux: suitable_migration_target() spares a free block of the wanted order."""
    m = Tiny(64, 32)
    m.paint("M a.a.a.a.a.a.a.a.\n" * 2)
    m.do(Do.COMPACT_ZONE, DMA32, 0, 4, int(MigrateType.UNMOVABLE), 1)
    assert m.kinds(32) == {}


def test_zsmalloc_pages_are_unmovable_in_4_6():
    m = Tiny(64, 16, profile="v4_6")
    m.touch(1, 0, 20)
    m.do(Do.DRAIN_LRU)
    age(m)
    m.mem["node"]["zs_action"] = 2
    reclaim(m, 16)
    assert m.events(VmEvent.PSWPOUT) > 0
    assert m.kinds()["z"] > 0
    assert "z" not in m.kinds(48)
    assert PageKind.ZSMALLOC not in m.page["kind"][48:64]
    m.validate()
