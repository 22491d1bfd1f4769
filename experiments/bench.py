"""The same as `python -m benchmarks`; see benchmarks/ for what each row measures."""

from __future__ import annotations

import argparse

from benchmarks.__main__ import add_arguments as add_arguments
from benchmarks.__main__ import run as measure

SUMMARY = "measure speed: rollouts, environments, start-up"


def run(args: argparse.Namespace) -> int:
    """Measure the rows asked for."""
    return measure(args)
