"""Decisions a second in compiled rollouts and in the vector environment, beside EnvPool's CartPole."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.cartpole import cartpole
from benchmarks.phone import Phone
from benchmarks.rows import alternated, median, row, wall_seconds

NUM_ENVS = 256
STEPS = 200


@functools.cache
def _phone() -> Phone:
    phone = Phone(256)
    phone.play()
    return phone


@functools.cache
def _rollout_seconds() -> float:
    return median(_phone().play)


@row("rollout_decisions_per_s", "1/s", at_least=5e6)
def rollout_decisions() -> float:
    """Placement decisions a second: rollouts of a table, phone, 256 MB, one core."""
    return _phone().decisions / _rollout_seconds()


@row("placements_per_s", "1/s")
def placements() -> float:
    """Pages allocated a second in the same rollouts; a decision covers up to 32."""
    return _phone().pages / _rollout_seconds()


@row("rollout_vs_envpool", "", at_least=4)
@functools.cache
def rollout_vs_envpool() -> float:
    """The same decisions against steps of EnvPool's CartPole, one thread."""
    phone, theirs = _phone(), cartpole()

    def decisions_per_s() -> float:
        phone.play()
        return phone.decisions / phone.wall_s

    ours, steps = alternated(decisions_per_s, theirs.steps_per_s)
    return ours / steps


@row("placements_vs_envpool", "")
def placements_vs_envpool() -> float:
    """The pages allocated in the same time against those steps."""
    return rollout_vs_envpool() * _phone().pages / _phone().decisions


class _Vector:
    """The Gymnasium vector environment under random actions."""

    def __init__(self) -> None:
        import gymnasium

        import cma_gym  # noqa: F401 - registers the environments

        self._env = gymnasium.make_vec("cma_gym/Placement-v0", num_envs=NUM_ENVS)
        self._env.reset(seed=0)
        self._actions = np.random.default_rng(0).integers(0, 3, size=(STEPS, NUM_ENVS))
        self.steps_per_s()

    def steps_per_s(self) -> float:
        """Steps a second over all machines."""
        return self._actions.size / wall_seconds(self._play)

    def _play(self) -> None:
        for actions in self._actions:
            self._env.step(actions)


_vector = functools.cache(_Vector)


@row("vector_env_steps_per_s", "1/s")
def vector_env_steps() -> float:
    """Gymnasium vector environment, 256 machines of 64 MB, random actions."""
    return median(_vector().steps_per_s)


@row("vector_env_vs_envpool", "", at_least=2)
def vector_env_vs_envpool() -> float:
    """The same against 256 of EnvPool's CartPoles, one thread."""
    ours, steps = alternated(_vector().steps_per_s, cartpole().steps_per_s)
    return ours / steps
