"""The page allocator alone: order-0 pages through the whole path, per-CPU lists, watermarks and all; and its C twin."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.c_layout import c_header
from benchmarks.rows import LeftOutError, alternated, cpu_seconds, row
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mmzone import KIND_ANON, NO_PAGE, MigrateType, ZoneType
from cma_gym.mm.page_alloc import ALLOC_PLACEMENT, prep_new_page
from cma_gym.mm.pcp import free_pages
from cma_gym.mm.slowpath import alloc_pages
from cma_gym.support.jit import jit

HELD = 32768
"""Pages in use; a power of two."""
STRIDE = 2477
"""Slots from one page to the next; odd, so that every slot has its turn."""
OPERATIONS = 2_000_000
_MOVABLE = int(MigrateType.MOVABLE)
_NORMAL = int(ZoneType.NORMAL)

Churn = Callable[[np.recarray, np.ndarray, int], int]


@jit
def churn(mems, held, operations):  # type: ignore[no-untyped-def]
    """Free pages and allocate others, in bursts of 1, 2, 4, ... up to half of them, in an order that no list is in.

    Short bursts stay within the CPU's lists, which grow to 4096 pages here; what is beyond that comes from the buddy
    lists and returns to them. Every other request prefers the CMA area.

    Returns:
        How many requests failed.
    """
    mem = mems[0]
    failed = 0
    for slot in range(len(held)):
        held[slot] = NO_PAGE
    at = 0
    burst = 1
    while operations > 0:
        start = at
        for _ in range(burst):
            at = (at + STRIDE) & (len(held) - 1)
            if held[at] != NO_PAGE:
                free_pages(mem, 0, held[at], 0)
        at = start
        for step in range(burst):
            at = (at + STRIDE) & (len(held) - 1)
            pfn = alloc_pages(mem, 0, 0, _MOVABLE, _NORMAL, ALLOC_PLACEMENT if step & 1 else 0)
            held[at] = pfn
            if pfn == NO_PAGE:
                failed += 1
            else:
                prep_new_page(mem, pfn, 0, KIND_ANON, 0, 0)
        operations -= burst
        burst = burst << 1 if burst < len(held) // 2 else 1
    for slot in range(len(held)):
        if held[slot] != NO_PAGE:
            free_pages(mem, 0, held[slot], 0)
    return failed


def compiled_twin(memory: np.dtype[Any], folder: str) -> Churn:
    """`churn` in C for machines of this dtype, built in `folder` with `gcc -O3`.

    Raises:
        LeftOutError: there is no gcc.
    """
    if shutil.which("gcc") is None:
        raise LeftOutError("there is no gcc to build the C twin with; install it")
    (Path(folder) / "machine.h").write_text(c_header(memory), encoding="utf-8")
    library = Path(folder) / "alloc_twin.so"
    source = Path(__file__).parent / "alloc_twin.c"
    options = ["-O3", "-Wall", "-Werror", "-shared", "-fPIC", "-I", folder]
    subprocess.run(["gcc", *options, "-o", str(library), str(source)], check=True)
    function = ctypes.CDLL(str(library)).churn
    function.restype = ctypes.c_int64
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3]

    def call(mems: np.recarray, held: np.ndarray, operations: int) -> int:
        return int(function(mems.ctypes.data, held.ctypes.data, len(held), operations, STRIDE))

    return call


def booted(ram_mb: int) -> np.recarray:
    """A machine with a quarter of its memory in the CMA area."""
    spec = MachineSpec(ram_mb=ram_mb, cma_mb=ram_mb // 4)
    mems = new_machines(1, spec, 1, 1, 1)
    boot(mems, 0, spec, KernelConfig.for_profile(spec.profile))
    return mems


class AllocTimes(NamedTuple):
    """Seconds of one free and one allocation."""

    ours: float
    c: float


@functools.cache
def _measure() -> AllocTimes:
    ours, theirs = booted(256), booted(256)
    held, held_c = np.zeros(HELD, np.int64), np.zeros(HELD, np.int64)
    with tempfile.TemporaryDirectory() as folder:
        twin = compiled_twin(ours.dtype, folder)
        if churn(ours, held, HELD) != 0 or twin(theirs, held_c, HELD) != 0:
            raise RuntimeError("the allocator ran out of memory in a benchmark that fits into it")
        times = alternated(
            lambda: cpu_seconds(lambda: churn(ours, held, OPERATIONS)),
            lambda: cpu_seconds(lambda: twin(theirs, held_c, OPERATIONS)),
        )
    if not (held == held_c).all() or ours.tobytes() != theirs.tobytes():
        raise RuntimeError("alloc_twin.c does not do what the allocator does; the two machines differ")
    return AllocTimes(*(seconds / OPERATIONS for seconds in times))


@row("alloc_free_ns", "ns")
def alloc_free() -> float:
    """One free and one allocation of an order-0 page, 128 MB of 256 MB in use."""
    return _measure().ours * 1e9


@row("alloc_free_vs_c", "", at_most=1.5)
def alloc_free_vs_c() -> float:
    """The same, against its twin in C, which leaves the same bytes behind."""
    times = _measure()
    return times.ours / times.c
