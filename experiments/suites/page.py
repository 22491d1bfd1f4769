"""What a suite's run shows and writes: tables on the screen, report.md with plots, figures for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.figures.ranking import figure, paired_table, ranking_table, workload_table
from cma_gym.experiments.suites.figures import COSTS, GROUPS
from cma_gym.experiments.suites.plots import NAMES, draw_suite
from cma_gym.experiments.suites.suite import Suite, duration_s
from cma_gym.experiments.verbs.report import markdown

Rows = Sequence[Mapping[str, Any]]
Figures = Mapping[str, Any]
RESULTS = "results.csv"
"""Name of the file of rows, beside the report."""
Table = tuple[list[str], list[list[str]]]


def show_suite(figures: Figures, rows: Rows) -> None:
    """Print success by scenario, paired differences, Pareto fronts, and the agreement of twins."""
    for title, table in _tables(figures, rows):
        if table[1]:
            terminal.table(title, *table)
            terminal.console.print()


def _tables(figures: Figures, rows: Rows) -> list[tuple[str, Table]]:
    """The tables that hold for more than one scenario, with their titles."""
    tables = []
    for group, name in GROUPS.items():
        labels = figures["groups"].get(group, {}).get("scenarios", ())
        own = [row for row in rows if row["workload"] in labels]
        for measure in ("whole_success", "pieces_success"):
            kept = [row for row in own if measure in figures["scenarios"][row["workload"]]["measures"]]
            if kept:
                tables.append((f"{_title(measure)}, {name}", workload_table(kept, measure)))
        if own:
            pairs = len({(row["workload"], row["seed"]) for row in own})
            title = f"Paired differences to {figures['baseline']} over {pairs} pairs, {name}"
            tables.append((title, paired_table(own, figures["baseline"])))
            tables.append((f"Scenarios in which a system is on the Pareto front, {name}", fronts_table(figures, group)))
    tables.append(("Do twins order the systems as the full size does?", agreement_table(figures)))
    return tables


def _title(metric: str) -> str:
    return NAMES[metric][:1].upper() + NAMES[metric][1:]


def fronts_table(figures: Figures, group: str) -> Table:
    """Column titles and cells: in how many scenarios of a group a system is on each front."""
    fronts = figures["groups"][group]["fronts"]
    columns = [(measure, cost) for measure in fronts for cost in COSTS]
    counts = {
        system: [fronts[measure][cost].get(system, 0) for measure, cost in columns] for system in figures["systems"]
    }
    kept = sorted((system for system in counts if any(counts[system])), key=lambda name: (-sum(counts[name]), name))
    titles = [f"{NAMES[measure].split(' [')[0]}\nagainst {NAMES[cost].split(' [')[0]}" for measure, cost in columns]
    return ["system", *titles], [[system, *map(str, counts[system])] for system in kept]


def agreement_table(figures: Figures) -> Table:
    """Column titles and cells: full size against twin, by scenario and metric."""
    titles = ["full size", "twin", "ordered by", "systems", "rank\ncorrelation", "pairs\nalike", "pairs\nopposite"]
    titles += ["pairs\ntied", "alike of\nuntied %", "beyond chance:\nalike", "opposite"]
    cells = [
        [
            *(entry["full"], entry["twin"], NAMES[entry["measure"]].split(" [")[0], str(entry["systems"])),
            figure(entry["rank_correlation"], 2),
            *(str(entry[name]) for name in ("alike", "opposite", "tied")),
            figure(100 * entry["share_alike"]),
            *(str(entry[name]) for name in ("clear_alike", "clear_opposite")),
        ]
        for entry in figures["agreement"]
    ]
    return titles, cells


def scenario_table(suite: Suite) -> Table:
    """Column titles and cells: what the scenarios are."""
    twins = {twin.label: full.label for full, twin in suite.twin_pairs()}
    cells = [
        [
            entry.label,
            *(entry.use, entry.at, ", ".join(entry.tests) or "its own", entry.vary or "-"),
            *(figure(duration_s(entry), 0), str(len(entry.seeds)), twins.get(entry.label, "-")),
        ]
        for entry in suite.scenarios
    ]
    return ["scenario", "workload", "machine", "tests", "differs in", "simulated s", "seeds", "twin of"], cells


def write_suite(suite: Suite, figures: Figures, rows: Rows, folder: Path) -> Path:
    """Write report.md with its plots; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# Suite {suite.config.name}", "", *_introduction(suite, figures, rows, folder)]
    lines += ["", *markdown(*scenario_table(suite))]
    for title, table in _tables(figures, rows):
        if table[1]:
            lines += ["", f"## {title}", "", *markdown(*table)]
    lines += ["", "## By scenario", ""]
    plots = draw_suite(figures, folder)
    for label, entry in figures["scenarios"].items():
        own = [row for row in rows if row["workload"] == label]
        lines += [f"### {label}", "", *markdown(*ranking_table(own)), "", *_front_lines(entry), ""]
    lines += ["## Plots"]
    for name, caption in plots:
        lines += ["", f"![{caption}]({name})", "", f"*{caption}.*"]
    path = folder / "report.md"
    files.write_text(path, "\n".join(lines) + "\n")
    return path


def _introduction(suite: Suite, figures: Figures, rows: Rows, folder: Path) -> list[str]:
    return [
        f"{len(rows)} runs: {len(figures['systems'])} systems in {len(figures['scenarios'])} scenarios, with seeds of "
        f"the range `{suite.config.split}`. All systems see the same arrivals; differences are taken pair by pair "
        "(scenario, seed) before they are averaged. Times are milliseconds per run. Cost is stall + swap-in + refault "
        "+ 1000 ms a kill. A system is on the Pareto front of a scenario if no other is at least as good in both and "
        "better in one; clairvoyant systems, which are bounds, take no part in it. Two systems are ordered beyond "
        "chance if the 95 % bootstrap interval of their paired difference leaves out zero, on both machines.",
        "",
        f"Any row can be run again: `cma-gym validate {folder / RESULTS} --rows 10`.",
    ]


def _front_lines(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"- front of {NAMES[measure].split(' [')[0]} against {NAMES[cost].split(' [')[0]}: {', '.join(systems) or '-'}"
        for measure, fronts in entry["fronts"].items()
        for cost, systems in fronts.items()
    ]
