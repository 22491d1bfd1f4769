"""A swap disk, jobs that lose time for good, and the round robin of May 2014."""

from __future__ import annotations

import numpy as np

from cma_gym.machine.events import FileFlag, Op, event_dtype
from cma_gym.mm.mmzone import ON_DISK, Cost, MigrateType, VmEvent
from cma_gym.mm.page_alloc import ALLOC_CMA
from cma_gym.mm.vmscan import swap_congested
from tests.mm.tiny import DMA32, EACH, MS, Do, Tiny, age, reclaim, swap_out_everything


def disk_machine(nr_pages: int = 64, **switches: object) -> Tiny:
    m = Tiny(nr_pages, swap_backend="disk", **switches)
    m.mem["kernel"]["cost"][Cost.SWAP_DISK_OUT] = MS
    m.mem["kernel"]["cost"][Cost.SWAP_DISK_IN] = 8 * MS
    return m


def writes_in_flight(m: Tiny) -> int:
    return int(m.mem["node"]["inflight_tail"] - m.mem["node"]["inflight_head"])


def test_pages_on_their_way_to_the_disk_are_free_when_they_are_written():
    m = disk_machine()
    m.touch(1, 0, 8)
    m.do(Do.DRAIN_LRU)
    age(m)
    free = m.free()
    assert reclaim(m, 8) == 8
    assert writes_in_flight(m) == 8
    assert m.free() == free
    assert m.mem["swap"]["zspage"][m.slot(EACH)] == ON_DISK
    m.validate()
    m.idle(3 * MS)
    assert writes_in_flight(m) == 5
    m.idle(10 * MS)
    assert writes_in_flight(m) == 0
    assert m.kinds() == {}
    assert m.events(VmEvent.PSWPOUT) == 8
    m.validate()


def test_a_page_comes_back_from_the_disk_at_the_cost_of_an_access():
    m = disk_machine()
    m.touch(1, 0, 4)
    swap_out_everything(m)
    m.idle(100 * MS)
    before = m.clock()
    m.touch(1, 0, 1, write=False)
    assert m.clock() - before == 8 * MS
    assert m.events(VmEvent.PSWPIN) == 1
    assert m.mem["node"]["nr_swap_free"] == 61
    assert m.mem["metrics"]["swap_ns"] == 8 * MS
    m.validate()


def test_shmem_and_shared_pages_go_to_the_disk_and_exit_gives_their_slots_up():
    m = disk_machine()
    m.touch(1, 0, 4)
    m.file(0, 3, FileFlag.SHMEM | FileFlag.WRITE)
    m.event(Op.FORK, 2, 2 * EACH, EACH, 0, 1)
    swap_out_everything(m)
    m.idle(100 * MS)
    assert m.kinds() == {}
    assert m.mem["node"]["nr_swap_free"] == 64 - 7
    m.validate()
    m.event(Op.EXIT, 1)
    m.event(Op.EXIT, 2)
    m.event(Op.TRUNCATE, 0, 0, 3)
    assert m.mem["node"]["nr_swap_free"] == 64
    m.validate()


def test_background_reclaim_waits_for_a_full_disk():
    m = disk_machine(1024, nr_cpus=1)
    assert not swap_congested(m.mem)
    m.mem["node"]["inflight_tail"] = 512
    assert swap_congested(m.mem)
    m.mem["kernel"]["swap_disk"] = 0
    assert not swap_congested(m.mem)


def test_a_direct_reclaimer_waits_until_pages_are_written():
    m = disk_machine(watermarks=False, nr_swap=64)
    m.touch(1, 0, 60)
    m.do(Do.DRAIN_LRU)
    age(m)
    before = m.clock()
    m.touch(1, 60, 8)
    assert m.events(VmEvent.ALLOCSTALL) > 0
    assert m.clock() - before >= 4 * MS
    assert all(m.entry(1, 60 + n) >= 0 for n in range(8))
    m.validate()


def late_event(m: Tiny, time: int) -> int:
    """Let an event that was scheduled for `time` happen; when it did."""
    m.do(Do.EVENT, 1, event=np.array([(time, Op.TICK, 0, 0, 0, 0, 0)], event_dtype))
    return m.clock()


def test_arrivals_of_a_user_do_not_wait_for_the_machine():
    m = Tiny(64)
    m.idle(100 * MS)
    assert late_event(m, 10 * MS) == 100 * MS
    assert late_event(m, 120 * MS) == 120 * MS


def test_a_saturated_job_makes_up_for_so_much_and_no_more():
    m = Tiny(64, catch_up_ms=30)
    m.idle(100 * MS)
    assert late_event(m, 90 * MS) == 100 * MS
    assert late_event(m, 110 * MS) == 110 * MS
    m.idle(90 * MS)
    assert late_event(m, 120 * MS) == 200 * MS
    assert m.mem["cursor"]["slip_ns"] == 50 * MS
    assert late_event(m, 160 * MS) == 210 * MS


def test_round_robin_shares_a_pageblock_in_the_ratio_of_what_is_free():
    m = Tiny(64, 16, cma_round_robin=True)
    taken = [m.do(Do.RMQUEUE_BUDDY, DMA32, 0, MigrateType.MOVABLE, ALLOC_CMA, 1) for _ in range(16)]
    in_cma = [pfn >= 48 for pfn in taken]
    assert sum(in_cma) == 4
    assert in_cma == [False] * 12 + [True] * 4


def test_a_driver_that_shares_its_cpu_takes_longer():
    alone, shared = Tiny(64, 16), Tiny(64, 16, cpu_contention_percent=300)
    for m in (alone, shared):
        assert m.do(Do.CMA_ALLOC, 16, 0) == 48
    assert shared.clock() == 4 * alone.clock() > 0


def test_mapped_files_fault_once_for_a_window_and_reads_do_not():
    m = Tiny(256)
    m.file(0, 64)
    assert m.events(VmEvent.PGMAJFAULT) == m.events(VmEvent.PGFAULT) == 0
    assert m.events(VmEvent.PGPGIN) == 64
    m.file(64, 64, FileFlag.MAPPED)
    assert m.events(VmEvent.PGMAJFAULT) == 2
    assert m.events(VmEvent.PGFAULT) == 4
    m.file(64, 64, FileFlag.MAPPED)
    assert m.events(VmEvent.PGMAJFAULT) == 2
    assert m.events(VmEvent.PGFAULT) == 8


def test_a_used_anonymous_page_is_activated_at_once_up_to_5_8():
    for profile, activates in (("v4_6", True), ("v6_12", False)):
        m = Tiny(64, profile=profile)
        m.touch(1, 0, 40)
        m.do(Do.DRAIN_LRU)
        age(m)
        reclaim(m, 4)
        left = [n for n in range(40) if m.entry(1, n) >= 0]
        for n in left:
            m.touch(1, n)
        m.do(Do.DRAIN_LRU)
        before = m.events(VmEvent.PGACTIVATE)
        reclaim(m, 1)
        assert (m.events(VmEvent.PGACTIVATE) > before) == activates, profile
