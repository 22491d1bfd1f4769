"""Making, booting and running machines from Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.result import blame_table, demand_table, held_up, metrics
from cma_gym.machine.spec import MachineSpec
from cma_gym.machine.step import Status, load, rollout
from cma_gym.machine.view import NR_VIEW, NR_VIEW_AND_SUBJECT
from cma_gym.mm.mm_init import declare_layout, finish_boot, init_heads, init_tables
from cma_gym.mm.mm_types import Shape, machine_array, memory_dtype, nr_list_heads, shape_for
from cma_gym.support.jit import jit

__all__ = ["Result", "Status", "Stream", "boot", "new_machines", "run"]


class Stream(Protocol):
    """What `run` needs to know of a workload (`workloads.Workload` is one)."""

    @property
    def events(self) -> np.ndarray: ...  # noqa: D102
    @property
    def nr_vpages(self) -> int: ...  # noqa: D102
    @property
    def nr_fpages(self) -> int: ...  # noqa: D102
    @property
    def nr_tasks(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Result:
    """What one run gave."""

    metrics: dict[str, float]
    demand_table: np.ndarray
    blame_table: np.ndarray
    held_up: list[dict[str, Any]]
    """Who held demands up, by kind of page and holder (`result.held_up`)."""
    mems: np.recarray
    """The machine as the run left it."""


def _shape(spec: MachineSpec, nr_vpages: int, nr_fpages: int, nr_tasks: int) -> Shape:
    nr_pages = spec.nr_pages
    while True:
        shape = shape_for(nr_pages)
        if nr_vpages <= shape.nr_vpages and nr_fpages <= shape.nr_fpages and nr_tasks <= shape.nr_tasks:
            return shape
        if nr_tasks > shape.nr_tasks:
            limit = shape.nr_tasks
            raise ValueError(f"a workload of {nr_tasks} tasks is above the machine's {limit}; reuse task numbers")
        nr_pages = shape.nr_pages + 1


def new_machines(n: int, spec: MachineSpec, nr_vpages: int, nr_fpages: int, nr_tasks: int) -> np.recarray:
    """Make `n` machines, not booted yet.

    Args:
        n: how many.
        spec: their memory.
        nr_vpages: virtual pages the workloads name.
        nr_fpages: file pages they name.
        nr_tasks: tasks they name, task 0 (the kernel) included.

    Returns:
        Recarray (n,) of machine records of the smallest capacity class that holds them.

    Raises:
        ValueError: more than any class holds.
    """
    mems = machine_array(n, memory_dtype(_shape(spec, nr_vpages, nr_fpages, nr_tasks)))
    mems["nr_pages"] = spec.nr_pages
    mems["nr_vpages"] = max(nr_vpages, 1)
    mems["nr_fpages"] = max(nr_fpages, 1)
    mems["nr_tasks"] = max(nr_tasks, 1)
    return mems


@jit
def _start(mems: Any, i: int, ends: np.ndarray, nr_swap: int, kernel_pages: int) -> None:
    mem = mems[i]
    init_heads(mem, ends[7])
    init_tables(mem, nr_swap)
    declare_layout(mem, ends[0], ends[1], ends[2], ends[3], ends[4], ends[5], ends[6] != 0)
    finish_boot(mem, kernel_pages)


def boot(mems: np.recarray, i: int, spec: MachineSpec, kernel: KernelConfig, seed: int = 0) -> None:
    """(Re)boot machine `i`: empty memory, the kernel's own pages taken, the CMA area at the end of its zone.

    Args:
        mems: machines made with `new_machines` for this spec.
        i: which one.
        spec: its memory.
        kernel: its kernel's configuration.
        seed: chooses where the kernel's own pages lie; everything else is the workload's.
    """
    sizes = {name: mems[name][i] for name in ("nr_pages", "nr_vpages", "nr_fpages", "nr_tasks")}
    mems[i : i + 1].view(np.uint8)[:] = 0
    record = mems[i]
    for name, size in sizes.items():
        record[name] = size
    kernel.fill(record["kernel"], spec)
    record["rng"] = (seed & 0x7FFFFFFF) << 32
    first_head = len(record["page"]) - nr_list_heads()
    area_end = spec.zone_span(spec.area_zone())[1]
    zone_ends = [spec.zone_span(zone)[1] for zone in ("dma32", "normal", "highmem", "movable")]
    area = [area_end - spec.cma_pages, area_end, kernel.zone_cma]
    ends = np.array([*zone_ends, *area, first_head], np.int64)
    nr_swap = min(spec.nr_pages * spec.zram_percent // 100, len(record["swap"]) - 1)
    kernel_pages = spec.nr_pages * spec.kernel_percent // 100
    _start(mems, i, ends, nr_swap, kernel_pages)


def run(
    spec: MachineSpec,
    kernel: KernelConfig,
    workload: Stream,
    decide: Any,
    params: np.ndarray | tuple[int, ...] = (),
    seed: int = 0,
    hindsight: bool = False,
) -> Result:
    """Boot a machine and run a whole workload on it under one rule.

    Args:
        spec: memory of the machine.
        kernel: configuration of its kernel.
        workload: the stream.
        decide: rule made with `machine.decision.decision`.
        params: integers handed to the rule.
        seed: of the boot.
        hindsight: the rule is clairvoyant and is told which pages it is asked for (`view.Subject`).

    Returns:
        The figures and the machine. The same arguments give the same bytes.
    """
    mems = new_machines(1, spec, workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
    boot(mems, 0, spec, kernel, seed)
    load(mems, 0, 0, len(workload.events))
    events = workload.events.view(np.recarray)
    view = np.zeros(NR_VIEW_AND_SUBJECT if hindsight else NR_VIEW, np.int64)
    rollout(mems, 0, events, decide, np.asarray(params, np.int64), view)
    return Result(metrics(mems[0]), demand_table(mems[0]), blame_table(mems[0]), held_up(mems[0]), mems)
