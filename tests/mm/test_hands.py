"""What is in somebody's hands for a moment: each mechanism, how a contiguous allocation meets it, and its end."""

from __future__ import annotations

import numpy as np

from cma_gym.machine.events import FileFlag, Op
from cma_gym.mm.mmzone import Cost, Holder, Lru, PageFlag, PageKind, VmEvent
from tests.mm.tiny import DMA32, EACH, LONG_NS, MOVABLE_ZONE, MS, Do, Tiny, age

KSWAPD = 0
EBUSY = -16


def blamed(m: Tiny) -> set[Holder]:
    """Who refused the latest demand."""
    record = m.mem["demand_log"][(int(m.mem["nr_demands_logged"]) - 1) % len(m.mem["demand_log"])]
    return {Holder(holder) for holder in np.flatnonzero(record["blamed"].sum(axis=0))}


def ask_for_area(m: Tiny, nr_pages: int = 32) -> bool:
    """One try for the whole area, given back at once."""
    m.mem["kernel"]["demand_tries"] = 1
    before = m.events(VmEvent.CMA_ALLOC_SUCCESS)
    m.event(Op.DEMAND, 0, 1, nr_pages, 0, 1)
    m.idle(MS)
    return m.events(VmEvent.CMA_ALLOC_SUCCESS) > before


def hungry(**switches: object) -> Tiny:
    """Ordinary memory is kernel pages and 16 free ones, the area of 32 pages is anonymous; kswapd has work to do."""
    m = Tiny(128, 32, **switches)
    m.paint("\n".join(["M kkkkkkkkkkkkkkkk"] * 3))
    m.paint("C aaaaaaaaaaaaaaaa\nC aaaaaaaaaaaaaaaa", first=6)
    m.mem["kernel"]["lmk"] = 0
    return m


def wake_kswapd(m: Tiny) -> None:
    """As after some rounds in which its lists were too short for it."""
    m.mem["zones"]["watermark"][DMA32] = (0, 120, 126)
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    m.mem["node"]["kswapd_priority"] = 1
    m.mem["zones"]["watermark"][DMA32, 0] = 0


def test_pages_in_the_hand_of_kswapd_hold_up_a_demand_until_it_goes_on():
    m = hungry()
    wake_kswapd(m)
    m.do(Do.RUN_KSWAPD, 1)
    m.do(Do.RUN_KSWAPD, 1)
    hand = m.mem["hand"][KSWAPD]
    taken = int(hand["nr"])
    assert taken > 4
    assert m.lru(Lru.INACTIVE_ANON) == 32 - taken
    assert (m.page["holder"][96:128] == Holder.RECLAIM).sum() == taken
    m.validate()
    assert m.do(Do.CONTIG, 96, 128) == EBUSY
    m.validate()
    for _ in range(20):
        m.do(Do.RUN_KSWAPD, MS)
    m.validate()
    assert (m.mem["node"]["kswapd_awake"], hand["nr"]) == (0, 0)
    assert m.do(Do.CONTIG, 96, 128) == 0


def test_a_page_whose_owner_drops_it_is_free_when_kswapd_lets_go():
    m = hungry()
    m.spawn(2)
    m.touch(2, 0, 4)
    m.do(Do.DRAIN_LRU)
    pages = [m.entry(2, n) for n in range(4)]
    m.idle(MS)
    wake_kswapd(m)
    for _ in range(20_000):
        m.do(Do.RUN_KSWAPD, 1)
        if m.page["flag"][pages[0]] & PageFlag.RECLAIM:
            break
    else:
        raise AssertionError("kswapd never took the page")
    m.event(Op.UNMAP, 2, 2 * EACH, 4)
    m.validate()
    m.idle(20 * MS)
    m.do(Do.RUN_KSWAPD, 20 * MS)
    m.validate()
    assert all(m.page["kind"][pfn] != PageKind.ANON for pfn in pages)


def test_what_direct_reclaim_could_not_free_returns_to_the_lru_when_its_work_is_over():
    m = Tiny(128, 32)
    m.touch(1, 0, 20)
    m.do(Do.DRAIN_LRU)
    m.idle(MS)
    age(m)
    for vpn in range(20):
        m.hold(m.entry(1, vpn))
    m.mem["cursor"]["task"] = 1
    assert m.do(Do.RECLAIM, 4, MOVABLE_ZONE) == 0
    held = int(m.mem["hand"]["nr"][2 + 1])
    assert held > 10
    assert np.count_nonzero(m.page["flag"][:128] & PageFlag.RECLAIM) == held
    assert m.lru(Lru.INACTIVE_ANON) + m.lru(Lru.ACTIVE_ANON) == 20 - held
    m.validate()
    m.idle(100 * MS)
    assert not np.any(m.page["flag"][:128] & PageFlag.RECLAIM)
    assert m.mem["hand"]["nr"].sum() == 0
    assert m.lru(Lru.INACTIVE_ANON) + m.lru(Lru.ACTIVE_ANON) == 20
    m.validate()


def test_a_fault_holds_its_page_as_long_as_it_takes():
    m = Tiny(64, 32)
    m.mem["kernel"]["cost"][Cost.FAULT] = MS
    m.touch(1, 0, 3, action=2)
    last = m.entry(1, 2)
    assert last >= 32
    assert m.page["holder"][last] == Holder.ACCESS
    assert m.mem["hand"]["until_ns"][3] == m.clock() + 3 * m.mem["kernel"]["cost"][Cost.FAULT]
    assert not ask_for_area(m)
    m.idle(3 * MS)
    assert ask_for_area(m)
    m.validate()


def test_the_next_thing_a_task_does_ends_the_last():
    m = Tiny(64)
    m.touch(1, 0, 1)
    assert m.page["pincount"][m.entry(1, 0)] == 1
    m.touch(1, 1, 1)
    assert m.page["pincount"][m.entry(1, 0)] == 0
    m.validate()


def test_a_reader_holds_a_batch_of_pages_and_a_writer_one():
    m = Tiny(128)
    m.file(0, 60)
    assert (m.page["pincount"][:128] > 0).sum() == 31
    m.write(60, 5)
    assert set(m.page["holder"][:128]) == {0, Holder.PAGE_LOCK}
    assert (m.page["pincount"][:128] > 0).sum() == 1
    m.validate()


def test_a_synchronous_migration_waits_for_a_page_lock():
    m = Tiny(64, 32)
    m.file(0, 1, FileFlag.MAPPED | FileFlag.WRITABLE, action=2)
    m.mem["kernel"]["cost"][Cost.COPY] = 20 * MS
    m.write(0, 1)
    assert m.page["holder"][m.mem["filemap"]["entry"][0]] == Holder.PAGE_LOCK
    unlocked = m.clock() + 20 * MS
    assert not ask_for_area(m)
    while not m.events(VmEvent.CMA_ALLOC_SUCCESS):
        m.idle(MS)
        assert m.mem["cma"]["busy"] or m.events(VmEvent.CMA_ALLOC_SUCCESS)
    assert unlocked <= m.clock() <= unlocked + 2 * MS
    m.validate()


def test_the_pages_of_an_exiting_task_are_free_when_its_batch_is_flushed():
    m = Tiny(64, 32)
    m.mem["kernel"]["cost"][Cost.FAULT] = MS
    m.spawn(2)
    m.touch(2, 0, 20, action=2)
    m.idle(40 * MS)
    m.event(Op.EXIT, 2)
    assert m.kinds() == {"a": 20}
    assert set(m.page["holder"][32:52]) == {Holder.FORK_EXIT}
    m.validate()
    assert not ask_for_area(m)
    assert Holder.FORK_EXIT in blamed(m)
    m.idle(20 * m.mem["kernel"]["cost"][Cost.FAULT])
    assert m.kinds() == {}
    assert ask_for_area(m)
    m.validate()


def test_a_fork_holds_the_pages_it_copies_last():
    m = Tiny(128)
    m.touch(1, 0, 40)
    m.idle(MS)
    m.event(Op.FORK, 3, 3 * EACH, 40, 0, 1)
    held = [n for n in range(40) if m.page["pincount"][m.entry(1, n)]]
    assert held == list(range(8, 40))
    assert m.page["holder"][m.entry(1, 39)] == Holder.FORK_EXIT
    m.idle(MS)
    assert not m.page["pincount"][:128].any()
    m.validate()


def test_activated_pages_wait_in_a_batch():
    m = Tiny(64)
    m.file(0, 4)
    m.do(Do.DRAIN_LRU)
    m.file(0, 4)
    assert m.lru(Lru.INACTIVE_FILE) == 0
    assert m.mem["lru_activate"]["nr"][1] == 4
    assert m.lru(Lru.ACTIVE_FILE) == 0
    m.validate()
    m.do(Do.DRAIN_LRU)
    assert m.lru(Lru.ACTIVE_FILE) == 4
    m.validate()


def test_buffers_looked_up_lately_hold_their_pages_until_sixteen_others_were():
    m = Tiny(128, lru_cache_disable=False)
    m.file(0, 1, FileFlag.BDEV)
    m.idle(10 * MS)
    pfn = int(m.mem["filemap"]["entry"][0])
    assert m.page["holder"][pfn] == Holder.BUFFER_HEAD
    m.do(Do.DRAIN_LRU)
    assert m.page["pincount"][pfn] == 1
    m.file(1, 15, FileFlag.BDEV)
    m.idle(10 * MS)
    assert m.page["pincount"][pfn] == 1
    m.file(16, 1, FileFlag.BDEV)
    m.idle(10 * MS)
    assert m.page["pincount"][pfn] == 0
    assert (m.page["pincount"][:128] > 0).sum() == 16
    m.validate()


def test_modern_kernels_drop_the_buffer_head_lru_with_the_batches():
    m = Tiny(128, 32)
    m.file(0, 4, FileFlag.BDEV, action=2)
    m.idle(10 * MS)
    assert m.page["pincount"][96:128].sum() == 4
    assert ask_for_area(m)
    assert not m.page["pincount"][:128].any()
    m.validate()


def test_raw_reads_and_superblocks_stay_out_of_cma():
    m = Tiny(128, 64)
    m.file(0, 4, FileFlag.BDEV | FileFlag.UNMOVABLE, action=2)
    m.file(8, 4, FileFlag.BDEV | FileFlag.UNMOVABLE | FileFlag.METADATA, action=2)
    m.idle(10 * MS)
    pages = m.mem["filemap"]["entry"][[0, 1, 2, 3, 8, 9, 10, 11]]
    assert set(m.page["kind"][pages]) == {PageKind.BDEV}
    assert pages.max() < 64
    assert m.events(VmEvent.DECISIONS) == 0
    assert list(m.page["pincount"][pages]) == [0] * 4 + [1] * 4
    m.validate()


def test_the_killer_waits_for_its_victim():
    m = Tiny(64)
    m.spawn(2, 2)
    m.touch(2, 0, 20)
    m.mem["node"]["pending_kill"] = 2
    m.idle(1)
    assert m.mem["node"]["death_pending_ns"] > m.clock()
    m.mem["kernel"]["lmk_minfree"] = 10_000
    m.spawn(3, 2)
    m.touch(1, 0, 1)
    m.do(Do.LOWMEM_SCAN)
    assert m.mem["node"]["pending_kill"] == -1
    m.idle(MS)
    m.do(Do.LOWMEM_SCAN)
    assert m.mem["node"]["pending_kill"] == 3


def test_operations_last_longer_when_tasks_wait_for_a_cpu():
    m = Tiny(64)
    m.mem["node"]["run_lag_ns"] = 60_000
    m.mem["node"]["run_mean_ns"] = 10_000
    m.mem["cursor"]["task"] = 1
    m.touch(1, 0, 1)
    fault = int(m.mem["kernel"]["cost"][Cost.FAULT])
    assert m.mem["hand"]["until_ns"][3] - m.clock() == fault  # the event itself is on time
    m.hold(m.entry(1, 0), LONG_NS)
    age(m)
    m.validate()


def test_a_task_waits_for_kswapd_when_half_of_the_reserves_is_gone():
    m = Tiny(128, nr_swap=0)
    m.paint("\n".join(["M ffffffffffffffff"] * 7))
    m.mem["zones"]["watermark"][DMA32] = (60, 70, 80)
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    m.mem["cursor"]["task"] = 1
    m.do(Do.RECLAIM, 1, MOVABLE_ZONE)
    assert m.clock() >= MS
    assert m.mem["metrics"]["stall_ns"] >= MS
    assert m.events(VmEvent.PGSTEAL_KSWAPD) > 0
    m.validate()
