"""Contract of every family of synthetic workloads and of every scenario file, driven by the registry."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from cma_gym.machine.events import KALLOC_ORDER_SHIFT, PIN_HOLDER_SHIFT, FileFlag, Op, PinFlag, TouchFlag
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mm_types import shape_for
from cma_gym.mm.mmzone import NR_DEMANDS, Holder, Importance
from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.registry import families, generate, parameters, parse
from cma_gym.workloads.workload import Workload, load, save

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "workloads").glob("*.yaml"))
SIZES = {16: 4, 64: 16, 512: 128}
BOTH = [(name, ram) for name in families() for ram in SIZES]
PRODUCTS = [name for name in families() if isinstance(parse({"family": name}).camera, Camera)]
"""Families with the product tests as demands; the others are loads of published tables."""
SECOND = 10**9


def spec_of(ram_mb: int) -> MachineSpec:
    return MachineSpec(ram_mb=ram_mb, cma_mb=SIZES[ram_mb])


@cache
def made(name: str, ram_mb: int, seed: int = 1) -> Workload:
    return generate({"family": name}, spec_of(ram_mb), seed)


def of(workload: Workload, *ops: Op) -> np.ndarray:
    return workload.events[np.isin(workload.events["op"], ops)]


def cold(events: np.ndarray) -> np.ndarray:
    """Which events happen only after the machine has killed their task."""
    flags = np.where(events["op"] == Op.FILE, FileFlag.COLD, TouchFlag.COLD)
    return np.isin(events["op"], (Op.TOUCH, Op.FILE)) & (events["arg"] & flags != 0)


class Follower:
    """Plays a stream with dictionaries and sets, and complains about whatever could not happen."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.range: dict[int, tuple[int, int]] = {}
        self.owner = np.full(workload.nr_vpages, -1)
        self.in_use: set[int] = set()
        self.pins: list[tuple[int, int]] = []
        self.most_pinned = 0

    def play(self) -> Follower:
        for time, op, task, start, nr, arg, value in self.workload.events.tolist():
            if op == Op.SPAWN and value > 0 and task in self.range:
                assert self.range[task] == (start, nr)  # starts only what the machine has killed
                self.in_use -= set(range(start, start + nr))
            elif op in (Op.SPAWN, Op.FORK):
                self.start_task(task, start, nr, arg, value if op == Op.FORK else None)
            elif op == Op.EXIT:
                first, room = self.range.pop(task)
                assert task != 0
                self.owner[first : first + room] = -1
                self.in_use -= set(range(first, first + room))
            elif op in (Op.TOUCH, Op.UNMAP, Op.MLOCK):
                self.inside(task, start, nr)
            elif op == Op.PIN:
                self.pin(time, task, start, nr, arg, value)
            elif op == Op.FILE and arg & FileFlag.JOURNAL:
                self.hold(time, nr, value)
            elif op in (Op.KALLOC, Op.KFREE):
                self.inside(task, start, nr)
                handles = set(range(start, start + nr))
                assert handles.isdisjoint(self.in_use) if op == Op.KALLOC else handles <= self.in_use
                self.in_use ^= handles
            elif op != Op.DEMAND and task != 0 and op != Op.TICK:
                assert task in self.range, f"{Op(op).name} of a task that does not run"
        return self

    def start_task(self, task: int, start: int, nr: int, importance: int, parent: int | None) -> None:
        assert task not in self.range
        assert importance in list(Importance)
        assert nr > 0 or task == 0
        assert (self.owner[start : start + nr] == -1).all(), "ranges of tasks that are alive overlap"
        if parent is not None:
            assert nr >= self.range[parent][1]
        self.owner[start : start + nr] = task
        self.range[task] = (start, nr)

    def inside(self, task: int, start: int, nr: int) -> None:
        first, room = self.range[task]
        assert nr > 0 and first <= start and start + nr <= first + room

    def pin(self, time: int, task: int, start: int, nr: int, arg: int, value: int) -> None:
        assert arg >> PIN_HOLDER_SHIFT in list(Holder)
        if not arg & PinFlag.FILE:
            self.inside(task, start, nr)
        self.hold(time, nr, value)

    def hold(self, time: int, nr: int, value: int) -> None:
        assert value > 0
        self.pins = [entry for entry in self.pins if entry[0] > time] + [(time + value * 1000, nr)]
        self.most_pinned = max(self.most_pinned, sum(count for _, count in self.pins))


def test_the_families_of_the_design_are_there() -> None:
    assert {"phone", "streaming", "metadata", "pinning", "build", "mix"} <= set(families())


@pytest.mark.parametrize(("name", "ram"), BOTH)
def test_streams_are_sane(name: str, ram: int) -> None:
    workload = made(name, ram).check()
    follower = Follower(workload).play()
    room = shape_for(spec_of(ram).nr_pages)
    assert workload.nr_vpages <= room.nr_vpages
    assert workload.nr_fpages <= room.nr_fpages
    assert workload.nr_tasks <= room.nr_tasks
    assert follower.most_pinned <= room.nr_pins // 2
    assert int(workload.events["op"][-1]) == Op.TICK
    assert workload.events["time"][-1] == workload.meta["duration_s"] * SECOND


@pytest.mark.parametrize(("name", "ram"), [(name, ram) for name, ram in BOTH if name in PRODUCTS])
def test_demands_have_the_sizes_of_the_product_tests(name: str, ram: int) -> None:
    spec, demands = spec_of(ram), of(made(name, ram), Op.DEMAND)
    whole, pieces = demands[demands["value"] == 1], demands[demands["value"] == 9]
    assert len(whole) == len(pieces) == 4
    assert demands["value"].tolist() == [1, 9] * 4
    assert set(whole["nr"]) == {spec.cma_pages}
    assert set(pieces["nr"]) == {spec.cma_pages * 20 // 256}
    assert len(set(demands["start"])) == len(demands)
    assert (demands["arg"] <= 9).all()
    padded = -(-pieces["nr"] // (1 << pieces["arg"])) << pieces["arg"]
    assert (padded * 9 <= spec.cma_pages).all(), "nine aligned pieces must fit into the area"
    ends = demands["time"] + demands["task"] * 10**6
    assert (ends[:-1] < demands["time"][1:]).all() and len(demands) > NR_DEMANDS


def test_pieces_are_20_mb_of_256() -> None:
    workload = generate({"family": "phone"}, MachineSpec(ram_mb=1024, cma_mb=256), 1)
    pieces = of(workload, Op.DEMAND)[1]
    assert (pieces["value"], pieces["nr"], pieces["arg"]) == (9, 20 * 256, 8)


@pytest.mark.parametrize("name", families())
def test_same_seed_same_bytes_other_seed_other_bytes(name: str) -> None:
    again = generate({"family": name}, spec_of(64), 1)
    assert again.events.tobytes() == made(name, 64).events.tobytes()
    assert again.meta == made(name, 64).meta
    assert made(name, 64, 2).events.tobytes() != made(name, 64).events.tobytes()


@pytest.mark.parametrize("name", families())
def test_demand_on_memory_scales_with_ram(name: str) -> None:
    """Pages touched per page of RAM differ little between a twin and a phone. Expect to see the same use."""
    uses = []
    for ram in SIZES:
        events = of(made(name, ram), Op.TOUCH, Op.FILE)
        events = events[~cold(events)]
        uses.append(events["nr"].astype(np.int64).sum() / spec_of(ram).nr_pages)
    assert max(uses) < 1.25 * min(uses)


@pytest.mark.parametrize("name", PRODUCTS)
def test_more_is_wanted_than_there_is(name: str) -> None:
    """Living anonymous memory and file pages used, at the later demands, against RAM."""
    workload = made(name, 64)
    heap, files = np.zeros(workload.nr_vpages, bool), np.zeros(workload.nr_fpages, bool)
    ranges, wanted = {}, []
    for _, op, task, start, nr, _, _ in workload.events[~cold(workload.events)].tolist():
        pages = slice(start, start + nr)
        if op in (Op.SPAWN, Op.FORK):
            ranges[task] = pages
        elif op == Op.EXIT:
            heap[ranges[task]] = False
        elif op in (Op.TOUCH, Op.UNMAP):
            heap[pages] = op == Op.TOUCH
        elif op in (Op.FILE, Op.TRUNCATE):
            files[pages] = op == Op.FILE
        elif op == Op.DEMAND:
            wanted.append((heap.sum() + files.sum()) / spec_of(64).nr_pages)
    assert 1.0 < np.mean(wanted[2:]) < 2.0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_scenario_files(path: Path) -> None:
    """Each file is one scenario that runs; those named after a family say what its defaults are."""
    scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
    Follower(generate(scenario, spec_of(64), 3).check()).play()
    if path.stem in families():
        assert parse(scenario) == parse({"family": path.stem})


def test_every_family_has_its_file() -> None:
    assert set(families()) <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("name", families())
def test_every_parameter_says_what_it_means(name: str) -> None:
    rows = parameters(name)
    assert len({row.path for row in rows}) == len(rows)
    assert all(row.description and "TODO" not in row.description for row in rows)
    assert all("[" in row.description for row in rows if row.path not in ("family", "camera.tests"))


@pytest.mark.parametrize("name", families())
def test_workloads_survive_their_file(name: str, tmp_path: Path) -> None:
    save(made(name, 16), tmp_path / "w.npz")
    again = load(tmp_path / "w.npz")
    assert again.events.tobytes() == made(name, 16).events.tobytes()
    assert again.meta == made(name, 16).meta


def test_phone_uses_every_kind_of_event() -> None:
    ops = set(made("phone", 64).events["op"].tolist())
    assert ops == set(Op) - {Op.SYNC} or ops == set(Op)


def test_metadata_holds_journal_pages_at_each_demand() -> None:
    """Kernel fact 1: some pages of block-device cache are held, for seconds. Expect a few, never all of memory."""
    workload = made("metadata", 512)
    held = of(workload, Op.FILE)
    held = held[held["arg"] & FileFlag.JOURNAL != 0]
    assert (held["arg"] & FileFlag.BDEV != 0).all()
    assert 1 < np.median(held["value"]) / 10**6 < 8
    for demand in of(workload, Op.DEMAND):
        alive = (held["time"] <= demand["time"]) & (
            held["time"] + held["value"].astype(np.int64) * 1000 > demand["time"]
        )
        assert 40 <= len(set(held["start"][alive])) <= 1000


def test_a_page_joins_a_transaction_once() -> None:
    held = of(made("metadata", 64), Op.FILE)
    held = held[held["arg"] & FileFlag.JOURNAL != 0]
    for page in set(held["start"].tolist()):
        mine = held[held["start"] == page]
        assert (mine["time"][:-1] + mine["value"][:-1].astype(np.int64) * 1000 <= mine["time"][1:]).all()


@pytest.mark.parametrize("name", ["phone", "app_launches"])
def test_a_cold_start_is_over_before_its_app_is_ended(name: str) -> None:
    """Every cold event belongs to the task of the start it names, in the life in which that start lies."""
    starts: dict[int, int] = {}
    nr_cold = 0
    for _, op, task, _, _, arg, value in made(name, 64, 2).events.tolist():
        if op == Op.SPAWN and value > 0:
            starts[value] = task
        elif op == Op.EXIT:
            starts = {number: of_task for number, of_task in starts.items() if of_task != task}
        elif (op == Op.TOUCH and arg & TouchFlag.COLD) or (op == Op.FILE and arg & FileFlag.COLD):
            assert starts[value] == task
            nr_cold += 1
    assert nr_cold > 100


def test_pinning_has_every_holder() -> None:
    workload = made("pinning", 512)
    pins = of(workload, Op.PIN)
    assert {Holder.PIPE, Holder.DIRECT_IO, Holder.LONGTERM, Holder.DRIVER} <= set(pins["arg"] >> PIN_HOLDER_SHIFT)
    longterm = pins["arg"] & PinFlag.LONGTERM != 0
    assert (pins["arg"][longterm] >> PIN_HOLDER_SHIFT == Holder.LONGTERM).all() and longterm.any()
    assert (of(workload, Op.TOUCH)["arg"] & TouchFlag.DRIVER).any()
    driver = pins[(pins["arg"] >> PIN_HOLDER_SHIFT == Holder.DRIVER) & (pins["nr"] > 32)]
    assert driver["nr"].min() >= 64 and driver["nr"].max() <= 1023
    assert driver["value"].min() >= 50_000 and driver["value"].max() <= 951_000


def test_pins_are_taken_on_pages_that_are_there() -> None:
    """The latest event on a pinned page touched it; else there would be nothing to pin."""
    workload = made("mix", 64)
    there = np.zeros(workload.nr_vpages, bool)
    ranges = {}
    for _, op, task, start, nr, _, _ in workload.events.tolist():
        pages = slice(start, start + nr)
        if op in (Op.SPAWN, Op.FORK):
            ranges[task] = pages
            there[pages] = False
        elif op in (Op.TOUCH, Op.UNMAP):
            there[pages] = op == Op.TOUCH
        elif op == Op.PIN:
            assert there[pages].all()


def test_kernel_memory_grows_and_falls() -> None:
    workload = made("phone", 64)
    held, amounts = {}, []
    for _, op, task, start, nr, arg, _ in workload.events.tolist():
        if task == 0 and op == Op.KALLOC:
            held[start] = nr << (arg >> KALLOC_ORDER_SHIFT)
        elif op == Op.KFREE:
            del held[start]
        amounts.append(sum(held.values()) / spec_of(64).nr_pages)
    late = np.array(amounts[len(amounts) // 2 :])
    assert 0.005 < late.min() < 0.03 < late.max() < 0.05
