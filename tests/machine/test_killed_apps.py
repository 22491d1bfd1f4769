"""An app that the machine has killed is gone until the user comes back to it, and then starts cold."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.machine.events import Op, TouchFlag
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.step import load, rollout
from cma_gym.machine.view import NR_VIEW
from cma_gym.mm.check.validate import validate
from cma_gym.mm.mmzone import NO_ENTRY
from cma_gym.policies.registry import systems
from cma_gym.workloads.registry import generate
from cma_gym.workloads.workload import Workload
from tests.machine.regenerate_golden import SPEC

SMALL_APPS = {"count": 6, "alive_max": 6, "size_percent": 30, "close_chance": 0}
"""There is room for all of them, so that nothing is killed but by the test."""


@pytest.fixture(scope="module")
def stream() -> Workload:
    camera = {"warmup_s": 12, "count": 1, "gap_s": 4}
    media = {"playback": None, "clips": None, "small_files": None}
    return generate({"family": "phone", "camera": camera, "apps": SMALL_APPS, **media}, SPEC, 4)


def play(mems: np.recarray, stream: Workload, first: int, last: int) -> None:
    system = systems()["cma_first"]
    load(mems, 0, first, last)
    rollout(mems, 0, stream.events, system.decide, system.param_array(), np.zeros(NR_VIEW, np.int64))


def a_switch(stream: Workload) -> tuple[int, int, np.ndarray]:
    """Where in the stream the user comes back to an app, where it would have started by, and its cold touches."""
    events = stream.events
    for at in np.flatnonzero((events["op"] == Op.SPAWN) & (events["value"] > 0) & (events["time"] > 6e9)):
        mine = (events["task"] == events["task"][at]) & (events["value"] == events["value"][at])
        touches = np.flatnonzero(mine & (events["op"] == Op.TOUCH) & (events["arg"] & TouchFlag.COLD != 0))
        later = np.flatnonzero((events["op"] == Op.UNMAP) & (events["task"] == events["task"][at]))
        if not np.any((later > at + 20) & (later <= touches[-1])):
            return int(at), int(touches[-1]) + 1, events[touches]
    raise AssertionError("the user comes back to no app")


@pytest.mark.parametrize("killed", [False, True])
def test_a_killed_app_comes_back_when_it_is_switched_to(stream: Workload, killed: bool) -> None:
    at, end, touches = a_switch(stream)
    mems = new_machines(1, SPEC, stream.nr_vpages, stream.nr_fpages, stream.nr_tasks)
    boot(mems, 0, SPEC, KernelConfig(lmk=False))
    play(mems, stream, 0, at)
    number, start = int(stream.events["task"][at]), int(touches["value"][0])
    app = mems[0]["task"][number]
    assert app["alive"] and app["cold"] == 0
    if killed:
        mems["node"]["pending_kill"] = number
    play(mems, stream, at, end)
    assert mems["metrics"]["kills"][0] == killed
    assert app["alive"] and app["cold"] == (start if killed else 0)
    heap = np.concatenate([np.arange(one["start"], one["start"] + one["nr"]) for one in touches])
    assert (mems[0]["pte"]["entry"][heap] != NO_ENTRY).mean() > 0.97  # the rest was given back when it was used
    play(mems, stream, end, len(stream.events))
    validate(mems)
