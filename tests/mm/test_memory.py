"""Anonymous memory, the page cache, swap, references, writeback, kills: what a page's life consists of."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.machine.events import FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.mm.mmzone import (
    NO_TASK,
    Cost,
    Holder,
    Lru,
    MigrateType,
    PageFlag,
    VmEvent,
    ZoneStat,
)
from cma_gym.mm.oom_kill import LMKD_PERIOD_NS
from cma_gym.mm.swap import ZS_OBJECTS, size_class
from tests.mm.tiny import DMA32, EACH, LONG_NS, MOVABLE_ZONE, MS, Do, Tiny, swap_out_everything

MOVABLE = int(MigrateType.MOVABLE)
UNMOVABLE = int(MigrateType.UNMOVABLE)
FULL = "M kkkkkkkkkkkkkkkk\n"


def in_batches(m: Tiny) -> int:
    return int((m.page["flag"] & PageFlag.LRU_BATCH != 0).sum())


# Faults, fork, copy-on-write, exit.


def test_a_first_touch_maps_a_page_and_a_second_one_does_nothing():
    m = Tiny(64)
    m.touch(1, 0, 3)
    assert m.kinds() == {"a": 3}
    pages = [m.entry(1, n) for n in range(3)]
    m.touch(1, 0, 3)
    assert [m.entry(1, n) for n in range(3)] == pages
    assert m.events(VmEvent.PGFAULT) == 3
    assert all(m.page["mapcount"][p] == 1 and m.page["task"][p] == 1 for p in pages)
    m.validate()


def test_a_new_page_waits_in_a_batch_that_holds_a_reference():
    """FACTS B1: 31 pages fill the batch of 6.12, 14 that of 4.6."""
    for profile, size in (("v6_12", 31), ("v4_6", 14)):
        m = Tiny(64, profile=profile)
        m.touch(1, 0, size - 1)
        assert in_batches(m) == size - 1
        assert m.lru(Lru.INACTIVE_ANON) + m.lru(Lru.ACTIVE_ANON) == 0
        m.touch(1, size - 1)
        assert in_batches(m) == 0
        assert m.lru(Lru.INACTIVE_ANON) + m.lru(Lru.ACTIVE_ANON) == size
        m.validate()


def test_fresh_anonymous_pages_start_inactive_and_in_4_6_active():
    for profile, lru in (("v6_12", Lru.INACTIVE_ANON), ("v4_6", Lru.ACTIVE_ANON)):
        m = Tiny(64, profile=profile)
        m.touch(1, 0, 5)
        m.idle(MS)
        m.do(Do.DRAIN_LRU)
        assert m.lru(lru) == 5


def test_a_fault_at_work_joins_its_batch_after_a_drain_unless_the_batches_are_off():
    for disable, left in ((False, 1), (True, 0)):
        m = Tiny(64, lru_cache_disable=disable)
        m.touch(1, 0, 5)
        m.do(Do.DRAIN_LRU)
        assert in_batches(m) == left
        m.validate()
        m.idle(MS)
        assert in_batches(m) == left
        m.do(Do.DRAIN_LRU)
        assert in_batches(m) == 0
        m.validate()


def test_fork_shares_and_a_write_copies():
    m = Tiny(64)
    m.touch(1, 0, 2)
    m.event(Op.FORK, 2, 2 * EACH, EACH, 0, 1)
    shared = m.entry(1, 0)
    assert m.entry(2, 0) == shared
    assert m.page["mapcount"][shared] == 2
    assert m.kinds() == {"a": 2}
    m.touch(2, 0, 1, write=False)
    assert m.entry(2, 0) == shared
    m.touch(2, 0)
    assert m.entry(2, 0) != shared
    assert m.entry(1, 0) == shared
    assert m.page["mapcount"][shared] == 1
    assert m.kinds() == {"a": 3}
    m.touch(1, 0)
    assert m.entry(1, 0) == shared
    m.validate()


def test_a_shared_page_lives_until_its_last_sharer_is_gone():
    m = Tiny(64, pcp=(1, 2))
    m.touch(1, 0, 4)
    m.event(Op.FORK, 2, 2 * EACH, EACH, 0, 1)
    m.event(Op.FORK, 3, 3 * EACH, EACH, 0, 2)
    assert m.page["mapcount"][m.entry(3, 0)] == 3
    m.event(Op.EXIT, 2)
    m.event(Op.UNMAP, 1, EACH, 2)
    assert m.kinds() == {"a": 4}
    m.validate()
    m.event(Op.EXIT, 3)
    m.settle()
    assert m.kinds() == {"a": 2}
    m.event(Op.EXIT, 1)
    m.settle()
    assert m.kinds() == {}
    m.do(Do.DRAIN)
    m.expect("""
        M 6...............
        M ................
        M ................
        M ................
    """)


def test_events_of_a_dead_task_do_not_happen():
    m = Tiny(64)
    m.event(Op.EXIT, 1)
    m.touch(1, 0, 3)
    assert m.kinds() == {}
    assert m.events(VmEvent.EVENTS_SKIPPED) == 1


def test_a_pinned_page_outlives_its_task_as_an_orphan():
    """FACTS B5: who holds a reference keeps the frame, although nobody maps it any more."""
    m = Tiny(64)
    m.touch(1, 0)
    m.do(Do.DRAIN_LRU)
    pfn = m.entry(1, 0)
    m.pin(1, 0, 1, 10 * MS)
    m.event(Op.EXIT, 1)
    assert m.kinds() == {"a": 1}
    assert m.lru(Lru.INACTIVE_ANON) == 0
    m.validate()
    m.idle(11 * MS)
    assert m.kinds() == {}
    assert m.page["pincount"][pfn] == 0
    m.validate()


def test_a_page_in_a_batch_outlives_its_task_until_the_batch_is_drained():
    m = Tiny(64)
    m.touch(1, 0, 2)
    m.event(Op.EXIT, 1)
    m.idle(MS)
    assert m.kinds() == {"a": 2}
    m.validate()
    m.do(Do.DRAIN_LRU)
    assert m.kinds() == {}
    m.validate()


def test_locked_pages_are_out_of_reach_of_reclaim():
    m = Tiny(64)
    m.touch(1, 0, 8)
    m.do(Do.DRAIN_LRU)
    m.event(Op.MLOCK, 1, EACH, 3, 1)
    assert (m.lru(Lru.UNEVICTABLE), m.lru(Lru.INACTIVE_ANON)) == (3, 5)
    swap_out_everything(m)
    assert m.kinds()["a"] == 3
    m.event(Op.MLOCK, 1, EACH, 8, 0)
    assert (m.lru(Lru.UNEVICTABLE), m.lru(Lru.INACTIVE_ANON)) == (0, 3)
    m.validate()


def test_the_zones_count_their_lru_pages_too():
    m = Tiny(64, profile="v4_6")
    m.touch(1, 0, 6)
    m.file(0, 4)
    m.do(Do.DRAIN_LRU)
    stat = m.mem["zones"]["vm_stat"][DMA32]
    assert stat[ZoneStat.ACTIVE_ANON] == 6
    assert stat[ZoneStat.INACTIVE_FILE] == 4


def test_kernel_memory_comes_in_blocks_and_is_never_moved():
    m = Tiny(64)
    m.event(Op.KALLOC, 0, 0, 2, KallocFlag.SLAB | 2 << 4)
    m.event(Op.KALLOC, 0, 2, 1, KallocFlag.PAGE_TABLE)
    assert m.kinds() == {"s": 8, "p": 1}
    m.event(Op.KALLOC, 0, 0, 1, KallocFlag.SLAB)
    assert m.kinds() == {"s": 8, "p": 1}
    m.event(Op.KFREE, 0, 0, 3)
    m.do(Do.DRAIN)
    assert m.kinds() == {}
    assert m.free() == 64
    m.validate()


# Swap and zram.


def test_swap_out_and_in_brings_the_page_back_to_all_sharers():
    m = Tiny(64)
    m.touch(1, 0, 4)
    m.event(Op.FORK, 2, 2 * EACH, EACH, 0, 1)
    swap_out_everything(m)
    assert m.kinds() == {"z": m.mem["node"]["nr_zspages"]}
    assert m.slot(EACH) == m.slot(2 * EACH)
    assert m.mem["node"]["nr_swap_free"] == 60
    m.validate()
    m.touch(2, 0, 1, write=False)
    assert m.entry(1, 0) == m.entry(2, 0) >= 0
    assert m.page["mapcount"][m.entry(1, 0)] == 2
    assert m.mem["node"]["nr_swap_free"] == 61
    assert m.events(VmEvent.PSWPIN) == 1
    assert m.events(VmEvent.PSWPOUT) == 4
    assert m.mem["metrics"]["swap_ns"] == m.mem["kernel"]["cost"][Cost.ZRAM_IN]
    m.validate()


def test_fork_shares_swap_slots_and_exit_gives_them_up_in_the_end():
    m = Tiny(64)
    m.touch(1, 0, 4)
    swap_out_everything(m)
    m.event(Op.FORK, 2, 2 * EACH, EACH, 0, 1)
    m.event(Op.EXIT, 1)
    assert m.mem["node"]["nr_swap_free"] == 60
    m.validate()
    m.event(Op.EXIT, 2)
    assert m.mem["node"]["nr_swap_free"] == 64
    assert m.mem["node"]["nr_zspages"] == 0
    assert m.kinds() == {}
    m.validate()


def test_objects_are_packed_into_pages_by_size_class():
    """Each zspage holds at most what its class allows; only one page of a class is partly filled after swapping out."""
    m = Tiny(256, nr_swap=200)
    m.touch(1, 0, 120)
    swap_out_everything(m)
    raw = getattr(size_class, "py_func", size_class)
    classes = np.bincount([raw(m.mem, EACH + n) for n in range(120)], minlength=5)
    pages = sum(-(-int(count) // size) for count, size in zip(classes, ZS_OBJECTS, strict=True))
    assert m.kinds() == {"z": pages}
    assert m.mem["node"]["nr_zspages"] == pages
    assert 2.0 < 120 / pages < 4.0
    m.validate()


def test_a_zspage_is_freed_with_its_last_object():
    m = Tiny(64)
    m.touch(1, 0, 30)
    swap_out_everything(m)
    left = []
    for n in range(30):
        m.event(Op.UNMAP, 1, EACH + n, 1)
        left.append(int(m.mem["node"]["nr_zspages"]))
        m.validate()
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert m.kinds() == {}


def test_without_swap_anonymous_memory_stays():
    m = Tiny(64, nr_swap=0)
    m.touch(1, 0, 20)
    swap_out_everything(m)
    assert m.kinds() == {"a": 20}


def test_when_swap_is_full_the_rest_stays():
    m = Tiny(64, nr_swap=7)
    m.touch(1, 0, 20)
    swap_out_everything(m)
    assert m.kinds()["a"] == 13
    assert m.mem["node"]["nr_swap_free"] == 0
    m.validate()


def test_shmem_is_swapped_through_the_file_map():
    m = Tiny(64)
    m.file(0, 5, FileFlag.SHMEM | FileFlag.WRITE)
    assert m.kinds() == {"m": 5}
    swap_out_everything(m)
    assert "m" not in m.kinds()
    assert m.events(VmEvent.NR_WRITTEN) == 0
    m.file(0, 1, FileFlag.SHMEM)
    assert m.kinds()["m"] == 1
    m.validate()
    m.event(Op.TRUNCATE, 1, 0, 5)
    m.do(Do.DRAIN_LRU)
    assert m.kinds() == {}
    assert m.mem["node"]["nr_swap_free"] == 64
    m.validate()


# References.


def test_references_end_in_the_order_of_their_time():
    m = Tiny(64)
    m.paint("M ffffffff........")
    for pfn, ns in enumerate((50, 10, 40, 30, 20, 60, 15, 35)):
        m.hold(pfn, ns * MS, Holder.DIRECT_IO)
    m.validate()
    for limit in (12, 22, 37, 45, 70):
        m.idle(limit * MS - m.clock())
        held = {pfn for pfn in range(8) if m.page["pincount"][pfn]}
        assert held == {p for p, ns in enumerate((50, 10, 40, 30, 20, 60, 15, 35)) if ns > limit}
        m.validate()
    assert m.mem["nr_pins"] == 0


def test_a_full_table_of_references_is_counted():
    m = Tiny(64)
    m.paint("M f...............")
    for _ in range(256):
        m.hold(0)
    assert m.do(Do.HOLD, 0, Holder.DRIVER, LONG_NS) == 0
    assert m.events(VmEvent.PIN_LOST) == 1
    assert m.page["pincount"][0] == 256
    m.validate()


# Kills.


def test_the_least_important_task_dies_first_and_of_those_the_one_used_longest_ago():
    m = Tiny(64)
    for task, importance in ((2, 2), (3, 2), (4, 1), (5, 3)):
        m.spawn(task, importance)
        m.idle(MS)
    m.event(Op.TOUCH, 2, 2 * EACH, 1)
    assert m.do(Do.SELECT_VICTIM, 0, 1) == 3
    m.event(Op.EXIT, 3)
    assert m.do(Do.SELECT_VICTIM, 0, 1) == 2
    assert m.do(Do.SELECT_VICTIM, 0, 2) == 4
    m.event(Op.EXIT, 2)
    assert m.do(Do.SELECT_VICTIM, 2, 1) == NO_TASK
    assert m.do(Do.SELECT_VICTIM, 1, 1) == 4
    m.event(Op.EXIT, 4)
    assert m.do(Do.SELECT_VICTIM, 0, 1) == NO_TASK
    m.event(Op.EXIT, 1)
    assert m.do(Do.SELECT_VICTIM, 0, 0) == NO_TASK


def low_on_memory(**switches: object) -> Tiny:
    """100 pages, 12 of them free (4 outside CMA) and no page cache; background tasks may die below 6 % of each."""
    m = Tiny(64, 16, **switches)
    m.mem["kernel"]["lmk_minfree"] = (1, 2, 6, 0)
    m.paint(FULL * 2 + "M kkkkkkkkkkkk....")
    m.paint("C kkkkkkkk........", first=3)
    m.spawn(2, 2)
    m.spawn(3, 1)
    return m


@pytest.mark.parametrize(("subtract", "victim"), [(False, NO_TASK), (True, 2)])
def test_the_low_memory_killer_may_leave_free_cma_out(subtract, victim):
    m = low_on_memory(lmk_subtract_cma=subtract)
    m.do(Do.LOWMEM_SCAN)
    assert m.mem["node"]["pending_kill"] == victim


def test_the_low_memory_killer_spares_who_has_page_cache():
    m = low_on_memory(lmk_subtract_cma=True)
    m.file(0, 8, action=2)
    m.do(Do.DRAIN_LRU)
    m.do(Do.LOWMEM_SCAN)
    assert m.mem["node"]["pending_kill"] == NO_TASK


@pytest.mark.parametrize(("available", "victim"), [(12, NO_TASK), (13, 2)])
def test_a_killer_in_user_space_goes_by_available_memory(available, victim):
    """Free CMA and page cache count as available; the task used longest ago dies."""
    m = low_on_memory()
    m.mem["kernel"]["lmk_available"] = available
    m.do(Do.LOWMEM_SCAN)
    assert m.mem["node"]["pending_kill"] == victim


@pytest.mark.parametrize(("free", "victim"), [(64, NO_TASK), (65, 2)])
def test_a_killer_in_user_space_acts_when_swap_is_nearly_full(free, victim):
    m = low_on_memory()
    m.mem["kernel"]["lmk_available"] = 1
    m.mem["kernel"]["lmk_swap_free"] = free
    m.do(Do.LOWMEM_SCAN)
    assert m.mem["node"]["pending_kill"] == victim


def test_a_killer_in_user_space_looks_once_in_a_while():
    m = low_on_memory()
    m.mem["kernel"]["lmk_available"] = 13
    m.do(Do.LOWMEM_SCAN)
    m.mem["node"]["pending_kill"] = NO_TASK
    m.mem["clock"] += LMKD_PERIOD_NS - 1
    m.do(Do.LOWMEM_SCAN)
    assert m.mem["node"]["pending_kill"] == NO_TASK
    m.mem["clock"] += 1
    m.do(Do.LOWMEM_SCAN)
    assert m.mem["node"]["pending_kill"] == 2


def test_a_start_on_condition_starts_what_was_killed_and_its_cold_part_happens_only_then():
    m = Tiny(64)
    m.spawn(2, 2)
    m.touch(2, 0, 3)
    again = (Op.SPAWN, 2, 2 * EACH, EACH, 2)
    m.event(*again, value=7)
    m.event(Op.TOUCH, 2, 2 * EACH + 8, 4, TouchFlag.WRITE | TouchFlag.COLD, value=7)
    assert m.kinds() == {"a": 3}  # it ran, so nothing happened
    m.event(Op.EXIT, 2)
    m.settle()
    m.event(*again, value=8)
    m.event(Op.TOUCH, 2, 2 * EACH + 8, 4, TouchFlag.WRITE | TouchFlag.COLD, value=7)
    assert m.kinds() == {}  # that belongs to the start that was none
    m.event(Op.TOUCH, 2, 2 * EACH + 8, 4, TouchFlag.WRITE | TouchFlag.COLD, value=8)
    m.event(Op.FILE, 2, 0, 2, FileFlag.COLD, value=8)
    assert m.kinds() == {"a": 4, "f": 2}
    m.validate()


def test_a_fork_is_no_cold_start():
    m = Tiny(64)
    m.spawn(3, 2)
    m.event(Op.FORK, 2, 2 * EACH, EACH, 2, 3)
    m.event(Op.TOUCH, 2, 2 * EACH, 4, TouchFlag.WRITE | TouchFlag.COLD, value=3)
    assert m.kinds() == {}


def test_half_of_what_the_guest_swaps_does_not_compress():
    m = Tiny(256, nr_swap=200, zram_content="half")
    m.touch(1, 0, 120)
    swap_out_everything(m)
    raw = getattr(size_class, "py_func", size_class)
    classes = np.bincount([raw(m.mem, EACH + n) for n in range(120)], minlength=5)
    assert 50 <= classes[0] <= 70 and classes[0] + classes[4] == 120
    assert m.mem["node"]["nr_zspages"] == -(-int(classes[0]) // 8) + int(classes[4])
    m.validate()


def test_a_marked_task_is_ended_and_its_memory_free():
    m = Tiny(64)
    m.spawn(2, 2)
    m.touch(2, 0, 10)
    m.mem["node"]["pending_kill"] = 2
    m.idle(1)
    assert m.mem["task"]["alive"][2] == 0
    assert m.mem["task"]["killed"][2] == 1
    assert m.mem["metrics"]["kills"] == 1
    m.settle()
    assert m.kinds() == {}
    m.validate()


def test_when_nothing_can_be_reclaimed_somebody_is_killed():
    m = Tiny(64, nr_swap=0, lmk=False)
    m.spawn(2, 1)
    m.touch(2, 0, 40)
    m.do(Do.DRAIN_LRU)
    m.touch(1, 0, 60)
    assert m.events(VmEvent.OOM_KILL) == 1
    assert m.mem["task"]["alive"][2] == 0
    assert m.kinds() == {"a": 60}
    m.validate()


def test_when_there_is_nobody_to_kill_the_allocation_fails():
    m = Tiny(64, nr_swap=0)
    m.touch(1, 0, 70)
    assert m.kinds()["a"] == 64
    assert m.events(VmEvent.ALLOC_FAIL) == 6
    m.validate()


# Compaction.


def test_compaction_makes_a_block():
    m = Tiny(64)
    m.paint("M a.a.a.a.a.a.a.a.\n" * 4)
    assert m.do(Do.COMPACT_ZONE, DMA32, 0, 4, MOVABLE) == 1
    assert any(row == "M 4..............." for row in m.draw())
    assert m.kinds() == {"a": 32}
    m.validate()


def test_compaction_leaves_pinned_and_kernel_pages_where_they_are():
    m = Tiny(64)
    m.paint("M a.A.a.k.a.a.a.a.\n" * 2 + "M ................\n" * 2)
    m.do(Do.COMPACT_ZONE, DMA32, 0, 6, MOVABLE)
    m.do(Do.DRAIN)
    m.expect("""
        M 1.A02.k03.......
        M 1.A02.k03.......
    """.replace("02.k0", "01.k0"))


@pytest.mark.parametrize(("into_cma", "borrowed"), [(True, True), (False, False)])
def test_compaction_uses_cma_as_a_target_unless_that_is_closed(into_cma, borrowed):
    """Kernel fact 7."""
    m = Tiny(64, 32, compact_into_cma=into_cma)
    m.paint("M a.a.a.a.a.a.a.a.\n" * 2 + "C k...............\n" * 2)
    m.do(Do.COMPACT_ZONE, DMA32, 0, 4, MOVABLE)
    assert ("a" in m.kinds(32)) == borrowed
    m.validate()


def test_a_failed_compaction_is_put_off_next_time():
    m = Tiny(64)
    m.mem["zones"]["watermark"][DMA32] = (0, 4, 4)
    m.paint("M k.k.k.k.k.k.k.k.\n" * 4)
    for _ in range(3):
        assert m.do(Do.COMPACT, 0, 3, MOVABLE, MOVABLE_ZONE) == 0
    assert m.mem["zones"]["compact_defer_shift"][DMA32] > 0
    scanned = m.events(VmEvent.COMPACT_MIGRATE_SCANNED)
    assert scanned < 3 * 64


@pytest.mark.parametrize("kind", [MigrateType.MOVABLE, MigrateType.UNMOVABLE])
def test_a_large_allocation_compacts_in_its_own_time(kind):
    """Without swap, so that nothing can be reclaimed. For kernel memory only the synchronous pass looks at blocks of
    movable pages.
    """
    m = Tiny(128, nr_swap=0)
    m.paint("M a.a.a.a.a.a.a.a.\n" * 8)
    assert m.alloc(4, kind) >= 0
    assert m.events(VmEvent.COMPACT_SUCCESS) == 1
    assert m.mem["metrics"]["stall_ns"] > 0
    m.validate()
