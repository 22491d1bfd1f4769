"""Who wins where, why, and what it costs: docs/head-to-head.md, from rows of `compare`.

Without a results file it runs what is missing of the suites product and sensitivity first, and uses their rows.

Examples:
  cma-gym head-to-head --jobs 2
  cma-gym head-to-head runs/product/results.csv --sensitivity runs/sensitivity/results.csv
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from cma_gym.experiments import files, terminal
from cma_gym.experiments.rows.results import read_results

SUMMARY = "write docs/head-to-head.md: the questions of the discussion, answered from rows"
PAGE = "docs/head-to-head.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("results", nargs="?", metavar="CSV", help="rows of the suite product (run what is missing)")
    parser.add_argument("--sensitivity", metavar="CSV", help="rows of the suite sensitivity")
    parser.add_argument("--markdown", default=PAGE, metavar="FILE", help=f"the page; plots go beside it ({PAGE})")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes, where something is run (1)")
    parser.add_argument("--json", metavar="FILE", help="write the paired differences for programs")


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    from cma_gym.experiments.head_to_head.page import page_of, write_page

    results, study = Path(args.results) if args.results else None, args.sensitivity
    if results is None:
        results, study = _run_suites(args.jobs)
    page = page_of(
        read_results(results), read_results(study) if study else None, command_of(results, study, args.markdown)
    )
    for path in write_page(page, Path(args.markdown)):
        terminal.note(str(path))
    if args.json:
        from cma_gym.experiments.head_to_head.figures import figures

        files.write_json(args.json, figures(page))
    return 0


def _run_suites(jobs: int) -> tuple[Path, str]:
    """Run what the cache lacks of both suites; returns the files of rows."""
    from cma_gym.experiments.head_to_head.page import SENSITIVITY_SYSTEMS
    from cma_gym.experiments.rows.cache import RowCache, default_folder
    from cma_gym.experiments.rows.case import system_names
    from cma_gym.experiments.rows.results import write_results
    from cma_gym.experiments.run_folder import RUNS
    from cma_gym.experiments.suites.run import run_suite
    from cma_gym.experiments.suites.suite import load_suite

    paths = []
    for name, systems in (("product", "all"), ("sensitivity", SENSITIVITY_SYSTEMS)):
        rows = run_suite(load_suite(name), system_names(systems), jobs, RowCache(default_folder()))
        paths.append(RUNS / name / "results.csv")
        write_results(paths[-1], rows)
    return paths[0], str(paths[1])


def command_of(results: Path, sensitivity: str | None, markdown: str) -> str:
    """The command that writes the same page again."""
    words = ["cma-gym head-to-head", shlex.quote(str(results))]
    words += ["--sensitivity", shlex.quote(str(sensitivity))] if sensitivity else []
    return " ".join(words + (["--markdown", shlex.quote(markdown)] if markdown != PAGE else []))
