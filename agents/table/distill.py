"""Distillation: a teacher's answers, voted into the cells of a decision table.

As in VIPER, a vote weighs as much as the answer matters (the gap between the teacher's best and worst action), and
after the first round the student drives while the teacher only says what it would have done, so that the table is voted
on the questions that it will really be asked (DAgger).

Imitation under a size limit loses something by construction; `search.py` improves the table afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cma_gym.agents.network.neural import NeuralPolicy
from cma_gym.agents.network.play import episode_returns
from cma_gym.agents.table.starts import safe_cells
from cma_gym.machine.view import View
from cma_gym.mm.mmzone import NR_ACTIONS
from cma_gym.policies.tables.table import DecisionTable

if TYPE_CHECKING:
    from cma_gym.envs.batch import Batch


SMALLEST_WEIGHT = 1e-3
"""A vote of a teacher that does not mind still counts a little."""

_DRAWS = 2000
"""Resamples of a bootstrap."""

_IDENTITY = (View.KIND, View.OWNER_PINNED, View.WRITABLE)
"""Features whose values name different things; the others are levels, near to each other."""


class Teacher(Protocol):
    """Something that can be asked for its answer and how much that answer matters."""

    def teach(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Actions int64 [n] and weights float64 [n] >= 0 for the pending questions of all rows."""
        ...


@dataclass(frozen=True)
class NeuralTeacher:
    """A trained network; the weight is the gap in log-probability between its best and its worst action."""

    policy: NeuralPolicy
    masked: bool = False
    """Leave out actions that cannot matter, as it was trained with MaskablePPO."""
    largest_weight: float = 20.0

    def teach(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See `Teacher`. Forbidden actions do not count as the worst."""
        masks = batch.masks.astype(bool)
        logs = self.policy.log_probabilities(batch.obs, masks if self.masked else None)
        worst = np.where(np.isfinite(logs), logs, np.inf).min(axis=1)
        return logs.argmax(axis=1), np.minimum(logs.max(axis=1) - worst, self.largest_weight)


@dataclass(frozen=True)
class RuleTeacher:
    """A compiled rule, e.g. a system's; every answer weighs the same."""

    decide: Callable[[Any, Any], int]
    params: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def teach(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """See `Teacher`."""
        actions = np.array([self.decide(view, self.params) for view in batch.views], np.int64)
        return actions, np.ones(len(actions))


class DistillConfig(BaseModel):
    """How a teacher becomes a table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decisions: int = Field(default=200_000, ge=1)
    """Questions voted on, over all rounds and machines."""
    rounds: int = Field(default=3, ge=1)
    """In the first the teacher drives, in the others the table of the rounds before."""
    held_out_decisions: int = Field(default=20_000, ge=1)
    """Questions on the select seeds for the fidelity figures."""
    num_envs: int = Field(default=16, ge=1)
    """Machines that run side by side."""


@dataclass(frozen=True)
class Votes:
    """What was said about each cell."""

    weights: np.ndarray
    """float64[nr_cells, NR_ACTIONS]"""
    counts: np.ndarray
    """int64[nr_cells, NR_ACTIONS]: the same, every vote counting one."""

    @property
    def visits(self) -> np.ndarray:
        """Questions that fell into each cell, int64[nr_cells]."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def share(self) -> np.ndarray:
        """Share of each action in its cell's weights, float64 [nr_cells, NR_ACTIONS]; 0 in cells without votes."""
        total = self.weights.sum(axis=1, keepdims=True)
        return np.asarray(self.weights / np.where(total > 0, total, 1.0))

    def __add__(self, more: Votes) -> Votes:
        return Votes(self.weights + more.weights, self.counts + more.counts)


@dataclass(frozen=True)
class Fidelity:
    """How well a table repeats its teacher on questions it was not made from."""

    agreement: float
    """Share of questions with the same answer."""
    weighted_agreement: float
    """The same, by the weight of the answer."""
    seen: float
    """Share of questions in cells that had votes."""
    decisions: int


@dataclass(frozen=True)
class ReturnGap:
    """What the table loses (below 0) or gains against its teacher, in return per episode (reward units)."""

    teacher: float
    """Mean return."""
    table: float
    """Mean return."""
    gap: float
    """Mean of the paired differences, table - teacher."""
    low: float
    """95 % bootstrap interval of the gap."""
    high: float
    episodes: int


def collect(
    teacher: Teacher, batch: Batch, template: DecisionTable, decisions: int, student: DecisionTable | None = None
) -> Votes:
    """Votes of the teacher on the questions met while it (or the student) drives.

    Args:
        teacher: is asked every question.
        batch: machines on the train seeds; rows that end go on with their next episode.
        template: gives the cells.
        decisions: questions to ask, rounded up to whole steps of the batch.
        student: drives instead of the teacher, if given.
    """
    weights = np.zeros((template.nr_cells, NR_ACTIONS))
    counts = np.zeros((template.nr_cells, NR_ACTIONS), np.int64)
    for _ in range(-(-decisions // batch.num_envs)):
        cells = template.cell_indices(batch.views)
        actions, matter = teacher.teach(batch)
        np.add.at(weights, (cells, actions), np.maximum(matter, SMALLEST_WEIGHT))
        np.add.at(counts, (cells, actions), 1)
        batch.step(actions if student is None else student.cells[cells].astype(np.int64))
        ended = batch.terminated | batch.truncated
        if ended.any():
            batch.reset(mask=ended)
    return Votes(weights, counts)


def elect(template: DecisionTable, votes: Votes) -> np.ndarray:
    """The winner of each cell, uint8 [nr_cells]; a tie goes to the action that borrows less.

    A cell without votes follows its nearest voted neighbours (fewest bins away) among the cells with the same kind of
    request, pinning of the owner and writability; where none of those has votes, the safe default
    (`starts.safe_cells`: NORMAL_ONLY for block-device cache, drivers and owners that pin, else NORMAL_FIRST).
    """
    voted = votes.visits > 0
    cells = np.where(voted, votes.weights.argmax(axis=1), safe_cells(template)).astype(np.uint8)
    bins = np.array(np.unravel_index(np.arange(template.nr_cells), template.shape)).T
    identity = np.array([feature.view_index in _IDENTITY for feature in template.features])
    groups = np.unique(bins[:, identity], axis=0, return_inverse=True)[1].ravel()
    for group in np.unique(groups[~voted]):
        known = np.flatnonzero((groups == group) & voted)
        for cell in np.flatnonzero((groups == group) & ~voted) if len(known) else ():
            away = np.abs(bins[known] - bins[cell]).sum(axis=1)
            cells[cell] = votes.weights[known[away == away.min()]].sum(axis=0).argmax()
    return cells


def distill(
    teacher: Teacher,
    batch: Batch,
    template: DecisionTable,
    config: DistillConfig,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[DecisionTable, Votes]:
    """A table that answers as the teacher does, and the votes it was made from.

    Args:
        teacher: a network or a rule.
        batch: machines on the train seeds.
        template: name, features and kernel switches of the table.
        config: how long.
        on_progress: called after each round with (decisions voted on, all decisions).
    """
    share = -(-config.decisions // config.rounds)
    batch.reset(seeds=list(range(batch.num_envs)))
    votes = collect(teacher, batch, template, share)
    for number in range(1, config.rounds + 1):
        table = template.replace(cells=elect(template, votes), visits=votes.visits)
        if on_progress is not None:
            on_progress(share * number, share * config.rounds)
        if number < config.rounds:
            votes += collect(teacher, batch, template, share, student=table)
    return table, votes


def fidelity(teacher: Teacher, table: DecisionTable, votes: Votes, batch: Batch, decisions: int) -> Fidelity:
    """How often the table agrees with the teacher while the table drives machines on held-out seeds."""
    batch.reset(seeds=list(range(batch.num_envs)))
    more = collect(teacher, batch, table, decisions, student=table)
    same = np.arange(NR_ACTIONS) == table.cells[:, None]
    total = int(more.counts.sum())
    return Fidelity(
        agreement=float(more.counts[same].sum() / total),
        weighted_agreement=float(more.weights[same].sum() / more.weights.sum()),
        seen=float(more.visits[votes.visits > 0].sum() / total),
        decisions=total,
    )


def return_gap(teacher: Teacher, table: DecisionTable, batch: Batch, episodes: Sequence[int]) -> ReturnGap:
    """Returns of teacher and table on the same held-out episodes."""
    taught = episode_returns(lambda machines: teacher.teach(machines)[0], batch, episodes)
    tabled = episode_returns(lambda machines: table.cells[table.cell_indices(machines.views)], batch, episodes)
    gaps = tabled - taught
    low, high = bootstrap_interval(gaps)
    return ReturnGap(float(taught.mean()), float(tabled.mean()), float(gaps.mean()), low, high, len(gaps))


def bootstrap_interval(differences: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of paired differences; the same every time it is asked."""
    picks = np.random.default_rng(0).integers(len(differences), size=(_DRAWS, len(differences)))
    low, high = np.quantile(differences[picks].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
