"""The tables of the measured ranking, for the screen and for the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cma_gym.experiments.fidelity.measured.demands import SYSTEMS, Demand
from cma_gym.experiments.fidelity.measured.model import Row
from cma_gym.experiments.fidelity.measured.order import MEASURES, POOLED, Pair, Share, labels, select, share
from cma_gym.experiments.fidelity.measured.tradeoff import Sign, swapped

Table = tuple[list[str], list[list[str]]]
"""Titles and lines."""
KINDS = {"whole": True, "pieces": False}
VOLUMES = {"swapped out": "vm_pswpout", "swapped in": "vm_pswpin", "file refaults": "vm_workingset_refault_file"}
"""Counts of a run that are set beside the measured ones."""


def policies(measured: Sequence[Demand]) -> list[int]:
    """Numbers of the policies that were measured."""
    return sorted({demand.policy for demand in measured})


def success_table(measured: Sequence[Demand], model: Sequence[Demand], kind: str) -> Table:
    """Success by policy, workload and measure, measured beside the model's [%]."""
    names = labels(measured)
    columns = ["policy", *(f"{name}\n{measure}" for name in names for measure in MEASURES)]
    lines = []
    for policy in policies(measured):
        line = [f"{policy} {SYSTEMS[policy]}"]
        for name in names:
            for measure in MEASURES:
                sides = [share(select(side, policy, name, KINDS[kind]), measure) for side in (measured, model)]
                line.append(" / ".join(_percent(side) for side in sides))
        lines.append(line)
    return columns, lines


def _percent(value: Share) -> str:
    return f"{100 * value.rate:.0f}" if value.tried else "-"


def pair_table(pairs: Sequence[Pair]) -> Table:
    """Pairs of policies with their successes on both sides."""
    lines = [
        [
            pair.workload,
            pair.measure,
            f"{pair.better} {SYSTEMS[pair.better]}",
            f"{pair.worse} {SYSTEMS[pair.worse]}",
            *(f"{side.ok}/{side.tried}" for side in (pair.measured_better, pair.measured_worse)),
            f"{pair.p:.3g}",
            *(f"{side.ok}/{side.tried}" for side in (pair.model_better, pair.model_worse)),
        ]
        for pair in pairs
    ]
    return ["workload", "tries", "better", "worse", "measured", "", "p", "model", ""], lines


def sign_table(signs: Sequence[Sign]) -> Table:
    """Statements of the trade-off with their figures."""
    words = {True: "yes", False: "no", None: "-"}
    lines = [
        [
            sign.statement,
            _figure(sign.measured),
            words[sign.holds_measured],
            _figure(sign.model),
            words[sign.holds_model],
        ]
        for sign in signs
    ]
    return ["statement", "measured", "holds", "model", "holds"], lines


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def volume_table(measured: Sequence[Demand], model: Sequence[Demand]) -> Table:
    """What was swapped and read again in a run, in the median over runs, measured beside the model's."""
    lines = []
    for name in [name for name in labels(measured) if name != POOLED]:
        for policy in policies(measured):
            sides = [select(side, policy, name) for side in (measured, model)]
            figures = [[swapped(side, policy, count) for side in sides] for count in VOLUMES.values()]
            if not math.isnan(sum(map(sum, figures))):
                pairs = [" / ".join(f"{value:,.0f}" for value in pair) for pair in figures]
                lines.append([f"{name} {policy} {SYSTEMS[policy]}", *pairs])
    return ["workload and policy", *VOLUMES], lines


def blame_table(rows: Sequence[Row]) -> Table:
    """Who held demands up in the model."""
    sums: dict[tuple[str, int, str], int] = {}
    for row in rows:
        for who, pages in row["blame"].items():
            key = (row["workload"], row["policy"], who)
            sums[key] = sums.get(key, 0) + pages
    order = sorted(sums, key=lambda key: (key[0], key[1], -sums[key]))
    return ["workload", "policy", "who", "pages"], [
        [workload, f"{policy} {SYSTEMS[policy]}", who, f"{sums[workload, policy, who]:,}"]
        for workload, policy, who in order
    ]
