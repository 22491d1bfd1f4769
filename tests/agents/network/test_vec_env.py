"""The SB3 face gives exactly what the batch gives, and restarts rows in the step that ends them."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecCheckNan, VecMonitor, VecNormalize

from cma_gym.agents.network.vec_env import NOTHING, PlacementVecEnv
from tests.agents.network.toy_batch import LENGTH, ToyBatch

N = 3


def drive(env: PlacementVecEnv, steps: int, seed: int = 0) -> list[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(seed)
    return [tuple(np.array(x) for x in env.step(rng.integers(0, 3, N))[:3]) for _ in range(steps)]


def same(left: list[tuple[np.ndarray, ...]], right: list[tuple[np.ndarray, ...]]) -> bool:
    pairs = zip(left, right, strict=True)
    return all(np.array_equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


def test_rows_are_those_of_the_batch(any_batch) -> None:
    env, twin = PlacementVecEnv(any_batch("train", N), seed=5), any_batch("train", N)
    twin.reset(seeds=[5, 6, 7])
    assert np.array_equal(env.reset(), twin.obs)
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(100):
        actions = rng.integers(0, 3, N)
        twin.step(actions)
        rewards, dones, last = twin.rewards.copy(), twin.terminated | twin.truncated, twin.obs.copy()
        cut = twin.truncated.copy()
        sums, lengths = twin.rows["reward_sum"].copy(), twin.rows["length"].copy()
        if dones.any():
            twin.reset(mask=dones)
        obs, got_rewards, got_dones, infos = env.step(actions)
        assert np.array_equal(obs, twin.obs)
        assert np.array_equal(got_rewards, rewards)
        assert np.array_equal(got_dones, dones)
        for row in range(N):
            if not dones[row]:
                assert infos[row] is NOTHING
                continue
            ends += 1
            assert np.array_equal(infos[row]["terminal_observation"], last[row])
            assert infos[row]["TimeLimit.truncated"] == cut[row]
            assert infos[row]["episode"]["r"] == sums[row]
            assert infos[row]["episode"]["l"] == lengths[row]
    assert ends > N
    assert NOTHING == {}


def test_outputs_are_not_overwritten_by_the_next_step(any_batch) -> None:
    env = PlacementVecEnv(any_batch("train", N))
    first = env.reset()
    kept = first.copy()
    obs, rewards, dones, _ = env.step(np.zeros(N, int))
    obs_kept, rewards_kept = obs.copy(), rewards.copy()
    env.step(np.full(N, 2))
    assert np.array_equal(first, kept)
    assert np.array_equal(obs, obs_kept)
    assert np.array_equal(rewards, rewards_kept)


def test_a_seed_decides_everything(any_batch) -> None:
    runs = []
    for seed in (1, 1, 2):
        env = PlacementVecEnv(any_batch("train", N))
        env.seed(seed)
        env.reset()
        runs.append(drive(env, 60))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_an_episode_cut_at_the_limit_is_truncated_and_not_terminated() -> None:
    env = PlacementVecEnv(ToyBatch("train", N, max_decisions=5))
    env.reset()
    for _ in range(4):
        assert not env.step(np.zeros(N, int))[2].any()
    _, _, dones, infos = env.step(np.zeros(N, int))
    assert dones.all()
    assert all(info["TimeLimit.truncated"] for info in infos)


def test_masks_come_by_row_and_at_once(any_batch) -> None:
    env = PlacementVecEnv(any_batch("train", N))
    env.reset()
    assert env.has_attr("action_masks")
    for _ in range(20):
        masks = np.stack(env.env_method("action_masks"))
        assert masks.dtype == bool
        assert np.array_equal(masks, env.batch.masks.astype(bool))
        assert np.array_equal(env.env_method("action_masks", indices=[2, 0]), masks[[2, 0]])
        assert np.array_equal(env.get_attr("action_masks", 1)[0](), masks[1])
        env.step(np.full(N, 2))


def test_attributes_belong_to_rows() -> None:
    env = PlacementVecEnv(ToyBatch("train", N))
    assert env.get_attr("render_mode") == [None] * N
    env.set_attr("note", "x", indices=1)
    assert env.get_attr("note") == [None, "x", None]
    assert env.get_attr("action_space", 0) == [env.action_space]
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        env.get_attr("nonsense")
    with pytest.raises(AttributeError, match="cannot be set"):
        env.set_attr("action_masks", 1)
    assert env.env_is_wrapped(Monitor) == [True] * N
    assert env.env_is_wrapped(VecMonitor, [0]) == [False]


def test_sb3s_own_tools_accept_it(any_batch) -> None:
    env = VecCheckNan(VecNormalize(PlacementVecEnv(any_batch("train", N)), norm_obs=False), raise_exception=True)
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, device="cpu", seed=3)
    model.learn(96)
    returns, lengths = evaluate_policy(
        model, PlacementVecEnv(any_batch("select", N)), n_eval_episodes=4, return_episode_rewards=True
    )
    assert len(returns) == 4
    assert max(lengths) <= max(LENGTH, 40)
    assert model.observation_space.contains(env.reset()[0])


def test_a_run_goes_on_from_a_saved_state(any_batch) -> None:
    env = PlacementVecEnv(any_batch("train", N), seed=9)
    env.reset()
    drive(env, 47, seed=1)
    state = {key: value.copy() for key, value in env.state().items()}
    expected = drive(env, 60, seed=2)
    fresh = PlacementVecEnv(any_batch("train", N))
    assert np.array_equal(fresh.restore(state), fresh.batch.obs)
    assert same(drive(fresh, 60, seed=2), expected)
    with pytest.raises(ValueError, match="rows"):
        PlacementVecEnv(any_batch("train", N + 1)).restore(state)
