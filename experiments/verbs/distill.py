"""Votes the network of a run folder into a decision table and improves the table by direct search.

Writes table.json (the source of truth), table.csv, table.md, table.h and, in words, tree.md into the folder.
"""

from __future__ import annotations

import argparse

from cma_gym.experiments import files, terminal

SUMMARY = "turn the network of a run folder into a decision table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder that `train` made")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; results do not depend on it (1)")
    parser.add_argument("--json", metavar="FILE", help="write fidelity, scores and sizes for programs")


def run(args: argparse.Namespace) -> int:
    """Distil."""
    from cma_gym.experiments.run_folder import RunFolder
    from cma_gym.experiments.training.learned_table import distill_step
    from cma_gym.experiments.training.steps import run_config

    folder = RunFolder.open(args.run)
    figures = distill_step(folder, run_config(folder), args.jobs)
    terminal.console.print(f"decision table: {folder / 'table.json'} (and .csv, .md, .h)")
    terminal.console.print(f"next: cma-gym evaluate {folder.path}")
    if args.json:
        files.write_json(args.json, {"run": str(folder.path), **figures})
    return 0
