"""The oracle on streams written by hand, where the best placement is known, and beside all others on a drawn one."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.machine.decision import decision
from cma_gym.machine.events import PIN_HOLDER_SHIFT, FileFlag, Op, PinFlag, TouchFlag, event_dtype
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import Result, boot, new_machines, run
from cma_gym.machine.spec import MachineSpec
from cma_gym.machine.step import load, rollout
from cma_gym.machine.view import FILE_PAGES, NR_VIEW, NR_VIEW_AND_SUBJECT, Subject, View
from cma_gym.mm.mmzone import NO_PAGE, Action, Holder, Importance, RequestKind
from cma_gym.policies.registry import get_system, systems
from cma_gym.policies.systems import oracle
from cma_gym.workloads.registry import generate
from cma_gym.workloads.workload import Workload

SPEC = MachineSpec(ram_mb=16, cma_mb=4, pageblock_order=6)
AREA = 1024
"""Pages of the area, the last ones of the machine."""
MS = 1_000_000
SECOND_US = 1_000_000
PINNED = Holder.DIRECT_IO << PIN_HOLDER_SHIFT
WRITE = TouchFlag.WRITE
METADATA = FileFlag.BDEV | FileFlag.METADATA
TASK, CHILD = 1, 2

Row = tuple[int, ...]


def stream(*rows: Row, tasks: int = 3) -> Workload:
    """Events as (ms, op, task, start, nr, arg, value), after a first one that starts the task, with a second to end."""
    spawn = (0, Op.SPAWN, TASK, 0, 3500, Importance.BACKGROUND, 0)
    timed = [(row[0] * MS, *row[1:]) for row in (spawn, *rows, (rows[-1][0] + 1000, Op.TICK, 0, 0, 0, 0, 0))]
    return Workload("by_hand", np.array(timed, event_dtype), nr_vpages=4000, nr_fpages=500, nr_tasks=tasks).check()


def whole(ms: int, ident: int = 1, hold_ms: int = 100) -> Row:
    """A demand for the whole area."""
    return (ms, Op.DEMAND, hold_ms, ident, AREA, 6, 1)


def kernel_of(name: str) -> KernelConfig:
    return KernelConfig.for_profile(SPEC.profile, **get_system(name).kernel)


def ran(name: str, workload: Workload) -> Result:
    return get_system(name).run(SPEC, kernel_of(name), workload)


def planned(workload: Workload) -> np.ndarray:
    return oracle.foresee(SPEC, kernel_of("oracle"), workload, 0)


def until(workload: Workload, event: int) -> np.record:
    """The oracle's machine when this event comes next."""
    mems = new_machines(1, SPEC, workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
    boot(mems, 0, SPEC, kernel_of("oracle"))
    load(mems, 0, 0, len(workload.events))
    view = np.zeros(NR_VIEW_AND_SUBJECT, np.int64)
    rollout(mems, 0, workload.events, get_system("oracle").decide, planned(workload), view, event)
    return mems[0]


def lent(mem: np.record, start: int, nr: int, table: str = "pte") -> int:
    """How many of these pages lie in the area; all of them must be present."""
    frames = mem[table]["entry"][start : start + nr]
    assert np.all(frames >= 0)
    return int((frames >= SPEC.nr_pages - AREA).sum())


def first_demand(workload: Workload) -> int:
    return int(np.argmax(workload.events["op"] == Op.DEMAND))


def tries(result: Result) -> list[tuple[int, int]]:
    """(served, served by the first try) of each demand."""
    return [(int(row["ok"]), int(row["first_ok"])) for row in result.demand_table]


def test_a_page_pinned_through_the_demand_stays_out_and_its_neighbour_is_lent():
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (20, Op.TOUCH, TASK, 32, 32, WRITE, 0),
        (30, Op.TOUCH, TASK, 64, 32, WRITE, 0),
        (40, Op.PIN, TASK, 40, 1, PINNED, 5 * SECOND_US),
        whole(100),
    )
    mem = until(workload, first_demand(workload))
    assert [lent(mem, start, 32) for start in (0, 32, 64)] == [32, 0, 32]
    assert tries(ran("oracle", workload)) == [(1, 1)]
    assert tries(ran("cma_first", workload)) == [(0, 0)]


def test_a_pin_that_ends_before_the_demand_keeps_nothing_out():
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (40, Op.PIN, TASK, 0, 32, PINNED, 50_000),
        whole(100),
    )
    assert lent(until(workload, first_demand(workload)), 0, 32) == 32
    assert tries(ran("oracle", workload)) == [(1, 1)]


def test_a_pin_long_after_the_page_was_placed_is_foreseen():
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 64, WRITE, 0),
        (9_000, Op.TOUCH, TASK, 0, 64, WRITE, 0),
        (9_990, Op.PIN, TASK, 32, 32, PINNED, 5 * SECOND_US),
        whole(10_000),
    )
    mem = until(workload, first_demand(workload))
    assert (lent(mem, 0, 32), lent(mem, 32, 32)) == (32, 0)
    assert tries(ran("oracle", workload)) == [(1, 1)]


def test_a_file_page_in_the_journal_stays_out_and_the_same_virtual_page_does_not():
    """File page 7 and virtual page 7 are two things."""
    workload = stream(
        (10, Op.TOUCH, TASK, 7, 1, WRITE, 0),
        (11, Op.FILE, TASK, 7, 1, METADATA, 0),
        (12, Op.FILE, TASK, 8, 1, METADATA, 0),
        (90, Op.FILE, TASK, 7, 1, METADATA | FileFlag.WRITE | FileFlag.JOURNAL, 5 * SECOND_US),
        whole(100),
    )
    mem = until(workload, first_demand(workload))
    assert (lent(mem, 7, 1, "filemap"), lent(mem, 8, 1, "filemap"), lent(mem, 7, 1)) == (0, 1, 1)
    assert tries(ran("oracle", workload)) == [(1, 1)]


def test_a_pinned_file_page_stays_out():
    workload = stream(
        (10, Op.FILE, TASK, 0, 1, 0, 0),
        (11, Op.FILE, TASK, 1, 1, 0, 0),
        (12, Op.PIN, TASK, 1, 1, PINNED | PinFlag.FILE, 5 * SECOND_US),
        whole(100),
    )
    mem = until(workload, first_demand(workload))
    assert (lent(mem, 0, 1, "filemap"), lent(mem, 1, 1, "filemap")) == (1, 0)


def test_pages_of_a_driver_are_kept_out_only_if_they_are_still_there(monkeypatch):
    """All of them are known after one rehearsal, though an attempt names 32 pages that stopped it, and no more."""
    monkeypatch.setattr(oracle, "REHEARSALS", 2)
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 32, WRITE | TouchFlag.DRIVER, 0),
        (20, Op.TOUCH, TASK, 32, 32, WRITE | TouchFlag.DRIVER, 0),
        (50, Op.UNMAP, TASK, 32, 32, 0, 0),
        (60, Op.TOUCH, TASK, 64, 64, WRITE | TouchFlag.DRIVER, 0),
        whole(100),
    )
    mem = until(workload, 3)
    assert (lent(mem, 0, 32), lent(mem, 32, 32)) == (0, 32)
    assert tries(ran("oracle", workload)) == [(1, 1)]


def test_a_page_may_be_lent_until_it_is_freed_if_only_its_successor_is_stuck():
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (50, Op.UNMAP, TASK, 0, 32, 0, 0),
        (60, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (70, Op.PIN, TASK, 0, 32, PINNED, 5 * SECOND_US),
        whole(100),
    )
    assert lent(until(workload, 2), 0, 32) == 32
    assert lent(until(workload, first_demand(workload)), 0, 32) == 0


def test_each_of_two_demands_has_its_own_stuck_pages():
    """What is stuck at the second one only may be lent before the first one, which moves it out."""
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (20, Op.TOUCH, TASK, 32, 32, WRITE, 0),
        (30, Op.PIN, TASK, 0, 32, PINNED, 200_000),
        whole(100, 1, hold_ms=50),
        (1000, Op.UNMAP, TASK, 0, 64, 0, 0),
        (1100, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (1200, Op.TOUCH, TASK, 32, 32, WRITE, 0),
        (1300, Op.PIN, TASK, 32, 32, PINNED, 5 * SECOND_US),
        whole(1400, 2),
    )
    first, second = np.flatnonzero(workload.events["op"] == Op.DEMAND)
    before, after = until(workload, first), until(workload, second)
    assert (lent(before, 0, 32), lent(before, 32, 32)) == (0, 32)
    assert (lent(after, 0, 32), lent(after, 32, 32)) == (32, 0)
    assert tries(ran("oracle", workload)) == [(1, 1), (1, 1)]


def test_a_page_that_an_earlier_demand_moves_out_may_be_lent_before_it():
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (20, Op.TOUCH, TASK, 32, 32, WRITE, 0),
        (30, Op.PIN, TASK, 32, 32, PINNED, 600_000),
        whole(100, 1, hold_ms=50),
        (1000, Op.PIN, TASK, 0, 32, PINNED, 5 * SECOND_US),
        whole(1100, 2),
    )
    mem = until(workload, first_demand(workload))
    assert (lent(mem, 0, 32), lent(mem, 32, 32)) == (32, 0)
    assert tries(ran("oracle", workload)) == [(1, 1), (1, 1)]


def test_a_demand_for_pieces_does_not_empty_the_area_for_the_next_one():
    """Its pieces come from the start of the area, where the first pages lie."""
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 480, WRITE, 0),
        (20, Op.TOUCH, TASK, 480, 32, WRITE, 0),
        (100, Op.DEMAND, 50, 1, 80, 0, 2),
        (1000, Op.PIN, TASK, 480, 32, PINNED, 5 * SECOND_US),
        whole(1100, 2),
    )
    mem = until(workload, first_demand(workload))
    assert (lent(mem, 0, 480), lent(mem, 480, 32)) == (480, 0)
    assert tries(ran("oracle", workload)) == [(1, 1), (1, 1)]


def test_a_pin_that_begins_while_the_area_is_being_emptied_is_foreseen(monkeypatch):
    """The first try takes some milliseconds for a full area. One rehearsal tells more than the pages it fails for."""
    monkeypatch.setattr(oracle, "REHEARSALS", 2)
    touches = [(10 + step, Op.TOUCH, TASK, 32 * step, 32, WRITE, 0) for step in range(32)]
    asks = whole(100)
    pins = [(101, Op.PIN, TASK, 0, AREA, PINNED, 5 * SECOND_US)]
    workload = stream(*touches, asks, *pins)
    assert tries(ran("cma_first", workload)) == [(0, 0)]
    assert tries(ran("oracle", workload)) == [(1, 1)]


def test_a_pinned_page_whose_task_has_ended_is_known_by_the_event_that_pinned_it():
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (20, Op.TOUCH, TASK, 32, 32, WRITE, 0),
        (30, Op.PIN, TASK, 32, 32, PINNED, 5 * SECOND_US),
        (40, Op.EXIT, TASK, 0, 0, 0, 0),
        whole(100),
    )
    mem = until(workload, 4)
    assert (lent(mem, 0, 32), lent(mem, 32, 32)) == (32, 0)
    assert tries(ran("oracle", workload)) == [(1, 1)]


def test_a_page_in_the_journal_whose_file_was_removed_is_known():
    workload = stream(
        (10, Op.FILE, TASK, 7, 1, METADATA, 0),
        (20, Op.FILE, TASK, 7, 1, METADATA | FileFlag.WRITE | FileFlag.JOURNAL, 5 * SECOND_US),
        (30, Op.TRUNCATE, TASK, 7, 1, 0, 0),
        whole(100),
    )
    assert list(planned(workload)) == [0, 1, FILE_PAGES + 7, 0, 5]
    assert tries(ran("oracle", workload)) == [(1, 1)]


def test_where_nothing_can_be_learnt_nothing_is_lent_until_the_demand_is_over():
    """The page was asked for under a name that is gone: the child that shares it has another one."""
    workload = stream(
        (10, Op.TOUCH, TASK, 0, 32, WRITE, 0),
        (20, Op.FORK, CHILD, 3500, 32, Importance.BACKGROUND, TASK),
        (30, Op.EXIT, TASK, 0, 0, 0, 0),
        (40, Op.PIN, CHILD, 3500, 32, PINNED, 5 * SECOND_US),
        whole(100),
        (500, Op.TOUCH, CHILD, 3500, 32, WRITE, 0),
        (600, Op.SPAWN, TASK, 0, 3500, Importance.BACKGROUND, 0),
        (700, Op.TOUCH, TASK, 64, 32, WRITE, 0),
    )
    asked = first_demand(workload)
    assert list(planned(workload)[[0, 2, 3]]) == [1, 0, asked]
    assert lent(until(workload, 2), 0, 32) == 0
    assert lent(until(workload, len(workload.events) - 1), 64, 32) == 32
    assert tries(ran("oracle", workload)) == [(1, 1)]


def test_memory_is_lent_where_the_task_would_be_killed_without_it():
    """3,200 pages do not fit beside the area, and there is no swap; half of them are gone when it is asked for."""
    spec = SPEC.model_copy(update={"zram_percent": 0})
    touches = [(10 * (step + 1), Op.TOUCH, TASK, 32 * step, 32, WRITE, 0) for step in range(100)]
    rest = [
        (2000, Op.PIN, TASK, 0, 32, PINNED, 5 * SECOND_US),
        (2100, Op.UNMAP, TASK, 1600, 1600, 0, 0),
        whole(2200),
    ]
    workload = stream(*touches, *rest)
    found = {
        name: get_system(name).run(spec, kernel_of(name), workload) for name in ("oracle", "carve_out", "cma_first")
    }
    assert {name: result.metrics["kills"] for name, result in found.items()} == {
        "oracle": 0,
        "carve_out": 1,
        "cma_first": 0,
    }
    assert tries(found["oracle"]) == [(1, 1)]
    assert tries(found["cma_first"]) == [(0, 0)]


@pytest.mark.parametrize("family", ["metadata", "mix"])
def test_no_other_system_serves_more_of_a_drawn_workload(family):
    camera = {"warmup_s": 4, "count": 3, "gap_s": 4}
    workload = generate({"family": family, "camera": camera}, SPEC, 3)
    served = {name: sum(ok for ok, _ in tries(ran(name, workload))) for name in systems()}
    assert served["oracle"] == 3
    assert served["cma_first"] < 3


# ---- the rule --------------------------------------------------------------------------------------------------------

PLAN = oracle.Plan({(5, 10): 20, (5, 30): 40, (FILE_PAGES + 5, 0): 99}, {(100, 120)}).params()


@pytest.mark.parametrize(
    ("event", "first", "last", "action"),
    [
        (9, 5, 5, Action.CMA_FIRST),
        (10, 5, 5, Action.NORMAL_ONLY),
        (20, 5, 5, Action.NORMAL_ONLY),
        (21, 5, 5, Action.CMA_FIRST),
        (30, 5, 5, Action.NORMAL_ONLY),
        (41, 5, 5, Action.CMA_FIRST),
        (15, 0, 4, Action.CMA_FIRST),
        (15, 0, 5, Action.NORMAL_ONLY),
        (15, 6, 37, Action.CMA_FIRST),
        (50, FILE_PAGES, FILE_PAGES + 31, Action.NORMAL_ONLY),
        (50, FILE_PAGES + 6, FILE_PAGES + 6, Action.CMA_FIRST),
        (50, NO_PAGE, NO_PAGE, Action.CMA_FIRST),
        (99, 7, 7, Action.CMA_FIRST),
        (100, 7, 7, Action.NORMAL_ONLY),
        (120, NO_PAGE, NO_PAGE, Action.NORMAL_ONLY),
        (121, 7, 7, Action.CMA_FIRST),
    ],
)
def test_the_rule_reads_the_plan(event, first, last, action):
    view = np.zeros(NR_VIEW_AND_SUBJECT, np.int64)
    view[[Subject.EVENT, Subject.FIRST, Subject.LAST]] = event, first, last
    assert oracle.decide(view, PLAN) == action


def test_without_a_plan_or_the_subject_nothing_is_lent():
    assert oracle.decide(np.zeros(NR_VIEW_AND_SUBJECT, np.int64), np.zeros(0, np.int64)) == Action.NORMAL_ONLY
    assert oracle.decide(np.zeros(NR_VIEW, np.int64), PLAN) == Action.NORMAL_ONLY


# ---- hindsight -------------------------------------------------------------------------------------------------------


@decision
def lends_if_told(view, params):
    """Lends anonymous pages if it is told which ones they are, and these are the ones expected for this event."""
    if len(view) <= NR_VIEW or view[View.KIND] != RequestKind.ANON:
        return Action.NORMAL_ONLY
    event = view[Subject.EVENT]
    expected = view[Subject.FIRST] == params[2 * event] and view[Subject.LAST] == params[2 * event + 1]
    return Action.CMA_FIRST if expected else Action.NORMAL_ONLY


@pytest.mark.parametrize(("hindsight", "pages"), [(False, 0), (True, 48)])
def test_only_a_run_with_hindsight_tells_which_pages_are_asked_for(hindsight, pages):
    """An answer for 32 pages reaches over the 16 among them that are there already."""
    workload = stream((10, Op.TOUCH, TASK, 4, 16, WRITE, 0), (20, Op.TOUCH, TASK, 0, 48, WRITE, 0))
    expected = np.array([0, 0, 4, 19, 0, 47], np.int64)
    mem = run(SPEC, kernel_of("oracle"), workload, lends_if_told, expected, hindsight=hindsight).mems[0]
    assert lent(mem, 0, 48) == pages


def test_stopping_on_the_way_changes_nothing():
    workload = generate({"family": "mix", "camera": {"warmup_s": 2, "count": 1, "gap_s": 4}}, SPEC, 1)
    system, view = get_system("gfp_page_cache"), np.zeros(NR_VIEW, np.int64)
    machines = []
    for every in (len(workload.events), 7):
        mems = new_machines(1, SPEC, workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
        boot(mems, 0, SPEC, kernel_of("gfp_page_cache"))
        load(mems, 0, 0, len(workload.events))
        for stop in range(every, len(workload.events) + every, every):
            rollout(mems, 0, workload.events, system.decide, system.param_array(), view, stop)
        machines.append(mems.tobytes())
    assert machines[0] == machines[1]


def test_a_row_of_a_comparison_is_a_run_with_foresight():
    from cma_gym.experiments.rows.case import Unit, compact, run_unit

    scenario = {"family": "metadata", "camera": {"warmup_s": 4, "count": 3, "gap_s": 4}}
    unit = Unit("oracle", "oracle", "metadata", compact({"scenario": scenario}), SPEC.model_dump_json(), 3)
    row, result = run_unit(unit), ran("oracle", generate(scenario, SPEC, 3))
    assert row["whole_success"] == row["pieces_success"] == 1
    assert row["cma_idle"] == result.metrics["cma_idle"] < 1
