"""Large machines: a day of phone use, what size costs, and how much memory a machine takes."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

import numpy as np

from benchmarks.phone import Phone
from benchmarks.rows import LeftOutError, alternated, cpu_seconds, median, row
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mm_types import memory_dtype, page, shape_for

DAY_PAGES = 167_000_000
"""Page allocations of a day of phone use."""
DAY_DEMANDS = 20
"""Demands in the window that is measured; some eight million page allocations."""
PER_PAGE = ("page", "pageblock", "cma_bitmap", "pte", "filemap", "swap", "dirty_ring", "dirty_ns", "pin", "task")
"""Parts of a machine whose size depends on its memory: its pages, and the tables of what may lie in them."""


class DayTimes(NamedTuple):
    """Of a phone at 2 GB."""

    page_s: float
    simulated_s: float
    """Simulated for each second of CPU time [s]."""


@functools.cache
def _day() -> DayTimes:
    phone = Phone(2048, DAY_DEMANDS)
    phone.play()
    seconds = median(phone.play, 3)
    return DayTimes(seconds / phone.pages, phone.simulated_s / seconds)


@row("day_seconds", "s", at_most=60)
def day() -> float:
    """A day: 167 million pages allocated, phone, 2 GB, scaled from some 8 million."""
    return _day().page_s * DAY_PAGES


@row("simulated_s_per_s", "")
def simulated() -> float:
    """Simulated seconds of that phone in one of CPU time."""
    return _day().simulated_s


class Growth(NamedTuple):
    """A phone at 8 GB over one at 64 MB."""

    decision: float
    page: float


@functools.cache
def _growth() -> Growth:
    small, large = Phone(64), Phone(8192)
    small.play(), large.play()
    large_s, small_s = alternated(large.play, small.play, 3)
    ratio = large_s / small_s
    return Growth(ratio * small.decisions / large.decisions, ratio * small.pages / large.pages)


@row("growth_8g_vs_64m", "", at_most=2)
def growth() -> float:
    """Time for a decision of the phone at 8 GB against 64 MB."""
    return _growth().decision


@row("growth_8g_vs_64m_page", "")
def growth_page() -> float:
    """The same for a page allocated."""
    return _growth().page


@row("bytes_per_page", "B", at_most=32)
def bytes_per_page() -> float:
    """Size of a page frame's record."""
    return page.itemsize


@row("all_bytes_per_page", "B")
def all_bytes_per_page() -> float:
    """The same with all tables that grow with memory, at 8 GB."""
    shape = shape_for(8192 * 256)
    memory = memory_dtype(shape)
    return sum(memory[name].itemsize for name in PER_PAGE) / shape.nr_pages


@row("machine_overhead_mb", "MB", at_most=1)
def machine_overhead() -> float:
    """What a machine takes beyond those, of whatever size."""
    memory = memory_dtype(shape_for(8192 * 256))
    return (memory.itemsize - sum(memory[name].itemsize for name in PER_PAGE)) / 2**20


@row("boot_64g_s", "s")
def boot_64g() -> float:
    """Booting a machine of 64 GB, all its tables emptied."""
    spec = MachineSpec(ram_mb=65536, cma_mb=1024)
    shape = shape_for(spec.nr_pages)
    needed = memory_dtype(shape).itemsize
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 1.5 * needed:
        raise LeftOutError(f"it needs {1.5 * needed / 2**30:.1f} GiB of free memory; close something")
    mems: np.recarray = new_machines(1, spec, shape.nr_vpages, shape.nr_fpages, shape.nr_tasks)
    kernel = KernelConfig.for_profile(spec.profile)
    boot(mems, 0, spec, kernel)
    return median(lambda: cpu_seconds(lambda: boot(mems, 0, spec, kernel)), 3)
