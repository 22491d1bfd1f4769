"""The guest of the measured ranking: its scenario files, and launches that happen only when an app was killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from cma_gym.machine.events import FileFlag, Op, TouchFlag
from cma_gym.machine.spec import MachineSpec
from cma_gym.workloads.registry import generate
from cma_gym.workloads.workload import Workload

FILES = sorted((Path(__file__).parents[3] / "configs" / "workloads" / "measured").glob("*.yaml"))
WORKLOADS = ("apps", "stream", "meta", "pin", "kmem", "mix")


def made(path: Path, seed: int = 1) -> Workload:
    ram = int(path.stem.rpartition("_")[2].removesuffix("m"))
    scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
    return generate(scenario, MachineSpec(ram_mb=ram, cma_mb=ram // 4), seed)


def test_every_measured_workload_has_its_files() -> None:
    assert {path.stem for path in FILES} == {f"{name}_{ram}m" for name in WORKLOADS for ram in (512, 1024)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenarios_are_sane_and_repeatable(path: Path) -> None:
    workload = made(path).check()
    assert made(path).events.tobytes() == workload.events.tobytes()
    assert made(path, 2).events.tobytes() != workload.events.tobytes()
    demands = workload.events[workload.events["op"] == Op.DEMAND]
    assert demands["value"].tolist() == [1, 9] * 4
    assert demands["time"][0] >= 6e9
    assert np.diff(demands["time"]).min() > 2.2e9, "a demand of the usual length has ended before the next one"


@pytest.mark.parametrize("name", ["stream", "meta", "pin", "kmem"])
def test_programs_that_count_in_pages_do_not_grow_with_ram(name: str) -> None:
    """Beside the apps, whose sizes are shares of RAM, the guest's programs are the same on both machines."""
    small, large = (_others(made(path)) for path in FILES if path.stem in (f"{name}_512m", f"{name}_1024m"))
    assert 0.6 < small / large < 1.7


def _others(workload: Workload) -> int:
    """Pages used by what is not an app: file writes, plain reads, kernel memory, pins."""
    events = workload.events
    mapped = (events["op"] == Op.FILE) & (events["arg"] & FileFlag.MAPPED != 0)
    ours = np.isin(events["op"], (Op.FILE, Op.PIN)) | ((events["op"] == Op.KALLOC) & (events["task"] == 0))
    return int(events["nr"][ours & ~mapped].astype(np.int64).sum())


def test_a_start_on_condition_has_a_number_of_its_own() -> None:
    events = made(FILES[0]).events
    starts = events[(events["op"] == Op.SPAWN) & (events["value"] > 0)]
    assert len(set(starts["value"])) == len(starts) > 20
    cold = events[(events["op"] == Op.TOUCH) & (events["arg"] & TouchFlag.COLD != 0)]
    assert set(cold["value"]) <= set(starts["value"])
    by_number = dict(zip(starts["value"].tolist(), starts["task"].tolist(), strict=True))
    assert [by_number[value] for value in cold["value"].tolist()] == cold["task"].tolist()


def test_a_launch_forks_from_the_launcher_and_has_room_for_its_heap() -> None:
    events = made(FILES[0]).events
    forks = events[events["op"] == Op.FORK]
    assert len(set(forks["value"])) == 1 and len(forks) >= 10
    parent = events[(events["op"] == Op.SPAWN) & (events["task"] == forks["value"][0])][0]
    assert (forks["nr"] > 10 * parent["nr"]).all()


def test_raw_reads_are_unmovable_page_cache_and_metadata_is_held_by_the_journal_once_at_a_time() -> None:
    events = made(next(path for path in FILES if path.stem == "meta_512m")).events
    files = events[events["op"] == Op.FILE]
    raw = FileFlag.BDEV | FileFlag.UNMOVABLE
    read = files[files["arg"] == raw]
    seconds = events["time"][-1] / 1e9
    assert read["nr"].sum() / seconds == pytest.approx(0.0056 * 131_072, rel=0.02)
    descriptor = files[files["arg"] & FileFlag.METADATA != 0]
    assert len(set(descriptor["start"])) == 1 and (descriptor["arg"] & raw == raw).all()
    held = files[files["arg"] & FileFlag.JOURNAL != 0]
    for page in set(held["start"].tolist()):
        mine = held[held["start"] == page]
        ends = mine["time"] + mine["value"].astype(np.int64) * 1000
        assert (mine["time"][1:] >= ends[:-1]).all()
