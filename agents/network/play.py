"""Whole episodes of a batch under something that chooses actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cma_gym.envs.batch import Batch


def episode_returns(choose: Callable[[Batch], np.ndarray], batch: Batch, episodes: Sequence[int]) -> np.ndarray:
    """Sum of rewards of whole episodes.

    Args:
        choose: the actions, int [n], for the pending questions of all rows.
        batch: plays them, as many at a time as it has rows.
        episodes: indices into the batch's pool.

    Returns:
        float64 [len(episodes)].
    """
    returns = np.zeros(len(episodes))
    for first in range(0, len(episodes), batch.num_envs):
        chunk = np.asarray(episodes[first : first + batch.num_envs])
        batch.reset(episodes=np.resize(chunk, batch.num_envs).tolist())
        batch.rows["alive"][len(chunk) :] = 0  # rows without an episode of their own rest
        while batch.rows["alive"].any():
            batch.step(choose(batch))
        returns[first : first + len(chunk)] = batch.rows["reward_sum"][: len(chunk)]
    return returns
