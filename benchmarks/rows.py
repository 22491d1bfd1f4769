"""The rows of the benchmark table: functions under `@row`, found by scanning this folder; and how things are timed.

Rows that belong together share one measurement, a function under `functools.cache`.
"""

from __future__ import annotations

import difflib
import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cma_gym.experiments.config import ConfigError


class LeftOutError(Exception):
    """A row that cannot be measured here; the message says why, and what to do."""


@dataclass(frozen=True)
class Row:
    """One figure to measure."""

    key: str
    unit: str
    what: str
    measure: Callable[[], float]
    at_least: float | None
    at_most: float | None

    @property
    def aim(self) -> str:
        """What the figure should be, in words; empty if it only explains another one."""
        if self.at_least is not None:
            return f"at least {figure(self.at_least)}"
        return f"at most {figure(self.at_most)}" if self.at_most is not None else ""

    def verdict(self, value: float) -> str:
        """Whether the figure is what it should be."""
        if self.at_least is None and self.at_most is None:
            return ""
        met = value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)
        return "yes" if met else "no"


_ROWS: dict[str, Row] = {}


def row(
    key: str, unit: str, at_least: float | None = None, at_most: float | None = None
) -> Callable[[Callable[[], float]], Callable[[], float]]:
    """Register a function that measures one figure; its docstring's first line says what it is.

    Args:
        key: its name in results.json.
        unit: of the figure; empty for a ratio.
        at_least: the aim, if more is better.
        at_most: the aim, if less is better.
    """

    def register(measure: Callable[[], float]) -> Callable[[], float]:
        what = (measure.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        _ROWS[key] = Row(key, unit, what, measure, at_least, at_most)
        return measure

    return register


def figure(value: float) -> str:
    """Four significant digits, with commas."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def find_rows(only: str | None = None) -> list[Row]:
    """All rows, or those named in a comma list.

    Raises:
        ConfigError: there is no such row.
    """
    for source in sorted(Path(__file__).parent.glob("bench_*.py")):
        importlib.import_module(f"benchmarks.{source.stem}")
    if only is None:
        return list(_ROWS.values())
    wanted = [key.strip() for key in only.split(",")]
    for key in wanted:
        if key not in _ROWS:
            near = difflib.get_close_matches(key, _ROWS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_ROWS)}"
            raise ConfigError(f"--only: there is no row {key!r}; {hint}")
    return [_ROWS[key] for key in wanted]


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call [s]: its wall time on an idle machine; what other programs take does not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def wall_seconds(work: Callable[[], object]) -> float:
    """Wall time of one call [s], for what runs on several threads or processes, or waits."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(measure: Callable[[], float], repeats: int = 5) -> float:
    """Median of some measurements."""
    return statistics.median(measure() for _ in range(repeats))


def alternated(one: Callable[[], float], other: Callable[[], float], repeats: int = 5) -> tuple[float, float]:
    """Medians of two measurements that are taken in turn, so that both see the same machine in the same hour."""
    pairs = [(one(), other()) for _ in range(repeats)]
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)
