"""How long a user waits for the first step, with and without a filled compiler cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from benchmarks.rows import row
from experiments.config import ROOT

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
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _FIRST_STEP], check=True, cwd=ROOT, env=environment)
    return time.perf_counter() - start


@row("cold_start_s", "s")
def cold_start() -> float:
    """A new process to its first environment step, nothing compiled before."""
    with tempfile.TemporaryDirectory() as cache:
        return _seconds(cache)


@row("warm_start_s", "s")
def warm_start() -> float:
    """The same with everything compiled before."""
    with tempfile.TemporaryDirectory() as cache:
        _seconds(cache)
        return min(_seconds(cache) for _ in range(3))
