"""The phone scenario on a machine of some size, ready to be played again and again under a table."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.rows import wall_seconds
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.spec import MachineSpec
from cma_gym.machine.step import load, rollout
from cma_gym.machine.view import NR_VIEW
from cma_gym.mm.mmzone import Action, VmEvent
from cma_gym.policies.tables.table import DecisionTable
from cma_gym.workloads.registry import generate


class Phone:
    """One machine, one stream of events, one rule: the proposed table's features, every cell CMA_FIRST.

    What a lookup costs does not depend on the cells, and this table makes the most of the area: reclaim, pins and
    demands all happen.

    Attributes:
        seconds: CPU time of the latest rollout, without boot and generation of the events.
        wall_s: its wall time.
        decisions: placement decisions in it.
        pages: pages allocated in it, by whomever; a decision covers up to 32.
        simulated_s: simulated time it covers.
    """

    def __init__(self, ram_mb: int, demands: int = 8) -> None:
        self.spec = MachineSpec(ram_mb=ram_mb, cma_mb=ram_mb // 4)
        self.system = DecisionTable.constant("bench", action=Action.CMA_FIRST).system()
        self.kernel = KernelConfig.for_profile(self.spec.profile, **self.system.kernel)
        self.workload = generate({"family": "phone", "camera": {"count": demands}}, self.spec, 0)
        workload = self.workload
        self.mems = new_machines(1, self.spec, workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
        self._events = workload.events.view(np.recarray)
        self._params = np.asarray(self.system.params, np.int64)
        self._view = np.zeros(NR_VIEW, np.int64)
        self.seconds, self.wall_s, self.decisions, self.pages = 0.0, 0.0, 0, 0
        self.simulated_s = float(self._events["time"][-1]) / 1e9

    def play(self) -> float:
        """Boot the machine and run the whole stream; returns `seconds`."""
        boot(self.mems, 0, self.spec, self.kernel)
        load(self.mems, 0, 0, len(self._events))
        self.wall_s = wall_seconds(self._roll)
        self.pages = int(self.mems["vm_event"][0][VmEvent.PGALLOC])
        return self.seconds

    def _roll(self) -> None:
        start = time.process_time()
        self.decisions = rollout(self.mems, 0, self._events, self.system.decide, self._params, self._view)
        self.seconds = time.process_time() - start
