"""Direct improvement of a decision table inside compiled rollouts.

Imitating a teacher in a table of limited size loses something; here the table itself is what is searched. Every
candidate plays the same train workloads as the best table so far, and is dropped as soon as it is clearly worse on the
first of them. It must be better by more than chance: one kill more or less, which any change may cause somewhere, costs
as much as most rules gain. The budget is counted in rollouts, so that a search gives the same table on every machine; a
limit in seconds is only a cap. Whether to take the result is decided on other workloads (`choose`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cma_gym.agents.table.moves import levels_of, ordered_moves
from cma_gym.agents.table.objective import Job, Objective, Played
from cma_gym.agents.table.sampling import CmaEs, CrossEntropy, Sampler
from cma_gym.agents.table.search_state import SearchError, SearchState
from cma_gym.mm.mmzone import NR_ACTIONS
from cma_gym.policies.tables.table import DecisionTable


class SearchConfig(BaseModel):
    """How a table is searched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["coordinate", "cross_entropy", "cma"] = "coordinate"
    """coordinate: groups of cells, one at a time; the others: populations over the most visited cells."""
    evaluations: int = Field(default=400, ge=0)
    """Rollouts (one table on one workload) to spend; the last step may go a little over."""
    seconds: float = Field(default=120.0, gt=0)
    """Stop after so much wall time even if rollouts are left; then the result depends on the machine's speed."""
    first_workloads: int = Field(default=2, ge=1)
    """A candidate is dropped if it is clearly worse on so many of the workloads that it changes, then on three times as
    many, and so on."""
    slack: float = Field(default=0.05, ge=0)
    """How much worse "clearly" is at first, as a share of the best table's cost on the same workloads; it shrinks with
    the square root of their number, as chance does."""
    sure: float = Field(default=1.0, ge=0)
    """An accepted table saves at least so many standard errors of the paired differences, or failed demands."""
    together: int = Field(default=4, ge=1)
    """Candidates measured side by side; more keeps more processes busy and wastes more rollouts."""
    population: int = Field(default=12, ge=4)
    """Tables per generation of the population methods."""
    genes: int = Field(default=48, ge=2)
    """Most visited cells that the population methods vary."""
    seed: int = Field(default=0, ge=0)
    """Of the population methods; the coordinate search draws nothing."""


class Plays(Protocol):
    """What a search needs of an evaluator (`objective.Evaluator`)."""

    nr_workloads: int
    template: DecisionTable

    def play(self, jobs: Sequence[Job]) -> list[Played]:
        """Do all jobs; results in their order."""
        ...


@dataclass(frozen=True)
class SearchProgress:
    """Where a search stands."""

    evaluations: int
    budget: int
    seconds: float
    tried: int
    accepted: int
    key: tuple[float, ...]
    """Of the best table so far; see `Objective.key`."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    cells: np.ndarray
    """uint8[nr_cells]"""
    visits: np.ndarray
    """int64[nr_cells]: how often the train workloads ask each cell."""
    key: tuple[float, ...]
    """On the train workloads."""
    start: str
    """Name of the table it started from: the best of the starts."""
    start_key: tuple[float, ...]
    evaluations: int
    tried: int
    accepted: int
    stopped_by: Literal["evaluations", "seconds", "nothing left"]


class _Spent(Exception):
    """The budget is used up; carries the reason."""


def search(
    evaluator: Plays,
    starts: Mapping[str, np.ndarray],
    config: SearchConfig,
    objective: Objective,
    hint: np.ndarray | None = None,
    state: SearchState | None = None,
    on_progress: Callable[[SearchProgress], None] | None = None,
    on_state: Callable[[SearchState], None] | None = None,
) -> SearchResult:
    """Improve the best of some tables until the budget is spent or nothing is left to try.

    Args:
        evaluator: on train workloads.
        starts: tables to start from, uint8[nr_cells] by name.
        config: how.
        objective: what better means.
        hint: float64[nr_cells, NR_ACTIONS] in [0, 1]: actions worth trying first, e.g. the shares of votes.
        state: go on from here; gives the table that the search without a break would have given.
        on_progress: called after every step.
        on_state: called after every step with the state to write down; it changes afterwards.

    Raises:
        SearchError: no start, or a state of another search.
    """
    run = _Search(evaluator, config, objective, hint, on_progress, on_state)
    start_key = run.begin(starts, state)
    stopped_by: Literal["evaluations", "seconds", "nothing left"] = "nothing left"
    try:
        if config.method == "coordinate":
            run.walk()
        else:
            run.evolve()
    except _Spent as reason:
        stopped_by = "seconds" if str(reason) == "seconds" else "evaluations"
    now = run.state
    visits = run.visits.sum(axis=0)
    key = objective.key(run.outcomes)
    return SearchResult(
        now.cells, visits, key, now.start, start_key, now.evaluations, now.tried, now.accepted, stopped_by
    )


def choose(
    evaluator: Plays, candidates: Mapping[str, np.ndarray], objective: Objective
) -> tuple[str, dict[str, tuple[float, ...]]]:
    """The best of some tables on select workloads; of equals the first.

    Returns:
        Its name, and the key of each table.
    """
    keys = {}
    for name, cells in candidates.items():
        played = evaluator.play([Job(cells, workload) for workload in range(evaluator.nr_workloads)])
        keys[name] = objective.key(np.array([one.outcome for one in played]))
    return min(keys, key=lambda name: keys[name]), keys


class _Search:
    """A search on its way: the best table so far and what it does on every train workload."""

    def __init__(
        self,
        evaluator: Plays,
        config: SearchConfig,
        objective: Objective,
        hint: np.ndarray | None,
        on_progress: Callable[[SearchProgress], None] | None,
        on_state: Callable[[SearchState], None] | None,
    ) -> None:
        template = evaluator.template
        self.evaluator, self.config, self.objective = evaluator, config, objective
        self.hint = np.zeros((template.nr_cells, NR_ACTIONS)) if hint is None else hint
        self.on_progress, self.on_state = on_progress, on_state
        self.levels = levels_of(template)
        self.started = time.monotonic()
        self.state: SearchState
        self.outcomes: np.ndarray
        """int64[n, NR_TERMS] of the best table so far."""
        self.visits: np.ndarray
        """int64[n, nr_cells] of the same."""
        self.start: np.ndarray
        self.known: set[str] = set()

    # -- beginning ----------------------------------------------------------------------------------------------------

    def begin(self, starts: Mapping[str, np.ndarray], state: SearchState | None) -> tuple[float, ...]:
        """Take up a state, or start from the best of the starts; returns the key of the start."""
        if not starts:
            raise SearchError("a search needs at least one table to start from")
        digest = self._digest(starts)
        if state is not None and state.config != digest:
            raise SearchError("the saved search is of another configuration; search again, or use that configuration")
        if state is not None:  # what is measured here was counted when it was measured first
            self.start = np.asarray(starts[state.start], np.uint8)
            (self.outcomes, self.visits), (outcomes, _) = self._measure([state.cells, self.start])
            self.state, self.known = state, set(state.known)
            return self.objective.key(outcomes)
        tables = [np.array(cells, np.uint8) for cells in starts.values()]
        measured = self._measure(tables)
        best = min(range(len(tables)), key=lambda k: self.objective.key(measured[k][0]))
        self.start = tables[best]
        self.outcomes, self.visits = measured[best]
        self.state = SearchState(config=digest, cells=self.start.copy(), start=list(starts)[best])
        self.state.evaluations = len(tables) * self.evaluator.nr_workloads
        for cells in tables:
            self._remember(cells)
        return self.objective.key(self.outcomes)

    def _digest(self, starts: Mapping[str, np.ndarray]) -> str:
        layout = [tuple(feature) for feature in self.evaluator.template.features]
        parts = [self.config.model_dump_json(exclude={"evaluations", "seconds"}), self.objective.model_dump_json()]
        parts += [repr(layout), str(self.evaluator.nr_workloads), *(f"{n}={_name(c)}" for n, c in starts.items())]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    # -- one group at a time ------------------------------------------------------------------------------------------

    def walk(self) -> None:
        """Try the moves of each level, coarse to fine, again and again until a whole pass finds nothing."""
        state = self.state
        while True:
            if state.queue is None:
                moves = ordered_moves(self.levels[state.level], state.cells, self.visits.sum(axis=0), self.hint)
                state.queue = [list(move) for move in moves]
            while state.queue:
                self._check_budget()
                self._step(state.queue)
                self._tell()
            state.queue = None
            state.level += 1
            if state.level == len(self.levels):
                if not state.improved:
                    return
                state.level, state.improved = 0, False

    def _step(self, queue: list[list[int]]) -> None:
        """Race the next few moves; the best one that improves the table is made, the other good ones wait again."""
        taken: list[list[int]] = []
        tables: list[np.ndarray] = []
        rest = list(queue)
        while rest and len(tables) < self.config.together:
            group, action = rest.pop(0)
            cells = self.state.cells.copy()
            cells[self.levels[self.state.level][group]] = action
            fresh = _name(cells) not in self.known and not any(np.array_equal(cells, other) for other in tables)
            if fresh and len(self._touched(cells)):
                taken.append([group, action])
                tables.append(cells)
        raced = self._race(tables)
        best = min(raced, key=lambda k: self.objective.key(raced[k][0]), default=None)
        for k, cells in enumerate(tables):
            if k == best or k not in raced:
                self._remember(cells)
        if best is not None:
            self._accept(tables[best], *raced[best])
        queue[:] = [taken[k] for k in raced if k != best] + rest
        self.state.tried += len(tables)

    def _race(self, tables: list[np.ndarray]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Outcomes and visits of the tables that beat the best one so far, by index; the others end early."""
        lists = [self._touched(cells) for cells in tables]
        got: list[dict[int, Played]] = [{} for _ in tables]
        alive = list(range(len(tables)))
        begin, end = 0, self.config.first_workloads
        while begin < self.evaluator.nr_workloads:
            todo = [(k, int(w)) for k in alive for w in lists[k][begin:end]]
            played = self._play([Job(tables[k], w) for k, w in todo])
            for (k, w), one in zip(todo, played, strict=True):
                got[k][w] = one
            alive = [k for k in alive if not self._clearly_worse(got[k])]
            begin, end = end, 3 * end
        better = {}
        for k in alive:
            outcomes, visits = self._with(got[k])
            if self._convinces(outcomes):
                better[k] = (outcomes, visits)
        return better

    def _convinces(self, outcomes: np.ndarray) -> bool:
        """Whether a table is better, and by more than chance: it must also win more often than it loses."""
        ours, present = self.objective.key(outcomes), self.objective.key(self.outcomes)
        if not ours < present:
            return False
        gains = self.objective.costs(self.outcomes) - self.objective.costs(outcomes)
        error = float(gains.std()) / len(gains) ** 0.5
        saved = ours[:-1] < present[:-1] or gains.mean() >= self.config.sure * error
        return bool(saved and (gains > 0).sum() > (gains < 0).sum())

    def _touched(self, cells: np.ndarray) -> np.ndarray:
        """Workloads in which the table so far asks a cell that the candidate changes; the others run just the same."""
        changed = cells != self.state.cells
        return np.flatnonzero(self.visits[:, changed].any(axis=1))

    def _clearly_worse(self, got: dict[int, Played]) -> bool:
        if not got:
            return False
        where = list(got)
        candidate = self.objective.costs(np.array([got[w].outcome for w in where])).sum()
        present = self.objective.costs(self.outcomes[where]).sum()
        slack = self.config.slack * min(1.0, self.config.first_workloads / len(where)) ** 0.5
        return bool(candidate > present * (1.0 + slack))

    def _with(self, got: dict[int, Played]) -> tuple[np.ndarray, np.ndarray]:
        outcomes, visits = self.outcomes.copy(), self.visits.copy()
        for w, one in got.items():
            outcomes[w], visits[w] = one.outcome, one.visits
        return outcomes, visits

    # -- populations --------------------------------------------------------------------------------------------------

    def evolve(self) -> None:
        """Ask a sampler for generations of tables around the start and tell it their ranks."""
        state = self.state
        if not state.genes:
            often = np.argsort(-self.visits.sum(axis=0), kind="stable")[: self.config.genes]
            state.genes = sorted(int(cell) for cell in often)
        sampler = self._sampler(self.start[state.genes])
        for ranks in state.ranks:
            sampler.ask()
            sampler.tell(np.array(ranks))
        while True:
            self._check_budget()
            tables = np.repeat(self.start[None, :], self.config.population, axis=0)
            tables[:, state.genes] = sampler.ask()
            measured = self._measure(list(tables))
            keys = [self.objective.key(outcomes) for outcomes, _ in measured]
            places = {key: float(place) for place, key in enumerate(sorted(set(keys)))}
            state.ranks.append([places[key] for key in keys])
            sampler.tell(np.array(state.ranks[-1]))
            state.tried += len(tables)
            state.evaluations += len(tables) * self.evaluator.nr_workloads
            best = int(np.argmin(state.ranks[-1]))
            if keys[best] < self.objective.key(self.outcomes):
                self._accept(tables[best].copy(), *measured[best])
            self._tell()

    def _sampler(self, start: np.ndarray) -> Sampler:
        kind = CrossEntropy if self.config.method == "cross_entropy" else CmaEs
        return kind(start, self.config.population, self.config.seed)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _play(self, jobs: list[Job]) -> list[Played]:
        self.state.evaluations += len(jobs)
        return self.evaluator.play(jobs)

    def _measure(self, tables: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Outcomes and visits of tables on all workloads; not counted here."""
        n = self.evaluator.nr_workloads
        played = self.evaluator.play([Job(cells, workload) for cells in tables for workload in range(n)])
        chunks = [played[k * n : (k + 1) * n] for k in range(len(tables))]
        return [(np.array([p.outcome for p in chunk]), np.array([p.visits for p in chunk])) for chunk in chunks]

    def _accept(self, cells: np.ndarray, outcomes: np.ndarray, visits: np.ndarray) -> None:
        self.state.cells, self.outcomes, self.visits = cells, outcomes, visits
        self.state.accepted += 1
        self.state.improved = True

    def _remember(self, cells: np.ndarray) -> None:
        name = _name(cells)
        self.known.add(name)
        self.state.known.append(name)

    def _check_budget(self) -> None:
        if self.state.evaluations >= self.config.evaluations:
            raise _Spent("evaluations")
        if time.monotonic() - self.started > self.config.seconds:
            raise _Spent("seconds")

    def _tell(self) -> None:
        if self.on_progress is not None:
            now = self.state
            spent = time.monotonic() - self.started
            key = self.objective.key(self.outcomes)
            self.on_progress(
                SearchProgress(now.evaluations, self.config.evaluations, spent, now.tried, now.accepted, key)
            )
        if self.on_state is not None:
            self.on_state(self.state)


def _name(cells: np.ndarray) -> str:
    return hashlib.sha256(np.asarray(cells, np.uint8).tobytes()).hexdigest()[:16]
