"""The committed recording, in exact numbers, and against a reader that shares no code with ours."""

from pathlib import Path

import numpy as np
import pytest

from cma_gym.machine.events import Op
from cma_gym.recording.importer import import_trace
from cma_gym.recording.report import TraceReport
from cma_gym.workloads.workload import Workload, load, save
from tests.recording import naive_ftrace

EXCERPT = Path(__file__).parent.parent / "data" / "mix_excerpt.ftrace.xz"

GOLDEN = {
    "lines": 469200,
    "pages": {"anon": 113068, "file": 61929, "bdev": 1409, "shmem": 33, "zsmalloc": 71, "kernel": 32620},
    "counts": {
        "unknown_frees": 1228,
        "failed_allocs": 398,
        "migration_targets": 6670,
        "moved": 6514,
        "undone_moves": 88,
        "moved_unknown": 68,
        "lost_moves": 1105,
        "found_frees": 13,
        "corrected": 431,
        "evicted": 47974,
        "quiet_pages": 5,
        "old_pages": 53,
        "unknown_removals": 1,
    },
    "events": {
        "SPAWN": 59,
        "EXIT": 32,
        "TOUCH": 4804,
        "UNMAP": 639,
        "FILE": 2915,
        "TRUNCATE": 2,
        "KALLOC": 3903,
        "KFREE": 2198,
        "DEMAND": 1,
        "TICK": 1,
    },
    "sizes": (79440, 59763, 27),
}
"""Change only with a change of the rules that explains every number."""


@pytest.fixture(scope="module")
def imported() -> tuple[Workload, TraceReport]:
    return import_trace(EXCERPT)


def test_excerpt_is_small() -> None:
    assert EXCERPT.stat().st_size <= 1_500_000


def test_excerpt_golden_numbers(imported: tuple[Workload, TraceReport]) -> None:
    workload, report = imported
    assert report.lines == GOLDEN["lines"]
    assert report.pages_allocated_by_kind == GOLDEN["pages"]
    assert {key: report.counts[key] for key in GOLDEN["counts"]} == GOLDEN["counts"]
    assert report.workload_events == GOLDEN["events"]
    assert (workload.nr_vpages, workload.nr_fpages, workload.nr_tasks) == GOLDEN["sizes"]
    assert not any(report.skipped.values())
    assert report.lost_events == 0


def test_excerpt_agrees_with_a_naive_reader(imported: tuple[Workload, TraceReport]) -> None:
    _, report = imported
    naive = naive_ftrace.count(EXCERPT)
    assert naive["lines"] == report.lines
    for name, count in report.events_by_name.items():
        assert naive[name] == count, name
    kinds = {kind: naive[f"pages {kind}"] for kind in report.pages_allocated_by_kind}
    assert kinds == report.pages_allocated_by_kind
    assert naive["pages target"] == report.counts["migration_targets"]
    assert naive["allocs failed"] == report.counts["failed_allocs"]
    assert naive["frees unknown"] == report.counts["unknown_frees"]
    assert naive["frees buffer"] == report.counts["buffer_frees"]


def test_identity_holds_through_every_migration(imported: tuple[Workload, TraceReport]) -> None:
    _, report = imported
    # Expect every target of a migration to be accounted for, and no page where a contiguous allocation succeeded.
    accounted = report.counts["moved"] + report.counts["undone_moves"] + report.counts["moved_unknown"]
    assert 0 <= report.counts["migration_targets"] - accounted <= 20
    assert report.counts["left_in_area"] == 0
    assert report.counts["reused_frames"] == 0
    assert report.counts["unclosed"] == 0


def test_excerpt_demand(imported: tuple[Workload, TraceReport]) -> None:
    _, report = imported
    (demand,) = report.cma_demands
    assert (demand.nr_pages, demand.pieces, demand.tries, demand.got) == (32768, 1, 3, 0)


def test_ranges_stay_near_what_was_live(imported: tuple[Workload, TraceReport]) -> None:
    workload, report = imported
    touched = int(workload.events["nr"][workload.events["op"] == Op.TOUCH].sum())
    assert report.pages_allocated_by_kind["anon"] <= touched + 1000
    assert workload.nr_vpages < touched
    # Expect runs, not single pages.
    assert touched > 5 * report.workload_events["TOUCH"]


def test_the_same_file_gives_the_same_bytes(imported: tuple[Workload, TraceReport], tmp_path: Path) -> None:
    again, _ = import_trace(EXCERPT)
    save(imported[0], tmp_path / "first.npz")
    save(again, tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    assert np.array_equal(load(tmp_path / "first.npz").events, again.events)
