"""A target is one published table or fact (see experiments/calibration/); all of them if none is named.

Examples:
  cma-gym calibrate F1 F2
  cma-gym calibrate --jobs 2 --json calibration.json
  cma-gym calibrate --jobs 2 --markdown docs/fidelity.md
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cma_gym.experiments import files, terminal

if TYPE_CHECKING:
    from cma_gym.experiments.fidelity.published.target import Figure, Target

SUMMARY = "reproduce published tables: published beside simulated, ratio, pass band, source"

COMMAND = "cma-gym calibrate --markdown docs/fidelity.md"

Found = Mapping[str, "tuple[Target, Sequence[Figure]]"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="*", metavar="F1..F8", help="targets (all)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; results do not depend on it (1)")
    parser.add_argument("--json", metavar="FILE", help="write the figures for programs")
    parser.add_argument("--markdown", metavar="FILE", help="write the section 'Published tables' of this page")


def run(args: argparse.Namespace) -> int:
    """Run the targets, print their tables, and write the files asked for."""
    from cma_gym.experiments.fidelity.published.runner import chosen, nr_runs, run_targets
    from cma_gym.experiments.fidelity.published.section import calibration_section, write_section

    wanted = chosen(args.targets)
    with terminal.progress("calibrating", nr_runs(wanted)) as task:
        runs = run_targets(wanted, args.jobs, lambda name: task.advance(1, name))
    found = {target.name: (target, target.figures(runs[target.name])) for target in wanted}
    show(found)
    if args.json:
        from cma_gym.experiments.run_folder import provenance

        files.write_json(args.json, {"targets": as_json(found), "provenance": provenance()})
        terminal.note(f"figures: {args.json}")
    if args.markdown:
        write_section(args.markdown, "calibrate", COMMAND, calibration_section(found))
        terminal.note(f"page: {args.markdown}")
    return 0


def show(found: Found) -> None:
    """Print every target's table, its assumptions, and why a figure misses."""
    from cma_gym.experiments.fidelity.published.section import COLUMNS, line, misses

    for target, figures in found.values():
        terminal.table(f"{target.name}. {target.title}", COLUMNS, map(line, figures), text=(0, 4, 5))
        terminal.console.print(f"  source: {target.source}", markup=False)
        for text in target.assumptions:
            terminal.console.print(f"  assumption: {text}", markup=False)
        for text in misses(target, figures):
            terminal.console.print(f"  miss: {text}", markup=False)
        terminal.console.print()
    judged = [figure for _, figures in found.values() for figure in figures if figure.passed is not None]
    passed = sum(figure.passed is True for figure in judged)
    terminal.console.print(f"{passed} of {len(judged)} figures are within their band", markup=False)


def as_json(found: Found) -> list[dict[str, Any]]:
    """The figures, JSON-plain, under stable keys."""
    return [
        {
            "target": target.name,
            "title": target.title,
            "source": target.source,
            "assumptions": list(target.assumptions),
            "figures": [
                {
                    "name": figure.name,
                    "check": figure.check,
                    "published": figure.published,
                    "simulated": figure.simulated,
                    "ratio": figure.ratio,
                    "band": figure.band,
                    "passed": figure.passed,
                    "reason": target.reasons.get(figure.name, "") if figure.passed is False else "",
                }
                for figure in figures
            ],
        }
        for target, figures in found.values()
    ]
