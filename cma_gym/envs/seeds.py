"""Seeds: three disjoint ranges, and the one rule that says which workload an episode plays.

A seed chooses a workload and nothing else. The machine boots the same way every time and arrivals never depend on
actions, so that all policies meet the same demands.
"""

from __future__ import annotations

SPLIT_SIZE = 1_000_000
"""Workload seeds in each range."""

SPLITS = {"train": 0, "select": SPLIT_SIZE, "test": 2 * SPLIT_SIZE}
"""First workload seed of each range: to learn from, to choose a checkpoint or table with, to report."""

_MASK = (1 << 64) - 1


def split_seeds(split: str, count: int) -> range:
    """The first `count` workload seeds of a range.

    Raises:
        KeyError: there is no such range.
        ValueError: it has fewer seeds than that.
    """
    if not 0 < count <= SPLIT_SIZE:
        raise ValueError(f"a range of seeds holds 1 to {SPLIT_SIZE} of them, not {count}; ask for fewer")
    return range(SPLITS[split], SPLITS[split] + count)


def pick_episode(seed: int, played: int, pool: int) -> int:
    """Which episode of a pool comes next.

    The first one after `reset(seed=s)` is `s % pool`, so that consecutive seeds walk through the pool; the following
    ones are drawn by a hash of the seed, so that rows with consecutive seeds do not follow each other.

    Args:
        seed: the row's seed.
        played: episodes already begun since that seed was set.
        pool: number of episodes.
    """
    if played == 0:
        return seed % pool
    return _mix(_mix(seed & _MASK) ^ played) % pool


def _mix(value: int) -> int:
    """The finaliser of the SplitMix64 generator: every input bit reaches every output bit."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
