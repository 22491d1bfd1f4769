"""How the answers move when one assumption is changed at a time: rows of configs/suites/sensitivity.yaml.

A varied scenario is called after the one it varies, with a hyphen and what was changed behind it
(experiments/suite.py), so that the rows alone tell which is which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cma_gym.experiments.figures.ranking import figure, ranking
from cma_gym.experiments.head_to_head.contrast import (
    COST,
    WHOLE,
    Direction,
    Finding,
    Measure,
    Pool,
    Rows,
    family,
    finding,
    pool,
)
from cma_gym.experiments.head_to_head.questions import Contrast, Question
from cma_gym.experiments.head_to_head.words import code, listed, verdict

Table = tuple[list[str], list[list[str]]]

AS_ASSUMED = "as assumed"
NOT_LENDING = ("carve_out", "oracle")
"""Systems that are no placement rule one could choose instead."""


@dataclass(frozen=True)
class Variation:
    """Rows of one changed assumption, and the rows of the same scenarios without the change."""

    name: str
    scenarios: tuple[str, ...]
    """Labels of the scenarios that were varied."""
    rows: Rows
    base: Rows


class Sensitivity:
    """Rows of one-at-a-time variations."""

    def __init__(self, rows: Rows) -> None:
        self.rows = pool("sensitivity", rows).rows

    @cached_property
    def _bases(self) -> list[str]:
        labels = {str(row["workload"]) for row in self.rows}
        shorter = sorted(labels, key=len)
        return [name for name in shorter if not any(name.startswith(f"{base}-") for base in shorter if base != name)]

    def _base_of(self, label: str) -> str:
        return next(base for base in self._bases if label == base or label.startswith(f"{base}-"))

    @property
    def unvaried(self) -> Pool:
        """The runs under the assumptions as they are."""
        return Pool("sensitivity runs", self.base)

    @cached_property
    def base(self) -> list[Mapping[str, Any]]:
        """Rows under the assumptions as they are."""
        return [row for row in self.rows if row["workload"] in self._bases]

    @cached_property
    def variations(self) -> list[Variation]:
        """Every variation, in the order of the rows."""
        found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
        for row in self.rows:
            label = str(row["workload"])
            base = self._base_of(label)
            if label != base:
                name = label.removeprefix(f"{base}-")
                found.setdefault(name, {}).setdefault(base, []).append({**row, "workload": base})
        return [
            Variation(
                name,
                tuple(own),
                [row for rows in own.values() for row in rows],
                [row for row in self.base if row["workload"] in own],
            )
            for name, own in found.items()
        ]

    def table(self, pairs: Sequence[tuple[Question, Contrast]], measure: Measure = WHOLE) -> Table:
        """A line a variation: the best rules, and the difference of each contrast; what was assumed before its own."""
        titles = ["assumption", "scenarios", "best rules, whole area %"]
        titles += [f"{code(c.ours)} - {code(c.theirs)}" for _, c in pairs]
        cells: list[list[str]] = []
        said: tuple[str, ...] = ()
        for variation in sorted(self.variations, key=lambda entry: -len(entry.scenarios)):
            if variation.scenarios != said:
                cells.append(_line(AS_ASSUMED, variation.scenarios, variation.base, pairs, measure))
                said = variation.scenarios
            cells.append(_line(variation.name, variation.scenarios, variation.rows, pairs, measure))
        return titles, cells

    def changes(self, question: Question, contrast: Contrast, measure: Measure = WHOLE) -> dict[str, list[str]]:
        """The variations by what they do to a contrast's verdict: same, turned, lost, new; empty if it was not run."""
        groups: dict[str, list[str]] = {}
        for variation in self.variations:
            before, after = (
                finding(_asked(rows, question), contrast, measure) for rows in (variation.base, variation.rows)
            )
            kind = change(before.direction, after.direction)
            if kind:
                ahead = {Direction.AHEAD: contrast.ours, Direction.BEHIND: contrast.theirs}.get(after.direction, "")
                words = f" ({code(ahead)} is {measure.better})" if kind in ("turned", "new") else ""
                groups.setdefault(kind, []).append(variation.name + words)
        return groups

    def kept(self, question: Question, contrast: Contrast) -> str:
        """A sentence on whether a contrast's verdict stays; empty where it was not among the runs."""
        groups = self.changes(question, contrast)
        if not groups:
            return ""
        parts = [f"Sensitivity: the verdict on whole-area success stays in {_stays(groups)} variations"]
        parts += [f"{words} with {listed(groups[kind])}" for kind, words in _CHANGES.items() if kind in groups]
        return "; ".join(parts) + "."

    def kept_table(self, pairs: Sequence[tuple[Question, Contrast]]) -> Table:
        """A line a contrast: its verdict, where it stays, and with what it does not."""
        base = self.base
        cells = []
        for question, contrast in pairs:
            groups, costs = (self.changes(question, contrast, measure) for measure in (WHOLE, COST))
            if groups:
                words = verdict(finding(_asked(base, question), contrast, WHOLE))
                others = ["; ".join(groups.get(kind, [])) for kind in _CHANGES]
                pair = f"{code(contrast.ours)} - {code(contrast.theirs)}"
                cells.append([pair, words, _stays(groups), *others, _stays(costs)])
        return [
            "",
            "as assumed",
            "stays in",
            "turns round",
            "no longer told",
            "told only with",
            "cost: stays in",
        ], cells

    def systems_table(self) -> Table:
        """Whole-area success by variation and system [%]."""
        systems = [entry["system"] for entry in ranking(self.base)]
        lines = [[AS_ASSUMED, *_levels(self.base, systems)]]
        lines += [[variation.name, *_levels(variation.rows, systems)] for variation in self.variations]
        return ["assumption", *map(code, systems)], lines


def change(before: Direction, after: Direction) -> str:
    """What became of a direction: same, lost, turned, new (told only now); empty where a side is missing."""
    decided = (Direction.AHEAD, Direction.BEHIND)
    if Direction.MISSING in (before, after):
        return ""
    if before in decided:
        return "same" if after is before else "turned" if after in decided else "lost"
    return "new" if after in decided else "same"


_CHANGES = {"turned": "it turns round", "lost": "it is no longer told", "new": "a difference is told only"}


def _stays(groups: Mapping[str, Sequence[str]]) -> str:
    return f"{len(groups.get('same', ()))} of {sum(len(names) for names in groups.values())}"


def _line(
    name: str,
    scenarios: Sequence[str],
    rows: Rows,
    pairs: Sequence[tuple[Question, Contrast]],
    measure: Measure,
) -> list[str]:
    from cma_gym.experiments.head_to_head.tables import short

    found: list[Finding] = [finding(_asked(rows, question), contrast, measure) for question, contrast in pairs]
    return [name, " ".join(scenarios), best(rows), *(short(entry) for entry in found)]


def best(rows: Rows, count: int = 2) -> str:
    """The best rules by whole-area success, then by cost."""
    entries = [entry for entry in ranking(rows) if entry["system"] not in NOT_LENDING]
    return ", ".join(f"{code(entry['system'])} {figure(100 * entry['whole_success'])}" for entry in entries[:count])


def _asked(rows: Rows, question: Question) -> Rows:
    return [row for row in rows if not question.families or family(row) in question.families]


def _levels(rows: Rows, systems: Sequence[str]) -> list[str]:
    values = {entry["system"]: entry["whole_success"] for entry in ranking(rows)}
    return [figure(100 * values.get(system, float("nan"))) for system in systems]
