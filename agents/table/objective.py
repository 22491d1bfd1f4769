"""What a table costs: whole workloads played in compiled rollouts, weighed like the reward of the environments.

Every table meets the same workloads on the same freshly booted machine (common random numbers), so that two tables are
compared workload by workload. The result of a rollout depends on (table, workload) alone: any number of worker
processes gives the same figures.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cma_gym.agents.table.visits import CountingParams, decide_and_count
from cma_gym.envs.compiled import NR_TERMS, Term, read_amount
from cma_gym.envs.reward import RewardWeights
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.spec import MachineSpec
from cma_gym.machine.step import load, rollout
from cma_gym.machine.view import NR_VIEW
from cma_gym.policies.tables.table import DecisionTable
from cma_gym.support.jit import core_digest
from cma_gym.workloads.workload import Workload


class Objective(BaseModel):
    """How outcomes are compared; smaller is better."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["product", "cost"] = "product"
    """product: failed whole-area demands first, then failed demands for pieces, then cost; cost: cost alone."""
    weights: RewardWeights = Field(default_factory=RewardWeights)
    """Of the terms of the cost, as in the reward of the environments."""

    def costs(self, outcomes: np.ndarray) -> np.ndarray:
        """User-visible cost of each workload [ms], float64 [n], from raw terms int64 [n, NR_TERMS]."""
        return np.asarray(outcomes @ self.weights.factors())

    def key(self, outcomes: np.ndarray) -> tuple[float, ...]:
        """What tables are ordered by, for the raw terms int64 [n, NR_TERMS] of one table on n workloads."""
        cost = float(self.costs(outcomes).mean())
        if self.form == "cost":
            return (cost,)
        failed = outcomes[:, [Term.DEMAND_FAILED, Term.PIECES_FAILED]].sum(axis=0)
        return (float(failed[0]), float(failed[1]), cost)


class Played(NamedTuple):
    """One table on one workload."""

    outcome: np.ndarray
    """int64[NR_TERMS]: raw terms of the whole run, by `Term`."""
    visits: np.ndarray
    """int64[nr_cells]: questions that fell into each cell."""


class Job(NamedTuple):
    """One rollout to do."""

    cells: np.ndarray
    """uint8[nr_cells] of Action."""
    workload: int
    """Index into the evaluator's workloads."""


class Player:
    """Machines that play workloads under tables, one of each kind; each process has its own."""

    def __init__(self, specs: Sequence[MachineSpec], template: DecisionTable, workloads: Sequence[Workload]) -> None:
        self._kinds = list(dict.fromkeys(specs))
        self._kind_of = [self._kinds.index(spec) for spec in specs]
        self._booted = []
        for spec in self._kinds:
            own = [workload for workload, its in zip(workloads, specs, strict=True) if its == spec]
            sizes = [max(getattr(w, name) for w in own) for name in ("nr_vpages", "nr_fpages", "nr_tasks")]
            self._booted.append(new_machines(1, spec, *sizes))
            boot(self._booted[-1], 0, spec, KernelConfig.for_profile(spec.profile, **template.kernel))
        self._running = [booted.copy() for booted in self._booted]
        self._view = np.zeros(NR_VIEW, np.int64)
        self._table = CountingParams(template)
        self._workloads = workloads

    def play(self, job: Job) -> Played:
        """Run a workload from the first to the last event under a table."""
        events = self._workloads[job.workload].events
        kind = self._kind_of[job.workload]
        mems = self._running[kind]
        mems[0] = self._booted[kind][0]
        load(mems, 0, 0, len(events))
        rollout(mems, 0, events, decide_and_count, self._table.fill(job.cells), self._view)
        felt = mems[0]
        outcome = np.array([read_amount(felt, term) for term in range(NR_TERMS)], np.int64)
        return Played(outcome, self._table.visits())


class Evaluator:
    """Plays tables of one layout on a fixed list of workloads, in this process or in several.

    Use it as a context manager, or `close()` it. `evaluations` counts the rollouts done. With several workers the main
    script must be importable (work under `if __name__ == "__main__":`), as for all of Python's process pools.
    """

    def __init__(
        self,
        spec: MachineSpec | Sequence[MachineSpec],
        template: DecisionTable,
        workloads: Sequence[Workload],
        workers: int = 1,
    ) -> None:
        """Prepare machines.

        Args:
            spec: the machine, or that of each workload.
            template: features and kernel switches of all tables to come; its cells do not matter.
            workloads: generated for their machines; the order is the order of all results.
            workers: processes; 1 plays in this one.

        Raises:
            ValueError: there is nothing to play.
        """
        if not workloads:
            raise ValueError("a table can only be measured on workloads; give at least one")
        self.nr_workloads = len(workloads)
        self.template = template
        self.evaluations = 0
        self._pool: ProcessPoolExecutor | None = None
        self._player: Player | None = None
        specs = [spec] * len(workloads) if isinstance(spec, MachineSpec) else list(spec)
        if workers > 1:
            self._pool = ProcessPoolExecutor(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(_CORE, specs, template, list(workloads)),
            )
        else:
            self._player = Player(specs, template, workloads)

    def play(self, jobs: Sequence[Job]) -> list[Played]:
        """Do all jobs; results in their order.

        Raises:
            RuntimeError: the worker processes found other sources than this one runs.
        """
        self.evaluations += len(jobs)
        if self._pool is not None:
            return list(self._pool.map(_play_in_worker, jobs))
        assert self._player is not None
        return [self._player.play(job) for job in jobs]

    def play_all(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One table on all workloads: raw terms int64 [n, NR_TERMS] and visits int64 [n, nr_cells]."""
        played = self.play([Job(cells, workload) for workload in range(self.nr_workloads)])
        return np.array([one.outcome for one in played]), np.array([one.visits for one in played])

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()


_CORE = core_digest()
"""Of the sources that this process runs."""

_worker: dict[str, Any] = {}
"""The player of a worker process; empty everywhere else."""


def _start_worker(core: str, specs: list[MachineSpec], template: DecisionTable, workloads: list[Workload]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends its workers
    if core == _CORE:
        _worker["player"] = Player(specs, template, workloads)


def _play_in_worker(job: Job) -> Played:
    if not _worker:
        # A worker reads the sources anew; with others than its parent's the figures would quietly differ.
        raise RuntimeError("the sources of the simulator were changed while this was running; start it again")
    played: Played = _worker["player"].play(job)
    return played
