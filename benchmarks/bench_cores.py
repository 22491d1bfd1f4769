"""Two cores against one."""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.phone import Phone
from benchmarks.rows import LeftOutError, alternated, row, wall_seconds
from cma_gym.experiments.config import ROOT
from cma_gym.support.jit import jit

PLAYS = 8
_COMPARE = (
    "compare --workload phone --systems all --seeds 0:10 --set machine.ram_mb=256 --set machine.cma_mb=64"
).split()


@functools.cache
def _phone() -> Phone:
    phone = Phone(256)
    phone.play()
    return phone


def _play(_: int) -> None:
    for _ in range(PLAYS):
        _phone().play()


def _need_two_cores() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        raise LeftOutError("there is only one core")


@jit
def shift_in_registers(value: Any) -> Any:
    """Work that touches no memory, about as long as some rollouts."""
    for _ in range(200_000_000):
        value ^= value << 13
        value ^= value >> 7
        value ^= value << 17
    return value


def _shift(seed: int) -> None:
    shift_in_registers(seed + 1)


def _speedup(work: Callable[[int], None]) -> float:
    """How much more work two processes do in the same time than one."""
    _need_two_cores()
    work(0)  # fills the compiler's cache
    with multiprocessing.get_context("spawn").Pool(2, initializer=work, initargs=(0,)) as pool:

        def seconds(processes: int) -> float:
            return wall_seconds(lambda: pool.map(work, range(processes), chunksize=1))

        seconds(2), seconds(2)  # until both are there
        two, one = alternated(lambda: seconds(2), lambda: seconds(1))
    return 2 * one / two


@row("two_core_speedup", "", at_least=1.8)
def rollouts() -> float:
    """Rollouts a second in two processes against one, phone, 256 MB."""
    return _speedup(_play)


@row("two_core_limit", "")
def limit() -> float:
    """The same for work that touches no memory: what the machine gives at that time."""
    return _speedup(_shift)


def _compare_seconds(jobs: int) -> float:
    command = [sys.executable, "-m", "cma_gym", *_COMPARE, "--jobs", str(jobs)]
    return wall_seconds(lambda: subprocess.run(command, check=True, cwd=ROOT, capture_output=True))


@row("compare_two_core_speedup", "", at_least=1.8)
def compare() -> float:
    """The command compare, --jobs 2 against --jobs 1: all systems on ten phones of 256 MB."""
    _need_two_cores()
    _compare_seconds(2)
    one, two = alternated(lambda: _compare_seconds(1), lambda: _compare_seconds(2), 3)
    return one / two
