"""EnvPool's CartPole on one thread, the yardstick of two rows."""

from __future__ import annotations

import functools
import warnings

import numpy as np

from benchmarks.rows import LeftOutError, wall_seconds

STEPS = 200


class CartPole:
    """`num_envs` CartPoles in step on one thread of EnvPool, random actions."""

    def __init__(self, num_envs: int) -> None:
        try:
            import envpool
        except ImportError:
            raise LeftOutError("EnvPool is not installed; pip install -e '.[bench]' installs it") from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # bounds of its spaces that float32 rounds
            self._env = envpool.make("CartPole-v1", env_type="gymnasium", num_envs=num_envs, num_threads=1, seed=0)
            self._env.reset()
        self._actions = np.random.default_rng(0).integers(0, 2, size=(STEPS, num_envs)).astype(np.int32)
        self.steps_per_s()

    def steps_per_s(self) -> float:
        """Steps a second over all environments, observations included."""
        return self._actions.size / wall_seconds(self._play)

    def _play(self) -> None:
        for actions in self._actions:
            self._env.step(actions)


@functools.cache
def cartpole() -> CartPole:
    """256 of them, as many as machines in our vector environment; more are hardly faster."""
    return CartPole(256)
