"""A small decision tree that says the same as a table, for people to read.

The tree asks about features in their own words: a kind of request is one of a set, a level is below or from an integer.
Cells that do not matter are left out when it is fitted, and it is compared with the table on every cell that does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cma_gym.machine.view import FEATURES, Scale
from cma_gym.mm.mmzone import Action
from cma_gym.policies.tables.table import VALUE_NAMES, DecisionTable, TableFeature

_OF_VIEW = {feature.name: feature for feature in FEATURES}


class TreeConfig(BaseModel):
    """How large the tree may be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_leaves: int = Field(default=32, ge=2)
    """The smallest tree that repeats the table exactly is taken; if none has so few leaves, the best of this size."""


@dataclass(frozen=True)
class Question:
    """What one column of the fitted matrix means: a yes-or-no question about one feature."""

    text: str
    yes: np.ndarray
    """bool[nr_cells]: the answer for each cell."""


@dataclass(frozen=True)
class Node:
    """A leaf, or a question with what follows from yes and from no."""

    action: int
    """Of a leaf; the most common action below an inner node."""
    question: Question | None = None
    yes: Node | None = None
    no: Node | None = None

    @property
    def leaves(self) -> int:
        """Leaves from here down."""
        return 1 if self.yes is None or self.no is None else self.yes.leaves + self.no.leaves

    @property
    def depth(self) -> int:
        """Questions on the longest way down."""
        return 0 if self.yes is None or self.no is None else 1 + max(self.yes.depth, self.no.depth)

    def answers(self, nr_cells: int) -> np.ndarray:
        """The action in every cell, uint8 [nr_cells]."""
        if self.question is None or self.yes is None or self.no is None:
            return np.full(nr_cells, self.action, np.uint8)
        return np.where(self.question.yes, self.yes.answers(nr_cells), self.no.answers(nr_cells)).astype(np.uint8)


@dataclass(frozen=True)
class Tree:
    """A tree fitted to a table."""

    root: Node
    cells: np.ndarray
    """uint8[nr_cells]: what it answers in every cell, those that do not matter included."""
    care: int
    """Cells compared: all that matter."""
    wrong: int
    """Cells among them where it says something else than the table."""

    @property
    def exact(self) -> bool:
        """Whether it says the same as the table wherever that matters."""
        return self.wrong == 0

    def to_text(self) -> str:
        """The rules as an indented list, which is also Markdown."""
        return "\n".join(_lines(self.root, 0)) + "\n"

    def to_markdown(self, title: str) -> str:
        """A page: what it is, how good it is, the rules."""
        verdict = "in every one" if self.exact else f"in {self.care - self.wrong} of them"
        return (
            f"# {title}\n\n{self.root.leaves} leaves, depth {self.root.depth}. The table has {len(self.cells)} cells, "
            f"of which {self.care} matter; the tree gives the table's action {verdict}.\n\n{self.to_text()}"
        )


def fit_tree(table: DecisionTable, config: TreeConfig | None = None) -> Tree:
    """The smallest tree found that repeats a table; cells in `table.dont_care` may come out either way.

    Frequently visited cells (`table.visits`) weigh more where the size does not allow for all.
    """
    config = config or TreeConfig()
    care = np.ones(table.nr_cells, bool) if table.dont_care is None else ~table.dont_care
    if not care.any():
        care = ~care  # nothing matters; then the table itself is as good a guide as any
    weights = np.ones(table.nr_cells) if table.visits is None else 1.0 + np.log1p(table.visits)
    questions = _questions(table)
    matrix = np.array([question.yes for question in questions], np.float32).T[care]
    best: Tree | None = None
    for leaves in range(2, config.max_leaves + 1):
        model = _fit(matrix, table.cells[care], weights[care], leaves)
        root = _node(model, 0, questions)
        cells = root.answers(table.nr_cells)
        wrong = int((cells != table.cells)[care].sum())
        if best is None or wrong < best.wrong:
            best = Tree(root, cells, int(care.sum()), wrong)
        if wrong == 0 or model.get_n_leaves() < leaves:
            break
    assert best is not None
    return best


def _fit(matrix: np.ndarray, actions: np.ndarray, weights: np.ndarray, leaves: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_leaf_nodes=leaves, criterion="entropy", random_state=0)
    return model.fit(matrix, actions, sample_weight=weights)


def _questions(table: DecisionTable) -> list[Question]:
    """All questions about the features of a table, and the answer of each cell."""
    bins = np.unravel_index(np.arange(table.nr_cells), table.shape)
    questions = []
    for feature, which in zip(table.features, bins, strict=True):
        if _names_things(feature):
            texts = [_member_text(feature, value) for value in range(feature.nr_bins)]
            questions += [Question(text, which == value) for value, text in enumerate(texts)]
        else:
            texts = [_level_text(feature, edge) for edge in feature.edges]
            questions += [Question(text, which > k) for k, text in enumerate(texts)]
    return questions


def _names_things(feature: TableFeature) -> bool:
    """Whether each bin of the feature holds one member of an enumeration, so that order means nothing."""
    of_view = _OF_VIEW[feature.name]
    return of_view.scale == Scale.ONE_HOT and feature.edges == tuple(range(1, of_view.high + 1))


def _member_text(feature: TableFeature, value: int) -> str:
    return f"{feature.name} is {VALUE_NAMES[feature.name](value).name}"


def _level_text(feature: TableFeature, edge: int) -> str:
    if _OF_VIEW[feature.name].high == 1:
        return feature.name
    names = VALUE_NAMES.get(feature.name)
    return f"{feature.name} >= {names(edge).name if names else edge}"


def _node(model: Any, at: int, questions: list[Question]) -> Node:
    """The fitted tree from one node down, without questions that lead to the same action either way."""
    fitted = model.tree_
    action = int(model.classes_[fitted.value[at, 0].argmax()])
    if fitted.children_left[at] < 0:
        return Node(action)
    no = _node(model, int(fitted.children_left[at]), questions)
    yes = _node(model, int(fitted.children_right[at]), questions)
    if yes.question is None and no.question is None and yes.action == no.action:
        return yes
    return Node(action, questions[int(fitted.feature[at])], yes, no)


def _lines(node: Node, depth: int) -> list[str]:
    indent = "  " * depth
    if node.question is None:
        return [f"{indent}- {Action(node.action).name}"]
    assert node.yes is not None and node.no is not None
    lines = []
    for word, below in (("if", node.yes), ("else", node.no)):
        head = f"{indent}- if {node.question.text}" if word == "if" else f"{indent}- else"
        if below.question is None:
            lines.append(f"{head}: {Action(below.action).name}")
        else:
            lines += [f"{head}:", *_lines(below, depth + 1)]
    return lines
