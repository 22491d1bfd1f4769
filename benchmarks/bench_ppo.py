"""PPO end to end on our machines, against the same PPO on an environment that does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from agents.ppo import PpoConfig, _make_model
from agents.vec_env import NOTHING, PlacementVecEnv
from benchmarks.rows import alternated, cpu_seconds, row
from cma_gym.envs.batch import make_batch

CONFIG = PpoConfig(num_envs=16, n_steps=256, batch_size=1024, n_epochs=3, learning_rate=1e-3)
"""As `make run` trains (configs/train/quick.yaml)."""


class NullVecEnv(VecEnv):
    """Hands out the same observations, rewards and infos for ever."""

    def __init__(self, num_envs: int, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        assert observations.shape is not None
        self._obs = np.zeros((num_envs, *observations.shape), np.float32)
        self._rest = np.zeros(num_envs, np.float32), np.zeros(num_envs, bool), [NOTHING] * num_envs
        super().__init__(num_envs, observations, actions)

    def reset(self) -> np.ndarray:
        """The observations, float32 [num_envs, size]."""
        return self._obs

    def step_async(self, actions: np.ndarray) -> None:
        """Forget the actions."""

    def step_wait(self) -> VecEnvStepReturn:
        """What it always gives."""
        return (self._obs, *self._rest)

    def close(self) -> None:
        """There is nothing to close."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Nothing, for each environment."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Forget the value."""

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Nothing, for each environment."""
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """True, so that no wrapper is added."""
        return [True] * self.num_envs


class _Training:
    """Iterations of PPO: collect, learn."""

    def __init__(self, env: VecEnv) -> None:
        self._model: Any = _make_model(CONFIG, env)  # type: ignore[arg-type]  # any VecEnv will do
        self._model._setup_learn(1 << 40)
        self._callback = CallbackList([])
        self._callback.init_callback(self._model)
        self.steps_per_s()

    def steps_per_s(self) -> float:
        """Decisions a second over one iteration."""
        return CONFIG.num_envs * CONFIG.n_steps / cpu_seconds(self._iterate)

    def _iterate(self) -> None:
        model = self._model
        model.collect_rollouts(model.env, self._callback, model.rollout_buffer, n_rollout_steps=CONFIG.n_steps)
        model.train()


@row("ppo_vs_null", "", at_least=0.6)
def ppo_vs_null() -> float:
    """PPO (SB3) on 16 machines of 64 MB against PPO on a null environment, steps a second."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        env = PlacementVecEnv(make_batch(CONFIG.num_envs))
        null = NullVecEnv(env.num_envs, env.observation_space, env.action_space)
        ours, theirs = alternated(_Training(env).steps_per_s, _Training(null).steps_per_s)
    finally:
        torch.set_num_threads(threads)
    return ours / theirs
