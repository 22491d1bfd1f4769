"""A comparison of a second: a machine of 16 MB, for which the core is compiled anyway, and a short scenario."""

from __future__ import annotations

from pathlib import Path

SCENARIO = """\
family: phone
camera:
  warmup_s: 3
  count: 2
  gap_s: 3
  hold_s: 0.5
"""
SETTINGS = ["--set", "machine.ram_mb=16", "--set", "machine.cma_mb=4", "--set", "machine.pageblock_order=6"]
SYSTEMS = "cma_first,mainline_fallback"


def scenario_file(folder: Path) -> Path:
    path = folder / "short.yaml"
    path.write_text(SCENARIO)
    return path


def compare_words(folder: Path, *more: str) -> list[str]:
    words = ["compare", "--workload", str(scenario_file(folder)), "--systems", SYSTEMS, "--seeds", "0:2"]
    return [*words, *SETTINGS, *more]
