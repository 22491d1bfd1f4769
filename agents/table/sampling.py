"""Population searches over the most visited cells: ask for tables, tell their ranks.

Both are deterministic for a seed and a history of ranks. That makes them resumable without saving their insides: a
new one that is asked and told the same things stands at the same place.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from cma_gym.mm.mmzone import NR_ACTIONS


class Sampler(Protocol):
    """A population search over the actions of some genes (cells)."""

    def ask(self) -> np.ndarray:
        """A generation: uint8 [population, genes] of Action."""
        ...

    def tell(self, ranks: np.ndarray) -> None:
        """Ranks of the generation asked for last, 0 the best: float64 [population]."""
        ...


class CrossEntropy:
    """One categorical distribution per gene, pulled towards the best quarter of each generation."""

    def __init__(self, start: np.ndarray, population: int, seed: int, step: float = 0.4, spread: float = 0.15) -> None:
        """Begin around a table.

        Args:
            start: uint8 [genes], the present actions.
            population: tables per generation.
            seed: of the draws.
            step: how far the distributions move towards the elite in a generation.
            spread: probability of each action that is not the present one, at first.
        """
        self._rng = np.random.default_rng([seed, len(start)])
        self._population, self._step = population, step
        self._chances = np.full((len(start), NR_ACTIONS), spread)
        self._chances[np.arange(len(start)), start] = 1.0 - spread * (NR_ACTIONS - 1)
        self._asked = np.zeros((population, len(start)), np.uint8)

    def ask(self) -> np.ndarray:
        """See `Sampler`."""
        draws = self._rng.random((self._population, len(self._chances)))
        limits = self._chances.cumsum(axis=1)[:, :-1]
        self._asked = (draws[:, :, None] >= limits).sum(axis=2).astype(np.uint8)
        return self._asked

    def tell(self, ranks: np.ndarray) -> None:
        """See `Sampler`."""
        elite = self._asked[np.argsort(ranks, kind="stable")[: max(1, self._population // 4)]]
        shares = (elite[:, :, None] == np.arange(NR_ACTIONS)).mean(axis=0)
        self._chances += self._step * (shares - self._chances)


class CmaEs:
    """CMA-ES over one number per gene: the actions are ordered by how much they borrow, so a number can mean one."""

    def __init__(self, start: np.ndarray, population: int, seed: int) -> None:
        """Begin around a table.

        Args:
            start: uint8 [genes], the present actions; at least two genes.
            population: tables per generation.
            seed: of the draws, which are its own and not NumPy's global ones.
        """
        import cma

        rng = np.random.default_rng([seed, len(start)])
        options: dict[str, Any] = {
            "bounds": [0.0, float(NR_ACTIONS)],
            "popsize": population,
            "randn": lambda *shape: rng.standard_normal(shape),
            "seed": np.nan,
            "signals_filename": "",
            "verbose": -10,
            "verb_log": 0,
        }
        self._strategy = cma.CMAEvolutionStrategy(start + 0.5, 0.5, options)
        self._asked: list[np.ndarray] = []

    def ask(self) -> np.ndarray:
        """See `Sampler`."""
        self._asked = self._strategy.ask()
        return np.asarray(np.clip(np.floor(self._asked), 0, NR_ACTIONS - 1), np.uint8)

    def tell(self, ranks: np.ndarray) -> None:
        """See `Sampler`."""
        self._strategy.tell(self._asked, [float(rank) for rank in ranks])
