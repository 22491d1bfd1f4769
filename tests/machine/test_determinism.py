"""The same arguments give the same bytes: again, elsewhere, in pieces, beside others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.step import Status, advance, answer, fill_view, load, rollout
from cma_gym.machine.view import FEATURES, NR_VIEW, View
from cma_gym.mm.check.validate import validate
from cma_gym.mm.mmzone import NR_REQUEST_KINDS
from cma_gym.policies.registry import System, systems
from cma_gym.workloads.workload import Workload
from tests.machine.regenerate_golden import SPEC, run_system, workload

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("gfp_page_cache", "zone_cma")


@pytest.fixture(scope="module")
def stream() -> Workload:
    return workload("mix", seed=5)


def booted(system: System, stream: Workload, n: int = 1, seed: int = 0) -> np.recarray:
    mems = new_machines(n, SPEC, stream.nr_vpages, stream.nr_fpages, stream.nr_tasks)
    for i in range(n):
        boot(mems, i, SPEC, KernelConfig.for_profile("v6_12", **system.kernel), seed)
    return mems


def roll(mems: np.recarray, i: int, system: System, stream: Workload) -> int:
    return rollout(mems, i, stream.events, system.decide, system.param_array(), np.zeros(NR_VIEW, np.int64))


def fingerprint() -> str:
    """Digest of a whole run."""
    return hashlib.sha256(run_system(systems()["half_and_half"], workload("mix", 5)).mems.tobytes()).hexdigest()


def test_the_same_run_twice_and_in_another_process():
    assert fingerprint() == fingerprint()
    code = "from tests.machine import test_determinism as t; print(t.fingerprint())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == fingerprint()


@pytest.mark.parametrize("name", NAMES)
def test_a_rollout_is_the_same_as_asking_and_answering(name, stream):
    system = systems()[name]
    rolled, asked = booted(system, stream), booted(system, stream)
    load(rolled, 0, 0, len(stream.events))
    load(asked, 0, 0, len(stream.events))
    decisions = roll(rolled, 0, system, stream)
    view, params, count = np.zeros(NR_VIEW, np.int64), system.param_array(), 0
    lows, highs = view.copy(), view.copy()
    while advance(asked, 0, stream.events) == Status.DECIDE:
        fill_view(asked, 0, view)
        lows, highs = np.minimum(lows, view), np.maximum(highs, view)
        assert 0 <= view[View.KIND] < NR_REQUEST_KINDS and 1 <= view[View.RUN_PAGES] <= 32
        answer(asked, 0, int(system.decide(view, params)))
        count += 1
    assert count == decisions > 100
    assert rolled.tobytes() == asked.tobytes()
    assert np.all(lows >= 0) and np.all(highs <= [feature.high for feature in FEATURES])


def test_a_question_that_is_not_answered_stays_open(stream):
    mems = booted(systems()["cma_first"], stream)
    load(mems, 0, 0, len(stream.events))
    assert advance(mems, 0, stream.events) == Status.DECIDE
    before = mems.tobytes()
    assert advance(mems, 0, stream.events) == Status.DECIDE
    assert mems.tobytes() == before


def test_a_snapshot_goes_on_like_the_original(stream):
    system, view, params = systems()["half_and_half"], np.zeros(NR_VIEW, np.int64), np.zeros(0, np.int64)
    mems = booted(system, stream)
    load(mems, 0, 0, len(stream.events))
    for _ in range(300):
        advance(mems, 0, stream.events)
        fill_view(mems, 0, view)
        answer(mems, 0, int(system.decide(view, params)))
    snapshot = mems.copy()
    roll(mems, 0, system, stream)
    assert snapshot.tobytes() != mems.tobytes()
    roll(snapshot, 0, system, stream)
    assert snapshot.tobytes() == mems.tobytes()


def test_machines_of_one_array_do_not_influence_each_other(stream):
    """Each has its own window of the shared events and its own kernel; the one in the middle ends as if alone."""
    first, second = systems()["zone_cma"], systems()["gfp_cma"]
    alone = booted(second, stream)
    load(alone, 0, 0, len(stream.events))
    roll(alone, 0, second, stream)
    mems = booted(first, stream, 3)
    boot(mems, 1, SPEC, KernelConfig.for_profile("v6_12", **second.kernel))
    half = len(stream.events) // 2
    load(mems, 0, 0, half)
    load(mems, 1, 0, len(stream.events))
    load(mems, 2, 0, half)
    roll(mems, 0, first, stream)
    untouched = mems[2].tobytes()
    roll(mems, 1, second, stream)
    assert mems[2].tobytes() == untouched
    roll(mems, 2, first, stream)
    assert mems[0].tobytes() == mems[2].tobytes()
    assert mems[1].tobytes() == alone[0].tobytes()


def test_a_window_in_a_shared_array_runs_like_an_array_of_its_own(stream):
    system = systems()["mainline_fallback"]
    alone, shared = booted(system, stream), booted(system, stream)
    load(alone, 0, 0, len(stream.events))
    roll(alone, 0, system, stream)
    padded = Workload("padded", np.concatenate([stream.events[:7], stream.events, stream.events[:3]]), 1, 1, 1)
    load(shared, 0, 7, 7 + len(stream.events))
    roll(shared, 0, system, padded)
    shared["cursor"]["next"] -= 7
    shared["cursor"]["end"] -= 7
    assert shared.tobytes() == alone.tobytes()


def test_two_windows_in_turn_are_the_whole_when_no_demand_is_open_between_them(stream):
    system = systems()["half_and_half"]
    whole, halves = booted(system, stream), booted(system, stream)
    load(whole, 0, 0, len(stream.events))
    roll(whole, 0, system, stream)
    cut = int(np.searchsorted(stream.events["time"], 2 * 10**9))
    load(halves, 0, 0, cut)
    roll(halves, 0, system, stream)
    validate(halves)
    load(halves, 0, cut, len(stream.events))
    roll(halves, 0, system, stream)
    assert whole.tobytes() == halves.tobytes()


def test_rebooting_leaves_nothing_of_the_life_before(stream):
    system = systems()["cma_first"]
    mems, fresh = booted(system, stream), booted(system, stream)
    load(mems, 0, 0, len(stream.events))
    roll(mems, 0, system, stream)
    boot(mems, 0, SPEC, KernelConfig.for_profile("v6_12", **system.kernel))
    assert mems.tobytes() == fresh.tobytes()


def test_the_boot_seed_places_the_kernels_pages(stream):
    system = systems()["cma_first"]
    first, same, other = (booted(system, stream, seed=seed) for seed in (1, 1, 2))
    validate(other)
    assert first.tobytes() == same.tobytes()
    assert not np.array_equal(first["page"]["kind"], other["page"]["kind"])


def test_a_booted_machine_has_given_the_kernel_its_share():
    for seed in range(3):
        mems = new_machines(1, SPEC, 8, 8, 2)
        boot(mems, 0, SPEC, KernelConfig.for_profile("v6_12"), seed)
        kinds = np.bincount(mems[0]["page"]["kind"][: SPEC.nr_pages], minlength=12)
        assert kinds[9] == SPEC.nr_pages * SPEC.kernel_percent // 100
        assert kinds[0] + kinds[9] == SPEC.nr_pages
        validate(mems)
