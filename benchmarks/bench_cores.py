"""Two cores against one."""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.pool import Pool

from benchmarks.phone import Phone
from benchmarks.rows import LeftOutError, alternated, row, wall_seconds
from experiments.config import ROOT

PLAYS = 8
_COMPARE = (
    "compare --workload phone --systems cma_first,mainline_fallback,half_and_half,page_cache_only --seeds 0:16 "
    "--set machine.ram_mb=256 --set machine.cma_mb=64"
).split()


@functools.cache
def _phone() -> Phone:
    phone = Phone(256)
    phone.play()
    return phone


def _begin() -> None:
    _phone()


def _play(_: int) -> None:
    for _ in range(PLAYS):
        _phone().play()


def _need_two_cores() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        raise LeftOutError("there is only one core")


def _rollouts_per_s(pool: Pool, processes: int) -> float:
    return processes * PLAYS / wall_seconds(lambda: pool.map(_play, range(processes), chunksize=1))


@row("two_core_speedup", "", at_least=1.8)
def rollouts() -> float:
    """Rollouts a second in two processes against one, phone, 256 MB."""
    _need_two_cores()
    _phone()  # fills the compiler's cache
    with multiprocessing.get_context("spawn").Pool(2, initializer=_begin) as pool:
        _rollouts_per_s(pool, 2)
        two, one = alternated(lambda: _rollouts_per_s(pool, 2), lambda: _rollouts_per_s(pool, 1))
    return two / one


def _compare_seconds(jobs: int) -> float:
    command = [sys.executable, "-m", "experiments", *_COMPARE, "--jobs", str(jobs)]
    return wall_seconds(lambda: subprocess.run(command, check=True, cwd=ROOT, capture_output=True))


@row("compare_two_core_speedup", "", at_least=1.8)
def compare() -> float:
    """The command compare, --jobs 2 against --jobs 1: 64 runs of the phone, 256 MB."""
    _need_two_cores()
    _compare_seconds(2)
    one, two = alternated(lambda: _compare_seconds(1), lambda: _compare_seconds(2), 3)
    return one / two
