"""An evaluator without machines: a table costs one millisecond for each visit to a cell with the wrong action."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cma_gym.agents.table.objective import Job, Played
from cma_gym.envs.compiled import NR_TERMS, Term
from cma_gym.policies.tables.table import DecisionTable

FEATURES = (("kind", (1, 2, 3, 4, 5, 6, 7)), ("owner_pinned", (1,)), ("cma_free_64ths", (8, 32)))


class ToyEvaluator:
    """Workload w visits the cells of a third of the table; `best` is the only table that costs nothing."""

    def __init__(self, nr_workloads: int = 6, seed: int = 0) -> None:
        self.template = DecisionTable.constant("toy", FEATURES)
        rng = np.random.default_rng(seed)
        n = self.template.nr_cells
        by_slice = np.repeat(rng.integers(0, 3, n // 3), 3)
        self.best = np.where(rng.random(n) < 0.2, rng.integers(0, 3, n), by_slice).astype(np.uint8)
        self.nr_workloads = nr_workloads
        self.asked = rng.integers(1, 50, (nr_workloads, n)) * (rng.random((nr_workloads, n)) < 0.34)
        self.evaluations = 0

    def play(self, jobs: Sequence[Job]) -> list[Played]:
        self.evaluations += len(jobs)
        return [self._play(job) for job in jobs]

    def _play(self, job: Job) -> Played:
        visits = self.asked[job.workload]
        outcome = np.zeros(NR_TERMS, np.int64)
        outcome[Term.STALL] = 1_000_000 * int(visits[job.cells != self.best].sum())
        return Played(outcome, visits.copy())

    @property
    def visited(self) -> np.ndarray:
        return self.asked.sum(axis=0) > 0
