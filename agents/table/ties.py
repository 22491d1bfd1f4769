"""Cells whose action does not matter: never asked, or every other action costs the same.

Leaving such cells open is what lets a readable tree be small. "The same" is an equivalence, not a lack of proof: the
whole bootstrap interval of the paired difference must lie within a narrow band around zero, and no more demands may
fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cma_gym.agents.table.distill import bootstrap_interval
from cma_gym.agents.table.objective import Job, Objective, Played
from cma_gym.agents.table.search import Plays
from cma_gym.envs.compiled import Term
from cma_gym.mm.mmzone import NR_ACTIONS

_FAILURES = [Term.DEMAND_FAILED, Term.PIECES_FAILED]


class TiesConfig(BaseModel):
    """How cells that do not matter are found."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluations: int = Field(default=200, ge=0)
    """Rollouts to spend; cells not reached keep their action."""
    seconds: float = Field(default=60.0, gt=0)
    """Stop after so much wall time even if rollouts are left."""
    band: float = Field(default=0.005, ge=0)
    """Half width of the band, as a share of the table's cost."""
    together: int = Field(default=4, ge=1)
    """Cells tested side by side."""


@dataclass(frozen=True)
class Ties:
    """Which cells may be left open."""

    dont_care: np.ndarray
    """bool[nr_cells]"""
    unvisited: int
    """Of them: never asked."""
    tied: int
    """Of them: asked, but every action costs the same."""
    tested: int
    evaluations: int


def find_ties(
    evaluator: Plays,
    cells: np.ndarray,
    config: TiesConfig,
    objective: Objective,
    on_progress: Callable[[int, int], None] | None = None,
) -> Ties:
    """Test cells one by one, the least visited first.

    Each cell is judged with all others as they are; cells left open together can still matter together, so measure the
    table that a tree makes of them (`tree.Tree.cells`).

    Args:
        evaluator: on train workloads.
        cells: the table, uint8[nr_cells].
        config: how far to go.
        objective: what costs.
        on_progress: called with (rollouts done, rollouts to spend).
    """
    n = evaluator.nr_workloads
    played = evaluator.play([Job(cells, workload) for workload in range(n)])
    outcomes, visits = np.array([one.outcome for one in played]), np.array([one.visits for one in played])
    asked = visits.sum(axis=0)
    dont_care = asked == 0
    unvisited = int(dont_care.sum())
    queue = [int(cell) for cell in np.argsort(asked, kind="stable") if asked[cell]]
    spent, tested = n, 0
    started = time.monotonic()
    while queue and spent < config.evaluations and time.monotonic() - started < config.seconds:
        batch, queue = queue[: config.together], queue[config.together :]
        jobs = [
            (cell, Job(_with(cells, cell, action), int(workload)))
            for cell in batch
            for action in range(NR_ACTIONS)
            if action != cells[cell]
            for workload in np.flatnonzero(visits[:, cell])
        ]
        results = evaluator.play([job for _, job in jobs])
        for cell in batch:
            tries = [(job, one) for (of, job), one in zip(jobs, results, strict=True) if of == cell]
            dont_care[cell] = _all_equal(tries, cell, outcomes, config, objective)
        spent += len(jobs)
        tested += len(batch)
        if on_progress is not None:
            on_progress(spent, config.evaluations)
    return Ties(dont_care, unvisited, int(dont_care.sum()) - unvisited, tested, spent)


def _with(cells: np.ndarray, cell: int, action: int) -> np.ndarray:
    changed = cells.copy()
    changed[cell] = action
    return changed


def _all_equal(
    tries: list[tuple[Job, Played]], cell: int, outcomes: np.ndarray, config: TiesConfig, objective: Objective
) -> bool:
    """Whether every other action of the cell gives the same, measured on all workloads (0 where it is not asked)."""
    costs = objective.costs(outcomes)
    for action in {int(job.cells[cell]) for job, _ in tries}:
        changed = outcomes.copy()
        for job, one in tries:
            if job.cells[cell] == action:
                changed[job.workload] = one.outcome
        if (changed[:, _FAILURES].sum(axis=0) > outcomes[:, _FAILURES].sum(axis=0)).any():
            return False
        low, high = bootstrap_interval(objective.costs(changed) - costs)
        if max(-low, high) > config.band * costs.mean():
            return False
    return True
