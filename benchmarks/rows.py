"""The rows of the benchmark table: functions under `@row`, found by scanning this folder."""

from __future__ import annotations

import difflib
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.config import ConfigError


@dataclass(frozen=True)
class Result:
    """One measured figure."""

    key: str
    value: float
    unit: str
    what: str


@dataclass(frozen=True)
class Row:
    """One figure to measure."""

    key: str
    unit: str
    what: str
    measure: Callable[[], float]

    def run(self) -> Result:
        """Measure it."""
        return Result(self.key, self.measure(), self.unit, self.what)


_ROWS: dict[str, Row] = {}


def row(key: str, unit: str) -> Callable[[Callable[[], float]], Callable[[], float]]:
    """Register a function that measures one figure; its docstring's first line says what it is."""

    def register(measure: Callable[[], float]) -> Callable[[], float]:
        _ROWS[key] = Row(key, unit, (measure.__doc__ or "").strip().partition("\n")[0].rstrip("."), measure)
        return measure

    return register


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


def best_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of some timings; the others were disturbed."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
