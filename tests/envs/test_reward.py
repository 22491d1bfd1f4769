"""The reward is the sum of its terms; metrics do not depend on it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cma_gym  # noqa: F401  registers the environments
from cma_gym.envs.compiled import TERM_NAMES, Term
from cma_gym.envs.reward import RewardWeights

ZERO = dict.fromkeys(TERM_NAMES, 0.0)


def play(kwargs: dict[str, Any], action: int = 2) -> tuple[list[float], list[dict[str, float]], dict[str, float]]:
    env = gym.make("cma_gym/Placement-v0", **kwargs)
    env.reset(seed=0)
    rewards, terms = [], []
    while True:
        _, reward, terminated, _, info = env.step(action)
        rewards.append(float(reward))
        terms.append(info["reward_terms"])
        if terminated:
            return rewards, terms, info["metrics"]


def test_factors_turn_counts_and_nanoseconds_into_milliseconds() -> None:
    factors = RewardWeights(demand_failed=7.0, stall=2.0).factors()
    assert factors[Term.DEMAND_FAILED] == 7.0
    assert factors[Term.STALL] == 2.0e-6


def test_every_weight_is_a_term() -> None:
    assert set(RewardWeights.model_fields) == set(TERM_NAMES)


def test_reward_is_the_sum_of_its_terms(small: dict[str, Any]) -> None:
    rewards, terms, _ = play(small)
    np.testing.assert_allclose(rewards, [sum(row.values()) for row in terms], rtol=1e-6)
    assert all(value <= 0 for row in terms for value in row.values())
    assert sum(rewards) < 0
    assert sum(row["demand_latency"] for row in terms) < 0


def test_terms_add_up_to_the_metrics_they_are_made_of(small: dict[str, Any]) -> None:
    _, terms, metrics = play(small)
    total = {name: -sum(row[name] for row in terms) for name in TERM_NAMES}
    tried, pieces = metrics["whole_demands"], metrics["pieces_demands"]
    assert (tried, pieces) == (1, 1)
    assert total["demand_failed"] == pytest.approx(5000 * round(tried * (1 - metrics["whole_success"])))
    assert total["pieces_failed"] == pytest.approx(3000 * round(pieces * (1 - metrics["pieces_success"])))
    assert total["kill"] == pytest.approx(1000 * metrics["kills"])


def test_the_decision_matters(small: dict[str, Any]) -> None:
    """Pinned pages that borrowed from the area cost the demand; the same pages in ordinary memory do not."""
    borrowed, kept = play(small, action=2), play(small, action=0)
    assert (borrowed[2]["whole_success"], kept[2]["whole_success"]) == (0, 1)
    assert min(row["demand_failed"] for row in borrowed[1]) == -5000
    assert sum(borrowed[0]) < sum(kept[0])


def test_metrics_do_not_depend_on_weights(small: dict[str, Any]) -> None:
    plain = play(small)
    free = play({**small, "weights": ZERO})
    assert set(free[0]) == {0.0}
    np.testing.assert_equal(plain[2], free[2])


def test_one_weight_scales_one_term(small: dict[str, Any]) -> None:
    one = play({**small, "weights": {**ZERO, "demand_latency": 1.0}})
    three = play({**small, "weights": {**ZERO, "demand_latency": 3.0}})
    np.testing.assert_allclose(three[0], np.multiply(one[0], 3), rtol=1e-6)
    assert sum(one[0]) < 0
