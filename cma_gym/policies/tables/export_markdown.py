"""A decision table as a page to read: what it looks at, and a grid of its answers for each kind of request."""

from __future__ import annotations

import itertools
import json

import numpy as np

from cma_gym.machine.view import FEATURES
from cma_gym.mm.mmzone import Action
from cma_gym.policies.tables.table import VALUE_NAMES, DecisionTable, TableFeature

LETTERS = {Action.NORMAL_ONLY: "-", Action.NORMAL_FIRST: "f", Action.CMA_FIRST: "C"}
DONT_CARE = "?"


def to_markdown(table: DecisionTable) -> str:
    """The table as Markdown text."""
    lines = [f"# Decision table `{table.name}`", "", _cell(table.summary) + ".", ""]
    lines += [*_summary(table), "", *_features(table), "", "## Answers", "", *_legend(table), ""]
    by_kind = next((at for at, feature in enumerate(table.features) if feature.name == "kind"), None)
    codes = _codes(table).reshape(table.shape)
    if by_kind is None:
        lines += _grid(table.features, codes)
    else:
        rest = tuple(feature for feature in table.features if feature.name != "kind")
        for which in range(table.shape[by_kind]):
            lines += [f"### {label(table.features[by_kind], which)}", ""]
            lines += [*_grid(rest, np.take(codes, which, axis=by_kind)), ""]
    return "\n".join(lines).rstrip() + "\n"


def label(feature: TableFeature, which: int) -> str:
    """A bin in words: names where the values have some, else its range."""
    low, high = feature.bounds(which)
    names = VALUE_NAMES.get(feature.name)
    if names is not None:
        return ", ".join(names(value).name for value in range(low, high + 1))
    if low == high:
        return str(low)
    return f"{low}+" if which == feature.nr_bins - 1 else f"{low}-{high}"


def _cell(text: str) -> str:
    """Text that cannot break a line or a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")


def _summary(table: DecisionTable) -> list[str]:
    counts = np.bincount(table.cells, minlength=len(Action))
    shares = ", ".join(f"{action.name} {counts[action]}" for action in Action)
    lines = [f"- {table.nr_cells} cells, {table.nr_bytes} bytes packed: {shares}."]
    if table.dont_care is not None:
        lines.append(f"- {int(table.dont_care.sum())} cells do not matter (tied in the evaluation).")
    if table.visits is not None:
        lines.append(f"- {int((table.visits > 0).sum())} cells were asked, {int(table.visits.sum())} times in all.")
    switches = ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.kernel.items())
    lines.append(f"- Kernel it runs with: {_cell(switches) or 'the profile as it is'}.")
    lines += [f"- {_cell(str(key))}: {_cell(json.dumps(value))}" for key, value in table.provenance.items()]
    return lines


def _features(table: DecisionTable) -> list[str]:
    lines = ["## What it looks at", "", "| feature | bins | unit | what | kernel counter |", "|---|---|---|---|---|"]
    for feature in table.features:
        known = FEATURES[feature.view_index]
        bins = "; ".join(label(feature, which) for which in range(feature.nr_bins))
        lines.append(
            f"| {feature.name} | {bins} | {known.unit} | {_cell(known.doc)} | {_cell(feature.kernel_source)} |"
        )
    return lines


def _legend(table: DecisionTable) -> list[str]:
    meanings = "`-` ordinary memory only, `f` CMA when ordinary free lists are empty, `C` CMA first"
    tied = f", `{DONT_CARE}` does not matter" if table.dont_care is not None else ""
    rest = [feature for feature in table.features if feature.name != "kind"]
    lines = [f"{meanings}{tied}."]
    if len(rest) >= 2:
        bins = ", ".join(label(rest[-1], which) for which in range(rest[-1].nr_bins))
        lines.append(f"The letters of a field stand for {rest[-1].name} = {bins}, from left to right.")
    return lines


def _codes(table: DecisionTable) -> np.ndarray:
    letters = np.array([LETTERS[action] for action in Action])[table.cells]
    return letters if table.dont_care is None else np.where(table.dont_care, DONT_CARE, letters)


def _grid(features: tuple[TableFeature, ...], codes: np.ndarray) -> list[str]:
    """Rows: all features but the last two; columns: the last but one; letters within a field: the last."""
    if not features:
        return [f"Always `{codes}`."]
    if len(features) == 1:
        head = [label(features[0], which) for which in range(features[0].nr_bins)]
        return _rows([features[0].name, *head], [["", *(f"`{code}`" for code in codes)]])
    *outer, across, _ = features
    head = [feature.name for feature in outer]
    head += [f"{across.name} {label(across, which)}" for which in range(across.nr_bins)]
    rows = []
    for which in itertools.product(*(range(feature.nr_bins) for feature in outer)):
        row = [label(feature, at) for feature, at in zip(outer, which, strict=True)]
        rows.append(row + [f"`{''.join(field)}`" for field in codes[which]])
    return _rows(head, rows)


def _rows(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
