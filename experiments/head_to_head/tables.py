"""The tables of the head-to-head page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cma_gym.experiments.figures.blame import held_up_by_system
from cma_gym.experiments.figures.ranking import COST_WEIGHTS, figure, ranking
from cma_gym.experiments.figures.statistics import mean
from cma_gym.experiments.head_to_head.contrast import (
    COST,
    USE,
    WHOLE,
    Direction,
    Finding,
    Level,
    Measure,
    Rows,
    family,
    finding,
    level,
    machine_name,
)
from cma_gym.experiments.head_to_head.questions import QUESTIONS, Contrast, Question
from cma_gym.experiments.head_to_head.words import code, counts, difference_text, level_text, signed
from cma_gym.experiments.suites.figures import agreement, by_scenario, pareto_front
from cma_gym.experiments.suites.suite import Suite

Table = tuple[list[str], list[list[str]]]
"""Titles and cells."""

BLAME_GROUPS = 9
"""Kinds of page and holder that have a column of their own."""
KILL_SECONDS = (0.0, 0.3, 1.0, 3.0, 10.0)
"""What a kill is taken to cost [s]; the page uses 1."""
OTHERS = "others"
BOUND = "oracle"
"""No rule, but what a clairvoyant reaches."""


def order(rows: Rows) -> list[str]:
    """Systems, best first, as everywhere: whole-area success, pieces, cost."""
    return [entry["system"] for entry in ranking(rows)]


def of_system(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Rows by system."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["system"]), []).append(row)
    return found


def system_level(rows: Rows, measure: Measure) -> Level:
    """A system's mean with its interval."""
    return level((row.get(measure.metric) for row in rows), measure.points == " points")


def level_cell(rows: Rows, measure: Measure) -> str:
    """It as a cell, whose column names the unit."""
    value = system_level(rows, measure)
    return "-" if math.isnan(value.mean) else level_text(value, replace(measure, unit=""))


def contrast_table(found: Sequence[Finding]) -> Table:
    """Every measure of a contrast: both levels and the difference."""
    first = found[0].contrast
    cells = [
        [
            entry.measure.title,
            level_text(entry.ours, entry.measure),
            level_text(entry.theirs, entry.measure),
            told(entry),
            counts(entry),
        ]
        for entry in found
    ]
    return ["", code(first.ours), code(first.theirs), "paired difference [95 %]", "won/tied/lost"], cells


def told(entry: Finding) -> str:
    """A difference, in bold where its interval tells a direction."""
    if entry.direction is Direction.EQUAL:
        return "none"
    text = difference_text(entry)
    return f"**{text}**" if entry.direction in (Direction.AHEAD, Direction.BEHIND) else text


def where_table(rows: Rows, contrast: Contrast) -> Table:
    """Whole-area difference of a contrast by workload and machine, in bold where the interval tells a direction."""
    machines = list(dict.fromkeys(machine_name(row) for row in sorted(rows, key=size)))
    families = list(dict.fromkeys(family(row) for row in rows))
    cells = []
    for name in families:
        line = [name]
        for machine in machines:
            own = [row for row in rows if family(row) == name and machine_name(row) == machine]
            entry = finding(own, contrast, WHOLE)
            line.append("-" if entry.direction is Direction.MISSING else told(entry).replace(" points", ""))
        cells.append(line)
    return ["whole area, points", *machines], cells


def size(row: Mapping[str, Any]) -> tuple[int, int]:
    """RAM and area of a row's machine [MB]."""
    ram, _, cma = machine_name(row).removesuffix(" MB").partition("/")
    return int(ram), int(cma)


def cost_table(rows: Rows) -> Table:
    """What each system costs, means per run."""
    columns = (
        ("stall_ms", "stall ms", 1.0),
        ("swap_ms", "swap-in ms", 1.0),
        ("refault_ms", "refault ms", 1.0),
        ("kills", "kills", 1.0),
    )
    more = (
        ("cma_idle", "area idle %", 100.0),
        ("demand_ms_p50", "demand p50 ms", 1.0),
        ("demand_ms_p99", "demand p99 ms", 1.0),
        ("demand_lost_ms", "lost to failed tries ms", 1.0),
        ("atomic_fails", "failed atomic requests", 1.0),
    )
    own = of_system(rows)
    cells = []
    for system in order(rows):
        values = [figure(scale * mean(row.get(name) for row in own[system])) for name, _, scale in (*columns, *more)]
        values.insert(len(columns), level_cell(own[system], COST))
        cells.append([code(system), *values])
    titles = [title for _, title, _ in columns] + ["cost s [95 %]"] + [title for _, title, _ in more]
    return ["system", *titles], cells


# ---- blame -----------------------------------------------------------------------------------------------------------


def blame_groups(rows: Rows) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Delay of demands [ms a run] by kind of page and holder: the groups, costliest first, and by system."""
    found = {
        system: {f"{entry['kind']}, {entry['holder']}": float(entry["delay_ms"]) for entry in entries}
        for system, entries in held_up_by_system(rows).items()
    }
    sums: dict[str, float] = {}
    for entries in found.values():
        for group, delay in entries.items():
            sums[group] = sums.get(group, 0.0) + delay
    groups = sorted(sums, key=lambda group: (-sums[group], group))
    kept, rest = groups[:BLAME_GROUPS], groups[BLAME_GROUPS:]
    values = {
        system: {
            **{group: entries.get(group, 0.0) for group in kept},
            **({OTHERS: sum(entries.get(group, 0.0) for group in rest)} if rest else {}),
        }
        for system, entries in found.items()
    }
    return kept + ([OTHERS] if rest else []), values


def blame_table(rows: Rows) -> Table:
    """Delay of demands by what held them up, ms a run."""
    groups, values = blame_groups(rows)
    return ["system", *groups], [
        [code(system), *(figure(values[system][group]) if values[system][group] else "" for group in groups)]
        for system in order(rows)
    ]


def held_up_sentence(rows: Rows, system: str, lines: int = 3) -> str:
    """Who held one system's demands up, the costliest first."""
    entries = held_up_by_system([row for row in rows if row["system"] == system]).get(system, [])
    if not entries:
        return f"Nothing held up the demands of {code(system)}."
    parts = [
        f"{entry['kind']} pages held by {entry['holder']} ({figure(entry['delay_ms'])} ms and {figure(entry['pages'])} "
        "refusals a run)"
        for entry in entries[:lines]
    ]
    return f"{code(system)} lost time to {'; '.join(parts)}."


# ---- what if ---------------------------------------------------------------------------------------------------------


def with_kill_cost(rows: Rows, seconds: float) -> list[dict[str, Any]]:
    """The rows as if a kill cost so much."""
    extra = 1000 * seconds - COST_WEIGHTS["kills"]
    return [{**row, "cost_ms": row["cost_ms"] + extra * row["kills"]} for row in rows]


def kill_table(rows: Rows, pairs: Sequence[tuple[Question, Contrast]]) -> Table:
    """Cost under other prices of a kill: the cheapest systems, and the differences of the contrasts."""
    titles = ["a kill costs", "cheapest", *(f"{code(c.ours)} - {code(c.theirs)}, s" for _, c in pairs)]
    cells = []
    for seconds in KILL_SECONDS:
        weighed = with_kill_cost(rows, seconds)
        means = sorted((mean(row["cost_ms"] for row in own), name) for name, own in of_system(weighed).items())
        cheapest = ", ".join(f"{code(name)} {cost / 1000:.2f} s" for cost, name in means[:3])
        found = [finding(weighed, contrast, COST) for _, contrast in pairs]
        cells.append([f"{seconds:g} s", cheapest, *(short(entry) for entry in found)])
    return titles, cells


def short(entry: Finding) -> str:
    """The mean difference alone, in bold where the interval tells a direction."""
    if entry.direction is Direction.MISSING:
        return "-"
    if entry.direction is Direction.EQUAL:
        return "none"
    text = signed(entry.measure.scale * entry.paired.mean, entry.measure.digits)
    return f"**{text}**" if entry.direction in (Direction.AHEAD, Direction.BEHIND) else text


def first_contrasts(rows: Rows) -> list[tuple[Question, Contrast]]:
    """The first contrast of each question that the rows have both systems of."""
    systems = {row["system"] for row in rows}
    found = []
    for question in QUESTIONS:
        own = [entry for entry in question.contrasts if {entry.ours, entry.theirs} <= systems]
        found += [(question, own[0])] if own else []
    return found


def front(rows: Rows, price: str) -> list[str]:
    """The systems that no other one beats in whole-area success and in a price; bounds take no part."""
    return pareto_front([entry for entry in ranking(rows) if entry["system"] != BOUND], WHOLE.metric, price)


def plain_mean(rows: Rows, measure: Measure) -> str:
    """A system's mean as a cell without its unit."""
    return figure(measure.scale * mean(row.get(measure.metric) for row in rows), measure.digits)


def against_table(rows: Rows, baseline: str) -> Table:
    """Paired differences of every system to one of them, in bold where the interval tells a direction."""
    cells = []
    for system in order(rows):
        if system != baseline:
            found = [finding(rows, Contrast(system, baseline, "", ""), measure) for measure in (WHOLE, COST, USE)]
            cells.append([code(system), *("-" if e.direction is Direction.MISSING else told(e) for e in found)])
    return [f"difference to {code(baseline)}", "whole area", "cost", "CMA used"], cells


def agreement_table(suite: Suite, rows: Rows) -> Table:
    """How far a twin puts the systems in the order that full size does, for each scenario played on both."""
    own = by_scenario(rows)
    cells = []
    for full, twin in suite.twin_pairs():
        for metric in (*full.measures, COST.metric, "cma_idle"):
            found = agreement(own, full, twin, metric)
            if found.systems > 1:
                order = f"{found.alike}/{found.opposite}/{found.tied}"
                clear = f"{found.clear_alike}/{found.clear_opposite}"
                cells.append([full.label, twin.label, metric, figure(found.rank_correlation, 2), order, clear])
    titles = [
        "full size",
        "twin",
        "ordered by",
        "rank correlation",
        "pairs alike/opposite/tied",
        "told on both: alike/opposite",
    ]
    return titles, cells
