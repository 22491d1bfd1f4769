"""`compare --suite`: from the command line's words to the rows of a suite, its report and its files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments import output
from experiments.cache import RowCache, default_folder
from experiments.config import ConfigError
from experiments.ranking import choose_baseline
from experiments.results import write_results
from experiments.runs import RUNS, provenance
from experiments.suite import Suite, load_suite
from experiments.suite_figures import suite_figures
from experiments.suite_page import RESULTS, show_suite, write_suite
from experiments.suite_run import run_suite

FIGURES = "figures.json"


def run_and_report(args: argparse.Namespace, systems: Sequence[tuple[str, str]]) -> int:
    """Run a suite and write what it gave: rows, figures, report.md with plots."""
    for name, given in (("--seeds", args.seeds), ("--machine", args.machine), ("--set", args.set)):
        if given:
            raise ConfigError(f"{name}: a suite brings its own machines and seeds; edit a copy of its file")
    suite = load_suite(args.suite)
    if args.quick:
        suite = suite.quick()
    folder = Path(args.out) if args.out else RUNS / (suite.config.name + ("-quick" if args.quick else ""))
    baseline = _baseline(args.baseline, suite, [label for label, _ in systems])
    rows = run_suite(suite, systems, args.jobs, RowCache(default_folder()))
    for path in (folder / RESULTS, args.csv):
        if path:
            write_results(path, rows)
    figures = suite_figures(suite, rows, baseline)
    for path in (folder / FIGURES, args.json):
        if path:
            output.write_json(path, {**figures, "provenance": provenance()})
    show_suite(figures, rows)
    output.note(f"report: {write_suite(suite, figures, rows, folder)}; rows: {folder / RESULTS}")
    return 0


def _baseline(wanted: str | None, suite: Suite, names: Sequence[str]) -> str:
    usual = suite.config.baseline if suite.config.baseline in names else None
    return choose_baseline(wanted or usual, names)
