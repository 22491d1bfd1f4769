"""`python -m benchmarks`: print every row as a table and write benchmarks/results.json.

A row is a function under `@row` in a `bench_*.py` of this folder. Rows that compare two figures measure both in
the same run, because a machine's speed changes from hour to hour. A row that cannot be measured here is left out, with
a sentence that says why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import LeftOutError, Row, figure, find_rows
from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError

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
    """Declare the arguments."""
    parser.add_argument("--only", metavar="KEYS", help="comma list of rows (all)")
    there = f"benchmarks/{RESULTS.name}"
    parser.add_argument("--json", metavar="FILE", default=str(RESULTS), help=f"where the figures go ({there})")
    parser.add_argument("--markdown", metavar="FILE", help="write the table as Markdown, too")


def run(args: argparse.Namespace) -> int:
    """Measure the rows asked for."""
    rows = find_rows(args.only)
    measured: list[tuple[Row, float]] = []
    with terminal.progress("measuring", len(rows)) as task:
        for row in rows:
            try:
                measured.append((row, row.measure()))
            except LeftOutError as reason:
                terminal.note(f"{row.key}: left out; {reason}")
            task.advance(1, row.key)
    columns = ["row", "value", "unit", "aim", "met", "what"]
    cells = [[row.key, figure(value), row.unit, row.aim, row.verdict(value), row.what] for row, value in measured]
    terminal.table("cma-gym benchmarks", columns, cells, text=(0, 2, 3, 4, 5))
    from cma_gym.experiments.run_folder import provenance

    content = {row.key: value for row, value in measured}
    files.write_json(args.json, {**content, "provenance": provenance()})
    if args.markdown:
        lines = ["| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *cells)]
        files.write_text(args.markdown, "\n".join(lines) + "\n")
    terminal.note(f"figures: {args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
