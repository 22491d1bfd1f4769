"""The figures of a suite: by scenario, paired differences, Pareto fronts, and whether twins agree with full size.

Keys of the JSON, which stay: `suite`, `split`, `baseline`, `systems`, `bounds` (those of them that are clairvoyant;
they are on no front);
`scenarios.LABEL`: `use`, `at`, `vary`, `tests`, `group`, `seeds`, `measures`, `ranking` (as in compare --json),
`paired.METRIC.SYSTEM` (pairs, mean, low, high, iqm, wins, ties, losses), `fronts.MEASURE.COST` (systems);
`groups.GROUP`: `scenarios`, `paired`, `fronts.MEASURE.COST.SYSTEM` (in how many scenarios it is on the front);
`agreement`: a list of `full`, `twin`, `measure`, `systems`, `rank_correlation`, `alike`, `opposite`, `tied`,
`share_alike`, `clear_alike`, `clear_opposite`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cma_gym.experiments.fidelity.measured.order import rank_correlation
from cma_gym.experiments.figures.ranking import HIGHER_IS_BETTER, PAIRED, differences, ranking, with_sums
from cma_gym.experiments.figures.statistics import TAILS, by_pair, resampled_means
from cma_gym.experiments.suites.suite import Scenario, Suite

COSTS = ("cost_ms", "cma_idle")
"""What success is bought with: what users feel, and memory that lies idle."""
GROUPS = {"full": "full size", "twin": "twins", "other": "other machines"}
SAME = 1e-9
"""Differences of means below this are no differences."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Agreement:
    """Whether a twin puts the systems in the order that the full size puts them in, by one metric."""

    systems: int
    rank_correlation: float
    """Spearman's, of means over seeds; nan where all systems are equal."""
    alike: int
    """Pairs of systems in the same order."""
    opposite: int
    tied: int
    """Pairs that are equal on at least one of the machines."""
    share_alike: float
    """Of the pairs that are not tied."""
    clear_alike: int
    """Of `alike`: pairs whose difference is beyond chance on both (bootstrap interval over seeds without zero)."""
    clear_opposite: int


def group_of(suite: Suite, scenario: Scenario) -> str:
    """`twin`, `full` (of a twin), or `other`."""
    twins = suite.config.twins
    return "twin" if scenario.at in twins else "full" if scenario.at in twins.values() else "other"


def by_scenario(rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """Rows by scenario, with their sums."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["workload"]), []).append(with_sums(row))
    return found


def suite_figures(suite: Suite, rows: Rows, baseline: str) -> dict[str, Any]:
    """Everything that is printed, for programs; see the module's first lines for the keys."""
    own = by_scenario(rows)
    beyond = bounds(rows)
    scenarios = {
        label: _scenario_figures(suite, suite.by_label[label], found, baseline, beyond) for label, found in own.items()
    }
    return {
        "suite": suite.config.name,
        "split": suite.config.split,
        "baseline": baseline,
        "systems": list(dict.fromkeys(str(row["system"]) for row in rows)),
        "bounds": beyond,
        "scenarios": scenarios,
        "groups": {group: _group_figures(group, scenarios, own, baseline) for group in groups(suite)},
        "agreement": [
            {"full": full.label, "twin": twin.label, "measure": metric, **asdict(agreement(own, full, twin, metric))}
            for full, twin in suite.twin_pairs()
            for metric in (*full.measures, *COSTS)
        ],
    }


def bounds(rows: Rows) -> list[str]:
    """Systems that no kernel can have, since they see the workload before it runs."""
    from cma_gym.policies.registry import systems

    clairvoyant = {name for name, entry in systems().items() if entry.foresee is not None}
    return list(dict.fromkeys(str(row["system"]) for row in rows if row.get("policy") in clairvoyant))


def groups(suite: Suite) -> list[str]:
    """The groups that the suite's scenarios are of."""
    present = {group_of(suite, scenario) for scenario in suite.scenarios}
    return [group for group in GROUPS if group in present]


def _scenario_figures(
    suite: Suite, scenario: Scenario, rows: Rows, baseline: str, beyond: Collection[str]
) -> dict[str, Any]:
    entries = ranking(rows)
    real = [entry for entry in entries if entry["system"] not in beyond]
    return {
        **{name: getattr(scenario, name) for name in ("use", "at", "vary", "tests")},
        "group": group_of(suite, scenario),
        "seeds": len(scenario.seeds),
        "measures": scenario.measures,
        "ranking": entries,
        "paired": paired_figures(rows, baseline),
        "fronts": {
            measure: {cost: pareto_front(real, measure, cost) for cost in COSTS} for measure in scenario.measures
        },
    }


def _group_figures(
    group: str, scenarios: Mapping[str, Mapping[str, Any]], own: Mapping[str, Rows], baseline: str
) -> dict[str, Any]:
    members = {label: entry for label, entry in scenarios.items() if entry["group"] == group}
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for entry in members.values():
        for measure, fronts in entry["fronts"].items():
            for cost, systems in fronts.items():
                own_counts = counts.setdefault(measure, {}).setdefault(cost, {})
                for system in systems:
                    own_counts[system] = own_counts.get(system, 0) + 1
    rows = [row for label in members for row in own[label]]
    return {"scenarios": list(members), "paired": paired_figures(rows, baseline), "fronts": counts}


def paired_figures(rows: Rows, baseline: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Paired differences to the baseline by metric and system, as plain figures."""
    found = differences(rows, baseline)
    return {metric: {name: asdict(entry) for name, entry in found[metric].items()} for metric in PAIRED}


def pareto_front(entries: Rows, measure: str, cost: str) -> list[str]:
    """Systems that no other beats: at least as good in both and better in one; equal ones are all on the front."""
    points = [(str(e["system"]), _better(e, measure), _better(e, cost)) for e in entries]
    points = [point for point in points if not math.isnan(point[1] + point[2])]
    return [
        name
        for name, success, saved in points
        if not any(s >= success and c >= saved and (s > success or c > saved) for _, s, c in points)
    ]


def _better(entry: Mapping[str, Any], metric: str) -> float:
    """A metric turned so that more is better."""
    value = float(entry[metric])
    return value if metric in HIGHER_IS_BETTER else -value


def agreement(own: Mapping[str, Rows], full: Scenario, twin: Scenario, metric: str) -> Agreement:
    """Compare the order of the systems on a machine and on its twin.

    Args:
        own: rows by scenario, as `by_scenario` gives them.
        full: scenario on the machine.
        twin: the same scenario on its twin.
        metric: what systems are ordered by.
    """
    values = [_by_system(own.get(scenario.label, ()), metric) for scenario in (full, twin)]
    common = [system for system in values[0] if system in values[1]]
    large, small = (np.array([found[system] for system in common]) for found in values)
    signs = [_signs(samples) for samples in (large, small)] if len(common) > 1 else []
    alike = opposite = tied = clear_alike = clear_opposite = 0
    for (order, sure), (twin_order, twin_sure) in zip(*signs, strict=True) if signs else ():
        clear = sure and twin_sure
        alike += order * twin_order > 0
        opposite += order * twin_order < 0
        tied += order * twin_order == 0
        clear_alike += clear and order * twin_order > 0
        clear_opposite += clear and order * twin_order < 0
    return Agreement(
        systems=len(common),
        rank_correlation=rank_correlation(*([float(v.mean()) for v in side] for side in (large, small))),
        alike=alike,
        opposite=opposite,
        tied=tied,
        share_alike=alike / (alike + opposite) if alike + opposite else math.nan,
        clear_alike=clear_alike,
        clear_opposite=clear_opposite,
    )


def _by_system(rows: Rows, metric: str) -> dict[str, list[float]]:
    """A metric's values over the seeds that all systems have, of systems that have a value for each."""
    found = {system: {key[1]: value for key, value in pairs.items()} for system, pairs in by_pair(rows, metric).items()}
    seeds = sorted(set.intersection(*(set(values) for values in found.values()))) if found else []
    kept = {system: [values[seed] for seed in seeds] for system, values in found.items()}
    return {system: values for system, values in kept.items() if seeds and not math.isnan(sum(values))}


def _signs(samples: np.ndarray) -> list[tuple[int, bool]]:
    """For every pair of systems: which has the larger mean (-1, 0, 1), and whether that is beyond chance."""
    means, again = samples.mean(axis=1), resampled_means(samples)
    found = []
    for one, other in itertools.combinations(range(len(samples)), 2):
        difference = means[one] - means[other]
        low, high = np.quantile(again[one] - again[other], TAILS)
        sign = 0 if abs(difference) < SAME else 1 if difference > 0 else -1
        found.append((sign, bool(low > SAME or high < -SAME) and samples.shape[1] > 1))
    return found
