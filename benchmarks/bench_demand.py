"""cma_alloc() of a whole area that is fully occupied: what the simulator needs for each page of it."""

from __future__ import annotations

import functools
import statistics
from typing import NamedTuple

import numpy as np

from benchmarks.clock_cycles import cycles
from benchmarks.rows import cpu_seconds, row
from cma_gym.machine.events import Op, TouchFlag, event_dtype
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.spec import MachineSpec
from cma_gym.machine.step import load, rollout
from cma_gym.machine.view import NR_VIEW
from cma_gym.mm.clock import elapse
from cma_gym.mm.cma import run_demands, start_demand
from cma_gym.mm.mmzone import CONTIG_MIGRATE, CONTIG_SCAN, DemandState, PageKind, VmEvent
from cma_gym.policies.registry import get_system
from cma_gym.support.jit import jit

SPEC = MachineSpec(ram_mb=2048, cma_mb=256)
CHUNK = 8
"""Neighbouring pages of the area that belong to neighbouring virtual pages."""
REPEATS = 5


@jit
def serve_whole_area(mems, spent):  # type: ignore[no-untyped-def]
    """One demand for the whole area, until it is over; adds the cycles of its steps by their phase."""
    mem = mems[0]
    slot = start_demand(mem, 0, mem.cma.nr_pages, 1, 8, 1 << 40)
    while mem.demand[slot].state == DemandState.WAITING or mem.demand[slot].state == DemandState.TRYING:
        elapse(mem, max(mem.next_demand_ns - mem.clock, 0))
        phase = mem.contig.phase
        start = cycles()
        run_demands(mem)
        spent[phase] += cycles() - start
    return mem.demand[slot].got


def _occupying_events() -> np.ndarray:
    """One task writes to as many pages as the area has, in an order that scatters neighbours."""
    nr_pages = SPEC.cma_pages
    starts = np.random.default_rng(0).permutation(nr_pages // CHUNK) * CHUNK
    events = np.zeros(1 + len(starts), event_dtype)
    events["op"], events["task"], events["nr"] = Op.TOUCH, 1, CHUNK
    events["start"][1:], events["arg"][1:] = starts, TouchFlag.WRITE
    events["op"][0], events["nr"][0] = Op.SPAWN, nr_pages
    return events


class DemandTimes(NamedTuple):
    """Of one demand for the whole area."""

    scan_ns: float
    """For each page of the area."""
    migrate_ns: float
    """For each page that was moved."""
    all_ns: float
    """Everything, for each page of the area."""


class _Area:
    """A machine whose area is to be filled and emptied."""

    def __init__(self) -> None:
        self.system = get_system("cma_first")
        self.kernel = KernelConfig.for_profile(SPEC.profile, **self.system.kernel)
        self.mems = new_machines(1, SPEC, SPEC.cma_pages, 1, 2)
        self.events = _occupying_events()

    def fill(self) -> None:
        """Boot, and let one task occupy the area."""
        boot(self.mems, 0, SPEC, self.kernel)
        load(self.mems, 0, 0, len(self.events))
        params = np.asarray(self.system.params, np.int64)
        rollout(self.mems, 0, self.events.view(np.recarray), self.system.decide, params, np.zeros(NR_VIEW, np.int64))

    def measure(self) -> DemandTimes:
        """Fill it and ask for all of it."""
        self.fill()
        held = int(self.mems["cma"]["occupancy"][0][PageKind.ANON])
        spent = np.zeros(8, np.int64)
        got: list[int] = []
        seconds = cpu_seconds(lambda: got.append(serve_whole_area(self.mems, spent)))
        moved = int(self.mems["vm_event"][0][VmEvent.CMA_MIGRATED])
        if held < SPEC.cma_pages or moved != held or got != [1]:
            raise RuntimeError(f"the area held {held} pages, {moved} were moved; {got[0]} demands served: no full area")
        ns = seconds * 1e9 / int(spent.sum())
        return DemandTimes(
            spent[CONTIG_SCAN] * ns / SPEC.cma_pages, spent[CONTIG_MIGRATE] * ns / moved, seconds * 1e9 / SPEC.cma_pages
        )


@functools.cache
def _measure() -> DemandTimes:
    area = _Area()
    area.measure()
    times = [area.measure() for _ in range(REPEATS)]
    return DemandTimes(*(statistics.median(column) for column in zip(*times, strict=True)))


@row("scan_ns_per_page", "ns", at_most=30)
def scan() -> float:
    """cma_alloc() of 256 MB full of anonymous pages: isolating one."""
    return _measure().scan_ns


@row("migrate_ns_per_page", "ns", at_most=150)
def migrate() -> float:
    """The same: allocating its target, moving it, freeing it."""
    return _measure().migrate_ns


@row("demand_ns_per_page", "ns")
def demand() -> float:
    """The same: all steps of the demand, pageblocks and final test included."""
    return _measure().all_ns
