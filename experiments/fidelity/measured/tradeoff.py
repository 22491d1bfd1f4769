"""The trade-off between lending rules that was measured on the real kernel (kernel fact 16), sign by sign."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cma_gym.experiments.fidelity.measured.demands import Demand
from cma_gym.experiments.fidelity.measured.order import POOLED, labels, select, share

MAINLINE, PAGE_CACHE, NEVER, ZONE = 0, 3, 6, 7
LENDING = (0, 1, 2, 4, 5, 7, 8)
"""The lending rules besides page cache only."""
PINNING = ("pin", "mix")
"""Workloads with pinned pages."""


@dataclass(frozen=True)
class Sign:
    """One statement of the trade-off."""

    name: str
    statement: str
    measured: float
    """The figure it is about, as measured; nan where the file lacks what it takes."""
    model: float
    holds_measured: bool | None
    """None where it cannot be told."""
    holds_model: bool | None


Figure = Callable[[Sequence[Demand]], float]
_STATEMENTS: tuple[tuple[str, str, Figure, Callable[[float], bool]], ...] = (
    (
        "page_cache_succeeds",
        "page cache only succeeds more often than any other lending rule (lead over the best, points)",
        lambda demands: _lead(demands),
        lambda lead: lead >= 0,
    ),
    (
        "page_cache_idles",
        "page cache only leaves about half of the area idle (share free before a demand, above a third)",
        lambda demands: idle(demands, PAGE_CACHE),
        lambda value: value > 1 / 3,
    ),
    (
        "page_cache_swaps_more",
        "page cache only swaps out more than mainline (ratio)",
        lambda demands: _ratio(swapped(demands, PAGE_CACHE), swapped(demands, MAINLINE)),
        lambda value: value > 1,
    ),
    (
        "zone_swaps_less",
        "ZONE_CMA swaps out less than page cache only and never lending (ratio to the lesser)",
        lambda demands: _ratio(swapped(demands, ZONE), min(swapped(demands, PAGE_CACHE), swapped(demands, NEVER))),
        lambda value: value < 1,
    ),
    (
        "zone_uses_area",
        "ZONE_CMA uses most of the area (share used before a demand, above two thirds)",
        lambda demands: 1 - idle(demands, ZONE),
        lambda value: value > 2 / 3,
    ),
    (
        "zone_is_slow",
        "demands take several times longer under ZONE_CMA than under page cache only (ratio of medians, above 2)",
        lambda demands: _ratio(latency(demands, ZONE), latency(demands, PAGE_CACHE)),
        lambda value: value > 2,
    ),
    (
        "zone_fails_on_pins",
        "ZONE_CMA fails on pins where page cache only does not (difference of first tries in pin and mix, points)",
        lambda demands: _pin_gap(demands),
        lambda value: value > 0,
    ),
    (
        "never_serves",
        "never lending serves every whole-area demand at once (share)",
        lambda demands: share(select(demands, NEVER, POOLED, True), "first").rate,
        lambda value: value == 1,
    ),
    (
        "never_swaps",
        "never lending swaps out much more than mainline (ratio, above 1.3)",
        lambda demands: _ratio(swapped(demands, NEVER), swapped(demands, MAINLINE)),
        lambda value: value > 1.3,
    ),
)


def trade_off(measured: Sequence[Demand], model: Sequence[Demand]) -> list[Sign]:
    """Every statement with its figure, measured and simulated."""
    signs = []
    for name, statement, figure, test in _STATEMENTS:
        real, ours = figure(measured), figure(model)
        signs.append(Sign(name, statement, real, ours, _told(real, test), _told(ours, test)))
    return signs


def _told(value: float, test: Callable[[float], bool]) -> bool | None:
    return None if math.isnan(value) else test(value)


def idle(demands: Sequence[Demand], policy: int) -> float:
    """Mean share of the area that was free before the first tries."""
    return _mean(
        [
            demand.counts["cma_free"] / (demand.cma_mb * 256)
            for demand in select(demands, policy)
            if "cma_free" in demand.counts
        ]
    )


def swapped(demands: Sequence[Demand], policy: int, count: str = "vm_pswpout") -> float:
    """Pages swapped out in a run, in the mean over workloads of their medians over runs."""
    medians = []
    for workload in [name for name in labels(demands) if name != POOLED]:
        runs: dict[int, float] = {}
        for demand in select(demands, policy, workload):
            if count in demand.counts:
                runs[demand.seed] = max(runs.get(demand.seed, 0.0), demand.counts[count])
        if runs:
            medians.append(statistics.median(runs.values()))
    return _mean(medians)


def latency(demands: Sequence[Demand], policy: int) -> float:
    """Median time of the whole-area demands that succeeded [ms]."""
    times = [demand.latency_ms for demand in select(demands, policy, POOLED, True) if demand.ok]
    return statistics.median(times) if times else math.nan


def _lead(demands: Sequence[Demand]) -> float:
    """Success within three tries of page cache only, less the best other lending rule's [percentage points]."""
    rates = [share(select(demands, policy, POOLED, True), "three").rate for policy in LENDING]
    known = [rate for rate in rates if not math.isnan(rate)]
    own = share(select(demands, PAGE_CACHE, POOLED, True), "three").rate
    return 100 * (own - max(known)) if known else math.nan


def _pin_gap(demands: Sequence[Demand]) -> float:
    pinned = [demand for demand in demands if demand.workload in PINNING]
    page_cache, zone = (share(select(pinned, policy, POOLED, True), "first").rate for policy in (PAGE_CACHE, ZONE))
    return 100 * (page_cache - zone)


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.nan


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan
