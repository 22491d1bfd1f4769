"""A teacher's answers become a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cma_gym.agents.network.neural import NeuralPolicy
from cma_gym.agents.table.distill import (
    DistillConfig,
    NeuralTeacher,
    RuleTeacher,
    Votes,
    bootstrap_interval,
    collect,
    distill,
    elect,
    fidelity,
    return_gap,
)
from cma_gym.machine.decision import decision
from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import get_system
from cma_gym.policies.tables.table import DecisionTable
from tests.agents.network.toy_batch import ToyBatch
from tests.agents.real_machines import real_batch

KINDS = DecisionTable.constant("kinds", (("kind", (1, 2, 3, 4, 5, 6, 7)), ("cma_free_64ths", (1, 16, 32, 48))))


@decision
def _file_when_roomy(view, params):
    """A rule that the layout above can express exactly."""
    if view[View.KIND] == RequestKind.FILE and view[View.CMA_FREE_64THS] >= params[0]:
        return Action.CMA_FIRST
    return Action.NORMAL_ONLY


def test_a_known_rule_comes_out_exactly_where_it_was_asked() -> None:
    teacher = RuleTeacher(_file_when_roomy, np.array([16]))
    batch = real_batch("train", 4, max_decisions=None)
    table, votes = distill(teacher, batch, KINDS, DistillConfig(decisions=1200, rounds=2, num_envs=4))
    rule = np.array([_file_when_roomy(KINDS.view_of(cell), teacher.params) for cell in range(KINDS.nr_cells)])
    asked = votes.visits > 0
    assert asked.sum() >= 5
    assert np.array_equal(table.cells[asked], rule[asked])
    assert np.array_equal(table.visits, votes.visits)
    held_out = real_batch("select", 4, max_decisions=None)
    faithful = fidelity(teacher, table, votes, held_out, 400)
    assert faithful.agreement >= faithful.seen
    assert faithful.seen > 0.9
    gap = return_gap(teacher, table, held_out, range(2))
    assert gap.low <= gap.gap <= gap.high
    whole = replace(table, cells=rule.astype(table.cells.dtype))  # asked or not: then both play the same episodes
    assert return_gap(teacher, whole, held_out, range(2)).gap == 0.0


def test_a_constant_rule_makes_a_constant_table() -> None:
    teacher = RuleTeacher(get_system("cma_first").decide)
    table, votes = distill(teacher, ToyBatch("train", 4), KINDS, DistillConfig(decisions=200, rounds=1))
    seen_kinds = {KINDS.bins_of(cell)[0] for cell in np.flatnonzero(votes.visits)}
    assert seen_kinds == {0, 1, 2}
    for cell in range(KINDS.nr_cells):
        if KINDS.bins_of(cell)[0] in seen_kinds:
            assert table.cells[cell] == Action.CMA_FIRST


def test_every_question_is_one_vote() -> None:
    votes = collect(RuleTeacher(get_system("cma_first").decide), _fresh(), KINDS, 100)
    assert votes.visits.sum() == votes.counts.sum() == 100
    assert votes.weights.sum() == pytest.approx(100)


def test_the_student_drives_and_the_teacher_speaks() -> None:
    teacher = RuleTeacher(get_system("cma_first").decide)
    batch = _fresh()
    student = KINDS.replace(cells=np.arange(KINDS.nr_cells) // 5 % 3)  # the toy's best answer: the kind itself
    votes = collect(teacher, batch, KINDS, 4 * 15, student=student)
    assert batch.rows["reward_sum"].tolist() == [0.0] * 4
    assert votes.counts[:, Action.CMA_FIRST].sum() == votes.counts.sum()


def _fresh() -> ToyBatch:
    batch = ToyBatch("train", 4)
    batch.reset(seeds=[0, 1, 2, 3])
    return batch


def test_weight_decides_and_a_tie_borrows_less() -> None:
    votes = Votes(np.zeros((KINDS.nr_cells, 3)), np.zeros((KINDS.nr_cells, 3), np.int64))
    votes.counts[0] = [5, 0, 1]
    votes.weights[0] = [0.5, 0.0, 2.0]
    votes.counts[1] = [0, 2, 2]
    votes.weights[1] = [0.0, 1.0, 1.0]
    cells = elect(KINDS, votes)
    assert cells[0] == Action.CMA_FIRST
    assert cells[1] == Action.NORMAL_FIRST
    assert votes.share[0] == pytest.approx([0.2, 0.0, 0.8])
    assert votes.share[2] == pytest.approx([0, 0, 0])


def test_cells_nobody_asked_follow_their_neighbours_or_the_safe_default() -> None:
    votes = Votes(np.zeros((KINDS.nr_cells, 3)), np.zeros((KINDS.nr_cells, 3), np.int64))
    grid = np.arange(KINDS.nr_cells).reshape(KINDS.shape)
    low, high = grid[RequestKind.FILE, 0], grid[RequestKind.FILE, 4]
    for cell, action in ((low, Action.NORMAL_ONLY), (high, Action.CMA_FIRST)):
        votes.counts[cell, action], votes.weights[cell, action] = 1, 1.0
    cells = elect(KINDS, votes).reshape(KINDS.shape)
    assert cells[RequestKind.FILE].tolist() == [0, 0, 0, 2, 2]  # in the middle both neighbours vote, and borrow less
    assert set(cells[RequestKind.BDEV]) == {Action.NORMAL_ONLY}
    assert set(cells[RequestKind.DRIVER]) == {Action.NORMAL_ONLY}
    assert set(cells[RequestKind.ANON]) == {Action.NORMAL_FIRST}


def test_a_network_weighs_its_votes_by_what_is_at_stake() -> None:
    layer = np.array([[4.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 8.0, 0]], np.float32)
    policy = NeuralPolicy(((layer, np.zeros(3, np.float32)),))
    batch = ToyBatch("train", 4)
    batch.reset(seeds=[0, 1, 2, 3])
    context = batch.obs[:, :3].argmax(axis=1)
    actions, weights = NeuralTeacher(policy).teach(batch)
    assert actions[context == 0].tolist() == [0] * int((context == 0).sum())
    assert weights[context == 0] == pytest.approx(4.0)
    assert weights[context == 1] == pytest.approx(0.0)
    assert weights[context == 2] == pytest.approx(8.0)
    masked, weights = NeuralTeacher(policy, masked=True, largest_weight=5.0).teach(batch)
    assert weights.max() <= 5.0
    assert np.isfinite(weights).all()


def test_the_interval_is_reproducible_and_holds_the_mean() -> None:
    differences = np.random.default_rng(3).normal(1.0, 2.0, 40)
    low, high = bootstrap_interval(differences)
    assert (low, high) == bootstrap_interval(differences)
    assert low < differences.mean() < high
    assert bootstrap_interval(np.zeros(5)) == (0.0, 0.0)
