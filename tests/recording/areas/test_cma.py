"""Contiguous allocations of a recording become demands."""

from pathlib import Path

from cma_gym.machine.events import Op
from cma_gym.recording.areas.cma import DEFAULT_HOLD_MS
from tests.recording.drawn_trace import Drawing, events_of


def demands(drawing: Drawing, folder: Path) -> list[tuple[int, int, int, int]]:
    """(pieces, pages of a piece, alignment, hold in ms) of each demand."""
    workload, _ = drawing.imported(folder)
    events = events_of(workload, Op.DEMAND)
    assert [int(ident) for ident in events["start"]] == list(range(len(events)))
    return [(int(e["value"]), int(e["nr"]), int(e["arg"]), int(e["task"])) for e in events]


def test_three_tries_are_one_demand(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5)
    for error in (-16, -16, 0):
        drawing.wait(100).cma_start(512).wait(40).cma_finish(0x800, 512, error=error)
    drawing.wait(300).cma_release(0x800, 512)
    workload, report = drawing.imported(tmp_path)
    assert demands(drawing, tmp_path) == [(1, 512, 0, 300)]
    (demand,) = report.cma_demands
    assert (demand.tries, demand.got, demand.first_failed, demand.last_failed) == (3, 1, True, False)
    # Expect the demand where it was first asked for.
    assert events_of(workload, Op.DEMAND)["time"][0] == 100_010_000


def test_nine_pieces_are_one_demand(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5)
    for piece in range(9):
        drawing.cma_start(64, align=4).wait(200).cma_finish(0x800 + 64 * piece, 64, align=4)
    drawing.wait(250)
    for piece in range(9):
        drawing.cma_release(0x800 + 64 * piece, 64)
    assert demands(drawing, tmp_path) == [(9, 64, 4, 250)]


def test_a_failed_demand_wanted_as_much_as_its_largest_equal(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5)
    for piece in range(3):
        drawing.cma_start(64).cma_finish(0x800 + 64 * piece, 64)
    for piece in range(3):
        drawing.wait(20).cma_release(0x800 + 64 * piece, 64)
    drawing.wait(2000).cma_start(64).cma_finish(0x800, 64).cma_start(64).cma_finish(0x800, 64, error=-16)
    drawing.wait(50).cma_release(0x800, 64)
    # Expect 3 pieces and the hold time of the served one for both.
    assert demands(drawing, tmp_path) == [(3, 64, 0, 20), (3, 64, 0, 20)]


def test_sizes_tasks_and_pauses_separate_demands(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5).cma_start(64).cma_finish(0x800, 64, error=-16)
    drawing.cma_start(32).cma_finish(0x800, 32, error=-16)
    drawing.cma_start(64, pid=51).cma_finish(0x800, 64, error=-16, pid=51)
    drawing.wait(1000).cma_start(64).cma_finish(0x800, 64, error=-16)
    hold = DEFAULT_HOLD_MS
    assert demands(drawing, tmp_path) == [(1, 64, 0, hold), (1, 32, 0, hold), (1, 64, 0, hold), (1, 64, 0, hold)]


def test_an_attempt_without_an_end_is_no_demand(tmp_path: Path) -> None:
    assert demands(Drawing().alloc(0x5).cma_start(64), tmp_path) == []


def test_kernels_that_report_an_allocation_once(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5)
    # Linux 4.x prints these numbers without 0x, and -1 for a failure.
    drawing.event("cma_alloc", "pfn=ffffffffffffffff page=(null) count=512 align=0", pid=50).wait(100)
    drawing.event("cma_alloc", "pfn=17e00 page=00000000d2c8b0a5 count=512 align=0", pid=50).wait(70)
    drawing.event("cma_release", "pfn=17e00 page=00000000d2c8b0a5 count=512", pid=50)
    workload, report = drawing.imported(tmp_path)
    assert [(d.tries, d.got) for d in report.cma_demands] == [(2, 1)]
    assert events_of(workload, Op.DEMAND)["task"][0] == 70
    assert any("start of cma_alloc()" in note for note in report.notes)


def test_frame_numbers_are_nowhere(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x123456).cma_start(512).cma_finish(0x234000, 512).wait(10).cma_release(0x234000, 512)
    workload, report = drawing.imported(tmp_path)
    assert int(workload.events["start"].max()) < 10
    assert str(0x234000) not in str(report.as_dict())
