"""Action masks."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

import cma_gym  # noqa: F401  registers the environments
from cma_gym.machine.view import View

NAME = "cma_gym/Placement-v0"


def test_a_carve_out_leaves_one_action(small: dict[str, Any]) -> None:
    env = gym.make(NAME, kernel={"lend": False}, **small)
    _, info = env.reset(seed=0)
    for _ in range(20):
        np.testing.assert_array_equal(info["action_mask"], [1, 0, 0])
        *_, info = env.step(0)


def test_a_full_area_rules_out_cma_first(small: dict[str, Any]) -> None:
    env = gym.make(NAME, **small).unwrapped
    _, info = env.reset(seed=0)
    free, allowed = [], []
    terminated = False
    while not terminated:
        free.append(int(env.batch.views[0, View.FREE_CMA]))  # type: ignore[attr-defined]
        allowed.append(info["action_mask"].tolist())
        assert info["action_mask"].dtype == np.int8
        np.testing.assert_array_equal(env.action_masks(), info["action_mask"].astype(bool))  # type: ignore[attr-defined]
        _, _, terminated, _, info = env.step(2)
    assert allowed == [[1, 1, 1] if pages else [1, 1, 0] for pages in free]
    assert min(free) == 0 < max(free)


def test_masked_sampling_keeps_to_the_mask(small: dict[str, Any]) -> None:
    env = gym.make(NAME, kernel={"lend": False}, **small)
    _, info = env.reset(seed=0)
    assert {int(env.action_space.sample(mask=info["action_mask"])) for _ in range(20)} == {0}


def test_a_vector_gives_a_mask_for_each_row(small: dict[str, Any]) -> None:
    env = gym.make_vec(NAME, 3, **small)
    _, infos = env.reset(seed=0)
    assert infos["action_mask"].shape == (3, 3) and infos["action_mask"].dtype == np.int8
    assert env.unwrapped.action_masks().dtype == np.bool_  # type: ignore[attr-defined]
