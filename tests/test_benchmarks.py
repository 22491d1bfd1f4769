"""The table of benchmarks is complete, and the C twin of the allocator leaves the same bytes. Nothing is timed."""

import os
import subprocess
import sys
import tempfile

import pytest

from benchmarks.rows import find_rows
from cma_gym.experiments.config import ROOT

KEYS = (
    "alloc_free_vs_c rollout_decisions_per_s rollout_vs_envpool vector_env_vs_envpool ppo_vs_null day_seconds "
    "growth_8g_vs_64m bytes_per_page scan_ns_per_page migrate_ns_per_page reset_ms cold_start_s warm_start_s "
    "two_core_speedup import_lines_per_s"
).split()

SAME_BYTES = """
import sys
import numpy as np
from benchmarks.bench_alloc import booted, churn, compiled_twin
from benchmarks.rows import LeftOutError
ours, theirs = booted(16), booted(16)
held, held_c = np.zeros(1024, np.int64), np.zeros(1024, np.int64)
try:
    twin = compiled_twin(ours.dtype, sys.argv[1])
except LeftOutError:
    sys.exit(3)
assert churn(ours, held, 5000) == twin(theirs, held_c, 5000) == 0
assert held.tolist() == held_c.tolist() and len(set(held.tolist())) == 1024
assert ours.tobytes() == theirs.tobytes()
"""


def test_every_promised_row_exists():
    assert set(KEYS) <= {row.key for row in find_rows()}


def test_the_c_twin_leaves_the_same_bytes():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SAME_BYTES, folder]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    if done.returncode == 3:
        pytest.skip("there is no gcc")
    assert done.returncode == 0
