"""Small machines for the tests that need real ones: the size the environments' tests use, so compiled only once."""

from __future__ import annotations

from typing import Any

from cma_gym.envs.batch import Batch, make_batch

TINY = {"ram_mb": 16, "cma_mb": 4, "pageblock_order": 6}
SCENARIO = {"family": "phone"}


def real_batch(split: str, num_envs: int, max_decisions: int | None = 40, **more: Any) -> Batch:
    plain = {"machine": TINY, "scenario": SCENARIO, "pool": 4, "max_decisions": max_decisions}
    return make_batch(num_envs, split=split, **plain, **more)
