"""Recorded beside simulated: what is compared, the aims, and the verdicts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from cma_gym.experiments.fidelity.recorded.sides import OCCUPANCY, Outcome, Side

SAME_OUTCOME_AIM = 0.8
"""Share of demands whose first try ends as it did."""
OCCUPANCY_AIM = 15.0
"""Largest difference of the area's occupancy by kind before a demand [percentage points]."""
TOTALS_AIM = 2.0
"""Largest factor between the totals."""
AIMED_TOTALS = ("pswpin", "pswpout", "pgscan", "pgsteal")
"""Totals that the last aim is about."""
TOTALS = (
    *AIMED_TOTALS,
    "pgscan_kswapd",
    "pgscan_direct",
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgsteal_anon",
    "pgsteal_file",
    "workingset_refault_anon",
    "workingset_refault_file",
    "pgactivate",
    "pgdeactivate",
    "pgmigrate_success",
    "pgmigrate_fail",
    "allocstall",
    "kswapd_wakes",
    "compact_stall",
    "compact_success",
    "compact_fail",
    "compact_migrate_scanned",
    "compact_free_scanned",
    "cma_alloc_success",
    "cma_alloc_fail",
)
"""Counters that both machines have."""
_FEW = 32
"""Totals of which both sides have fewer than a reclaim cluster are alike: a factor says nothing about them."""


@dataclass(frozen=True)
class Verdict:
    """One aim."""

    aim: str
    value: float
    met: bool
    text: str


def ratio(simulated: float, told: float) -> float:
    """Simulated by recorded; 1 where both are next to nothing, infinite where only the recorded one is 0."""
    if abs(simulated) < _FEW and abs(told) < _FEW:
        return 1.0
    return simulated / told if told else math.inf


def pairs(told: Side, simulated: Side) -> list[tuple[Outcome, Outcome | None]]:
    """Each recorded demand with the simulated one."""
    found = {outcome.tag: outcome for outcome in simulated.outcomes}
    return [(outcome, found.get(outcome.tag)) for outcome in told.outcomes]


def occupancy_rows(told: Side, simulated: Side) -> list[dict[str, Any]]:
    """Differences by demand and kind, the moments before demands only."""
    found = {look.tag: look for look in simulated.looks}
    asked = {outcome.tag for outcome in told.outcomes}
    rows = []
    for look in told.looks:
        other = found.get(look.tag)
        if other is None or look.tag not in asked:
            continue
        for kind in OCCUPANCY:
            recorded, got = look.occupancy[kind], other.occupancy[kind]
            rows.append(
                {"tag": look.tag, "kind": kind, "recorded": recorded, "simulated": got, "difference": got - recorded}
            )
    return rows


def verdicts(told: Side, simulated: Side) -> list[Verdict]:
    """The aims, met or not."""
    both = pairs(told, simulated)
    alike = sum(other is not None and other.first_ok == outcome.first_ok for outcome, other in both)
    share = alike / len(both) if both else math.nan
    text = f"{alike} of {len(both)} demands' first tries alike"
    found = [Verdict("first_try", share, share >= SAME_OUTCOME_AIM, text)]
    rows = occupancy_rows(told, simulated)
    worst = max(rows, key=lambda row: abs(row["difference"]), default=None)
    most = abs(worst["difference"]) if worst else math.nan
    where = f", {worst['kind']} before {worst['tag']}" if worst else ""
    found.append(Verdict("occupancy", most, most <= OCCUPANCY_AIM, f"at most {most:.1f} percentage points{where}"))
    for name in AIMED_TOTALS:
        value = ratio(simulated.totals.get(name, 0), told.totals.get(name, 0))
        met = 1 / TOTALS_AIM <= value <= TOTALS_AIM
        found.append(Verdict(name, value, met, f"{value:.2f} times the recorded {told.totals.get(name, 0):,}"))
    return found


def report(told: Side, simulated: Side) -> dict[str, Any]:
    """JSON-plain: see the keys in `experiments/replay.py`."""
    totals = {
        name: {
            "recorded": told.totals.get(name, 0),
            "simulated": simulated.totals.get(name, 0),
            "ratio": ratio(simulated.totals.get(name, 0), told.totals.get(name, 0)),
        }
        for name in TOTALS
    }
    demands = [
        {"tag": outcome.tag, "recorded": asdict(outcome), "simulated": asdict(other) if other else None}
        for outcome, other in pairs(told, simulated)
    ]
    found = {look.tag: look for look in simulated.looks}
    looks = [
        {"tag": look.tag, "recorded": _kept(look), "simulated": _kept(found[look.tag])}
        for look in told.looks
        if look.tag in found
    ]
    return {
        "demands": demands,
        "occupancy": occupancy_rows(told, simulated),
        "moments": looks,
        "totals": totals,
        "verdicts": [asdict(verdict) for verdict in verdicts(told, simulated)],
    }


def _kept(look: Any) -> dict[str, Any]:
    facts = asdict(look)
    facts["counters"] = {name: look.counters.get(name, 0) for name in TOTALS}
    return facts
