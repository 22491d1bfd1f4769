"""Arguments that cannot be used are refused with one clear sentence."""

from __future__ import annotations

from typing import Any

import pytest

from cma_gym.envs.batch import Batch, make_batch
from cma_gym.envs.placement import PlacementEnv
from cma_gym.envs.placement_vec import PlacementVectorEnv
from cma_gym.envs.setup import EnvError, make_setup
from cma_gym.machine.spec import MachineSpec

BAD = [
    ({"machine": {"ram_gb": 1}}, "machine: there is no field 'ram_gb'; did you mean ram_mb?"),
    ({"machine": {"ram_mb": 4}}, r"machine.ram_mb: input should be greater than or equal to 16, got 4"),
    ({"machine": {"ram_mb": 64, "cma_mb": 60}}, "machine: cma_mb=60 is more than half of ram_mb=64; make the area"),
    ({"machine": "phone"}, "machine must be a dict of plain values, got str 'phone'"),
    ({"kernel": {"cma_ration": 2}}, "kernel: there is no field 'cma_ration'; did you mean cma_ratio?"),
    ({"kernel": {"xyz": 2}}, "kernel: there is no field 'xyz'; known are lend, "),
    ({"kernel": {"cma_pcp": "mine"}}, "kernel.cma_pcp: input should be 'shared', 'own' or 'none', got 'mine'"),
    ({"weights": {"kills": 1.0}}, "weights: there is no field 'kills'; did you mean kill?"),
    ({"weights": {"kill": -1.0}}, "weights.kill: input should be greater than or equal to 0"),
    ({"split": "validation"}, "split: there is no range of seeds 'validation'; known are train, select, test"),
    ({"pool": 0}, "pool must be a whole number of episodes from 1"),
    ({"max_decisions": 0}, "max_decisions must be a whole number from 1 up"),
    ({"scenario": []}, "scenario is an empty list"),
    ({"scenario": [3]}, "scenario must be a dict"),
    ({"scenario": {"family": "fone"}}, "there is no workload family 'fone'"),
    ({"workload": "missing.npz"}, "missing.npz: no such workload file"),
    ({"render_mode": "human"}, "render_mode: there is no mode 'human'; known are ansi, rgb_array and None"),
]


@pytest.mark.parametrize(("kwargs", "sentence"), BAD, ids=[next(iter(kwargs)) for kwargs, _ in BAD])
@pytest.mark.parametrize("make", [PlacementEnv, PlacementVectorEnv])
def test_bad_arguments(make: Any, kwargs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(**kwargs)
    message = str(caught.value)
    assert sentence in message
    assert "\n" not in message


def test_scenario_and_workload_exclude_each_other(small: dict[str, Any]) -> None:
    with pytest.raises(EnvError, match="scenario and workload are both given"):
        make_setup(scenario={"family": "phone"}, **small)


def test_a_batch_has_at_least_one_row(small: dict[str, Any]) -> None:
    with pytest.raises(EnvError, match="num_envs must be at least 1"):
        Batch(make_setup(**small), 0)


def test_an_episode_outside_the_pool(small: dict[str, Any]) -> None:
    with pytest.raises(EnvError, match="episode 1 is not in the pool of 1"):
        make_batch(1, **small).reset(episodes=[1])


def test_profile_of_the_machine_sets_the_kernel() -> None:
    machine = {"ram_mb": 16, "cma_mb": 4, "pageblock_order": 6, "profile": "v4_6"}
    setup = make_setup(machine=machine, kernel={"swappiness": 10})
    assert setup.spec == MachineSpec(**machine)
    assert setup.kernel.fair_zone and setup.kernel.swappiness == 10
