"""The page cache: aging, refaults, dirty pages and their way to the device."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.machine.events import FileFlag, Op
from cma_gym.mm.mmzone import MAX_RECLAIM_RETRIES, NO_ENTRY, Action, Cost, Lru, PageKind, VmEvent
from cma_gym.mm.page_alloc import ALLOC_CMA
from tests.mm.tiny import MOVABLE_ZONE, MS, Do, Tiny, age, reclaim, swap_out_everything

# Aging and refaults.


def test_a_second_read_activates_a_file_page():
    m = Tiny(64)
    m.file(0, 2)
    m.do(Do.DRAIN_LRU)
    assert m.lru(Lru.ACTIVE_FILE) == 0
    m.file(0, 1)
    m.do(Do.DRAIN_LRU)
    assert (m.lru(Lru.ACTIVE_FILE), m.lru(Lru.INACTIVE_FILE)) == (1, 1)
    assert m.events(VmEvent.PGACTIVATE) == 1
    m.validate()


def test_recently_used_pages_survive_a_scan():
    m = Tiny(64)
    m.file(0, 8, FileFlag.MAPPED)
    m.do(Do.DRAIN_LRU)
    age(m)
    m.file(3, 1, FileFlag.MAPPED)
    reclaim(m, 7)
    cached = m.mem["filemap"]["entry"][:8] >= 0
    assert list(np.flatnonzero(cached)) == [3]


def test_executable_mappings_are_activated_at_once():
    m = Tiny(64)
    m.file(0, 1, FileFlag.MAPPED | FileFlag.EXEC)
    m.file(1, 8)
    m.do(Do.DRAIN_LRU)
    reclaim(m, 8)
    assert m.lru(Lru.ACTIVE_FILE) == 1


def test_a_page_that_returns_soon_is_activated():
    """The distance since its eviction is below the size of the lists that compete with it."""
    m = Tiny(64)
    m.file(0, 10)
    m.touch(1, 0, 20)
    m.do(Do.DRAIN_LRU)
    age(m)
    reclaim(m, 4)
    gone = np.flatnonzero(m.mem["filemap"]["entry"][:10] < NO_ENTRY)
    assert len(gone) > 0
    m.file(int(gone[0]), 1)
    m.do(Do.DRAIN_LRU)
    assert m.events(VmEvent.WORKINGSET_REFAULT_FILE) == 1
    assert m.events(VmEvent.WORKINGSET_ACTIVATE) == 1
    assert m.lru(Lru.ACTIVE_FILE) == 1
    assert m.mem["metrics"]["refault_ns"] == m.mem["kernel"]["cost"][Cost.FLASH_READ]
    m.validate()


def test_a_page_that_returns_late_is_not_activated():
    m = Tiny(64)
    m.file(0, 4)
    m.do(Do.DRAIN_LRU)
    age(m)
    assert reclaim(m, 4) == 4
    for fpn in range(100, 400, 20):
        m.file(fpn, 20)
        m.do(Do.DRAIN_LRU)
        age(m)
        reclaim(m, 20)
    m.file(0, 1)
    assert m.events(VmEvent.WORKINGSET_REFAULT_FILE) == 1
    assert m.events(VmEvent.WORKINGSET_ACTIVATE) == 0


def test_pinned_pages_are_not_reclaimed():
    m = Tiny(64)
    m.paint("M ffFfaaAa........")
    swap_out_everything(m)
    assert m.page["kind"][2] == PageKind.FILE
    assert m.page["kind"][6] == PageKind.ANON
    assert {k: v for k, v in m.kinds().items() if k != "z"} == {"f": 1, "a": 1}
    m.validate()


# Dirty pages.


def test_dirty_pages_are_written_and_clean_afterwards():
    m = Tiny(64)
    m.write(0, 5)
    assert m.mem["node"]["nr_dirty"] == 5
    m.event(Op.SYNC, 1, 0, 5)
    assert m.mem["node"]["nr_dirty"] == 0
    assert m.mem["node"]["nr_writeback"] == 0
    assert m.events(VmEvent.NR_DIRTIED) == m.events(VmEvent.NR_WRITTEN) == 5
    assert m.clock() == 5 * m.mem["kernel"]["cost"][Cost.FLASH_WRITE]
    m.validate()


def test_a_page_written_again_while_it_is_on_its_way_is_written_once_more_afterwards():
    """Linux: a second write-out waits for the first (folio_wait_writeback() in write_cache_pages())."""
    m = Tiny(64)
    m.write(0)
    m.mem["kernel"]["cost"][Cost.FLASH_WRITE] = 10 * MS
    m.mem["node"]["flusher_next_ns"] = 0
    m.mem["kernel"]["dirty_expire_ns"] = 0
    m.idle(1)
    assert m.mem["node"]["nr_writeback"] == 1
    m.write(0)
    assert (m.mem["node"]["nr_dirty"], m.mem["node"]["nr_writeback"]) == (1, 1)
    m.validate()
    m.mem["node"]["flusher_next_ns"] = 0
    m.idle(1)
    assert (m.mem["node"]["nr_dirty"], m.mem["node"]["nr_writeback"]) == (0, 1)
    m.validate()
    m.write(0)
    m.event(Op.SYNC, 1, 0, 1)
    assert (m.mem["node"]["nr_dirty"], m.mem["node"]["nr_writeback"]) == (0, 0)
    assert m.events(VmEvent.NR_WRITTEN) == 3
    assert m.clock() >= 30 * MS
    m.validate()


def test_reclaim_leaves_dirty_pages_to_the_writers():
    m = Tiny(64)
    m.write(0, 4)
    m.do(Do.DRAIN_LRU)
    age(m)
    assert reclaim(m, 4) == 0
    assert m.mem["node"]["nr_dirty"] == 4
    m.validate()


def test_the_flusher_writes_what_has_been_dirty_for_long():
    m = Tiny(64, dirty_expire_ms=3000)
    m.write(0, 3)
    m.idle(1000 * MS)
    m.write(10, 2)
    m.idle(2500 * MS)
    m.mem["node"]["flusher_next_ns"] = 0
    m.idle(1)
    assert m.mem["node"]["nr_dirty"] == 2
    m.idle(6000 * MS)
    m.idle(1000 * MS)
    assert (m.mem["node"]["nr_dirty"], m.mem["node"]["nr_writeback"]) == (0, 0)
    m.validate()


def test_a_writer_is_held_back_above_the_dirty_limit():
    """The limit is a share of free and cached memory, at least 64 pages here."""
    m = Tiny(256, dirty_percent=20, dirty_background_percent=100)
    m.write(0, 64)
    assert m.mem["metrics"]["io_ns"] == 0
    m.write(64, 20)
    assert m.mem["node"]["nr_dirty"] + m.mem["node"]["nr_writeback"] <= 64
    assert m.mem["metrics"]["io_ns"] > 0
    m.validate()


def test_truncated_pages_are_gone_and_their_changes_lost():
    m = Tiny(64)
    m.write(0, 4)
    m.do(Do.DRAIN_LRU)
    m.event(Op.TRUNCATE, 1, 0, 4)
    assert m.kinds() == {}
    assert m.mem["node"]["nr_dirty"] == 0
    assert list(m.mem["filemap"]["entry"][:4]) == [NO_ENTRY] * 4
    assert m.events(VmEvent.NR_WRITTEN) == 0
    m.validate()


def test_a_page_truncated_under_writeback_is_freed_when_it_ends():
    m = Tiny(64)
    m.write(0)
    m.do(Do.DRAIN_LRU)
    m.mem["kernel"]["cost"][Cost.FLASH_WRITE] = 10 * MS
    m.mem["node"]["flusher_next_ns"] = 0
    m.mem["kernel"]["dirty_expire_ns"] = 0
    m.idle(1)
    m.event(Op.TRUNCATE, 1, 0, 1)
    assert m.kinds() == {"f": 1}
    m.validate()
    m.idle(20 * MS)
    assert m.kinds() == {}
    m.validate()


# Reclaim on behalf of a request that may not use CMA.


def full_of_cache(**switches) -> Tiny:
    """Page cache everywhere, the oldest of it in CMA."""
    m = Tiny(64, 32, nr_swap=0, lmk=False, **switches)
    m.paint("C ffffffffffffffff\nC ffffffffffffffff", first=2)
    m.paint("M ffffffffffffffff\nM ffffffffffffffff")
    m.settle()
    age(m)
    return m


@pytest.mark.parametrize(
    ("skips", "flags", "stay"),
    [(True, 0, True), (True, ALLOC_CMA, False), (False, 0, False), (False, ALLOC_CMA, False)],
)
def test_reclaim_skips_cma_for_requests_that_cannot_use_it(skips, flags, stay):
    m = full_of_cache(reclaim_skips_cma=skips)
    assert m.do(Do.RECLAIM, 8, MOVABLE_ZONE, flags) >= 8
    assert (m.kinds(32)["f"] == 32) == stay
    assert (m.kinds(0, 32)["f"] == 32) != stay
    m.validate()


@pytest.mark.parametrize(("action", "stay"), [(Action.NORMAL_ONLY, True), (Action.NORMAL_FIRST, False)])
def test_a_fault_reclaims_cma_only_if_its_answer_lets_it_borrow(action, stay):
    m = full_of_cache(reclaim_skips_cma=True)
    m.mem["node"]["kswapd_failures"] = MAX_RECLAIM_RETRIES  # so that the fault has to do it alone
    m.touch(1, 0, 1, action=int(action))
    assert m.kinds()["a"] == 1
    assert (m.kinds(32).get("f") == 32) == stay
    m.validate()


def test_kswapd_is_nobodys_request_and_skips_nothing():
    m = full_of_cache(reclaim_skips_cma=True, watermarks=True)
    m.mem["zones"]["watermark"][0] = (4, 8, 12)
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    m.do(Do.RUN_KSWAPD, 1000 * MS)
    assert m.kinds(32).get("f", 0) < 32
    m.validate()
