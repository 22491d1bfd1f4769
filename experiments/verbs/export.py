"""The JSON form is the source of truth; Markdown and CSV are for reading, the C header is for kernels.

Example:
  cma-gym export runs/quick/table.json --format h -o cma_table.h
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError

SUMMARY = "write a decision table as JSON, CSV, Markdown or a C header"

FORMATS = ("json", "csv", "md", "h")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("table", metavar="TABLE.json", help="a decision table, or a run folder that has one")
    parser.add_argument("--format", choices=(*FORMATS, "all"), default="all", help="which form (all)")
    parser.add_argument("-o", "--out", metavar="PATH", help="file, or folder for all forms (beside the table)")
    parser.add_argument("--json", metavar="FILE", help="write which files were written, and their sizes, for programs")


def run(args: argparse.Namespace) -> int:
    """Export."""
    from cma_gym.policies.tables.export import load_table, write_all, write_table

    path = Path(args.table)
    path = path / "table.json" if path.is_dir() else path
    table = load_table(path)
    if args.format == "all":
        folder = Path(args.out) if args.out else path.parent
        if folder.is_file():
            raise ConfigError(f"{folder}: is a file; --format all writes several, so name a folder")
        written = write_all(table, folder, path.stem)
    else:
        target = Path(args.out) if args.out else path.with_suffix(f".{args.format}")
        if target.suffix != f".{args.format}":
            raise ConfigError(f"--out {target}: does not end in .{args.format}, the form asked for; rename it")
        written = [write_table(table, target)]
    for target in written:
        terminal.console.print(str(target))
    if args.json:
        files.write_json(args.json, {"files": {str(target): target.stat().st_size for target in written}})
    return 0
