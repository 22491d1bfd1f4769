"""The native vector form does what Gymnasium's SyncVectorEnv of single environments does, in every autoreset mode."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

import cma_gym  # noqa: F401  registers the environments

IDS = sorted(name for name in gym.registry if name.startswith("cma_gym/"))
MODES = list(AutoresetMode)
LIMIT = 37


def native(name: str, rows: int, mode: AutoresetMode, small: dict[str, Any], **kwargs: Any) -> gym.vector.VectorEnv:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return gym.make_vec(name, rows, autoreset_mode=mode.value, **small, **kwargs)


def reference(name: str, rows: int, mode: AutoresetMode, small: dict[str, Any], **kwargs: Any) -> gym.vector.VectorEnv:
    how = {"autoreset_mode": mode}
    return gym.make_vec(name, rows, vectorization_mode="sync", vector_kwargs=how, **small, **kwargs)


def fill_nan(info: Any) -> Any:
    """Metrics of what was never tried are nan, which equals nothing."""
    if isinstance(info, dict):
        return {key: fill_nan(value) for key, value in info.items()}
    if isinstance(info, np.ndarray) and info.dtype == float:
        return np.nan_to_num(info, nan=-1.0)
    return info


def assert_same(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    for left, right in zip(one[:-1], two[:-1], strict=True):
        np.testing.assert_array_equal(left, right)
    assert set(one[-1]) == set(two[-1])
    assert data_equivalence(fill_nan(one[-1]), fill_nan(two[-1]), exact=True), f"{one[-1]}\n{two[-1]}"


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [LIMIT, None], ids=["cut", "whole"])
def test_same_as_single_environments(name: str, mode: AutoresetMode, limit: int | None, small: dict[str, Any]) -> None:
    rows = 3
    ours = native(name, rows, mode, small, max_decisions=limit)
    theirs = reference(name, rows, mode, small, max_decisions=limit)
    assert_same(ours.reset(seed=4), theirs.reset(seed=4))
    rng = np.random.default_rng(0)
    ends = 0
    for step in range(6 * LIMIT if limit else 1500):
        # Row 1 never borrows: rows end at different steps when whole workloads are played.
        actions = rng.integers(3, size=rows) * (1, 0, 1)
        result = ours.step(actions)
        assert_same(result, theirs.step(actions))
        ended = result[2] | result[3]
        ends += int(ended.sum())
        if mode == AutoresetMode.DISABLED and ended.any():
            options = {"reset_mask": ended}
            assert_same(ours.reset(options=options), theirs.reset(options=dict(options)))
        if step % 50 == 0 if limit else step == 25:
            assert_same(ours.reset(seed=[step, None, 9]), theirs.reset(seed=[step, None, 9]))
    assert ends >= rows


@pytest.mark.parametrize("name", IDS)
def test_single_is_a_vector_of_one_is_a_row(name: str, small: dict[str, Any]) -> None:
    single = gym.make(name, **small)
    one = native(name, 1, AutoresetMode.NEXT_STEP, small)
    five = native(name, 5, AutoresetMode.NEXT_STEP, small)
    obs, _ = single.reset(seed=6)
    np.testing.assert_array_equal(one.reset(seed=6)[0][0], obs)
    np.testing.assert_array_equal(five.reset(seed=3)[0][3], obs)
    rng = np.random.default_rng(1)
    terminated = False
    while not terminated:
        actions = rng.integers(3, size=5)
        obs, reward, terminated, truncated, _ = single.step(actions[3])
        for vector, row in ((one, 0), (five, 3)):
            result = vector.step(actions if vector is five else actions[3:4])
            np.testing.assert_array_equal(result[0][row], obs)
            assert (result[1][row], result[2][row], result[3][row]) == (reward, terminated, truncated)


@pytest.mark.parametrize("name", IDS)
def test_what_it_returns_is_the_callers(name: str, small: dict[str, Any]) -> None:
    env = native(name, 2, AutoresetMode.NEXT_STEP, small)
    results = [env.reset(seed=0)[:1], env.step(np.zeros(2, int))[:4], env.step(np.zeros(2, int))[:4]]
    arrays = [array for result in results for array in result]
    for index, left in enumerate(arrays):
        for right in arrays[index + 1 :]:
            assert not np.shares_memory(left, right)


@pytest.mark.parametrize("name", IDS)
def test_reset_mask_leaves_the_other_rows_alone(name: str, small: dict[str, Any]) -> None:
    env = native(name, 3, AutoresetMode.DISABLED, small)
    start, _ = env.reset(seed=0)
    for _ in range(30):
        obs, *_ = env.step(np.array([0, 1, 2]))
    mask = np.array([False, True, False])
    after, infos = env.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(after[~mask], obs[~mask])
    np.testing.assert_array_equal(after[1], start[1])
    np.testing.assert_array_equal(infos["_action_mask"], mask)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("mask", [[True, False], np.array([1, 0]), np.array([True]), np.array([False, False])])
def test_bad_reset_masks(name: str, mask: Any, small: dict[str, Any]) -> None:
    env = native(name, 2, AutoresetMode.DISABLED, small)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"options\['reset_mask'\]"):
        env.reset(options={"reset_mask": mask})


@pytest.mark.parametrize("name", IDS)
def test_a_row_that_ended_wants_a_reset_when_autoreset_is_off(name: str, small: dict[str, Any]) -> None:
    env = native(name, 2, AutoresetMode.DISABLED, small, max_decisions=2)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2, int))
    env.reset(seed=0)
    env.step(np.zeros(2, int))
    assert env.step(np.zeros(2, int))[3].all()
    with pytest.raises(ResetNeeded, match="rows 0, 1"):
        env.step(np.zeros(2, int))


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("actions", [[0], [0, 3], [0, -1], [0.0, 1.0], 0, [[0, 1]]])
def test_bad_actions_change_nothing(name: str, actions: Any, small: dict[str, Any]) -> None:
    env = native(name, 2, AutoresetMode.NEXT_STEP, small)
    env.reset(seed=0)
    before = env.unwrapped.batch.mems.tobytes()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="action"):
        env.step(actions)
    assert env.unwrapped.batch.mems.tobytes() == before  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", IDS)
def test_seeds_of_the_wrong_number_and_unknown_modes(name: str, small: dict[str, Any]) -> None:
    env = native(name, 2, AutoresetMode.NEXT_STEP, small)
    with pytest.raises(ValueError, match="give one for each"):
        env.reset(seed=[1, 2, 3])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="known are NextStep, SameStep, Disabled"):
        gym.make_vec(name, 2, autoreset_mode="Sometimes", **small)


@pytest.mark.parametrize("name", IDS)
def test_the_episode_limit_of_make_vec_holds(name: str, small: dict[str, Any]) -> None:
    env = native(name, 2, AutoresetMode.NEXT_STEP, small, max_episode_steps=3, max_decisions=10)
    env.reset(seed=0)
    assert [env.step(np.zeros(2, int))[3].all() for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("name", IDS)
def test_pickled_in_the_middle_of_an_episode(name: str, small: dict[str, Any]) -> None:
    env = native(name, 2, AutoresetMode.SAME_STEP, small)
    env.reset(seed=0)
    for _ in range(20):
        env.step(np.array([1, 2]))
    other = pickle.loads(pickle.dumps(env))
    for _ in range(20):
        assert_same(env.step(np.array([2, 1])), other.step(np.array([2, 1])))


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("mode", MODES)
def test_vector_wrappers_of_gymnasium_fit(name: str, mode: AutoresetMode, small: dict[str, Any]) -> None:
    env = DictInfoToList(RecordEpisodeStatistics(native(name, 2, mode, small, max_decisions=4)))
    env.reset(seed=0)
    for _ in range(4):
        *_, truncated, infos = env.step(np.array([0, 1]))
    assert truncated.all()
    assert [info["episode"]["l"] for info in infos] == [4, 4]


@pytest.mark.parametrize("name", IDS)
def test_rows_without_a_seed_differ(name: str, small: dict[str, Any]) -> None:
    env = native(name, 8, AutoresetMode.NEXT_STEP, small)
    env.reset()
    assert len(set(env.unwrapped.batch.rows["seed"].tolist())) == 8  # type: ignore[attr-defined]
