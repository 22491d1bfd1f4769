"""`compare --suite`: from the command line's words to the rows of a suite, its report and its files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.figures.ranking import choose_baseline
from cma_gym.experiments.rows.cache import RowCache, default_folder
from cma_gym.experiments.rows.results import write_results
from cma_gym.experiments.run_folder import RUNS, provenance
from cma_gym.experiments.suites.figures import suite_figures
from cma_gym.experiments.suites.page import RESULTS, show_suite, write_suite
from cma_gym.experiments.suites.run import run_suite
from cma_gym.experiments.suites.suite import Suite, load_suite

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
            files.write_json(path, {**figures, "provenance": provenance()})
    show_suite(figures, rows)
    terminal.note(f"report: {write_suite(suite, figures, rows, folder)}; rows: {folder / RESULTS}")
    return 0


def _baseline(wanted: str | None, suite: Suite, names: Sequence[str]) -> str:
    usual = suite.config.baseline if suite.config.baseline in names else None
    return choose_baseline(wanted or usual, names)
