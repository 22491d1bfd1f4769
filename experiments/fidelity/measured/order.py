"""Whether two sets of demands, measured and simulated, put policies in the same order."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cma_gym.experiments.fidelity.measured.demands import Demand

SIGNIFICANT = 0.1
POOLED = "all"
MEASURES: dict[str, Callable[[Demand], bool]] = {
    "first": lambda demand: demand.first,
    "three": lambda demand: demand.ok,
}
"""Success at the first try, and within three."""


@dataclass(frozen=True)
class Share:
    """Successes of a number of demands."""

    ok: int
    tried: int

    @property
    def rate(self) -> float:
        """Share of successes; nan of nothing."""
        return self.ok / self.tried if self.tried else math.nan


@dataclass(frozen=True)
class Pair:
    """Two policies whose measured success differs beyond sampling error."""

    workload: str
    measure: str
    better: int
    """The policy with the higher measured success."""
    worse: int
    measured_better: Share
    measured_worse: Share
    p: float
    model_better: Share
    model_worse: Share

    @property
    def agrees(self) -> bool:
        """Whether the model puts them in the same order; a tie does not count."""
        return self.model_better.rate > self.model_worse.rate


def fisher_exact(a: int, b: int, c: int, d: int) -> float:
    """Two-sided p of Fisher's exact test of the table [[a, b], [c, d]].

    The probability, with the margins given, of all tables that are at most as likely as this one.
    """
    row, column, total = a + b, a + c, a + b + c + d
    lowest, highest = max(0, row + column - total), min(row, column)
    ways = [math.comb(column, x) * math.comb(total - column, row - x) for x in range(lowest, highest + 1)]
    seen = ways[a - lowest]
    return sum(number for number in ways if number <= seen) / math.comb(total, row)


def share(demands: Iterable[Demand], measure: str) -> Share:
    """Successes among demands."""
    outcomes = [MEASURES[measure](demand) for demand in demands]
    return Share(sum(outcomes), len(outcomes))


def select(
    demands: Iterable[Demand], policy: int | None = None, workload: str | None = None, whole: bool | None = None
) -> list[Demand]:
    """The demands of a policy, of a workload's label (or POOLED), of one kind."""
    return [
        demand
        for demand in demands
        if (policy is None or demand.policy == policy)
        and (workload in (None, POOLED) or label(demand) == workload)
        and (whole is None or demand.whole == whole)
    ]


def label(demand: Demand) -> str:
    """Name of a demand's workload; with its size where that is not the usual 512 MB."""
    return demand.workload if demand.ram_mb == 512 else f"{demand.workload}@{demand.ram_mb}"


def labels(demands: Iterable[Demand]) -> list[str]:
    """All workloads, in the order of their first demand, and POOLED where there are several."""
    found = list(dict.fromkeys(label(demand) for demand in demands))
    return [*found, POOLED] if len(found) > 1 else found


def distinct_pairs(measured: Sequence[Demand], model: Sequence[Demand]) -> list[Pair]:
    """All pairs of policies whose measured whole-area success differs by Fisher's test, with the model's figures."""
    found = []
    numbers = sorted({demand.policy for demand in measured})
    for workload, measure in itertools.product(labels(measured), MEASURES):
        real = {number: share(select(measured, number, workload, True), measure) for number in numbers}
        ours = {number: share(select(model, number, workload, True), measure) for number in numbers}
        for one, other in itertools.combinations([number for number in numbers if real[number].tried], 2):
            better, worse = sorted((one, other), key=lambda number: -real[number].rate)
            high, low = real[better], real[worse]
            p = fisher_exact(high.ok, high.tried - high.ok, low.ok, low.tried - low.ok)
            if p < SIGNIFICANT:
                found.append(Pair(workload, measure, better, worse, high, low, p, ours[better], ours[worse]))
    return found


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Spearman's rank correlation, ties at their mean rank; nan where it is not defined."""
    kept = [(x, y) for x, y in zip(xs, ys, strict=True) if not math.isnan(x + y)]
    if len(kept) < 3:
        return math.nan
    first, second = (_ranks([pair[side] for pair in kept]) for side in (0, 1))
    if len(set(first)) == 1 or len(set(second)) == 1:
        return math.nan
    return statistics.correlation(first, second)


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other < value for other in values) + (values.count(value) - 1) / 2 for value in values]
