"""A small machine and a workload written by hand: one task, a file, and two demands of a camera."""

from __future__ import annotations

import numpy as np

from cma_gym.machine.events import PIN_HOLDER_SHIFT, FileFlag, Op, TouchFlag, event_dtype
from cma_gym.mm.mmzone import Holder, Importance
from cma_gym.workloads.workload import Workload

MACHINE = {"ram_mb": 16, "cma_mb": 4, "pageblock_order": 6}
CMA_PAGES = 1024
MS = 1_000_000


def hand_made() -> Workload:
    """Fill a 16 MB machine with pages of a task and of a file, ask for the whole area, then for 9 pieces.

    A driver holds the task's first pages while the whole area is asked for: it fails if they were put there.
    """
    rows: list[tuple[int, ...]] = [(0, Op.SPAWN, 1, 0, 2600, Importance.BACKGROUND, 0)]
    for step in range(40):
        now = (step + 1) * 2 * MS
        rows.append((now, Op.TOUCH, 1, step * 65, 65, TouchFlag.WRITE, 0))
        rows.append((now, Op.FILE, 1, step * 48, 48, FileFlag.WRITE if step % 5 == 0 else 0, 0))
    rows.append((95 * MS, Op.PIN, 1, 0, 300, Holder.DRIVER << PIN_HOLDER_SHIFT, 500_000))
    rows.append((100 * MS, Op.DEMAND, 200, 1, CMA_PAGES, 6, 1))
    for step in range(10):
        rows.append((400 * MS + step * MS, Op.TOUCH, 1, step * 200, 200, 0, 0))
    rows.append((900 * MS, Op.DEMAND, 100, 2, 80, 0, 9))
    rows.append((1200 * MS, Op.FILE, 1, 0, 400, 0, 0))
    rows.append((1900 * MS, Op.EXIT, 1, 0, 0, 0, 0))
    rows.append((2000 * MS, Op.TICK, 0, 0, 0, 0, 0))
    events = np.array(rows, dtype=event_dtype)
    return Workload("hand_made", events, nr_vpages=2600, nr_fpages=1920, nr_tasks=2).check()
