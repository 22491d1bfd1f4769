"""A workload is a family's name, a YAML file or a name in configs/workloads, or an imported trace (.npz).
A system is a name, a decision table (.json), or a file with rules of your own (.py).

Examples:
  cma-gym compare --workload phone --systems all --seeds 0:10 --jobs 2
  cma-gym compare --workload trace.npz --systems all --json trace.json
  cma-gym compare --workload phone,pinning --systems cma_first,runs/quick/table.json --machine twin_64m
  cma-gym compare --suite product --systems all --jobs 2

A suite (a name in configs/suites, or a file) brings its own machines and seeds. Its rows are kept as they come, so that
a run that was stopped goes on where it was, and nothing is run twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError, checked, parse_seeds
from cma_gym.experiments.figures.ranking import choose_baseline, show, summary
from cma_gym.experiments.rows.case import (
    Row,
    Unit,
    compact,
    machine_spec,
    run_units,
    system_names,
    trace_machine,
    workload_sources,
)

SUMMARY = "rank systems on workloads: success, latency, costs, paired differences"
DEFAULT_SEEDS = "0:10"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workload", metavar="W", help="families, YAML files, .npz traces (comma list)")
    what.add_argument("--suite", metavar="SUITE", help="a suite of tests: YAML file or name in configs/suites")
    parser.add_argument("--systems", default="all", metavar="S", help="all, or a comma list; tables by path (all)")
    parser.add_argument("--seeds", metavar="A:B", help="0:10 is 0 to 9; 0,4,7 works too (0:10)")
    parser.add_argument("--machine", metavar="M", help="YAML file or name in configs/machine (512 MB, 128 MB of CMA)")
    parser.add_argument("--set", action="append", default=[], metavar="machine.K=V", help="change one machine setting")
    parser.add_argument("--baseline", metavar="NAME", help="system that paired differences refer to")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; results do not depend on it (1)")
    parser.add_argument("--json", metavar="FILE", help="write rows, ranking and differences for programs")
    parser.add_argument("--csv", metavar="FILE", help="write the rows as CSV, which `validate` and `report` read")
    parser.add_argument("--quick", action="store_true", help="with --suite: the small part of it, a few seeds each")
    parser.add_argument("--out", metavar="FOLDER", help="with --suite: rows, report and plots go here (runs/SUITE)")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and write the files asked for."""
    systems = system_names(args.systems)
    names = [label for label, _ in systems]
    if args.baseline and args.baseline not in names:
        raise ConfigError(f"--baseline {args.baseline}: is not among the systems compared ({', '.join(names)})")
    if args.suite:
        from cma_gym.experiments.suites.verb import run_and_report

        return run_and_report(args, systems)
    if args.quick or args.out:
        raise ConfigError(f"{'--quick' if args.quick else '--out'}: goes with --suite; --csv and --json write files")
    seeds = parse_seeds(args.seeds or DEFAULT_SEEDS)
    units = comparison_units(systems, args.workload, seeds, args.machine, args.set)
    baseline = choose_baseline(args.baseline, names)
    rows: dict[int, Row] = {}
    interrupted = False
    try:
        with terminal.progress("comparing", len(units)) as task:
            run_units(units, args.jobs, lambda index, row: _collect(rows, index, row, task))
    except KeyboardInterrupt:
        interrupted = True
    finished = [rows[index] for index in sorted(rows)]
    if finished:
        show(independent(finished), baseline, f"{args.workload}: {len(finished)} runs, {len(names)} systems")
        _write(args, finished, baseline, complete=len(finished) == len(units))
    if interrupted:
        raise KeyboardInterrupt
    return 0


def independent(rows: Sequence[Row]) -> list[Row]:
    """Rows that statistics may be made of: of a trace, whose events no seed changes, those of its first seed only."""
    traces = [row for row in rows if "trace" in row["source"]]
    first = {row["workload"]: row["seed"] for row in reversed(traces)}
    return [row for row in rows if first.get(row["workload"], row["seed"]) == row["seed"]]


def _collect(rows: dict[int, Row], index: int, row: Row, task: terminal.Task) -> None:
    rows[index] = row
    task.advance(1, f"{row['system']} {row['workload']} {row['seed']}")


def comparison_units(
    systems: Sequence[tuple[str, str]],
    workloads: str,
    seeds: Sequence[int],
    machine: str | None = None,
    settings: Sequence[str] = (),
) -> list[Unit]:
    """One unit per workload, seed and system; systems innermost, so that they share a workload while it is at hand."""
    from cma_gym.machine.spec import MachineSpec

    units = []
    default = machine_spec(machine, settings)
    for label, source in workload_sources(workloads):
        spec = default
        if "trace" in source:
            recorded = trace_machine(source["trace"])
            if recorded and not machine:
                spec = checked(MachineSpec, {**recorded, **default.model_dump(exclude_unset=True)}, source["trace"])
            terminal.note(f"{label}: a recording, run on {spec.ram_mb} MB with {spec.cma_mb} MB of CMA;")
            terminal.note("no seed changes its events, only the machine's boot; statistics are of the first seed alone")
        text, origin = compact(spec.model_dump()), compact(source)
        units += [Unit(name, policy, label, origin, text, seed) for seed in seeds for name, policy in systems]
    return units


def _write(args: argparse.Namespace, rows: list[Row], baseline: str, complete: bool) -> None:
    if args.json:
        content: dict[str, Any] = {"rows": rows, **summary(independent(rows), baseline), "complete": complete}
        from cma_gym.experiments.run_folder import provenance

        files.write_json(args.json, {**content, "provenance": provenance()})
        terminal.note(f"figures: {args.json}")
    if args.csv:
        from cma_gym.experiments.rows.results import write_results

        write_results(args.csv, rows)
        terminal.note(f"rows: {args.csv}")
