"""Simulated time: what work costs, and what happens by itself while it passes.

Model: time is integer nanoseconds. Work is charged to `work_ns`; whoever makes somebody wait turns the difference into
elapsed time. kswapd and the flusher run on other CPUs, so they gain a budget whenever time passes.
"""

from __future__ import annotations

from cma_gym.mm.jit import jit
from cma_gym.mm.page_ref import expire_references
from cma_gym.mm.pcp import vmstat_update
from cma_gym.mm.writeback import end_writebacks
from cma_gym.mm.zonelist import nr_free_cma

KSWAPD_BUDGET_MAX_NS = 50_000_000
"""kswapd cannot save up more than this; a sleeping thread does no work afterwards."""


@jit
def charge(mem, cost, nr):
    """Account for `nr` units of work of this `Cost`."""
    mem.work_ns += mem.kernel.cost[cost] * nr


@jit
def elapse(mem, ns):
    """Let time pass: references end, writeback completes, kswapd gains time, the idle share of CMA is integrated."""
    if ns <= 0:
        return
    if mem.cma.nr_pages > 0:
        mem.metrics.cma_idle_ns += (nr_free_cma(mem) * 1024 // mem.cma.nr_pages) * ns // 1024
    mem.metrics.time_ns += ns
    mem.clock += ns
    if mem.node.kswapd_awake:
        mem.node.kswapd_budget_ns = min(mem.node.kswapd_budget_ns + ns, KSWAPD_BUDGET_MAX_NS)
    expire_references(mem)
    end_writebacks(mem)
    if mem.node.vmstat_next_ns <= mem.clock:
        vmstat_update(mem)
