"""Demands: tries, pieces, what happens beside them, the kernel's switches, and who held them up; on memory maps."""

from __future__ import annotations

import pytest

from cma_gym.machine.events import FileFlag, Op
from cma_gym.machine.result import held_up
from cma_gym.mm.mmzone import (
    BlameStage,
    ContigPhase,
    Cost,
    DemandState,
    Holder,
    MigrateType,
    PageFlag,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import ALLOC_CMA, ALLOC_CMA_FIRST
from tests.mm.asking import ask, blamed, demand, outcome, step_to
from tests.mm.driver import SHAPE
from tests.mm.tiny import DMA32, EACH, LONG_NS, MS, Do, Tiny

MOVABLE = int(MigrateType.MOVABLE)


def test_a_demand_is_held_and_released_in_time():
    m = Tiny(64, 32, cma_pcp="none")
    demand(m, 32, hold_ns=5 * MS)
    assert m.mem["demand"]["state"][0] == DemandState.HELD
    assert outcome(m) == {"ok": 1, "first_ok": 1, "tries": 1, "got": 1, "whole": 1}
    m.idle(4 * MS)
    assert m.kinds(32) == {"o": 32}
    m.idle(2 * MS)
    assert m.kinds(32) == {}
    assert m.mem["demand"]["state"][0] == DemandState.IDLE
    m.validate()


def test_a_failed_demand_succeeds_after_the_pin_has_ended():
    """Kernel fact 3: the first try evacuates all but the pinned page; the next one is cheap and works."""
    m = Tiny(64, 32, migrate_into_cma=False, demand_retry_ms=100)
    m.paint("""
        C aaaaaaaa........
        C aaaaaaaa........
    """, first=2)
    m.hold(35, 150 * MS, Holder.DIRECT_IO)
    demand(m, 32)
    assert m.mem["cma"]["busy"] == 0  # between tries nobody is in cma_alloc()
    assert blamed(m) == {(35, "ANON", "DIRECT_IO")}
    assert m.events(VmEvent.CMA_MIGRATED) == 15
    m.idle(120 * MS)
    assert m.mem["demand"]["tries"][0] == 2
    m.idle(200 * MS)
    assert outcome(m) == {"ok": 1, "first_ok": 0, "tries": 3, "got": 1, "whole": 1}
    assert m.mem["cma"]["busy"] == 0
    assert m.events(VmEvent.CMA_MIGRATED) == 16
    assert m.mem["metrics"]["whole_first_ok"] == 0
    assert m.mem["metrics"]["whole_ok"] == 1


def test_a_demand_gives_up_after_its_tries():
    m = Tiny(64, 32, demand_tries=2)
    m.paint("C ..d.............", first=2)
    demand(m, 32)
    m.idle(1000 * MS)
    assert outcome(m) == {"ok": 0, "first_ok": 0, "tries": 2, "got": 0, "whole": 1}
    assert m.mem["demand"]["state"][0] == DemandState.IDLE
    assert m.mem["demand_log"]["latency_ns"][0] >= 100 * MS


def test_a_journal_reference_outlasts_three_tries():
    """Kernel fact 1: block-device cache held by the journal does not clear within three tries 100 ms apart."""
    m = Tiny(64, 32)
    m.file(0, 1, FileFlag.BDEV | FileFlag.JOURNAL, value=5_000_000, action=2)
    assert m.kinds(32) == {"b": 1}
    demand(m, 32)
    m.idle(1000 * MS)
    assert outcome(m)["ok"] == 0
    assert blamed(m) == {(32, "BDEV", "JOURNAL")}


def test_nine_pieces_survive_stuck_blocks_that_a_whole_area_does_not():
    """Kernel fact 11."""
    m = Tiny(512, 256)
    stuck = [f"C {'..d.............' if block % 5 == 2 else '................'}" for block in range(16)]
    m.paint("\n".join(stuck), first=16)
    demand(m, 256)
    m.idle(1000 * MS)
    assert outcome(m)["ok"] == 0
    demand(m, 20, 9)
    assert outcome(m, 1) == {"ok": 1, "first_ok": 1, "tries": 1, "got": 9, "whole": 0}
    assert m.kinds(256)["o"] == 180
    m.validate()


def test_pieces_that_were_obtained_are_kept_between_tries_and_given_back_in_the_end():
    m = Tiny(64, 32, cma_pcp="none")
    m.paint("C ................\nC ..d.............", first=2)
    demand(m, 16, 2)
    assert m.kinds(32)["o"] == 16
    m.idle(1000 * MS)
    assert outcome(m) == {"ok": 0, "first_ok": 0, "tries": 3, "got": 1, "whole": 0}
    assert m.kinds(32) == {"d": 1}
    m.validate()


def test_a_driver_may_try_for_each_piece():
    """As the recordings' does: a piece that cannot be had is left out after its tries, and the next one is tried."""
    m = Tiny(96, 48, cma_pcp="none", demand_tries_per_piece=True, demand_tries=2)
    m.paint("C ..d.............\nC ..a.............\nC ................", first=3)
    m.hold(66, 50 * MS, Holder.DIRECT_IO)
    demand(m, 16, 3, align=4)
    assert m.kinds(48)["o"] == 16
    m.idle(1000 * MS)
    assert outcome(m) == {"ok": 0, "first_ok": 0, "tries": 2, "got": 2, "whole": 0}
    assert m.mem["cma"]["nr_allocated"] == 32  # held like the others
    assert m.events(VmEvent.CMA_ALLOC_FAIL) == 3  # the second piece once, the third one twice
    m.validate()


def test_tries_of_pieces_do_not_add_up():
    m = Tiny(96, 48, cma_pcp="none", demand_tries_per_piece=True, demand_tries=2)
    m.paint("C ..a.............\nC ..a.............\nC ................", first=3)
    for pfn in (50, 66):
        m.hold(pfn, 50 * MS, Holder.DIRECT_IO)
    demand(m, 16, 3, align=4)
    m.idle(1000 * MS)
    assert outcome(m) == {"ok": 1, "first_ok": 0, "tries": 2, "got": 3, "whole": 0}
    assert m.mem["demand"]["missed"][0] == 0
    m.validate()


def test_lending_stops_while_a_try_runs():
    for stops, borrowed in ((True, 0), (False, 4)):
        m = Tiny(64, 32, lending_stops_while_busy=stops)
        m.paint("C aaaaaaaa........", first=2)
        ask(m, 16, align=4)
        step_to(m, ContigPhase.MIGRATE)
        m.touch(1, 0, 4, action=2)
        assert m.kinds(48).get("a", 0) == borrowed
        m.idle(MS)
        m.touch(1, 4, 4, action=2)
        assert m.kinds(48)["a"] == borrowed + 4


# Beside a demand.


def test_a_demand_is_served_step_by_step():
    m = Tiny(128, 64, migrate_into_cma=False)
    m.paint("C aaaaaaaaaaaaaaaa\nC aaaaaaaaaaaaaaaa\nC aaaaaaaa........", first=4)
    m.mem["kernel"]["cost"][Cost.MIGRATE] = 60_000
    ask(m, 64)
    phases, clocks = [], []
    while m.mem["demand"]["state"][0] == DemandState.TRYING:
        phases.append(ContigPhase(m.mem["contig"]["phase"]).name)
        clocks.append(m.clock())
        m.do(Do.STEP_DEMANDS)
        m.validate()
    seen = [name for n, name in enumerate(phases) if n == 0 or phases[n - 1] != name]
    assert seen == ["ISOLATE", "SCAN", "MIGRATE", "SCAN", "MIGRATE", "SCAN", "TEST", "DONE"]
    assert phases.count("MIGRATE") == 20  # two pages of 60 us reach the length of a step
    assert clocks == sorted(clocks) and m.mem["demand_log"]["work_ns"][0] == m.clock() >= 40 * 60_000
    assert outcome(m)["first_ok"] == 1
    assert int(m.mem["demand_log"]["moved"][0]) == 40


def test_a_task_that_faults_during_the_try_competes_for_memory():
    """What the demand isolates is nobody's; the fault finds room elsewhere, and the copies find less of it."""
    m = Tiny(64, 32, migrate_into_cma=False, nr_swap=0, lmk=False)
    m.paint("M kkkkkkkkkkkkkkkk\nM kkkkkkkk........")
    m.paint("C aaaaaaaa........", first=2)
    ask(m, 32)
    step_to(m, ContigPhase.SCAN)
    m.touch(1, 0, 4, action=2)
    assert m.kinds(16, 32)["a"] == 4
    assert m.mem["demand"]["state"][0] == DemandState.TRYING
    step_to(m, ContigPhase.IDLE)
    assert m.mem["demand"]["tries"][0] == 1 and m.mem["demand"]["got"][0] == 0
    assert {holder for _, _, holder in blamed(m)} == {"NO_TARGET"}


def test_pages_in_hand_may_be_freed_pinned_locked_and_shared_meanwhile():
    m = Tiny(64, 32, migrate_into_cma=False)
    m.touch(1, 0, 8, action=2)
    m.file(0, 4, FileFlag.WRITE, action=2)
    m.mem["kernel"]["cost"][Cost.MIGRATE] = 200_000
    ask(m, 32)
    step_to(m, ContigPhase.MIGRATE)
    assert (m.page["flag"][32:64] & PageFlag.ISOLATED).astype(bool).sum() == 12
    m.event(Op.UNMAP, 1, EACH + 1, 2)
    m.event(Op.TRUNCATE, 1, 0, 2)
    m.event(Op.MLOCK, 1, EACH + 3, 1, 1)
    m.event(Op.FORK, 2, 2 * EACH, EACH, 1, 1)
    m.pin(1, 4, 1, 5 * MS)
    m.event(Op.UNMAP, 2, 2 * EACH + 4, 1)
    m.event(Op.UNMAP, 1, EACH + 4, 1)
    m.validate()
    m.idle(1)
    m.event(Op.EXIT, 2)
    m.validate()
    step_to(m, ContigPhase.IDLE)
    m.idle(400 * MS)
    assert outcome(m) == {"ok": 1, "first_ok": 0, "tries": 2, "got": 1, "whole": 1}
    assert m.kinds(0, 32) == {"a": 5, "f": 2}
    m.validate()


def test_a_pin_that_ends_while_the_demand_runs_does_not_hold_it_up():
    """The pinned page is behind the clusters that take long; when the scan gets there it is free to go."""
    for ends, ok in ((3 * MS, 1), (300 * MS, 0)):
        m = Tiny(128, 64, migrate_into_cma=False)
        m.paint("C aaaaaaaaaaaaaaaa\nC aaaaaaaaaaaaaaaa\nC aaaaaaaa........", first=4)
        m.hold(100, ends)
        m.mem["kernel"]["cost"][Cost.MIGRATE] = 200_000
        demand(m, 64)
        assert m.mem["demand"]["first_ok"][0] == ok
        m.validate()


def test_two_demands_queue_for_the_mutex():
    """Their attempts take turns, one at a time; both are served."""
    m = Tiny(128, 64, migrate_into_cma=False)
    m.paint("C aaaaaaaa........\nC ................\nC aaaaaaaa........", first=4)
    first = ask(m, 16, 2)
    second = ask(m, 8, 2)
    served = []
    while m.do(Do.STEP_DEMANDS):
        m.validate()
        slot = int(m.mem["contig"]["slot"])
        if slot >= 0 and (not served or served[-1] != slot):
            served.append(slot)
        if not m.mem["cma"]["busy"]:
            break
    assert served == [first, second, first, second]
    assert [int(r["ok"]) for r in m.mem["demand_log"][:2]] == [1, 1]
    assert m.kinds(64)["o"] == 48


def test_with_one_cpu_a_demand_and_the_tasks_take_turns():
    spent = []
    for cpus in (1, 2):
        m = Tiny(64, 32, migrate_into_cma=False, nr_cpus=cpus)
        m.paint("C aaaaaaaaaaaaaaaa", first=2)
        m.mem["kernel"]["cost"][Cost.MIGRATE] = 200_000
        ask(m, 32)
        begun = m.clock()
        for vpn in range(4):
            m.touch(1, vpn, action=0)
        assert m.mem["demand"]["state"][0] == DemandState.TRYING
        spent.append(m.clock() - begun)
        m.idle(10 * MS)
        assert outcome(m)["ok"] == 1
        m.validate()
    assert spent[1] == 0 and spent[0] > 600_000


def test_its_direct_reclaim_is_its_own():
    m = Tiny(64, 32, migrate_into_cma=False, watermarks=False)
    m.paint("M ffffffffffffffff\nM kkkkkkkkkkkkkkkk")
    m.paint("C aaaaaaaa........", first=2)
    m.page["flag"][:16] &= ~PageFlag.YOUNG
    demand(m, 32)
    assert outcome(m)["ok"] == 1
    assert m.events(VmEvent.ALLOCSTALL) > 0 and m.mem["metrics"]["stall_ns"] == 0
    assert 0 < m.mem["demand_log"]["reclaim_ns"][0] < m.mem["demand_log"]["work_ns"][0]


def life(m: Tiny, cuts: tuple[int, ...]) -> tuple[object, ...]:
    """A demand among events, with idle time cut into pieces; what came of it."""
    m.paint("C aaaaaaaaaaaaaaaa\nC aaaaAaaaffffffff\nC ffffaaaa........", first=4)
    m.mem["kernel"]["cost"][Cost.MIGRATE] = 70_000
    ask(m, 64)
    for vpn in range(12):
        m.touch(1, vpn, action=2)
        begun = m.clock()
        for cut in cuts:
            m.idle(cut)
        m.idle(300_000 - (m.clock() - begun))
    m.idle(800 * MS)
    records = (m.mem[name].tobytes() for name in ("demand_log", "blame_log", "blame_sum", "contig"))
    return m.draw(), m.clock(), *records


@pytest.mark.parametrize("cuts", [(1,), (100_000, 100_000), (3, 7, 111, 40_000, 99_999), (299_999,)])
def test_how_idle_time_is_cut_does_not_matter(cuts):
    assert life(Tiny(128, 64, migrate_into_cma=False), cuts) == life(Tiny(128, 64, migrate_into_cma=False), ())


# Who held it up.


def test_blame_names_every_page_of_the_batch_that_refused():
    m = Tiny(64, 32)
    m.paint("C mMfF............", first=2)
    demand(m, 32)
    assert blamed(m) == {(33, "SHMEM", "DRIVER"), (35, "FILE", "DRIVER")}
    assert m.mem["demand"]["nr_blamed"][0] == 2


def test_demands_beyond_the_table_are_counted():
    m = Tiny(64, 32, cma_pcp="none")
    for _ in range(4):
        demand(m, 2)
    assert m.do(Do.DEMAND, 9, 2, 1, 0, LONG_NS) == 0
    m.event(Op.DEMAND, 50, 9, 2, 0, 1)
    assert m.events(VmEvent.CMA_ALLOC_SUCCESS) == 4
    assert SHAPE.nr_tasks == 16
    m.validate()


def test_shrinking_before_the_demand_makes_room_for_the_copies():
    m = Tiny(128, 32, shrink_before_cma_alloc=True)
    m.paint("M ffffffffffffffff\n" * 5 + "M ffffffffffff....")
    m.paint("C aaaaaaaaaaaaaaaa", first=6)
    demand(m, 32)
    assert outcome(m)["first_ok"] == 1
    assert m.events(VmEvent.PGSTEAL_DIRECT) >= 28
    assert m.events(VmEvent.ALLOCSTALL) == 0
    assert m.do(Do.RMQUEUE, DMA32, 0, 0, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST, PageKind.KERNEL) >= 0


def test_blame_tells_how_long_a_page_was_held_and_will_be():
    m = Tiny(64, 32, migrate_into_cma=False, demand_tries=1)
    m.paint("C aaaaf...........", first=2)
    m.idle(7 * MS)
    m.hold(34, 50 * MS, Holder.DIRECT_IO)
    m.hold(34, 20 * MS, Holder.PIPE)
    m.idle(10 * MS)
    demand(m, 32)
    (entry,) = m.mem["blame_log"][: m.mem["nr_blames_logged"]]
    assert (entry["pfn"], entry["kind"], entry["importance"]) == (34, PageKind.ANON, 0)
    assert entry["stage"] == BlameStage.TEST
    assert entry["age_ms"] == 16 and entry["held_ms"] == 10 and 38 <= entry["left_ms"] <= 39


def test_a_page_passed_over_is_blamed_with_the_cause_of_that_time():
    """The reference ends between the scan and the final test; the page is still there, and its holder known."""
    m = Tiny(128, 64, migrate_into_cma=False, demand_tries=1)
    m.paint("C aaAaaaaaaaaaaaaa\nC aaaaaaaaaaaaaaaa\nC aaaaaaaa........", first=4)
    m.mem["pin"]["expire"][0] = m.clock() + 4 * MS
    m.mem["kernel"]["cost"][Cost.MIGRATE] = 300_000
    demand(m, 64)
    assert m.mem["nr_pins"] == 0
    assert blamed(m) == {(66, "ANON", "DRIVER")}
    assert m.mem["demand_log"]["refused"][0, BlameStage.TEST, PageKind.ANON] == 1
    assert m.mem["demand_log"]["refused"][0].sum() == 1


def test_blame_knows_the_stage():
    m = Tiny(64, 32, demand_tries=1)
    m.paint("C mMfF............", first=2)
    demand(m, 32)
    assert m.mem["demand_log"]["refused"][0, BlameStage.MIGRATE, PageKind.SHMEM] == 1
    m = Tiny(64, 32, demand_tries=1, cma_pcp="none")
    assert m.do(Do.CMA_ALLOC, 20, 0) == 32
    demand(m, 32)
    assert blamed(m) == {(32, "CMA", "UNMOVABLE")}
    assert m.mem["demand_log"]["refused"][1, BlameStage.BITMAP, PageKind.CMA] == 1


def test_the_time_lost_is_shared_by_the_pages_that_refused():
    m = Tiny(64, 32, migrate_into_cma=False, demand_retry_ms=100)
    m.paint("C mMfF............", first=2)
    demand(m, 32)
    m.idle(1000 * MS)
    record = m.mem["demand_log"][0]
    assert record["delay_ns"] == record["latency_ns"] > 200 * MS
    found = {(entry["kind"], entry["holder"]): entry for entry in held_up(m.mem)}
    assert set(found) == {("shmem", "driver"), ("file", "driver")}
    assert all((entry["pages"], entry["tries_failed"]) == (3, 3) for entry in found.values())
    assert sum(entry["delay_ms"] for entry in found.values()) == pytest.approx(record["delay_ns"] / MS, abs=0.001)


def test_what_made_a_demand_slow_is_recorded():
    m = Tiny(64, 32)
    m.paint("C ff.aaa..........", first=2)
    m.write(0)
    m.mem["kernel"]["cost"][Cost.FLASH_WRITE] = 3 * MS
    m.mem["node"]["flusher_next_ns"] = 0
    m.mem["kernel"]["dirty_expire_ns"] = 0
    m.idle(1)
    demand(m, 32)
    record = m.mem["demand_log"][0]
    assert (record["ok"], record["moved"], record["dropped"]) == (1, 4, 1)
    assert 2 * MS < record["writeback_ns"] < 3 * MS < record["work_ns"]


# Switches.


def test_after_a_sleep_the_search_begins_again_inside_one_try():
    """Goldsworthy's retry: the pin ends meanwhile, and the driver never hears of it."""
    for retries, ok in ((0, 0), (1, 0), (2, 1)):
        m = Tiny(64, 32, migrate_into_cma=False, demand_tries=1, cma_alloc_retries=retries, cma_alloc_retry_ms=50)
        m.paint("C aaA.............", first=2)
        m.mem["pin"]["expire"][0] = m.clock() + 80 * MS
        demand(m, 32)
        assert outcome(m) == {"ok": ok, "first_ok": ok, "tries": 1, "got": ok, "whole": 1}
        assert retries * 50 * MS <= m.mem["demand_log"]["latency_ns"][0] < (retries * 50 + 10) * MS
        m.validate()


def test_a_bulk_allocation_skips_busy_blocks_and_drains_once():
    spent = []
    for bulk in (False, True):
        m = Tiny(256, 128, cma_alloc_bulk=bulk, migrate_into_cma=False, demand_tries=1)
        m.paint("C a.d.............\nC a...............\nC d...............\nC aaaaaaaa........", first=8)
        m.mem["kernel"]["cost"][Cost.DRAIN] = 10 * MS
        demand(m, 4, 12, align=2)
        assert outcome(m)["ok"] == 1
        places = sorted(m.mem["demand"]["piece_pfn"][0][:12].tolist())
        if bulk:
            assert all(144 <= pfn < 160 or pfn >= 176 for pfn in places)  # blocks 0 and 2 were left at once
            assert m.events(VmEvent.CMA_BUSY_RETRY) == 2
        else:
            assert places[0] == 132 and m.events(VmEvent.CMA_BUSY_RETRY) > 2
        spent.append(m.clock())
        m.validate()
    assert spent[0] >= 120 * MS and 10 * MS <= spent[1] < 20 * MS


def test_a_bulk_allocation_does_not_wait_for_writeback():
    m = Tiny(64, 32, cma_alloc_bulk=True)
    m.paint("C f...............", first=2)
    m.write(0)
    m.mem["kernel"]["cost"][Cost.FLASH_WRITE] = 500 * MS
    m.mem["node"]["flusher_next_ns"] = 0
    m.mem["kernel"]["dirty_expire_ns"] = 0
    m.idle(1)
    demand(m, 8, 2, align=3)
    assert outcome(m)["first_ok"] == 1 and m.clock() < 100 * MS
    assert m.kinds(48) == {"o": 16}
    assert blamed(m) == {(32, "FILE", "WRITEBACK")}


def test_4_6_isolates_blocks_of_the_largest_order():
    """Only the area: its ends are what 4.6 asks to be aligned."""
    for profile, isolated in (("v4_6", 4), ("v6_12", 1)):
        m = Tiny(128, 64, profile=profile)
        m.paint("C aaaa............", first=4)
        ask(m, 8, align=3)
        step_to(m, ContigPhase.SCAN)
        assert m.mem["zones"]["nr_isolated_pageblocks"][DMA32] == isolated
        step_to(m, ContigPhase.IDLE)
        assert outcome(m)["ok"] == 1
        m.validate()
