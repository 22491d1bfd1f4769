"""Stable-Baselines3's face of the batch core: machines that restart in the step that ends their episode.

SB3 accepts no Gymnasium vector environment, and adapters that build one dictionary per row and step cost more than
the simulation. This class stands directly on `Batch`: rows that did not end share one empty dictionary, only ended
rows get one of their own.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

if TYPE_CHECKING:
    from cma_gym.envs.batch import Batch

_ROW_FIELDS = ("seed", "played", "episode", "length")

NOTHING: dict[str, Any] = {}
"""The info of every row that did not end. Shared, so nobody may write into it."""


class PlacementVecEnv(VecEnv):
    """A batch of machines as SB3 wants it: same-step autoreset, one sequence of episodes per row.

    Args:
        batch: the machines; this environment drives it alone. Its setup says which range of workload seeds is played;
            `seed()` only chooses the order in which the rows walk through that range.
        seed: of the first `reset()`.
    """

    def __init__(self, batch: Batch, seed: int = 0) -> None:
        self.batch = batch
        self._row_attributes: dict[str, list[Any]] = {"render_mode": [None] * batch.num_envs}
        observations = spaces.Box(0.0, 1.0, (batch.obs.shape[1],), np.float32)
        super().__init__(batch.num_envs, observations, spaces.Discrete(batch.masks.shape[1]))
        self.seed(seed)
        self._every_row = np.arange(self.num_envs)
        self._actions = np.zeros(self.num_envs, np.int64)
        self._history = np.zeros((self.num_envs, 1024), np.int8)
        self._begun = np.full(self.num_envs, time.time())
        self._no_infos: list[dict[str, Any]] = [NOTHING] * self.num_envs

    # -- the VecEnv contract ------------------------------------------------------------------------------------------

    def reset(self) -> np.ndarray:
        """Start an episode in every row and return the observations, float32 [num_envs, OBS_SIZE]."""
        self.batch.reset(seeds=self._seeds)
        self._begun[:] = time.time()
        self._reset_seeds()
        self._reset_options()
        return np.array(self.batch.obs)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, int [num_envs], for `step_wait()`."""
        self._actions = np.asarray(actions, np.int64).reshape(self.num_envs)

    def step_wait(self) -> VecEnvStepReturn:
        """Answer every machine's question and run it to its next one; ended rows start their next episode at once."""
        batch = self.batch
        self._remember(self._actions)
        batch.step(self._actions)
        rewards = batch.rewards.copy()
        dones = batch.terminated | batch.truncated
        if not dones.any():
            return batch.obs.copy(), rewards, dones, self._no_infos
        infos = list(self._no_infos)
        for row in np.flatnonzero(dones):
            infos[row] = self._ended_info(int(row))
        batch.reset(mask=dones)
        self._begun[dones] = time.time()
        return batch.obs.copy(), rewards, dones, infos

    def close(self) -> None:
        """Nothing to release: machines are plain arrays."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of each row named: one set before, or what an environment of one such machine would have.

        Raises:
            AttributeError: there is none of this name.
        """
        rows = self._row_list(indices)
        if attr_name in self._row_attributes:
            values = self._row_attributes[attr_name]
            return [values[row] for row in rows]
        if attr_name == "action_masks":
            return [partial(self._row_mask, row) for row in rows]
        if attr_name in ("observation_space", "action_space"):
            return [getattr(self, attr_name)] * len(rows)
        raise AttributeError(f"a machine of a PlacementVecEnv has no attribute {attr_name!r}; set_attr can add it")

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Note a value for each row named; it changes nothing about the machines.

        Raises:
            AttributeError: the machines themselves define it.
        """
        if attr_name in ("action_masks", "observation_space", "action_space"):
            raise AttributeError(f"{attr_name!r} belongs to the machines and cannot be set; make a new batch instead")
        values = self._row_attributes.setdefault(attr_name, [None] * self.num_envs)
        for row in self._row_list(indices):
            values[row] = value

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of each row; `action_masks`, asked for at every step, is answered for all rows at once."""
        if method_name == "action_masks" and indices is None:
            return list(self.batch.masks.astype(bool))
        return [method(*method_args, **method_kwargs) for method in self.get_attr(method_name, indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """True for Monitor, whose episode statistics this class writes itself; machines have no other wrapper."""
        return [issubclass(wrapper_class, Monitor)] * len(self._row_list(indices))

    # -- leaving and coming back --------------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """What `restore()` needs to continue from here: each row's seed, episode, and the answers given in it so far.

        A machine is deterministic, so an episode in the middle is re-made exactly by giving the same answers again;
        that is a byte per decision where a copy of the machine's memory would be megabytes.
        """
        rows = self.batch.rows
        state = {name: rows[name].copy() for name in _ROW_FIELDS}
        state["history"] = self._history[:, : int(rows["length"].max())].copy()
        return state

    def restore(self, state: dict[str, np.ndarray]) -> np.ndarray:
        """Bring every row to where `state()` was taken and return the observations there.

        Raises:
            ValueError: the state belongs to another number of rows.
        """
        history, lengths = state["history"], state["length"]
        if len(lengths) != self.num_envs:
            raise ValueError(f"the saved state has {len(lengths)} rows, this environment {self.num_envs}; use as many")
        rows, longest = self.batch.rows, history.shape[1]
        self.batch.reset(episodes=state["episode"].tolist())
        rows["alive"] = 0  # a row rests until its turn: all rows arrive with the same, last step
        for step in range(longest):
            rows["alive"][lengths == longest - step] = 1
            self.batch.step(history[self._every_row, np.maximum(step - longest + lengths, 0)])
        rows["alive"] = 1
        for name in ("seed", "played"):
            rows[name] = state[name]
        self._history = np.zeros((self.num_envs, max(1024, 2 * longest)), np.int8)
        self._history[:, :longest] = history
        self._reset_seeds()
        return np.array(self.batch.obs)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _row_list(self, indices: VecEnvIndices) -> list[int]:
        return list(self._get_indices(indices))

    def _row_mask(self, row: int) -> np.ndarray:
        return np.array(self.batch.masks[row], bool)

    def _remember(self, actions: np.ndarray) -> None:
        lengths = self.batch.rows["length"]
        if int(lengths.max()) == self._history.shape[1]:
            self._history = np.concatenate([self._history, np.zeros_like(self._history)], axis=1)
        self._history[self._every_row, lengths] = actions

    def _ended_info(self, row: int) -> dict[str, Any]:
        batch = self.batch
        played = batch.rows[row]
        return {
            "terminal_observation": batch.obs[row].copy(),
            "TimeLimit.truncated": bool(batch.truncated[row] and not batch.terminated[row]),
            "episode": {
                "r": float(played["reward_sum"]),
                "l": int(played["length"]),
                "t": time.time() - float(self._begun[row]),
            },
        }
