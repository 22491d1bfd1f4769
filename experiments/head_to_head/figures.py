"""The figures of the head-to-head page for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cma_gym.experiments.figures.ranking import ranking
from cma_gym.experiments.head_to_head.contrast import Finding, findings
from cma_gym.experiments.head_to_head.questions import contrasts
from cma_gym.experiments.head_to_head.sections import Page
from cma_gym.experiments.head_to_head.tables import front


def figures(page: Page) -> dict[str, Any]:
    """`ranking`, `fronts` (by price), and `questions`: one entry a contrast and measure."""
    rows = page.main.rows
    entries = []
    for question, contrast in contrasts():
        given = page.pool_of(contrast)
        for entry in findings(given.only(question.families), contrast) if given else []:
            entries.append({"question": question.name, "runs": given.name if given else "", **plain(entry)})
    return {
        "ranking": ranking(rows),
        "fronts": {price: front(rows, price) for price in ("cost_ms", "cma_idle")},
        "questions": entries,
    }


def plain(entry: Finding) -> dict[str, Any]:
    """A finding in JSON's types, in the metric's own unit."""
    return {
        "ours": entry.contrast.ours,
        "theirs": entry.contrast.theirs,
        "metric": entry.measure.metric,
        "direction": entry.direction.value,
        "ours_level": asdict(entry.ours),
        "theirs_level": asdict(entry.theirs),
        "paired": asdict(entry.paired),
    }
