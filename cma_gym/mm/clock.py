"""Simulated time: what work costs, and what happens by itself while it passes.

Model: time is integer nanoseconds. Work is charged to `work_ns`; whoever makes somebody wait turns the difference into
elapsed time. kswapd and the flusher run on other CPUs, so they gain a budget whenever time passes; a contiguous
allocation has a clock of its own there (`contig.ready_ns`).
"""

from __future__ import annotations

from cma_gym.mm.hands import expire_hands, run_queue
from cma_gym.mm.mmu_gather import expire_gathers
from cma_gym.mm.page_ref import expire_references
from cma_gym.mm.pcp import vmstat_update
from cma_gym.mm.writeback import end_writebacks
from cma_gym.mm.zonelist import nr_free_cma, nr_free_pages
from cma_gym.support.jit import jit

KSWAPD_BUDGET_MAX_NS = 50_000_000
"""kswapd cannot save up more than this; a sleeping thread does no work afterwards."""


@jit
def charge(mem, cost, nr):
    """Account for `nr` units of work of this `Cost`."""
    mem.work_ns += mem.kernel.cost[cost] * nr


@jit
def due(mem, time):
    """When an event that was scheduled for `time` happens.

    Model: arrivals are a user's and do not wait for the machine; what falls into a wait happens right after it. Not so
    the work of a saturated job (`kernel.catch_up_ns` >= 0), whose gaps between events are time at the CPUs: of a wait,
    only so much can be made up for as other tasks of the job have work to do meanwhile, and the rest shifts all that
    follows. The clock at the end is then the job's elapsed time.
    """
    if mem.kernel.catch_up_ns >= 0:
        lag = mem.clock - time - mem.cursor.slip_ns
        if lag > mem.kernel.catch_up_ns:
            mem.cursor.slip_ns += lag - mem.kernel.catch_up_ns
    return time + mem.cursor.slip_ns


@jit
def kswapd_share(mem, ns):
    """Time on a CPU that kswapd gets while `ns` pass: all of it while a CPU is free, else its fair share among the
    tasks that want to run. Linux: kernel/sched/fair.c; kswapd runs at the weight of an ordinary task.
    """
    wanting = max(run_queue(mem), mem.kernel.nr_cpus)
    return ns * mem.kernel.nr_cpus // wanting


@jit
def elapse(mem, ns):
    """Let time pass: references end, writeback completes, kswapd gains time, the idle share of CMA is integrated.

    What a step of a contiguous allocation makes its caller wait for passes when the step is over (mm/cma.py).
    """
    if ns <= 0 or mem.contig.stepping:
        return
    if mem.cma.nr_pages > 0:
        mem.metrics.cma_idle_ns += (nr_free_cma(mem) * 1024 // mem.cma.nr_pages) * ns // 1024
    mem.metrics.free_ns += nr_free_pages(mem) * ns // 1024
    mem.metrics.time_ns += ns
    mem.clock += ns
    if mem.node.kswapd_awake:
        mem.node.kswapd_budget_ns = min(mem.node.kswapd_budget_ns + kswapd_share(mem, ns), KSWAPD_BUDGET_MAX_NS)
    expire_references(mem)
    if mem.next_hand_ns <= mem.clock:
        expire_hands(mem)
    if mem.next_gather_ns <= mem.clock:
        expire_gathers(mem)
    end_writebacks(mem)
    if mem.node.vmstat_next_ns <= mem.clock:
        vmstat_update(mem)
