"""From rows to what is printed: the ranking, success by workload, and paired differences to a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cma_gym.experiments import terminal
from cma_gym.experiments.figures.blame import MEDIANS, SUMS, held_up_by_system
from cma_gym.experiments.figures.statistics import Paired, against, mean

HIGHER_IS_BETTER = {"whole_success", "whole_first", "pieces_success", "pieces_first"}
"""Of every other metric less is better, or it is not a matter of better or worse."""
COST_WEIGHTS = {"stall_ms": 1.0, "swap_ms": 1.0, "refault_ms": 1.0, "kills": 1000.0}
"""What `cost_ms` adds up [ms]. A kill counts as a second, the assumption that the rewards of the environments make, too
(cma_gym/envs/reward.py): a cold start instead of a warm one when the user comes back."""
PAIRED = ("whole_success", "pieces_success", "cost_ms")
DEFAULT_BASELINE = "mainline_fallback"
SLOW = ("demand_lost_ms", "demand_writeback_ms", "demand_reclaim_ms")
"""Metrics that say why demands took long."""
HELD_UP_LINES = 4
"""Lines of a system in the table of who held demands up; JSON has all."""

_COLUMNS = (
    ("whole_success", "whole\narea %", 100.0),
    ("pieces_success", "9 pieces\n%", 100.0),
    ("demand_ms_p50", "demand\np50 ms", 1.0),
    ("demand_ms_p99", "demand\np99 ms", 1.0),
    ("stall_ms", "alloc\nstall ms", 1.0),
    ("swap_ms", "swap-in\nms", 1.0),
    ("refault_ms", "refault\nms", 1.0),
    ("kills", "kills", 1.0),
    ("cost_ms", "cost\nms", 1.0),
    ("cma_use", "CMA\nused %", 100.0),
)


def with_sums(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with two derived figures: `cost_ms` and `cma_use` (1 - cma_idle)."""
    idle = row.get("cma_idle")
    return {
        **row,
        "cost_ms": sum(weight * float(row.get(name, math.nan)) for name, weight in COST_WEIGHTS.items()),
        "cma_use": float("nan") if idle is None else 1.0 - float(idle),
    }


def ranking(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean figures of each system over all its rows, best first.

    Order: whole-area success, then success of the pieces, then cost (see `COST_WEIGHTS`).
    """
    by_system: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_system.setdefault(str(row["system"]), []).append(with_sums(row))
    metrics = [*(name for name, _, _ in _COLUMNS), "cma_idle"]
    entries = [
        {"system": system, "runs": len(own), **{name: mean(row.get(name) for row in own) for name in metrics}}
        for system, own in by_system.items()
    ]
    return sorted(entries, key=_order)


def _order(entry: Mapping[str, Any]) -> tuple[float, float, float, str]:
    whole, pieces, cost = (
        worst if math.isnan(entry[name]) else sign * entry[name]
        for name, sign, worst in (("whole_success", -1, 1.0), ("pieces_success", -1, 1.0), ("cost_ms", 1, math.inf))
    )
    return whole, pieces, cost, entry["system"]


def by_workload(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[str], dict[str, dict[str, float]]]:
    """The workloads in their order, and a metric's mean by system and workload."""
    workloads = list(dict.fromkeys(str(row["workload"]) for row in rows))
    found: dict[tuple[str, str], list[float | None]] = {}
    for row in rows:
        found.setdefault((str(row["system"]), str(row["workload"])), []).append(row.get(metric))
    systems = [str(entry["system"]) for entry in ranking(rows)]
    values = {
        system: {workload: mean(found.get((system, workload), ())) for workload in workloads} for system in systems
    }
    return workloads, values


def differences(rows: Sequence[Mapping[str, Any]], baseline: str) -> dict[str, dict[str, Paired]]:
    """Paired differences to the baseline: by metric of `PAIRED`, then by system."""
    full = [with_sums(row) for row in rows]
    return {metric: against(full, metric, baseline, metric in HIGHER_IS_BETTER) for metric in PAIRED}


def summary(rows: Sequence[Mapping[str, Any]], baseline: str) -> dict[str, Any]:
    """Everything that is printed, for programs."""
    workloads, whole = by_workload(rows, "whole_success")
    return {
        "ranking": ranking(rows),
        "whole_success_by_workload": whole,
        "workloads": workloads,
        "baseline": baseline,
        "held_up": held_up_by_system(rows),
        "paired": {
            metric: {system: asdict(entry) for system, entry in entries.items()}
            for metric, entries in differences(rows, baseline).items()
        },
    }


def choose_baseline(wanted: str | None, systems: Sequence[str]) -> str:
    """The baseline that was asked for, else the usual one, else the first system."""
    if wanted:
        return wanted
    return DEFAULT_BASELINE if DEFAULT_BASELINE in systems else systems[0]


# ---- tables ----------------------------------------------------------------------------------------------------------


def figure(value: float, digits: int = 1) -> str:
    """A number for a table: `-` for nan, thousands separated, no needless digits."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def ranking_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Column titles and cells of the ranking."""
    cells = [
        [f"{place} {entry['system']}", *(figure(scale * entry[name]) for name, _, scale in _COLUMNS)]
        for place, entry in enumerate(ranking(rows), 1)
    ]
    return ["system", *(title for _, title, _ in _COLUMNS)], cells


def workload_table(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[str], list[list[str]]]:
    """Column titles and cells of a share (in %) by system and workload."""
    workloads, values = by_workload(rows, metric)
    cells = [[system, *(figure(100 * own[name]) for name in workloads)] for system, own in values.items()]
    return ["system", *workloads], cells


def paired_table(rows: Sequence[Mapping[str, Any]], baseline: str) -> tuple[list[str], list[list[str]]]:
    """Column titles and cells of the paired differences."""
    found = differences(rows, baseline)
    titles = ["difference to\n" + baseline]
    for name in ("whole area, points", "9 pieces, points", "cost, ms"):
        titles += [f"{name}\nmean [95 %]", "IQM", "win/tie/loss"]
    cells = []
    for system in (entry["system"] for entry in ranking(rows) if entry["system"] != baseline):
        line = [system]
        for metric in PAIRED:
            scale = 100.0 if metric in HIGHER_IS_BETTER else 1.0
            line += _paired_cells(found[metric][system], scale)
        cells.append(line)
    return titles, cells


def _paired_cells(entry: Paired, scale: float) -> list[str]:
    if entry.pairs == 0:
        return ["-", "-", "-"]
    low, high = figure(scale * entry.low), figure(scale * entry.high)
    counts = f"{entry.wins}/{entry.ties}/{entry.losses}"
    return [f"{scale * entry.mean:+,.1f} [{low}, {high}]", figure(scale * entry.iqm), counts]


def held_up_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Column titles and cells: for each system what cost its demands most; no cells if nothing did."""
    found = held_up_by_system(rows)
    cells = []
    for system in (entry["system"] for entry in ranking(rows)):
        for place, entry in enumerate(found[system][:HELD_UP_LINES]):
            names = [system if place == 0 else "", entry["kind"], entry["holder"], entry["owner"] or "-"]
            cells.append([*names, *(figure(entry[name]) for name in (*SUMS, *MEDIANS))])
    figures = ["pages\na run", "tries\nfailed", "delay\nms", "age\nms", "held\nms", "still\nheld ms"]
    return ["system", "kind", "held by", "owner", *figures], cells


def slow_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Column titles and cells: where the time of demands went, mean ms per run; no cells if it was not noted."""
    own: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        own.setdefault(str(row["system"]), []).append(row)
    cells = [
        [entry["system"], *(figure(mean(row.get(name) for row in own[entry["system"]])) for name in SLOW)]
        for entry in ranking(rows)
    ]
    titles = ["system", "lost to\nfailed tries", "waiting for\nwriteback", "reclaiming\nroom"]
    return titles, cells if any(name in row for row in rows for name in SLOW) else []


def show(rows: Sequence[Mapping[str, Any]], baseline: str, title: str) -> None:
    """Print the ranking, success by workload where there are several, who held demands up, and paired differences."""
    terminal.table(title, *ranking_table(rows))
    if len({row["workload"] for row in rows}) > 1:
        terminal.console.print()
        terminal.table("Whole-area success by workload [%]", *workload_table(rows, "whole_success"))
    titles, cells = held_up_table(rows)
    if cells:
        terminal.console.print()
        terminal.table("Who held demands up, means per run", titles, cells, text=(0, 1, 2, 3))
    titles, cells = slow_table(rows)
    if cells:
        terminal.console.print()
        terminal.table("Where the time of demands went, ms per run", titles, cells)
    systems = {row["system"] for row in rows}
    if baseline in systems and len(systems) > 1:
        terminal.console.print()
        pairs = len({(row["workload"], row["seed"]) for row in rows})
        terminal.table(f"Paired differences to {baseline} over {pairs} pairs", *paired_table(rows, baseline))
