"""Pins that the kernel counted become references that last as long as the counts say."""

from pathlib import Path

import pytest

from cma_gym.machine.events import PIN_HOLDER_SHIFT, Op
from cma_gym.mm.mmzone import Holder
from cma_gym.recording.importer import import_trace
from cma_gym.recording.text.kernel import read_kernel_text
from cma_gym.workloads.workload import Workload
from tests.recording.drawn_kernel import AREA_PAGES, DEMANDS, kernel_text, snap
from tests.recording.drawn_trace import Drawing, events_of


def imported(folder: Path, demands: str) -> Workload:
    drawing = Drawing()
    for pfn in range(0x400, 0x480):
        drawing.alloc(pfn)
    (folder / "drawn.ftrace").write_text(drawing.wait(4000).alloc(0x500).text())
    text = kernel_text(demands=demands).replace("nr_mapped 1", "nr_mapped 1\nnr_foll_pin_acquired 0", 1)
    (folder / "drawn.kernel.txt").write_text(text)
    return import_trace(folder / "drawn.ftrace", text=read_kernel_text(folder / "drawn.kernel.txt"))[0]


def test_as_many_pages_are_held_as_were_not_released(tmp_path: Path) -> None:
    held = snap("x", 7.0, nr_foll_pin_acquired=1000, nr_foll_pin_released=900)
    held += snap("y", 8.0, nr_foll_pin_acquired=2000, nr_foll_pin_released=1900)
    workload = imported(tmp_path, held + DEMANDS)
    pins = events_of(workload, Op.PIN)
    late = pins[pins["time"] > 2.01e9]
    assert set(late["nr"]) == {25}  # four buffers at a time
    assert set(late["arg"]) == {Holder.DIRECT_IO << PIN_HOLDER_SHIFT}
    assert late["value"][0] == 500_000
    assert len(late) == pytest.approx(8, abs=1)
    spawned = {int(event["task"]): event for event in events_of(workload, Op.SPAWN)}
    for pin in late:
        owner = spawned[int(pin["task"])]
        assert owner["start"] <= pin["start"]
        assert pin["start"] + pin["nr"] <= owner["start"] + owner["nr"]


def test_a_few_pages_caught_in_the_act_are_no_pins(tmp_path: Path) -> None:
    caught = snap("x", 7.0, nr_foll_pin_acquired=5000, nr_foll_pin_released=4940)
    assert not len(events_of(imported(tmp_path, caught + DEMANDS), Op.PIN))


def test_the_census_of_the_area_tells_of_all_anonymous_memory(tmp_path: Path) -> None:
    """Of 200 anonymous pages in the area 100 are held, apart from the journal's 10; of 240 in all, 120."""
    seen = [snap(tag, time, AREA_PAGES - 200, nr_anon_pages=240) for tag, time in (("x", 6.0), ("y", 7.0))]
    held = "".join(seen).replace("anon=200", "anon=200 bdev=10 extra=110") + snap("z", 8.0)
    pins = events_of(imported(tmp_path, held + DEMANDS), Op.PIN)
    between = pins[(pins["time"] > 1.01e9) & (pins["time"] < 1.99e9)]
    assert set(between["nr"]) == {120 // 4}
    few = held.replace("extra=110", "extra=70")  # two CPUs' batches of references
    assert not len(events_of(imported(tmp_path, few + DEMANDS), Op.PIN))
