"""The observation is made of the view as the list says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cma_gym.envs.compiled import scale_view
from cma_gym.envs.observation import OBS, OBS_NAMES, OBS_SIZE, PLAN, observation_table
from cma_gym.envs.placement import PlacementEnv
from cma_gym.machine.view import FEATURES, NR_VIEW, Scale, View


def naive(view: np.ndarray) -> list[float]:
    """The same by hand, from the features' own words."""
    out: list[float] = []
    for feature, value in zip(FEATURES, view.tolist(), strict=True):
        high = feature.high
        if feature.scale == Scale.ONE_HOT:
            out += [float(value == k) for k in range(high + 1)]
            continue
        if feature.scale == Scale.LOG:
            out.append(min(1.0, math.log2(1 + value) / math.log2(1 + high)))
            continue
        whole = {Scale.RANGE: high, Scale.OF_MEMORY: view[View.MANAGED_PAGES], Scale.OF_CMA: view[View.CMA_PAGES]}
        out.append(min(1.0, value / whole[feature.scale]) if whole[feature.scale] else 0.0)
    return out


def test_names_are_unique_and_indices_count_up() -> None:
    assert len(set(OBS_NAMES)) == OBS_SIZE
    assert [entry.position for entry in OBS] == list(range(OBS_SIZE))


def test_plan_points_at_the_first_entry_of_each_feature() -> None:
    for feature, (scale, high, at) in zip(FEATURES, PLAN.tolist(), strict=True):
        assert OBS[at].feature == feature.name
        assert (scale, high) == (feature.scale, feature.high)
        assert at == 0 or OBS[at - 1].feature != feature.name


@pytest.mark.parametrize("seed", range(5))
def test_scaler_agrees_with_the_naive_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = np.array([rng.integers(0, feature.high + 1) for feature in FEATURES], dtype=np.int64)
    obs = np.full(OBS_SIZE, np.nan, dtype=np.float32)
    scale_view(view, PLAN, obs)
    np.testing.assert_allclose(obs, naive(view), rtol=1e-6)
    assert obs.min() >= 0 and obs.max() <= 1


def test_a_view_of_zeros_and_one_beyond_all_limits_stay_in_range() -> None:
    obs = np.full(OBS_SIZE, np.nan, dtype=np.float32)
    scale_view(np.zeros(NR_VIEW, dtype=np.int64), PLAN, obs)
    assert np.isfinite(obs).all() and obs.sum() == 2  # the two one-hot features show their value 0
    scale_view(np.full(NR_VIEW, 1 << 40, dtype=np.int64), PLAN, obs)
    assert obs.min() >= 0 and obs.max() == 1


def test_the_table_has_every_entry_and_stands_in_the_docstring() -> None:
    table = observation_table()
    for entry in OBS:
        assert f"| {entry.position} " in table and f" {entry.name} " in table
        assert f" {entry.name} " in (PlacementEnv.__doc__ or "")
    assert "{observations}" not in (PlacementEnv.__doc__ or "")
