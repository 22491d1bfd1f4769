"""`python -m benchmarks`: print every row as a table and write benchmarks/results.json.

A row is a function under `@row` in a `bench_*.py` of this folder. Rows that compare two figures measure both in
the same run, because a machine's speed changes from hour to hour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import Result, find_rows
from experiments import output
from experiments.config import ConfigError

RESULTS = Path(__file__).parent / "results.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments, which `python -m experiments bench` shares."""
    parser.add_argument("--only", metavar="KEYS", help="comma list of rows (all)")
    there = f"benchmarks/{RESULTS.name}"
    parser.add_argument("--json", metavar="FILE", default=str(RESULTS), help=f"where the figures go ({there})")


def run(args: argparse.Namespace) -> int:
    """Measure the rows asked for."""
    rows = find_rows(args.only)
    results: list[Result] = []
    with output.progress("measuring", len(rows)) as task:
        for measure in rows:
            results.append(measure.run())
            task.advance(1, measure.key)
    cells = [[result.key, f"{result.value:,.4g}", result.unit, result.what] for result in results]
    output.table("cma-gym benchmarks", ["row", "value", "unit", "what"], cells, text=(0, 2, 3))
    from experiments.runs import provenance

    content = {result.key: result.value for result in results}
    output.write_json(args.json, {**content, "provenance": provenance()})
    output.note(f"figures: {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
