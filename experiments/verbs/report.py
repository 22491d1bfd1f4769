"""Writes report.md with PNG plots beside the rows, from a run folder or a results.csv alone."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.figures.ranking import (
    choose_baseline,
    held_up_table,
    paired_table,
    ranking_table,
    slow_table,
    summary,
    workload_table,
)
from cma_gym.experiments.rows.results import read_results

SUMMARY = "write report.md with plots from results.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder, or a results.csv")
    parser.add_argument("--out", metavar="FOLDER", help="where report.md and its plots go (beside the rows)")
    parser.add_argument("--baseline", metavar="NAME", help="system that paired differences refer to")
    parser.add_argument("--json", metavar="FILE", help="write the figures of the report for programs")


def run(args: argparse.Namespace) -> int:
    """Write the report."""
    given = Path(args.run)
    results = given / "results.csv" if given.is_dir() else given
    rows = read_results(results)
    systems = list(dict.fromkeys(row["system"] for row in rows))
    if args.baseline and args.baseline not in systems:
        raise ConfigError(f"--baseline {args.baseline}: is not in {results}, which has {', '.join(systems)}")
    baseline = choose_baseline(args.baseline, systems)
    report = write_report(rows, results.parent, Path(args.out) if args.out else results.parent, baseline)
    terminal.console.print(f"{report}")
    if args.json:
        files.write_json(args.json, summary(rows, baseline))
    return 0


def write_report(rows: Sequence[Mapping[str, Any]], source: Path, folder: Path, baseline: str) -> Path:
    """Write report.md and its plots.

    Args:
        rows: what `read_results` returned.
        source: the run folder, for progress.csv and table.md.
        folder: where the report goes.
        baseline: system that paired differences refer to.
    """
    from cma_gym.experiments.reports.run_plots import draw_all, draw_progress

    folder.mkdir(parents=True, exist_ok=True)
    recorded = [row for row in rows if "trace" in str(row.get("source", ""))]
    if len(recorded) < len(rows):  # a recording is one run of another machine; it stays out of the means
        rows = [row for row in rows if "trace" not in str(row.get("source", ""))]
    else:
        recorded = []
    lines = [f"# {source.name or 'Comparison'}", "", *_tables(rows, baseline)]
    if recorded:
        lines += ["", "## On the recording", "", *markdown(*ranking_table(recorded))]
    for name, caption in draw_all(rows, folder):
        lines += ["", f"![{caption}]({name})", "", f"*{caption}.*"]
    progress = _progress(source / "progress.csv")
    if progress and draw_progress(progress, folder / "training.png"):
        lines += ["", "## Training", "", "![Return over decisions](training.png)"]
    if (source / "table.md").is_file():
        lines += ["", "The learned table in words: [table.md](table.md)."]
    lines += ["", f"Any row can be run again: `cma-gym validate {source / 'results.csv'} --rows 10`."]
    report = folder / "report.md"
    files.write_text(report, "\n".join(lines) + "\n")
    return report


def _tables(rows: Sequence[Mapping[str, Any]], baseline: str) -> list[str]:
    pairs = len({(row["workload"], row["seed"]) for row in rows})
    return [
        f"{len(rows)} runs: {len({row['system'] for row in rows})} systems on {pairs} pairs of workload and seed. "
        "All systems see the same arrivals. Times are milliseconds per run, means over runs. "
        "Cost is stall + swap-in + refault + 1000 ms a kill.",
        "",
        "## Ranking",
        "",
        *markdown(*ranking_table(rows)),
        "",
        "## Whole-area success by workload [%]",
        "",
        *markdown(*workload_table(rows, "whole_success")),
        "",
        "## Success of the pieces by workload [%]",
        "",
        *markdown(*workload_table(rows, "pieces_success")),
        "",
        "## Who held demands up",
        "",
        "Means per run. A page counts each time it refused; delay is its share of the time that failed attempts took, "
        "the wait for the next try included. Age: since allocation; held: since its longest reference was taken; still "
        "held: until that reference ends (medians over pages).",
        "",
        *markdown(*held_up_table(rows)),
        "",
        "Where the time of demands went, mean milliseconds per run:",
        "",
        *markdown(*slow_table(rows)),
        "",
        f"## Paired differences to {baseline}",
        "",
        "Mean difference over pairs with its 95 % bootstrap interval, interquartile mean, and pairs won, tied, lost.",
        "",
        *markdown(*paired_table(rows, baseline)),
    ]


def markdown(titles: Sequence[str], cells: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """A Markdown table; the first `words` columns are text, the others are figures."""
    head = "| " + " | ".join(title.replace("\n", " ") for title in titles) + " |"
    rule = "|" + ":--|" * words + "--:|" * (len(titles) - words)
    return [head, rule, *("| " + " | ".join(line) + " |" for line in cells)]


def _progress(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as source:
        return [{key: _number(value) for key, value in line.items() if key} for line in csv.DictReader(source)]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")
