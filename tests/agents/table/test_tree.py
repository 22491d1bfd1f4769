"""A tree says what its table says, in words."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.agents.table.starts import known_tables
from cma_gym.agents.table.tree import Node, TreeConfig, fit_tree
from cma_gym.machine.view import FEATURES
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.tables.table import DecisionTable

TEMPLATE = DecisionTable.constant("full")


@pytest.mark.parametrize("name", sorted(known_tables(TEMPLATE)))
def test_known_rules_become_small_exact_trees(name: str) -> None:
    table = TEMPLATE.replace(cells=known_tables(TEMPLATE)[name])
    tree = fit_tree(table)
    assert tree.exact
    assert tree.care == table.nr_cells
    assert tree.root.leaves <= 9
    assert np.array_equal(tree.cells, table.cells)


@pytest.mark.parametrize("seed", range(3))
def test_any_table_is_repeated_on_every_cell_that_matters_if_the_size_allows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = TEMPLATE.nr_cells
    table = TEMPLATE.replace(cells=rng.integers(0, 3, n), dont_care=rng.random(n) < 0.97)
    tree = fit_tree(table, TreeConfig(max_leaves=200))
    care = ~table.dont_care
    assert tree.exact
    assert tree.care == care.sum()
    assert np.array_equal(tree.cells[care], table.cells[care])


def test_a_tree_that_is_too_small_says_so() -> None:
    cells = np.random.default_rng(0).integers(0, 3, TEMPLATE.nr_cells)
    tree = fit_tree(TEMPLATE.replace(cells=cells), TreeConfig(max_leaves=4))
    assert tree.root.leaves <= 4
    assert not tree.exact
    assert tree.wrong == (tree.cells != cells).sum()
    assert f"in {tree.care - tree.wrong} of them" in tree.to_markdown("Rule")


def test_the_printed_rules_are_the_tree() -> None:
    cells = known_tables(TEMPLATE)["likely_to_move_unless_busy"].copy()
    level = [feature.name for feature in TEMPLATE.features].index("cma_free_64ths")
    bins = np.array(np.unravel_index(np.arange(TEMPLATE.nr_cells), TEMPLATE.shape))
    cells[bins[level] < 2] = Action.NORMAL_FIRST
    tree = fit_tree(TEMPLATE.replace(cells=cells))
    assert tree.exact
    text = tree.to_text()
    assert "cma_free_64ths >= 12" in text
    assert text.startswith("- if ")
    rng = np.random.default_rng(1)
    for _ in range(300):
        view = rng.integers(0, [min(feature.high, 70) + 1 for feature in FEATURES])
        assert read_rules(text, view) == cells[TEMPLATE.cell_index(view)]


def read_rules(text: str, view: np.ndarray) -> int:
    """What a person would answer who reads the printed rules from the top."""
    values = {feature.name: int(value) for feature, value in zip(FEATURES, view, strict=True)}
    depth = 0
    skip: int | None = None
    for line in text.splitlines():
        indent = (len(line) - len(line.lstrip())) // 2
        if skip is not None and indent > skip:
            continue
        skip = None
        if indent != depth:
            continue
        rule, _, action = line.strip().removeprefix("- ").partition(":")
        if rule.startswith("if ") and not holds(rule[3:], values):
            skip = indent
            continue
        if action:
            return Action[action.strip()]
        depth += 1
    raise AssertionError("the rules end without an answer")


def holds(question: str, values: dict[str, int]) -> bool:
    words = question.split()
    if len(words) == 1:
        return values[words[0]] == 1
    if words[1] == "is":
        return values[words[0]] == RequestKind[words[2]]
    known = {"BACKGROUND": 2}
    return values[words[0]] >= (known.get(words[2]) or int(words[2]))


def test_nothing_that_matters_is_one_leaf_or_exact() -> None:
    table = TEMPLATE.replace(cells=np.ones(TEMPLATE.nr_cells, int), dont_care=np.ones(TEMPLATE.nr_cells, bool))
    tree = fit_tree(table)
    assert tree.root == Node(1)
    assert tree.to_text() == "- NORMAL_FIRST\n"
