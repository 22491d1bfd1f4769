"""The contract of every environment id: checkers, determinism, specs, pickles."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit

import cma_gym
from cma_gym.envs import ENV_IDS, register_envs

ROOT = Path(cma_gym.__file__).parent.parent
IDS = sorted(name for name in gym.registry if name.startswith("cma_gym/"))


def digest(env: gym.Env, seed: int, steps: int) -> str:
    """A hash of everything an environment says in an episode of random actions."""
    rng = np.random.default_rng(seed)
    hasher = hashlib.sha256()
    obs, info = env.reset(seed=seed)
    hasher.update(obs.tobytes() + info["action_mask"].tobytes())
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(int(rng.integers(3)))
        hasher.update(obs.tobytes() + np.float64(reward).tobytes() + repr((terminated, truncated)).encode())
        hasher.update(repr(info["reward_terms"]).encode())
        if terminated or truncated:
            hasher.update(repr(info["metrics"]).encode())
            obs, info = env.reset()
            hasher.update(obs.tobytes())
    hasher.update(env.unwrapped.batch.mems.tobytes())  # type: ignore[attr-defined]
    return hasher.hexdigest()


def test_all_ids_are_registered_once() -> None:
    assert list(ENV_IDS) == IDS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_envs()


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("render_mode", [None, "ansi", "rgb_array"])
def test_gymnasium_checker_is_silent(name: str, render_mode: str | None, small: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(name, render_mode=render_mode, **small).unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_stable_baselines_checker_is_silent(name: str, small: dict[str, Any]) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(gym.make(name, **small).unwrapped, warn=True)


def use_defaults(name: str) -> None:
    """Make an environment without any argument, and use it for a while."""
    env = gym.make(name)
    obs, _ = env.reset(seed=1)
    assert obs in env.observation_space
    for _ in range(50):
        obs, _, terminated, _, _ = env.step(env.action_space.sample())
        assert obs in env.observation_space
        assert not terminated


@pytest.mark.parametrize("name", IDS)
def test_the_defaults_work(name: str) -> None:
    """In a process that compiles nothing: a minute of compilation for a machine of 512 MB would be for this alone."""
    script = "import sys; from tests.envs import test_contract; test_contract.use_defaults(sys.argv[1])"
    command = [sys.executable, "-c", script, name]
    environ = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", IDS)
def test_two_instances_say_the_same(name: str, small: dict[str, Any]) -> None:
    one, two = gym.make(name, **small), gym.make(name, **small)
    assert digest(one, 3, 400) == digest(two, 3, 400)
    # and one instance twice, whatever happened before
    assert digest(one, 3, 400) == digest(two, 3, 400)


def digest_elsewhere(name: str, kwargs: dict[str, Any], seed: int, steps: int, **environ: str) -> str:
    """The same in a process of its own."""
    script = (
        "import sys, json; import gymnasium as gym, cma_gym;"
        "from tests.envs.test_contract import digest; name, kwargs, seed, steps = json.loads(sys.argv[1]);"
        "print(digest(gym.make(name, **kwargs), seed, steps))"
    )
    command = [sys.executable, "-c", script, json.dumps([name, kwargs, seed, steps])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, **environ})
    return done.stdout.strip()


@pytest.mark.parametrize("name", IDS)
def test_another_process_says_the_same(name: str, small: dict[str, Any]) -> None:
    assert digest_elsewhere(name, small, 5, 200) == digest(gym.make(name, **small), 5, 200)


@pytest.mark.parametrize("name", IDS)
def test_it_says_the_same_when_nothing_is_compiled(name: str, small: dict[str, Any]) -> None:
    plain = digest_elsewhere(name, small, 5, 40, NUMBA_DISABLE_JIT="1")
    assert plain == digest(gym.make(name, **small), 5, 40)


@pytest.mark.parametrize("name", IDS)
def test_spec_survives_json(name: str, small: dict[str, Any]) -> None:
    env = gym.make(name, max_decisions=50, kernel={"cma_ratio": 2}, **small)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert digest(env, 7, 120) == digest(again, 7, 120)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_clone_goes_on_from_the_same_place(name: str, clone: Any, small: dict[str, Any]) -> None:
    env = gym.make(name, **small)
    env.reset(seed=0)
    for action in range(60):
        env.step(action % 3)
    other = clone(env)
    for action in range(60):
        one, two = env.step((action + 1) % 3), other.step((action + 1) % 3)
        np.testing.assert_array_equal(one[0], two[0])
        assert one[1:4] == two[1:4]


@pytest.mark.parametrize("name", IDS)
def test_wrappers_of_gymnasium_fit(name: str, small: dict[str, Any]) -> None:
    env = RecordEpisodeStatistics(TimeLimit(gym.make(name, **small), 20))
    env.reset(seed=0)
    for _ in range(20):
        *_, truncated, info = env.step(0)
    assert truncated and info["episode"]["l"] == 20


@pytest.mark.parametrize("name", IDS)
def test_an_episode_ends_and_wants_a_reset(name: str, small: dict[str, Any]) -> None:
    env = gym.make(name, disable_env_checker=True, max_decisions=5, **small).unwrapped
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    flags = [env.step(0)[2:4] for _ in range(5)]
    assert flags == [(False, False)] * 4 + [(False, True)]
    with pytest.raises(ResetNeeded):
        env.step(0)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("action", [3, -1, 0.5, "1", None])
def test_an_action_that_does_not_exist_changes_nothing(name: str, action: Any, small: dict[str, Any]) -> None:
    env = gym.make(name, disable_env_checker=True, **small).unwrapped
    env.reset(seed=0)
    before = env.batch.mems.tobytes()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="action"):
        env.step(action)
    assert env.batch.mems.tobytes() == before  # type: ignore[attr-defined]


def test_importing_the_package_compiles_nothing() -> None:
    script = "import sys, cma_gym; print(sorted({'numba', 'torch', 'pydantic', 'matplotlib'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"
