"""Pareto fronts, paired differences and agreement of twins, on rows whose answers are known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cma_gym.experiments.suites.figures import agreement, by_scenario, pareto_front, suite_figures
from cma_gym.experiments.suites.page import agreement_table, fronts_table
from cma_gym.experiments.suites.suite import Suite, SuiteConfig, resolve_suite

SYSTEMS = ("a", "b", "c", "d")


def suite(seeds: int = 3) -> Suite:
    machine = {"ram_mb": 16, "cma_mb": 4, "pageblock_order": 6}
    entry = {"use": "phone", "at": ["big", "small"], "tests": ["whole", "pieces"], "seeds": seeds}
    content = {"name": "t", "machines": {"big": {**machine, "ram_mb": 64}, "small": machine}, "twins": {"small": "big"}}
    return resolve_suite(SuiteConfig.model_validate({**content, "scenarios": [entry]}), "here")


def row(system: str, workload: str, seed: int, whole: float, stall: float = 0.0, idle: float = 0.5) -> dict[str, Any]:
    figures = {"whole_success": whole, "pieces_success": 1.0, "stall_ms": stall, "swap_ms": 0.0, "refault_ms": 0.0}
    return {
        "system": system,
        "workload": workload,
        "seed": seed,
        "kills": 0.0,
        "cma_idle": idle,
        "held_up": "[]",
        **figures,
    }


def entry(system: str, success: float, cost: float) -> dict[str, Any]:
    return {"system": system, "whole_success": success, "cost_ms": cost}


def test_the_front_keeps_equals_and_drops_what_is_beaten() -> None:
    points = [entry("cheap", 0.2, 1), entry("good", 0.9, 5), entry("twin", 0.9, 5), entry("worse", 0.9, 6)]
    points += [entry("beaten", 0.1, 1), entry("between", 0.5, 3), entry("unknown", math.nan, 0)]
    assert pareto_front(points, "whole_success", "cost_ms") == ["cheap", "good", "twin", "between"]


def rows_of(means: dict[str, dict[str, float]], seeds: int = 3) -> list[dict[str, Any]]:
    """Rows whose mean is given; the seeds differ, all systems alike."""
    shifts = [step - (seeds - 1) / 2 for step in range(seeds)]
    return [
        row(system, label, seed, mean + 0.01 * shift)
        for label, own in means.items()
        for system, mean in own.items()
        for seed, shift in enumerate(shifts)
    ]


def test_agreement_counts_pairs_and_leaves_ties_out() -> None:
    means = {
        "phone-big": {"a": 0.9, "b": 0.5, "c": 0.5, "d": 0.1},
        "phone-small": {"a": 0.9, "b": 0.6, "c": 0.5, "d": 0.7},
    }
    own = by_scenario(rows_of(means))
    ((full, twin),) = suite().twin_pairs()
    found = agreement(own, full, twin, "whole_success")
    # Pairs: ab ac ad alike, bc tied at full size, bd and cd the other way round.
    assert (found.systems, found.alike, found.opposite, found.tied) == (4, 3, 2, 1)
    assert found.share_alike == pytest.approx(0.6)
    # Paired over seeds, nothing is left to chance here.
    assert (found.clear_alike, found.clear_opposite) == (3, 2)
    # Ranks 4, 2.5, 2.5, 1 against 4, 2, 1, 3.
    assert found.rank_correlation == pytest.approx(1.5 / math.sqrt(4.5 * 5))


def test_an_order_within_chance_is_not_clear() -> None:
    big = [
        row(system, "phone-big", seed, value)
        for system, values in {"a": (1, 0, 1), "b": (0, 1, 0)}.items()
        for seed, value in enumerate(values)
    ]
    small = [row(system, "phone-small", seed, value) for system, value in (("a", 1), ("b", 0)) for seed in range(3)]
    ((full, twin),) = suite().twin_pairs()
    found = agreement(by_scenario(big + small), full, twin, "whole_success")
    assert (found.alike, found.clear_alike, found.clear_opposite) == (1, 0, 0)
    assert math.isnan(found.rank_correlation)  # of two systems there is none


def test_a_bound_is_on_no_front_and_pushes_nobody_off() -> None:
    rows = [row("a", "phone-big", 0, 0.5, 10.0), {**row("seer", "phone-big", 0, 1.0), "policy": "oracle"}]
    figures = suite_figures(suite(), rows, "a")
    assert figures["bounds"] == ["seer"]
    assert figures["scenarios"]["phone-big"]["fronts"]["whole_success"] == {"cost_ms": ["a"], "cma_idle": ["a"]}


def test_agreement_needs_both_machines() -> None:
    ((full, twin),) = suite().twin_pairs()
    found = agreement(by_scenario(rows_of({"phone-big": {"a": 1, "b": 0}})), full, twin, "whole_success")
    assert (found.systems, found.alike, found.tied) == (0, 0, 0) and math.isnan(found.share_alike)


def test_the_figures_of_a_suite() -> None:
    values = {"a": (1.0, 30.0, 0.9), "b": (0.5, 20.0, 0.5), "c": (0.5, 25.0, 0.4), "d": (0.25, 40.0, 0.9)}
    rows = [
        row(system, label, seed, *own)
        for label in ("phone-big", "phone-small")
        for seed in range(3)
        for system, own in values.items()
    ]
    figures = suite_figures(suite(), rows, "d")
    big = figures["scenarios"]["phone-big"]
    assert (big["group"], big["seeds"], big["measures"]) == ("full", 3, ("whole_success", "pieces_success"))
    assert big["fronts"]["whole_success"] == {"cost_ms": ["a", "b"], "cma_idle": ["a", "c"]}
    assert figures["groups"]["twin"]["fronts"]["whole_success"]["cma_idle"] == {"a": 1, "c": 1}
    paired = figures["groups"]["full"]["paired"]["whole_success"]["a"]
    assert (paired["mean"], paired["iqm"], paired["wins"], paired["pairs"]) == (0.75, 0.75, 3, 3)
    assert [entry["measure"] for entry in figures["agreement"]] == [
        "whole_success",
        "pieces_success",
        "cost_ms",
        "cma_idle",
    ]
    assert figures["agreement"][0]["share_alike"] == 1.0 and figures["agreement"][0]["tied"] == 1
    assert fronts_table(figures, "full")[1][0] == ["a", "1", "1", "0", "0"]
    assert agreement_table(figures)[1][0][:4] == ["phone-big", "phone-small", "whole area served", "4"]
