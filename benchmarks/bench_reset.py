"""Copies of a machine: taking a snapshot, going back to it, beginning an episode."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.phone import Phone
from benchmarks.rows import cpu_seconds, median, row
from cma_gym.envs.compiled import place_row

REPEATS = 25


def copy_machines(target: np.recarray, source: np.recarray) -> None:
    """Copy as bytes; as records NumPy would copy field by field, twenty times slower."""
    target.view(np.uint8)[:] = source.view(np.uint8)


@functools.cache
def _phone() -> Phone:
    phone = Phone(256)
    phone.play()
    return phone


@row("snapshot_ms", "ms", at_most=1)
def snapshot() -> float:
    """A copy of a machine of 256 MB in the middle of its life."""
    mems = _phone().mems
    saved = mems.copy()
    return median(lambda: cpu_seconds(lambda: copy_machines(saved, mems)), REPEATS) * 1e3


@row("restore_ms", "ms", at_most=1)
def restore() -> float:
    """Going back to that copy."""
    mems = _phone().mems
    saved = mems.copy()
    return median(lambda: cpu_seconds(lambda: copy_machines(mems, saved)), REPEATS) * 1e3


@row("reset_ms", "ms", at_most=1)
def reset() -> float:
    """Beginning an episode there, without the way to the first question."""
    mems = _phone().mems
    booted, window = mems.copy(), np.array([0, 1])
    place_row(mems, booted, 0, window)
    return median(lambda: cpu_seconds(lambda: place_row(mems, booted, 0, window)), REPEATS) * 1e3
