"""Runs rows of a results.csv again and compares every figure, digit by digit.

Rows carry their machine, workload, seed and policy, so nothing else is needed. A row that was made by another version
of the simulation core is run too, and the message says so if it differs.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.rows.case import Row, run_units
from cma_gym.experiments.rows.results import figure_columns, read_results, unit_of

SUMMARY = "run rows of a results.csv again and compare every figure exactly"
DIFFERENT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("results", metavar="RESULTS.csv", help="written by run, evaluate or compare --csv")
    parser.add_argument("--rows", type=int, default=10, metavar="N", help="rows to run again; 0 means all (10)")
    parser.add_argument("--seed", type=int, default=0, help="which rows are drawn (0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--json", metavar="FILE", help="write what was compared for programs")


def run(args: argparse.Namespace) -> int:
    """Run rows again; exit status 1 if a figure differs."""
    path = Path(args.results)
    rows = read_results(path)
    if args.rows < 0:
        raise ConfigError(f"--rows {args.rows}: write how many rows to run again, or 0 for all")
    chosen = _draw(rows, args.rows, args.seed)
    with terminal.progress("running again", len(chosen)) as task:
        again = run_units([unit_of(row, path) for row in chosen], args.jobs, lambda index, row: task.advance())
    differences = [text for old, new in zip(chosen, again, strict=True) for text in compare_rows(old, new)]
    for text in differences:
        terminal.console.print(text, markup=False)
    core = _core_note(chosen)
    terminal.console.print(f"{len(chosen)} of {len(rows)} rows run again, {len(differences)} figures differ{core}")
    if args.json:
        files.write_json(args.json, {"rows": len(chosen), "of": len(rows), "differences": differences})
    return DIFFERENT if differences else 0


def _draw(rows: list[Row], count: int, seed: int) -> list[Row]:
    if count == 0 or count >= len(rows):
        return rows
    picked = np.random.default_rng(seed).choice(len(rows), size=count, replace=False)
    return [rows[index] for index in sorted(picked)]


def compare_rows(old: Row, new: Row) -> list[str]:
    """One sentence per figure that differs."""
    where = f"{old['system']}, {old['workload']}, seed {old['seed']}"
    found = []
    for name in figure_columns([old]):
        was, now = float(old[name]), float(new.get(name, math.nan))
        if was != now and not (math.isnan(was) and math.isnan(now)):
            found.append(f"{where}: {name} is {now!r}, the file says {was!r}")
    return found


def _core_note(rows: list[Row]) -> str:
    from cma_gym.support.jit import core_digest

    others = sum(row["core"] != core_digest() for row in rows)
    return f" ({others} rows are of another version of the core)" if others else ""
