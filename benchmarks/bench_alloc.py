"""The page allocator alone: order-0 pages through the whole path, per-CPU lists, watermarks and all."""

from __future__ import annotations

import numpy as np

from benchmarks.rows import best_seconds, row
from cma_gym.mm.jit import jit
from cma_gym.mm.mmzone import KIND_ANON, NO_PAGE, MigrateType, ZoneType
from cma_gym.mm.page_alloc import prep_new_page
from cma_gym.mm.pcp import free_pages
from cma_gym.mm.slowpath import alloc_pages

HELD = 8192
OPERATIONS = 2_000_000
_MOVABLE = int(MigrateType.MOVABLE)
_NORMAL = int(ZoneType.NORMAL)


@jit
def churn(mems, held, operations):  # type: ignore[no-untyped-def]
    """Free a page and allocate another one, again and again, in an order that no list is in; returns what failed."""
    mem = mems[0]
    failed = 0
    for at in range(len(held)):
        held[at] = NO_PAGE
    for step in range(operations):
        at = step * 7919 % len(held)
        if held[at] != NO_PAGE:
            free_pages(mem, 0, held[at], 0)
        pfn = alloc_pages(mem, 0, 0, _MOVABLE, _NORMAL, 0)
        held[at] = pfn
        if pfn == NO_PAGE:
            failed += 1
        else:
            prep_new_page(mem, pfn, 0, KIND_ANON, 0, 0)
    for at in range(len(held)):
        if held[at] != NO_PAGE:
            free_pages(mem, 0, held[at], 0)
    return failed


@row("alloc_free_ns", "ns")
def alloc_free() -> float:
    """One free and one allocation of an order-0 page, churn over 32 MB of a machine of 256 MB."""
    from cma_gym.machine.kernel import KernelConfig
    from cma_gym.machine.machine import boot, new_machines
    from cma_gym.machine.spec import MachineSpec

    spec = MachineSpec(ram_mb=256, cma_mb=64)
    mems = new_machines(1, spec, 1, 1, 1)
    boot(mems, 0, spec, KernelConfig.for_profile(spec.profile))
    held = np.zeros(HELD, np.int64)
    if churn(mems, held, HELD):
        raise RuntimeError("the allocator ran out of memory in a benchmark that fits into it")
    return best_seconds(lambda: churn(mems, held, OPERATIONS)) / OPERATIONS * 1e9
