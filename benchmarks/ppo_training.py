"""The PPO that training uses, on any VecEnv; and a VecEnv that does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from benchmarks.rows import cpu_seconds
from cma_gym.agents.network.ppo import PpoConfig, _make_model
from cma_gym.agents.network.vec_env import NOTHING

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


class Training:
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
