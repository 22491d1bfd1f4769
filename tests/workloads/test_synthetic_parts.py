"""What families are made of: ranges, streams, random numbers, checked parameters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cma_gym.machine.events import Op
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mmzone import Importance
from cma_gym.workloads.parts.camera import alignment
from cma_gym.workloads.registry import families, family, generate, parameters, parse
from cma_gym.workloads.scenario import Scenario
from cma_gym.workloads.stream import Ranges, Stream, chop, merge, spread
from cma_gym.workloads.workload import WorkloadError

SPEC = MachineSpec(ram_mb=64, cma_mb=16)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=60))
def test_ranges_never_overlap_and_are_reused(steps: list[tuple[bool, int]]) -> None:
    ranges, most = Ranges(), 0
    taken: list[tuple[int, int]] = []
    for give, nr in steps:
        if give and taken:
            ranges.give(*taken.pop(nr % len(taken)))
        else:
            taken.append((ranges.take(nr), nr))
        pages = [page for start, count in taken for page in range(start, start + count)]
        assert len(set(pages)) == len(pages)
        most = max([most, *(page + 1 for page in pages)])
        assert ranges.top == most
    for start, nr in taken:
        ranges.give(start, nr)
    assert ranges.take(max(1, ranges.top)) == 0, "all that was given back is one range again"


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 40)), max_size=8), st.integers(1, 12))
def test_chop_keeps_every_page_in_order(ranges: list[tuple[int, int]], longest: int) -> None:
    given_starts = np.array([start for start, _ in ranges], dtype=np.int64)
    given_lengths = np.array([nr for _, nr in ranges], dtype=np.int64)
    starts, lengths = chop(given_starts, given_lengths, longest)
    assert ((lengths >= 1) & (lengths <= longest)).all()
    pages = [page for start, nr in zip(starts, lengths, strict=True) for page in range(start, start + nr)]
    assert pages == [page for start, nr in ranges for page in range(start, start + nr)]


def test_spread_stays_inside_its_span() -> None:
    assert spread(100, 10, 4).tolist() == [100, 102, 105, 107]
    assert spread(100, 10, 0).tolist() == []


def test_merge_moves_each_stream_behind_the_one_before() -> None:
    """Two streams that number the same way.

    virtual pages   | handles 3 | first's 4 | second's 5 |
    file pages      | first's 10 | second's 2 |
    """
    first, second = Stream(), Stream()
    parent = first.spawn(0, 2, Importance.SYSTEM)
    first.fork(5, parent, Importance.BACKGROUND)
    first.file(10)
    first.kalloc(7, first.handles.take(3), 3)
    task = second.spawn(0, 5, Importance.FOREGROUND)
    second.one(6, Op.TOUCH, task.number, task.start, 5, 1)
    second.one(6, Op.FILE, task.number, *second.file(2))
    second.one(8, Op.DEMAND, 500, 0, 64, 0, 1)
    second.one(11, Op.EXIT, task.number)
    merged = merge([first, second], 10)
    assert [tuple(event) for event in merged.events.tolist()] == [
        (0, Op.SPAWN, 0, 0, 3, Importance.SYSTEM, 0),
        (0, Op.SPAWN, 1, 3, 2, Importance.SYSTEM, 0),
        (0, Op.SPAWN, 3, 7, 5, Importance.FOREGROUND, 0),
        (5, Op.FORK, 2, 5, 2, Importance.BACKGROUND, 1),
        (6, Op.TOUCH, 3, 7, 5, 1, 0),
        (6, Op.FILE, 3, 10, 2, 0, 0),
        (7, Op.KALLOC, 0, 0, 3, 0, 0),
        (8, Op.DEMAND, 500, 0, 64, 0, 1),
        (10, Op.TICK, 0, 0, 0, 0, 0),
    ]
    assert (merged.nr_vpages, merged.nr_fpages, merged.nr_tasks) == (12, 12, 4)


def test_a_part_does_not_shift_another() -> None:
    """Apps, and the demands, happen at the same times with and without media beside them."""
    with_media = generate({"family": "phone"}, SPEC, 5).events
    without = generate({"family": "phone", "playback": None, "clips": None}, SPEC, 5).events
    for op in (Op.DEMAND, Op.FORK, Op.UNMAP):
        mine, other = with_media[with_media["op"] == op], without[without["op"] == op]
        assert mine["time"].tobytes() == other["time"].tobytes()
        assert mine["nr"].tobytes() == other["nr"].tobytes()


@pytest.mark.parametrize(("nr", "order"), [(5120, 8), (2560, 8), (65536, 8), (80, 4), (320, 6), (1, 0), (255, 8)])
def test_alignment_pads_a_piece_by_little(nr: int, order: int) -> None:
    assert alignment(nr, 8) == order


def test_a_part_given_in_part_keeps_the_defaults_of_its_family() -> None:
    scenario = parse({"family": "streaming", "apps": {"count": 5}})
    values = {row.path: row.default for row in parameters("streaming")}
    assert values["apps.size_percent"] == 70
    assert scenario.model_dump()["apps"]["size_percent"] == 70
    assert scenario.model_dump()["apps"]["count"] == 5


def test_count_and_gap_say_how_long_it_lasts() -> None:
    camera = {"warmup_s": 2, "count": 3, "gap_s": 4, "hold_s": 0.5, "tests": ["pieces"]}
    workload = generate({"family": "phone", "camera": camera}, SPEC, 0)
    demands = workload.events[workload.events["op"] == Op.DEMAND]
    assert workload.events["time"][-1] == 14 * 10**9
    assert demands["value"].tolist() == [9, 9, 9]
    assert demands["task"].tolist() == [500] * 3


WRONG = [
    ({"family": "fone"}, "did you mean 'phone'"),
    ({}, "names no family"),
    ("phone", "a scenario is a dict"),
    ({"family": ["phone"]}, "no workload family"),
    ({"family": "phone", "app": {}}, "did you mean 'apps'"),
    ({"family": "phone", "apps": {"alive_mx": 3}}, "'apps.alive_mx'; did you mean 'alive_max'"),
    ({"family": "phone", "playback": {"file": 3}}, "'playback.file'; did you mean 'files'"),
    ({"family": "phone", "apps": {"count": 0}}, "apps.count: input should be greater than or equal to 1, got 0"),
    ({"family": "phone", "apps": {"heap_percent": [12, 3]}}, "low end 12 is above the high end 3"),
    ({"family": "phone", "apps": {"heap_percent": 3}}, "apps.heap_percent"),
    ({"family": "phone", "apps": None}, "apps"),
    ({"family": "phone", "camera": {"tests": ["half"]}}, "camera.tests.0"),
    ({"family": "phone", "camera": {"hold_s": 3}}, "more than a quarter"),
    ({"family": "phone", "camera": {"gap_s": float("nan")}}, "camera.gap_s"),
    ({"family": "metadata", "small_files": {"create_share": 0.9}}, "above 1"),
    ({"family": "phone", 3: 4}, "keys must all be words"),
]


@pytest.mark.parametrize(("scenario", "said"), WRONG)
def test_wrong_scenarios_are_refused_in_one_sentence(scenario: object, said: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        generate(scenario, SPEC, 0)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_wrong_seeds_are_refused(seed: object) -> None:
    with pytest.raises(WorkloadError, match="seed"):
        generate({"family": "phone"}, SPEC, seed)  # type: ignore[arg-type]


def test_numpy_seeds_are_seeds() -> None:
    mine = generate({"family": "phone"}, SPEC, np.int64(3))  # type: ignore[arg-type]
    other = generate({"family": "phone"}, SPEC, 3)
    assert mine.events.tobytes() == other.events.tobytes()
    assert type(mine.meta["seed"]) is int


def test_a_family_is_registered_once() -> None:
    assert "phone" in families()
    with pytest.raises(WorkloadError, match="exists already"):
        family("phone")(Scenario)
    with pytest.raises(WorkloadError, match="lower-case"):
        family("My Phone")(Scenario)
