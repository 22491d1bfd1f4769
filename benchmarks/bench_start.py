"""How long a user waits for the first step, with and without a filled compiler cache."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from typing import NamedTuple

from benchmarks.rows import median, row, wall_seconds
from cma_gym.experiments.config import ROOT

_FIRST_STEP = """
import gymnasium
import cma_gym
env = gymnasium.make("cma_gym/Placement-v0")
env.reset(seed=0)
env.step(1)
"""


def _seconds(cache: str) -> float:
    environment = {**os.environ, "CMA_GYM_CACHE_DIR": cache}
    environment.pop("NUMBA_BOUNDSCHECK", None)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or Python would compile our modules at each start
    command = [sys.executable, "-c", _FIRST_STEP]
    return wall_seconds(lambda: subprocess.run(command, check=True, cwd=ROOT, env=environment))


class _Starts(NamedTuple):
    """Seconds from the start of a process to its first step."""

    cold: float
    warm: float


@functools.cache
def _starts() -> _Starts:
    with tempfile.TemporaryDirectory() as cache:
        cold = _seconds(cache)
        return _Starts(cold, median(lambda: _seconds(cache)))


@row("cold_start_s", "s", at_most=30)
def cold_start() -> float:
    """A new process to its first environment step, nothing compiled before."""
    return _starts().cold


@row("warm_start_s", "s", at_most=1)
def warm_start() -> float:
    """The same with everything compiled before."""
    return _starts().warm
