"""Figures against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cma_gym.experiments.figures.statistics import against, bootstrap, iqm, mean, paired


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5], 5),
        ([1, 2, 3, 4], 2.5),  # the middle two
        ([0, 2, 3, 100], 2.5),  # outliers do not count
        ([1, 2, 3, 4, 5], 3.0),  # 0.75 of 2, 3, 0.75 of 4
        ([1, 2, 9], (0.25 * 1 + 1 * 2 + 0.25 * 9) / 1.5),
        ([1, 3], 2),
    ],
)
def test_iqm(values: list[float], expected: float) -> None:
    assert iqm(values) == pytest.approx(expected)
    assert iqm(values[::-1]) == pytest.approx(expected)


def test_iqm_is_scipys_trimmed_mean_where_quarters_are_whole() -> None:
    values = np.random.default_rng(1).normal(size=40)
    assert iqm(values) == pytest.approx(np.sort(values)[10:30].mean())


def test_iqm_of_nothing_is_nan() -> None:
    assert math.isnan(iqm([]))


def test_bootstrap_of_equal_values_is_a_point() -> None:
    assert bootstrap([2.0] * 8) == (2.0, 2.0)


def test_one_value_has_no_interval() -> None:
    low, high = bootstrap([3.0])
    assert math.isnan(low) and math.isnan(high)
    assert math.isnan(paired([1], [0]).low)


def test_bootstrap_is_near_the_normal_interval_and_repeatable() -> None:
    values = np.random.default_rng(0).normal(10, 2, size=400)
    low, high = bootstrap(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)
    assert bootstrap(values) == (low, high)


def test_paired_counts_wins_in_the_metrics_direction() -> None:
    higher = paired([1, 2, 3], [0, 2, 5], higher_is_better=True)
    lower = paired([1, 2, 3], [0, 2, 5], higher_is_better=False)
    assert (higher.wins, higher.ties, higher.losses) == (1, 1, 1)
    assert (lower.wins, lower.ties, lower.losses) == (1, 1, 1)
    assert higher.mean == pytest.approx(-1 / 3)
    assert paired([2, 2], [0, 0]).wins == 2
    assert paired([2, 2], [0, 0], higher_is_better=False).losses == 2


def test_paired_leaves_out_pairs_without_a_value() -> None:
    result = paired([1, math.nan, 3], [0, 0, math.nan])
    assert (result.pairs, result.mean) == (1, 1)
    assert paired([math.nan], [1]).pairs == 0


def test_against_pairs_by_workload_and_seed_whatever_the_order() -> None:
    rows = [
        {"system": "a", "workload": "w", "seed": 0, "x": 1.0},
        {"system": "a", "workload": "w", "seed": 1, "x": 5.0},
        {"system": "b", "workload": "w", "seed": 1, "x": 6.0},
        {"system": "b", "workload": "w", "seed": 0, "x": 4.0},
        {"system": "b", "workload": "w", "seed": 2, "x": 9.0},
    ]
    result = against(rows, "x", "a", higher_is_better=True)
    assert set(result) == {"b"}
    assert (result["b"].pairs, result["b"].mean, result["b"].wins) == (2, 2.0, 2)


def test_mean_skips_what_is_missing() -> None:
    assert mean([1, None, math.nan, 3]) == 2
    assert math.isnan(mean([]))
