"""Emptying ranges: isolation, alloc_contig_range() and cma_alloc(), on memory maps."""

from __future__ import annotations

import pytest

from cma_gym.machine.events import FileFlag
from cma_gym.mm.mmzone import ContigPhase, Cost, MigrateType, PageFlag, PageKind, VmEvent
from tests.mm.asking import ask, blamed, demand, outcome, step_to
from tests.mm.tiny import CMA_ZONE, DMA32, LONG_NS, MOVABLE_ZONE, MS, PAINTED, Do, Tiny

EBUSY = -16
ENOMEM = -12
MOVABLE = int(MigrateType.MOVABLE)

FULL = "M kkkkkkkkkkkkkkkk\n"
AREA = 32
"""First page of the area of the machines below: four pageblocks, the last two of them CMA."""


# Isolation.


def test_isolated_blocks_are_not_free_and_come_back_as_they_were():
    m = Tiny(64, 32)
    m.paint("C aa....a.........", first=2)
    before = m.draw()
    assert m.do(Do.ISOLATE, 32, 64) == 0
    m.expect("""
        M 5...............
        M ................
        I aa1.1.a03.......
        I 4...............
    """)
    assert (m.free(), m.free_cma()) == (32, 0)
    m.do(Do.UNDO_ISOLATE, 32, 64)
    assert m.draw() == before
    assert (m.free(), m.free_cma()) == (61, 29)


def test_isolating_a_part_of_a_large_free_block_splits_it():
    m = Tiny(64, 32)
    assert m.do(Do.ISOLATE, 48, 64) == 0
    m.expect("""
        C 4...............
        I 4...............
    """, first=2)
    assert m.do(Do.ISOLATE, 32, 64) == EBUSY
    m.expect("""
        C 4...............
        I 4...............
    """, first=2)


def test_large_blocks_come_back_as_large_as_they_were():
    """Linux: unset_migratetype_isolate() merges what isolation split."""
    m = Tiny(128, 64)
    before = m.draw()
    m.do(Do.ISOLATE, 64, 128)
    m.do(Do.UNDO_ISOLATE, 64, 128)
    assert m.draw() == before
    m.do(Do.ISOLATE, 80, 112)
    m.do(Do.UNDO_ISOLATE, 80, 112)
    assert m.draw() == before
    m.validate()


# alloc_contig_range().


def test_a_free_range_is_taken_and_the_rest_of_its_blocks_stays_free():
    m = Tiny(64, 32)
    assert m.do(Do.CONTIG, 37, 50) == 0
    m.mem["cma_bitmap"][0] = sum(1 << pfn - m.mem["cma"]["base_pfn"] for pfn in range(37, 50))
    m.mem["cma"]["nr_allocated"] = 13
    m.expect("""
        C 2...0ooooooooooo
        C oo1.2...3.......
    """, first=2)
    assert m.free_cma() == 19


def test_pages_in_the_way_are_moved_out():
    m = Tiny(64, 32, migrate_into_cma=False)
    m.paint("C aaa....mmm......", first=2)
    assert m.do(Do.CMA_ALLOC, 32, 0) == AREA
    assert m.kinds(32) == {"o": 32}
    assert m.kinds(0, 32) == {"a": 3, "m": 3}
    assert m.events(VmEvent.CMA_MIGRATED) == 6
    assert all(0 <= m.mem["pte"]["entry"][PAINTED + n] < 32 for n in range(3))
    m.validate()


def test_clean_page_cache_is_dropped_and_not_moved():
    """Kernel fact 6. A shadow entry stays behind; dirty cache is moved."""
    m = Tiny(64, 32)
    m.paint("C fff..bb.........", first=2)
    m.write(1)
    assert m.do(Do.CMA_ALLOC, 32, 0) == AREA
    assert m.kinds(0, 32) == {"f": 1}
    assert m.events(VmEvent.CMA_DROPPED) == 4
    assert m.events(VmEvent.CMA_MIGRATED) == 1
    entries = m.mem["filemap"]["entry"][:5]
    assert [int(e) >= 0 for e in entries] == [False, True, False, False, False]
    assert all(e <= -3 and e % 2 == 1 for e in entries[[0, 2, 3, 4]])
    m.validate()


def test_pinned_anonymous_pages_are_not_even_isolated():
    """Kernel fact 3: the attempt evacuates everything else and fails at the final test."""
    m = Tiny(64, 32, migrate_into_cma=False)
    m.paint("""
        C aaA..aa.........
        C ...a............
    """, first=2)
    assert m.do(Do.CMA_ALLOC, 32, 0) == -1
    m.do(Do.DRAIN)
    m.expect("""
        C 1.A02...3.......
        C 4...............
    """, first=2)
    assert m.events(VmEvent.CMA_MIGRATED) == 5
    assert m.kinds(0, 32) == {"a": 5}


def test_a_page_that_cannot_move_stops_the_attempt_at_its_batch():
    """Kernel fact 5: batches are of 32 pages; what was moved out before stays out, the rest is not looked at."""
    m = Tiny(256, 128, migrate_into_cma=False)
    rows = ["C ffffffffffffffff"] * 8
    rows[3] = "C ffffFfffffffffff"
    m.paint("\n".join(rows), first=8)
    assert m.do(Do.CMA_ALLOC, 128, 0) == -1
    m.expect("""
        C 5...............
        C ................
        C 4...............
        C 2...F01.3.......
        C ffffffffffffffff
        C ffffffffffffffff
        C ffffffffffffffff
        C ffffffffffffffff
    """, first=8)
    assert m.events(VmEvent.CMA_DROPPED) == 63


def test_a_batch_that_becomes_free_in_time_succeeds():
    """The reference ends while the rounds of migration go on."""
    m = Tiny(64, 32)
    m.paint("C fff.............", first=2)
    m.hold(33, 82_000)
    m.mem["kernel"]["cost"][[Cost.ISOLATE_BLOCK, Cost.DRAIN, Cost.ISOLATE_PAGE]] = 20_000, 0, 1_000
    assert m.do(Do.CMA_ALLOC, 32, 0) == AREA
    assert m.events(VmEvent.CMA_DROPPED) == 2
    assert m.events(VmEvent.CMA_MIGRATED) == 1


def test_writeback_is_waited_for():
    m = Tiny(64, 32)
    m.paint("C f...............", first=2)
    m.write(0)
    m.mem["kernel"]["cost"][Cost.FLASH_WRITE] = 3 * MS
    m.mem["node"]["flusher_next_ns"] = 0
    m.mem["kernel"]["dirty_expire_ns"] = 0
    m.idle(1)
    assert m.mem["node"]["nr_writeback"] == 1
    assert m.do(Do.CMA_ALLOC, 32, 0) == AREA
    assert m.clock() >= 3 * MS
    assert m.mem["node"]["nr_writeback"] == 0
    m.validate()


def test_pages_in_lru_batches_hold_the_attempt_up_until_drained():
    """FACTS B1: each CPU's batch carries references; the attempt drains them all first."""
    m = Tiny(64, 32)
    m.touch(1, 0, 5, action=2)
    assert (m.page["flag"][32:64] & PageFlag.LRU_BATCH).astype(bool).sum() == 5
    assert m.do(Do.CMA_ALLOC, 32, 0) == AREA


def test_pages_moved_during_the_attempt_do_not_wait_in_batches():
    """lru_cache_disable() keeps the batches empty while it runs; 4.6 drains them again before its final test."""
    for disable, waiting in ((True, 0), (False, 3)):
        m = Tiny(64, 32, lru_cache_disable=disable, migrate_into_cma=False)
        m.paint("C aaa.............", first=2)
        ask(m, 32)
        step_to(m, ContigPhase.TEST)
        assert (m.page["flag"][:64] & PageFlag.LRU_BATCH).astype(bool).sum() == waiting
        step_to(m, ContigPhase.IDLE)
        assert (m.page["flag"][:64] & PageFlag.LRU_BATCH).astype(bool).sum() == 0
        assert outcome(m)["ok"] == 1
        m.validate()


def test_without_room_for_the_copies_the_attempt_ends_at_once():
    m = Tiny(64, 32, nr_swap=0, migrate_into_cma=False, lmk=False)
    m.paint(FULL * 2)
    m.paint("C aaa.............", first=2)
    assert m.do(Do.CONTIG, 32, 64) == ENOMEM
    assert m.events(VmEvent.OOM_KILL) == 0
    assert m.kinds(32) == {"a": 3}
    m.validate()


def test_an_unmovable_page_is_found_by_the_final_test():
    m = Tiny(64, 32)
    m.paint("C ..d..p..........", first=2)
    demand(m, 32)
    assert m.events(VmEvent.CMA_ALLOC_FAIL) == 1
    assert blamed(m) == {(34, "DRIVER", "UNMOVABLE"), (37, "PAGE_TABLE", "UNMOVABLE")}


def test_a_zspage_is_moved_with_its_objects():
    m = Tiny(64, 32, migrate_into_cma=False)
    m.paint("M aaaaaaaa........")
    m.mem["node"]["zs_action"] = 2
    m.page["flag"][:64] &= ~PageFlag.YOUNG
    assert m.do(Do.RECLAIM, 3, MOVABLE_ZONE) >= 3
    stored = m.kinds()["z"]
    assert m.kinds(32)["z"] > 0
    assert m.do(Do.CMA_ALLOC, 32, 0) == AREA
    assert m.kinds(0, 32)["z"] == stored
    m.validate()


# cma_alloc() and cma_release().


def test_the_bitmap_is_searched_from_the_start_at_aligned_places():
    m = Tiny(64, 32)
    assert m.do(Do.CMA_ALLOC, 3, 0) == 32
    assert m.do(Do.CMA_ALLOC, 3, 0) == 35
    assert m.do(Do.CMA_ALLOC, 3, 2) == 40
    m.expect("""
        C oooooo1.ooo02...
        C 4...............
    """, first=2)
    assert m.do(Do.NEXT_ZERO, 0, 2, 0) == 6
    assert m.do(Do.NEXT_ZERO, 0, 3, 0) == 11
    assert m.do(Do.NEXT_ZERO, 0, 3, 4) == 16
    assert m.do(Do.NEXT_ZERO, 0, 22, 0) == -1
    m.do(Do.CMA_RELEASE, 35, 3)
    assert m.do(Do.CMA_ALLOC, 2, 0) == 35
    m.validate()


def test_a_busy_place_moves_the_search_on_by_the_alignment():
    """Kernel fact 11; the place is not tried again."""
    m = Tiny(64, 32)
    m.paint("C d.......d.......", first=2)
    assert m.do(Do.CMA_ALLOC, 8, 3) == 48
    assert m.events(VmEvent.CMA_BUSY_RETRY) == 2
    m.expect("""
        C d01.2...d01.2...
        C oooooooo3.......
    """, first=2)


def test_a_released_buffer_merges_again():
    m = Tiny(64, 32, cma_pcp="none")
    pfn = m.do(Do.CMA_ALLOC, 32, 0)
    m.expect("""
        C oooooooooooooooo
        C oooooooooooooooo
    """, first=2)
    assert (m.free(), m.free_cma()) == (32, 0)
    m.do(Do.CMA_RELEASE, pfn, 32)
    m.expect("""
        C 5...............
        C ................
    """, first=2)
    assert m.mem["cma"]["nr_allocated"] == 0


# Who may come in.


def test_a_carve_out_is_never_lent():
    m = Tiny(64, 32, lend=False)
    m.touch(1, 0, 12, action=2)
    m.file(0, 24, action=2)
    m.do(Do.COMPACT, 0, 4, MOVABLE, MOVABLE_ZONE)
    assert m.kinds(32) == {}
    demand(m, 32)
    assert outcome(m)["first_ok"] == 1
    assert m.events(VmEvent.CMA_MIGRATED) == 0
    m.validate()


def test_zone_cma_keeps_block_device_cache_out_and_lets_the_rest_in():
    """Kernel fact 15."""
    m = Tiny(64, 32, zone_cma=True)
    m.file(0, 8, FileFlag.BDEV, action=2)
    assert m.kinds() == {"b": 8}
    assert m.kinds(32) == {}
    m.file(100, 4, action=2)
    m.file(200, 4, FileFlag.SHMEM, action=2)
    m.touch(1, 0, 4, action=2)
    assert m.kinds(32) == {"f": 4, "m": 4, "a": 4}
    m.validate()


def test_zone_cma_comes_last_where_it_is_not_preferred():
    m = Tiny(64, 32, zone_cma=True)
    m.touch(1, 0, 10, action=1)
    assert m.kinds(32) == {}
    m.touch(1, 10, 10, action=0)
    m.touch(1, 20, 40, action=1)
    assert m.kinds(32)["a"] == 60 - 32
    m.validate()


def test_a_demand_empties_zone_cma_like_any_area():
    m = Tiny(64, 32, zone_cma=True, migrate_into_cma=False)
    m.touch(1, 0, 12, action=2)
    assert m.kinds(32) == {"a": 12}
    demand(m, 32)
    assert m.kinds(0, 32) == {"a": 12}
    assert m.kinds(32) == {"o": 32}
    assert m.free(CMA_ZONE) == 0
    m.validate()


def test_a_longterm_pin_moves_the_page_out_first():
    """Kernel fact 4: such pins do not block."""
    m = Tiny(64, 32)
    m.touch(1, 0, 4, action=2)
    m.pin(1, 0, 4, LONG_NS, longterm=True)
    assert m.kinds(32) == {}
    assert m.kinds(0, 32) == {"a": 4}
    assert m.events(VmEvent.LONGTERM_MOVED) == 4
    assert m.mem["nr_pins"] == 4
    demand(m, 32)
    assert outcome(m)["first_ok"] == 1
    m.validate()


def test_a_short_pin_leaves_the_page_where_it_is():
    m = Tiny(64, 32)
    m.touch(1, 0, 4, action=2)
    m.pin(1, 0, 4, LONG_NS)
    assert m.kinds(32) == {"a": 4}
    assert m.mem["task"]["has_pinned"][1] == 1


@pytest.mark.parametrize(("into_cma", "expected"), [(True, 4), (False, 0)])
def test_copies_may_land_in_cma_where_the_kernel_lets_them(into_cma, expected):
    m = Tiny(64, 32, migrate_into_cma=into_cma, nr_swap=0, lmk=False)
    m.paint(FULL + "M kkkkkkkkkkkk....")
    m.paint("C ................\nC aaaa............", first=2)
    m.do(Do.DRAIN)
    m.do(Do.RMQUEUE_BUDDY, DMA32, 2, MOVABLE, 0, PageKind.KERNEL)
    error = m.do(Do.CONTIG, 48, 64)
    assert error == (0 if into_cma else ENOMEM)
    assert m.kinds(32, 48).get("a", 0) == expected
