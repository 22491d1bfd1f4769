"""A batch without machines: a contextual bandit with a known best answer, in the form that the agents expect."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from cma_gym.machine.view import NR_VIEW, View

NR_CONTEXTS = 3
LENGTH = 16

_row = np.dtype([(name, "i8") for name in ("alive", "length", "episode", "seed", "played")] + [("reward_sum", "f8")])


class ToyBatch:
    """Rows ask for the action that equals the context; reward 0 if it is given, else -1. The best return is 0.

    Contexts follow from (episode, decision) alone, as arrivals do in the machine. `CMA_FIRST` is masked while the
    context is 0.
    """

    def __init__(self, split: str, num_envs: int, max_decisions: int = LENGTH, pool: int = 8) -> None:
        first = {"train": 0, "select": 1000}[split]
        self.num_envs, self.max_decisions = num_envs, max_decisions
        self.setup = SimpleNamespace(episodes=SimpleNamespace(size=pool, seed_of=lambda episode: first + episode))
        self.rows = np.zeros(num_envs, _row).view(np.recarray)
        self.rows["seed"] = -1
        self.views = np.zeros((num_envs, NR_VIEW), np.int64)
        self.obs = np.zeros((num_envs, NR_CONTEXTS + 1), np.float32)
        self.masks = np.ones((num_envs, 3), np.int8)
        self.rewards = np.zeros(num_envs, np.float32)
        self.terminated = np.zeros(num_envs, bool)
        self.truncated = np.zeros(num_envs, bool)

    def reset(self, mask=None, seeds=None, episodes=None) -> None:
        for i in range(self.num_envs) if mask is None else np.flatnonzero(mask):
            row = self.rows[i]
            if seeds is not None and seeds[i] is not None:
                row["seed"], row["played"] = seeds[i], 0
            walked = (row["seed"] + row["played"]) % self.setup.episodes.size
            row["episode"] = walked if episodes is None else episodes[i]
            row["played"] += 1
            row["alive"], row["length"], row["reward_sum"] = 1, 0, 0.0
            self.terminated[i] = self.truncated[i] = False
            self._observe(i)

    def step(self, actions) -> None:
        for i in range(self.num_envs):
            row = self.rows[i]
            self.rewards[i] = 0.0
            self.terminated[i] = self.truncated[i] = False
            if not row["alive"]:
                continue
            self.rewards[i] = 0.0 if actions[i] == self.context(i) else -1.0
            row["reward_sum"] += self.rewards[i]
            row["length"] += 1
            self.terminated[i] = row["length"] == LENGTH
            self.truncated[i] = not self.terminated[i] and row["length"] == self.max_decisions
            row["alive"] = not (self.terminated[i] or self.truncated[i])
            self._observe(i)

    def context(self, i: int) -> int:
        row = self.rows[i]
        return int((row["episode"] * 7 + row["length"] * row["length"] * 5 + row["length"]) % NR_CONTEXTS)

    def _observe(self, i: int) -> None:
        context = self.context(i)
        self.obs[i] = 0.0
        self.obs[i, context] = 1.0
        self.obs[i, NR_CONTEXTS] = self.rows[i]["length"] / LENGTH
        self.views[i, View.KIND] = context
        self.masks[i] = (1, 1, context != 0)
