"""Which workload a seed plays."""

from __future__ import annotations

import pytest

from cma_gym.envs.seeds import SPLIT_SIZE, SPLITS, pick_episode, split_seeds


def test_ranges_are_disjoint() -> None:
    ranges = [split_seeds(split, SPLIT_SIZE) for split in SPLITS]
    for one, other in zip(ranges, ranges[1:], strict=False):
        assert one[-1] < other[0]


def test_a_range_has_an_end() -> None:
    with pytest.raises(ValueError, match="ask for fewer"):
        split_seeds("test", SPLIT_SIZE + 1)


def test_first_episodes_of_consecutive_seeds_walk_through_the_pool() -> None:
    assert [pick_episode(seed, 0, 4) for seed in range(6)] == [0, 1, 2, 3, 0, 1]


def test_later_episodes_reach_the_whole_pool_and_differ_between_seeds() -> None:
    walks = [[pick_episode(seed, played, 8) for played in range(1, 60)] for seed in range(4)]
    assert all(set(walk) == set(range(8)) for walk in walks)
    assert len({tuple(walk) for walk in walks}) == 4
    # No walk is another one moved by a step.
    assert walks[0][1:] != walks[1][:-1]
