"""A target is one published table or fact (see experiments/calibration/); all of them if none is named.

Examples:
  python -m experiments calibrate F1 F2
  python -m experiments calibrate --jobs 2 --json calibration.json
  python -m experiments calibrate --jobs 2 --markdown docs/fidelity.md
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments import output

if TYPE_CHECKING:
    from experiments.calibration.target import Figure, Target

SUMMARY = "reproduce published tables: published beside simulated, ratio, pass band, source"

COMMAND = "python -m experiments calibrate --markdown docs/fidelity.md"

Found = Mapping[str, "tuple[Target, Sequence[Figure]]"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("targets", nargs="*", metavar="F1..F8", help="targets (all)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; results do not depend on it (1)")
    parser.add_argument("--json", metavar="FILE", help="write the figures for programs")
    parser.add_argument("--markdown", metavar="FILE", help="write the section 'Published tables' of this page")


def run(args: argparse.Namespace) -> int:
    """Run the targets, print their tables, and write the files asked for."""
    from experiments.calibration.page import calibration_section, write_section
    from experiments.calibration.runner import chosen, nr_runs, run_targets

    wanted = chosen(args.targets)
    with output.progress("calibrating", nr_runs(wanted)) as task:
        runs = run_targets(wanted, args.jobs, lambda name: task.advance(1, name))
    found = {target.name: (target, target.figures(runs[target.name])) for target in wanted}
    show(found)
    if args.json:
        from experiments.runs import provenance

        output.write_json(args.json, {"targets": as_json(found), "provenance": provenance()})
        output.note(f"figures: {args.json}")
    if args.markdown:
        write_section(args.markdown, "calibrate", COMMAND, calibration_section(found))
        output.note(f"page: {args.markdown}")
    return 0


def show(found: Found) -> None:
    """Print every target's table, its assumptions, and why a figure misses."""
    from experiments.calibration.page import COLUMNS, line, misses

    for target, figures in found.values():
        output.table(f"{target.name}. {target.title}", COLUMNS, map(line, figures), text=(0, 4, 5))
        output.console.print(f"  source: {target.source}", markup=False)
        for text in target.assumptions:
            output.console.print(f"  assumption: {text}", markup=False)
        for text in misses(target, figures):
            output.console.print(f"  miss: {text}", markup=False)
        output.console.print()
    judged = [figure for _, figures in found.values() for figure in figures if figure.passed is not None]
    passed = sum(figure.passed is True for figure in judged)
    output.console.print(f"{passed} of {len(judged)} figures are within their band", markup=False)


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
