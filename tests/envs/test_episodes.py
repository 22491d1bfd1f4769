"""Pools of generated episodes: seeds, splits, mixtures."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cma_gym  # noqa: F401  registers the environments
from cma_gym.envs.batch import make_batch
from cma_gym.envs.episodes import EpisodePool
from cma_gym.machine.decision import decision
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import run
from cma_gym.machine.spec import MachineSpec
from cma_gym.workloads.registry import families, generate
from cma_gym.workloads.workload import WorkloadError
from tests.envs.small_machine import MACHINE, hand_made

NAME = "cma_gym/Placement-v0"


def make(**kwargs: Any) -> gym.Env:
    return gym.make(NAME, machine=MACHINE, disable_env_checker=True, **kwargs)


@pytest.mark.parametrize(("split", "first"), [("train", 0), ("select", 1_000_000), ("test", 2_000_000)])
def test_a_seed_plays_its_episode_of_the_split(split: str, first: int) -> None:
    env = make(split=split, pool=3)
    assert [env.reset(seed=seed)[1]["workload_seed"] - first for seed in (0, 1, 2, 3)] == [0, 1, 2, 0]
    assert env.reset(options={"episode": 2})[1]["workload_seed"] == first + 2


def test_resets_without_a_seed_go_on_with_the_sequence() -> None:
    env, other = make(pool=4), make(pool=4)
    walks = []
    for one in (env, other):
        one.reset(seed=11)
        walks.append([one.reset()[1]["workload_seed"] for _ in range(8)])
    assert walks[0] == walks[1]
    assert len(set(walks[0])) > 1


def test_without_any_seed_two_environments_differ() -> None:
    seeds = {make(pool=1000).reset()[1]["workload_seed"] for _ in range(2)}
    assert len(seeds) == 2


def test_different_seeds_give_different_episodes() -> None:
    env = make(pool=2)
    first = observations(env, 0)
    assert not np.array_equal(first, observations(env, 1))
    np.testing.assert_array_equal(first, observations(env, 0))


def observations(env: gym.Env, seed: int) -> np.ndarray:
    env.reset(seed=seed)
    return np.array([env.step(1)[0] for _ in range(200)])


@pytest.mark.parametrize("family", sorted(families()))
def test_every_family_can_be_played(family: str) -> None:
    env = make(scenario={"family": family}, pool=1, max_decisions=100)
    obs, _ = env.reset(seed=0)
    done = False
    while not done:
        obs, _, terminated, truncated, _ = env.step(1)
        done = terminated or truncated
    assert obs in env.observation_space


def test_a_list_of_scenarios_is_played_in_turn() -> None:
    spec = MachineSpec(**MACHINE)
    names = sorted(families())[:2]
    pool = EpisodePool(spec, [{"family": name} for name in names], "train", 4)
    assert [pool._make(episode).meta["family"] for episode in range(4)] == names * 2


def test_an_episode_is_kept_once_made() -> None:
    pool = EpisodePool(MachineSpec(**MACHINE), [{"family": "phone"}], "train", 2)
    first, second = pool.window(0), pool.window(1)
    assert second[0] == first[1]
    events = pool.events[slice(*first)].copy()
    assert pool.window(0) == first and pool.window(1) == second
    np.testing.assert_array_equal(pool.events[slice(*first)], events)


def test_an_episode_too_large_for_the_machines_is_refused() -> None:
    pool = EpisodePool(MachineSpec(**MACHINE), [{"family": "phone"}], "train", 2)
    pool.capacity = (1, 1, 1)
    with pytest.raises(WorkloadError, match="give them more RAM"):
        pool.window(1)


def test_a_recording_is_its_only_episode() -> None:
    pool = EpisodePool(MachineSpec(**MACHINE), [], "test", 50, recorded=hand_made())
    assert (pool.size, pool.seed_of(0)) == (1, -1)


@pytest.mark.parametrize("action", [0, 1, 2])
def test_an_episode_gives_the_metrics_of_a_run(action: int) -> None:
    """Copying one booted machine, a shared array of events and room to spare change nothing."""
    batch = make_batch(2, machine=MACHINE, pool=3)
    batch.reset(episodes=[1, 2])
    while batch.rows["alive"].any():
        batch.step(np.full(2, action))
    spec = MachineSpec(**MACHINE)
    for row, seed in enumerate((1, 2)):
        result = run(spec, KernelConfig.for_profile("v6_12"), generate({"family": "phone"}, spec, seed), ALWAYS[action])
        np.testing.assert_equal(batch.metrics(row), result.metrics)


@decision
def always_normal_only(view: Any, params: Any) -> int:
    return 0


@decision
def always_normal_first(view: Any, params: Any) -> int:
    return 1


@decision
def always_cma_first(view: Any, params: Any) -> int:
    return 2


ALWAYS = (always_normal_only, always_normal_first, always_cma_first)
