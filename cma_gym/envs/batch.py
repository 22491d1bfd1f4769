"""The batch core: n machines, their episodes and the buffers they fill. Every environment is a thin face on it.

It resets nothing by itself; when and how rows begin again is what the faces (Gymnasium, vector, SB3) differ in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cma_gym.envs.compiled import BEGIN, TERM_NAMES, Rules, new_buffers, place_row, plan_step, run_rows
from cma_gym.envs.observation import OBS_SIZE, PLAN
from cma_gym.envs.seeds import pick_episode
from cma_gym.envs.setup import EnvError, Setup, make_setup
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.result import metrics
from cma_gym.mm.mm_types import machine_array
from cma_gym.workloads.workload import WorkloadError

_LARGEST_SEED = (1 << 62) - 1


class Batch:
    """n machines that answer placement questions in step.

    The buffers are the batch's own and are overwritten by `reset` and `step`; who hands them on must copy them.

    Attributes:
        mems: np.recarray of n machine records.
        obs: float32[n, OBS_SIZE] observations.
        views: int64[n, NR_VIEW], what they are made of.
        masks: int8[n, NR_ACTIONS], 1 where an action can matter.
        rewards: float32[n], milliseconds of user-visible cost, negative.
        costs: float64[n, NR_TERMS], its terms (`Term`), positive.
        terminated: bool[n], the workload ended with the latest step.
        truncated: bool[n], the episode was cut at `max_decisions`.
        rows: np.recarray of `row_dtype`: length and reward sum of each row's episode, and more.
    """

    def __init__(self, setup: Setup, num_envs: int) -> None:
        """Boot one machine and make room for n copies of it; `reset` starts them.

        Args:
            setup: see `make_setup`; `make_batch` builds both in one call.
            num_envs: number of machines.

        Raises:
            EnvError: num_envs is not a positive number.
        """
        if num_envs < 1:
            raise EnvError(f"num_envs must be at least 1, got {num_envs}")
        self.num_envs = int(num_envs)
        self.setup = setup
        self._booted = _boot_one(setup)
        self.mems = machine_array(self.num_envs, self._booted.dtype)
        self._out = new_buffers(self.num_envs, OBS_SIZE)
        self._rules = Rules(PLAN, setup.weights.factors(), setup.max_decisions or 0)
        self.rows = self._out.rows
        self.views = self._out.views
        self.obs = self._out.obs
        self.masks = self._out.masks
        self.rewards = self._out.rewards
        self.costs = self._out.costs
        self.terminated = self._out.terminated
        self.truncated = self._out.truncated
        self.rows["seed"] = -1
        self._actions = np.zeros(self.num_envs, dtype=np.int64)
        self._todo = np.zeros(self.num_envs, dtype=np.int8)

    def reset(
        self,
        mask: np.ndarray | None = None,
        seeds: Sequence[int | None] | None = None,
        episodes: Sequence[int] | None = None,
    ) -> None:
        """Begin an episode in some rows, and fill their obs, views and masks.

        Args:
            mask: bool[n], the rows; None means all.
            seeds: one for each of the n rows; None (for all or for a row) goes on with the row's sequence of episodes.
                A row that never got a seed uses its index.
            episodes: play these episodes of the pool, one for each of the n rows.

        Raises:
            EnvError: an episode outside the pool.
            WorkloadError: a scenario whose events ask for no placement at all.
        """
        self._todo[:] = 0
        for i in range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist():
            self._seed_row(i, None if seeds is None else seeds[i])
            self._place(i, None if episodes is None else episodes[i])
            self._todo[i] = BEGIN
        self._run()
        self._check_asks()

    def step(self, actions: np.ndarray) -> None:
        """One decision in every row whose episode runs; a row whose episode is over rests, with reward 0.

        Args:
            actions: integers [n].

        Raises:
            EnvError: an action that does not exist; nothing has happened then.
        """
        self._actions[:] = actions
        bad = plan_step(self._actions, self._todo, self._out)
        if bad >= 0:
            raise EnvError(f"row {bad}: there is no action {self._actions[bad]}; 0, 1 and 2 are known")
        self._run()

    def workload_seed(self, i: int) -> int:
        """The workload seed of row i's episode; -1 where it plays a recording."""
        return self.setup.episodes.seed_of(int(self.rows["episode"][i]))

    def metrics(self, i: int) -> dict[str, float]:
        """What the user of machine i felt in its episode so far; no reward weight touches these figures."""
        return metrics(self.mems[i])

    def reward_terms(self, i: int) -> dict[str, float]:
        """The terms of row i's latest reward by name [ms], none above 0; their sum is the reward."""
        return dict(zip(TERM_NAMES, (0.0 - self.costs[i]).tolist(), strict=True))

    @property
    def unseeded(self) -> np.ndarray:
        """bool[n]: rows that never got a seed."""
        return self.rows["seed"] < 0

    def _seed_row(self, i: int, seed: int | None) -> None:
        row = self.rows[i]
        if seed is not None:
            row["seed"] = int(seed) & _LARGEST_SEED
            row["played"] = 0
        elif row["seed"] < 0:
            row["seed"] = i

    def _place(self, i: int, episode: int | None) -> None:
        pool = self.setup.episodes
        row = self.rows[i]
        if episode is None:
            episode = pick_episode(int(row["seed"]), int(row["played"]), pool.size)
        elif not 0 <= episode < pool.size:
            raise EnvError(f"episode {episode} is not in the pool of {pool.size}; choose another or enlarge the pool")
        window = np.array(pool.window(int(episode)), dtype=np.int64)
        place_row(self.mems, self._booted, i, window)
        row["episode"] = episode
        row["played"] += 1

    def _run(self) -> None:
        run_rows(self.mems, self._todo, self._actions, self.setup.episodes.events, self._out, self._rules)

    def _check_asks(self) -> None:
        silent = np.flatnonzero((self._todo == BEGIN) & (self.rows["alive"] == 0))
        if len(silent):
            episode = int(self.rows["episode"][silent[0]])
            seed = self.setup.episodes.seed_of(episode)
            raise WorkloadError(
                f"episode {episode} (workload seed {seed}) asks for no placement; there "
                "is nothing to decide, use a longer scenario"
            )


def _boot_one(setup: Setup) -> np.recarray:
    """A booted machine with as much room for workloads as its capacity class has anyway."""
    nr_vpages, nr_fpages, nr_tasks = setup.episodes.capacity
    room = new_machines(1, setup.spec, nr_vpages, nr_fpages, nr_tasks).dtype
    setup.episodes.capacity = (room["pte"].shape[0], room["filemap"].shape[0], nr_tasks)
    booted = new_machines(1, setup.spec, *setup.episodes.capacity)
    boot(booted, 0, setup.spec, setup.kernel)
    return booted


def make_batch(num_envs: int, **plain: Any) -> Batch:
    """A batch from JSON-plain arguments, those of `make_setup`."""
    return Batch(make_setup(**plain), num_envs)
