"""Workload files: round trip, and every damage answered with one sentence."""

from pathlib import Path

import numpy as np
import pytest

from cma_gym.machine.events import Op, event_dtype
from cma_gym.workloads.workload import Workload, WorkloadError, load, save


def small() -> Workload:
    rows = [(0, Op.SPAWN, 1, 0, 100, 2, 0)] + [(n * 1000, Op.TOUCH, 1, n, 1, 1, 0) for n in range(100)]
    return Workload("small", np.array(rows, event_dtype), 100, 10, 2, {"family": "test"}).check()


def test_a_workload_comes_back_as_it_was(tmp_path: Path) -> None:
    save(small(), tmp_path / "small.npz")
    back = load(tmp_path / "small.npz")
    assert back.events.dtype.isalignedstruct, "compiled code wants the aligned record"
    assert back.events.tobytes() == small().events.tobytes()
    assert (back.name, back.nr_vpages, back.nr_fpages, back.nr_tasks, back.meta) == ("small", 100, 10, 2, small().meta)
    assert [path.name for path in tmp_path.iterdir()] == ["small.npz"], "no temporary file is left"


def test_any_damage_is_answered_with_one_sentence(tmp_path: Path) -> None:
    save(small(), tmp_path / "small.npz")
    content = (tmp_path / "small.npz").read_bytes()
    damaged = tmp_path / "damaged.npz"
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        bytes_now = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            bytes_now[at] ^= int(rng.integers(1, 256))
        damaged.write_bytes(bytes_now[: rng.integers(len(content) // 2, len(content) + 1)])
        try:
            load(damaged)
        except WorkloadError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 250


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time": -1}, "back in time"),
        ({"op": 99}, "unknown op"),
        ({"task": 7}, "task beyond 2"),
        ({"start": 1000}, "beyond the declared sizes"),
        ({"op": Op.KALLOC, "arg": 11 << 4}, "order above 10"),
        ({"op": Op.PIN, "arg": 200 << 4}, "unknown holder"),
        ({"op": Op.DEMAND, "value": 0}, "no piece"),
        ({"op": Op.DEMAND, "value": 1, "nr": 0}, "without a page"),
        ({"op": Op.SPAWN, "arg": 9}, "importance"),
        ({"op": Op.FORK, "value": 50}, "unknown task"),
    ],
)
def test_an_event_that_names_what_does_not_exist_is_refused(change: dict[str, int], words: str) -> None:
    events = small().events.copy()
    for name, value in change.items():
        events[50][name] = value
    with pytest.raises(WorkloadError, match=words):
        Workload("small", events, 100, 10, 2).check()
