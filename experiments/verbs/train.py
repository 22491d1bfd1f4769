"""Makes a run folder with the trained network (model.zip) and progress.csv; `distill` and `evaluate` go on from there.

Ctrl-C keeps the best network so far; --resume goes on where the run stopped and ends as if it had never stopped.
"""

from __future__ import annotations

import argparse

from cma_gym.experiments import files, terminal

SUMMARY = "train a network with PPO from a configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help="write the figures of the training for programs")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of all verbs that start or continue a run folder."""
    parser.add_argument("config", metavar="CONFIG", help="YAML file; see configs/train")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.SUB=V", help="change one setting")
    parser.add_argument("--name", help="name of the run folder in runs/ (the configuration's name)")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="RUN", help="continue a run folder (the latest of that name)"
    )


def run(args: argparse.Namespace) -> int:
    """Train."""
    from cma_gym.experiments.training.steps import open_run, train_step

    folder, config = open_run(args)
    figures = train_step(folder, config)
    terminal.console.print(f"trained network: {folder / 'model.zip'}")
    terminal.console.print(f"next: cma-gym distill {folder.path}")
    if args.json:
        files.write_json(args.json, {"run": str(folder.path), **figures})
    return 0
