"""The native vector form of `cma_gym/Placement-v0`: one compiled call steps all machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from cma_gym.envs.batch import Batch
from cma_gym.envs.compiled import TERM_NAMES
from cma_gym.envs.placement import (
    RENDER_FPS,
    RENDER_MODES,
    action_space,
    check_render_mode,
    observation_space,
    render_machine,
)
from cma_gym.envs.setup import DEFAULT_POOL, EnvError, make_setup


class PlacementVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """n machines of `cma_gym/Placement-v0` in one batch; see `PlacementEnv` for what they are.

    Row i of a batch behaves exactly as a single environment with the same seed, and the whole as Gymnasium's
    `SyncVectorEnv` of single environments in the same autoreset mode, infos included; only faster.

    Arguments beyond those of `PlacementEnv`:

    * `num_envs`: number of machines.
    * `autoreset_mode`: when a row whose episode has ended begins the next one. `NextStep`: with the following step,
      whose action is not looked at. `SameStep`: at once; the old episode's last observation and info are in
      `infos["final_obs"]` and `infos["final_info"]`. `Disabled`: when the caller resets it, with
      `reset(options={"reset_mask": mask})`.
    * `max_episode_steps`: another name of `max_decisions`, which `gymnasium.make_vec` may pass; the smaller one holds.

    `reset(seed=s)` seeds row i with s + i; a list gives each row its own. `options={"episode": [...]}` names each row's
    episode of the pool.
    """

    metadata: dict[str, Any] = {
        "render_modes": RENDER_MODES,
        "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        machine: Mapping[str, Any] | None = None,
        kernel: Mapping[str, Any] | None = None,
        scenario: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
        workload: str | None = None,
        weights: Mapping[str, Any] | None = None,
        split: str = "train",
        pool: int = DEFAULT_POOL,
        max_decisions: int | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        """See the class for the arguments.

        Raises:
            EnvError, WorkloadError: one sentence about the first argument that cannot be used.
        """
        limits = [limit for limit in (max_decisions, max_episode_steps) if limit is not None]
        setup = make_setup(
            machine=machine,
            kernel=kernel,
            scenario=scenario,
            workload=workload,
            weights=weights,
            split=split,
            pool=pool,
            max_decisions=min(limits) if limits else None,
        )
        self.batch = Batch(setup, num_envs)
        self.num_envs = self.batch.num_envs
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = check_render_mode(render_mode)
        self.single_observation_space = observation_space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space = action_space()
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in all rows, or in those of `options["reset_mask"]` (bool[n], at least one True).

        Args:
            seed: one for each row (an integer s means s + i); None goes on with the rows' sequences.
            options: `reset_mask`, `episode`.

        Returns:
            Observations float32[n, OBS_SIZE] of all rows and infos of those that began.
        """
        options = options or {}
        mask = self._reset_mask(options)
        seeds = self._row_seeds(seed, mask)
        self.batch.reset(mask, seeds, options.get("episode"))
        self._ended[mask] = False
        return self.batch.obs.copy(), self._reset_infos(mask)

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One decision in every row.

        Args:
            actions: integers [n].

        Returns:
            Observations, rewards float32[n] [ms], terminations, truncations, infos.

        Raises:
            ResetNeeded: a row's episode has ended, or never began, and the mode does not reset it.
            EnvError: the actions are not n integers from 0 to 2; nothing has happened then.
        """
        batch = self.batch
        resting = batch.rows["alive"] == 0
        if resting.any():
            self._check_may_rest(resting)
        batch.step(self._checked(actions))
        rewards, terminated, truncated = batch.rewards.copy(), batch.terminated.copy(), batch.truncated.copy()
        self._ended = terminated | truncated
        infos = self._step_infos(~resting)
        begin = self._ended if self.autoreset_mode == AutoresetMode.SAME_STEP else resting
        if begin.any():
            infos = self._begin_rows(begin, infos)
        return batch.obs.copy(), rewards, terminated, truncated, infos

    def action_masks(self) -> np.ndarray:
        """bool[n, 3]: the actions that can matter for the pending questions."""
        return self.batch.masks.astype(np.bool_)

    def render(self) -> tuple[Any, ...] | None:
        """A picture of every machine in the chosen render mode."""
        if self.render_mode is None:
            gym.logger.warn("render() without a render_mode shows nothing; make the environment with one, as 'ansi'")
            return None
        return tuple(render_machine(self.batch, i, self.render_mode) for i in range(self.num_envs))

    def _begin_rows(self, begin: np.ndarray, infos: dict[str, Any]) -> dict[str, Any]:
        """Autoreset some rows; their infos are now those of a reset, and in SAME_STEP the old ones are kept aside."""
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            final_obs = np.full(self.num_envs, None, dtype=object)
            for i in np.flatnonzero(begin):
                final_obs[i] = self.batch.obs[i].copy()
            final_info = _keep_rows(infos, begin)
            infos = _keep_rows(infos, ~begin)
            infos.update(final_obs=final_obs, _final_obs=begin.copy(), final_info=final_info, _final_info=begin.copy())
        self.batch.reset(begin)
        infos.update(self._reset_infos(begin))
        infos["action_mask"] = self.batch.masks.copy()
        infos["_action_mask"] = np.ones(self.num_envs, dtype=np.bool_)
        return infos

    def _reset_infos(self, mask: np.ndarray) -> dict[str, Any]:
        seeds = np.zeros(self.num_envs, dtype=np.int64)
        for i in np.flatnonzero(mask):
            seeds[i] = self.batch.workload_seed(int(i))
        infos: dict[str, Any] = {"workload_seed": seeds, "_workload_seed": mask.copy()}
        infos["action_mask"] = np.where(mask[:, None], self.batch.masks, np.int8(0))
        infos["_action_mask"] = mask.copy()
        return infos

    def _step_infos(self, stepped: np.ndarray) -> dict[str, Any]:
        terms = 0.0 - self.batch.costs
        infos: dict[str, Any] = {}
        if not stepped.any():
            return infos
        infos["action_mask"] = self.batch.masks.copy()
        infos["_action_mask"] = stepped
        infos["reward_terms"] = _columns(TERM_NAMES, terms, stepped)
        infos["_reward_terms"] = stepped
        if self._ended.any():
            rows = {int(i): self.batch.metrics(int(i)) for i in np.flatnonzero(self._ended)}
            names = tuple(next(iter(rows.values())))
            table = np.zeros((self.num_envs, len(names)))
            for i, row in rows.items():
                table[i] = list(row.values())
            infos["metrics"] = _columns(names, table, self._ended)
            infos["_metrics"] = self._ended.copy()
        return infos

    def _reset_mask(self, options: dict[str, Any]) -> np.ndarray:
        mask = options.get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise EnvError(f"options['reset_mask'] must be a NumPy array bool[{self.num_envs}], got {mask!r}")
        if not mask.any():
            raise EnvError("options['reset_mask'] names no row; set at least one to True")
        return mask

    def _row_seeds(self, seed: int | Sequence[int | None] | None, mask: np.ndarray) -> list[int | None]:
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            seeds = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
            if len(seeds) != self.num_envs:
                raise EnvError(f"seed is a list of {len(seeds)}, but there are {self.num_envs} rows; give one for each")
        for i in np.flatnonzero(self.batch.unseeded & mask):
            if seeds[i] is None:
                seeds[i] = int(self.np_random.integers(1 << 31))
        return seeds

    def _checked(self, actions: Any) -> np.ndarray:
        values = np.asarray(actions)
        if values.shape != (self.num_envs,) or values.dtype.kind not in "iu":
            raise EnvError(f"actions must be {self.num_envs} whole numbers from 0 to 2, got {actions!r}")
        return values

    def _check_may_rest(self, resting: np.ndarray) -> None:
        """Only rows that NEXT_STEP is about to reset may rest."""
        if self.autoreset_mode != AutoresetMode.NEXT_STEP or (resting & ~self._ended).any():
            rows = ", ".join(str(i) for i in np.flatnonzero(resting))
            raise ResetNeeded(f"no episode runs in rows {rows}: reset them, with options={{'reset_mask': ...}}")


def _autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(known.value for known in AutoresetMode)
        raise EnvError(f"autoreset_mode: there is no mode {mode!r}; known are {known}") from None


def _columns(names: Sequence[str], table: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """A table [n, len(names)] as one info dict with a `_name` mask beside each column."""
    infos: dict[str, np.ndarray] = {}
    for column, name in enumerate(names):
        infos[name] = table[:, column]
        infos[f"_{name}"] = rows
    return infos


def _keep_rows(infos: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """A copy of an info dict with only some rows in it; a key that is left with none is dropped."""
    kept: dict[str, Any] = {}
    for name, value in infos.items():
        if name.startswith("_"):
            continue
        mask = infos[f"_{name}"] & rows
        if not mask.any():
            continue
        if isinstance(value, dict):
            kept[name] = _keep_rows(value, rows)
        else:
            kept[name] = np.where(mask.reshape(-1, *[1] * (value.ndim - 1)), value, np.zeros((), value.dtype))
        kept[f"_{name}"] = mask
    return kept
