"""Several replays in one table, and their section of docs/fidelity.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cma_gym.experiments.fidelity.published.section import number
from cma_gym.experiments.fidelity.recorded.sides import OCCUPANCY, Side
from cma_gym.experiments.fidelity.recorded.verdicts import (
    OCCUPANCY_AIM,
    SAME_OUTCOME_AIM,
    TOTALS,
    TOTALS_AIM,
    pairs,
    ratio,
    verdicts,
)
from cma_gym.experiments.verbs.report import markdown

COMMAND = "cma-gym replay TRACE ..."
SUMMARY_COLUMNS = ("recording", "first tries alike", "occupancy [points]", "pswpin", "pswpout", "pgscan", "pgsteal")
_NAMES = ("occupancy", "pswpin", "pswpout", "pgscan", "pgsteal")


@dataclass(frozen=True)
class Replay:
    """One recording and what the model made of it."""

    facts: dict[str, Any]
    """`recording`, `system` and `kernel`; see experiments/replay.py."""
    told: Side
    simulated: Side

    @property
    def name(self) -> str:
        """The recording's name."""
        return str(self.facts["recording"]["name"])

    def alike(self) -> tuple[int, int]:
        """Demands whose first try ended as it did, of how many."""
        both = pairs(self.told, self.simulated)
        return sum(other is not None and other.first_ok == outcome.first_ok for outcome, other in both), len(both)


def pooled(replays: Sequence[Replay]) -> float:
    """Share of all demands whose first try ended as it did; NaN without any."""
    alike, total = (sum(counts) for counts in zip(*(replay.alike() for replay in replays), strict=True))
    return alike / total if total else math.nan


def summary_rows(replays: Sequence[Replay]) -> list[list[str]]:
    """One row a recording, then all of them together; what misses its aim is marked."""
    rows = []
    for replay in replays:
        found = {verdict.aim: verdict for verdict in verdicts(replay.told, replay.simulated)}
        alike, total = replay.alike()
        cells = [replay.name, f"{alike} of {total}" + _mark(found["first_try"].met)]
        rows.append(cells + [number(found[name].value) + _mark(found[name].met) for name in _NAMES])
    alike, total = (sum(counts) for counts in zip(*(replay.alike() for replay in replays), strict=True))
    share = pooled(replays)
    cell = f"{alike} of {total}, {100 * share:.0f} %" if total else "-"
    return [*rows, ["all", cell + _mark(share >= SAME_OUTCOME_AIM), *[""] * len(_NAMES)]]


def _mark(met: bool) -> str:
    return "" if met else " MISSED"


def section(replays: Sequence[Replay]) -> str:
    """The recordings' part of the page."""
    head = [
        "## Recordings",
        "",
        "A machine is booted from each recording's start state, and the recorded demand replayed under the recorded",
        f"rule. Aims: at least {100 * SAME_OUTCOME_AIM:.0f} % of demands' first tries end alike; the occupancy of the",
        f"area by kind before each demand within {OCCUPANCY_AIM:.0f} percentage points (the largest difference is",
        f"shown); totals within a factor of {TOTALS_AIM:.0f} (simulated divided by recorded).",
        "",
        *_sources(replays),
        *markdown(SUMMARY_COLUMNS, summary_rows(replays)),
    ]
    return "\n".join([*head, *(line for replay in replays for line in _recording(replay))])


def _sources(replays: Sequence[Replay]) -> list[str]:
    if not any(replay.facts["refusals"] for replay in replays):
        return ["Nothing of what became of the recorded demands is an input.", ""]
    return [
        "No trace event tells which block-device pages the journal holds. Here it is taken from the pages that refused",
        "the recorded demands (`--refusals`), which is part of the outcome that the first column judges.",
        "",
    ]


def _recording(replay: Replay) -> list[str]:
    facts, told, simulated = replay.facts["recording"], replay.told, replay.simulated
    outcomes = [
        [outcome.tag, *(_outcome(side) for side in (outcome, other))] for outcome, other in pairs(told, simulated)
    ]
    found = {look.tag: look for look in simulated.looks}
    asked = {outcome.tag for outcome in told.outcomes}
    shares = [
        [look.tag, *(f"{look.occupancy[kind]:.1f} / {found[look.tag].occupancy[kind]:.1f}" for kind in OCCUPANCY)]
        for look in told.looks
        if look.tag in found and look.tag in asked
    ]
    totals = [(name, told.totals.get(name, 0), simulated.totals.get(name, 0)) for name in TOTALS]
    return [
        "",
        f"### {replay.name}",
        "",
        f"{facts['duration_s']:.1f} s of {facts['workload'] or 'a recording'} on {facts['ram_mb']} MB, "
        f"{facts['cma_pages'] // 256} MB of it CMA, policy {facts['policy']} ({replay.facts['system']}).",
        "",
        *markdown(("demand", "recorded", "simulated"), outcomes),
        "",
        *markdown(("area before [%], recorded / simulated", *OCCUPANCY), shares),
        "",
        *markdown(
            ("total", "recorded", "simulated", "ratio"),
            [[name, number(a), number(b), number(ratio(b, a))] for name, a, b in totals],
        ),
    ]


def _outcome(outcome: Any) -> str:
    if outcome is None:
        return "no such demand"
    blamed = sorted(outcome.blamed.items(), key=lambda item: -item[1])
    by = ", ".join(f"{kind} {count}" for kind, count in blamed)
    first = "first try ok" if outcome.first_ok else "first try failed"
    ended = "ok" if outcome.ok else f"failed after {outcome.tries}"
    return f"{first}, {ended}, {outcome.got} of {outcome.pieces}" + (f"; refused by {by}" if by else "")
