"""`compare --suite`: from the command line's words to the rows of a suite, its report and its files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments import output
from experiments.cache import RowCache, default_folder
from experiments.config import ConfigError
from experiments.results import write_results
from experiments.runs import RUNS
from experiments.suite import load_suite
from experiments.suite_run import run_suite

RESULTS = "results.csv"


def run_and_report(args: argparse.Namespace, systems: Sequence[tuple[str, str]]) -> int:
    """Run a suite and write what it gave."""
    for name, given in (("--seeds", args.seeds), ("--machine", args.machine), ("--set", args.set)):
        if given:
            raise ConfigError(f"{name}: a suite brings its own machines and seeds; edit a copy of its file")
    suite = load_suite(args.suite)
    if args.quick:
        suite = suite.quick()
    folder = Path(args.out) if args.out else RUNS / (suite.config.name + ("-quick" if args.quick else ""))
    rows = run_suite(suite, systems, args.jobs, RowCache(default_folder()))
    write_results(folder / RESULTS, rows)
    if args.csv:
        write_results(args.csv, rows)
    output.note(f"rows: {folder / RESULTS}")
    return 0
