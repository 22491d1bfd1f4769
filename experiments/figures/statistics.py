"""Paired comparison of systems: mean differences with bootstrap intervals, interquartile mean, win/tie/loss.

All systems see the same arrivals (common random numbers), so that differences are taken row by row, over pairs
(workload, seed), before they are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
_AT_A_TIME = 50
"""Resamples drawn in one go: few enough to stay in the processor's cache."""
CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, 1 - (1 - CONFIDENCE) / 2)
"""Ends of an interval, as quantiles."""


@dataclass(frozen=True)
class Paired:
    """How one system differs from another, over the pairs where both have a value."""

    pairs: int
    mean: float
    """Mean difference, in the metric's unit."""
    low: float
    """Lower end of the bootstrap interval of the mean."""
    high: float
    iqm: float
    """Interquartile mean of the differences."""
    wins: int
    """Pairs where the system is better."""
    ties: int
    losses: int


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half, nan of nothing.

    A quarter of the *weight* is cut off on each side; where it falls inside a value, that value counts in part.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    count = len(ordered)
    if count == 0:
        return float("nan")
    edges = 4 * np.arange(count + 1)  # in quarters of a value, so that the weights are whole numbers
    weight = np.clip(np.minimum(edges[1:], 3 * count) - np.maximum(edges[:-1], count), 0, None)
    return float(np.dot(ordered, weight) / weight.sum())


def bootstrap(values: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean, by resampling the values; (nan, nan) of fewer than two."""
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2:
        return float("nan"), float("nan")
    low, high = np.quantile(resampled_means(sample, resamples, seed), TAILS)
    return float(low), float(high)


def resampled_means(sample: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """Means of resamples of the last axis, in a last axis of their own; samples of one length are resampled alike."""
    count, rng = sample.shape[-1], np.random.default_rng(seed)
    sizes = [_AT_A_TIME] * (resamples // _AT_A_TIME) + [resamples % _AT_A_TIME]
    parts = [sample[..., rng.integers(0, count, (size, count))].mean(axis=-1) for size in sizes]
    means: NDArray[np.float64] = np.concatenate(parts, axis=-1)
    return means


def paired(ours: ArrayLike, theirs: ArrayLike, higher_is_better: bool = True) -> Paired:
    """Compare two systems pair by pair.

    Args:
        ours: one value per pair; nan where there is none.
        theirs: the baseline's, in the same order.
        higher_is_better: what counts as a win.
    """
    difference = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    difference = difference[~np.isnan(difference)]
    if len(difference) == 0:
        nan = float("nan")
        return Paired(0, nan, nan, nan, nan, 0, 0, 0)
    better = difference if higher_is_better else -difference
    low, high = bootstrap(difference)
    counts = (int((better > 0).sum()), int((better == 0).sum()), int((better < 0).sum()))
    return Paired(len(difference), float(difference.mean()), low, high, iqm(difference), *counts)


def by_pair(rows: Iterable[Mapping[str, Any]], metric: str) -> dict[str, dict[tuple[str, int], float]]:
    """One metric of result rows: by system, then by (workload, seed)."""
    found: dict[str, dict[tuple[str, int], float]] = {}
    for row in rows:
        value = row.get(metric)
        number = float("nan") if value is None else float(value)
        found.setdefault(str(row["system"]), {})[(str(row["workload"]), int(row["seed"]))] = number
    return found


def against(rows: Sequence[Mapping[str, Any]], metric: str, baseline: str, higher_is_better: bool) -> dict[str, Paired]:
    """Every other system's paired difference to `baseline`, over the pairs both have."""
    values = by_pair(rows, metric)
    theirs = values.get(baseline, {})
    result = {}
    for system, ours in values.items():
        common = sorted(ours.keys() & theirs.keys())
        if system != baseline:
            result[system] = paired([ours[key] for key in common], [theirs[key] for key in common], higher_is_better)
    return result


def mean(values: Iterable[float | None]) -> float:
    """Mean of the values that are numbers; nan of nothing."""
    present: NDArray[np.float64] = np.array([value for value in values if value is not None], dtype=float)
    present = present[~np.isnan(present)]
    return float(present.mean()) if len(present) else float("nan")
