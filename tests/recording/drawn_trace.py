"""Little recordings, drawn line by line, for the tests of the trace import."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cma_gym.machine.events import Op
from cma_gym.recording.importer import import_trace
from cma_gym.recording.report import TraceReport
from cma_gym.workloads.workload import Workload

ZERO = "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO"
COPY = "GFP_HIGHUSER_MOVABLE|__GFP_COMP"
READAHEAD = "GFP_NOFS|__GFP_HIGHMEM|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_HARDWALL|__GFP_MOVABLE"
WRITE = "GFP_NOFS|__GFP_HIGHMEM|__GFP_COMP|__GFP_HARDWALL|__GFP_MOVABLE|__GFP_WRITE"
GETBLK = "GFP_NOFS|__GFP_NOFAIL|__GFP_COMP|__GFP_HARDWALL|__GFP_MOVABLE"
ZSMALLOC = "GFP_NOWAIT|__GFP_HIGHMEM|__GFP_MOVABLE"
CMA_TARGET = "GFP_USER|__GFP_NOWARN|__GFP_RETRY_MAYFAIL|__GFP_COMP|__GFP_MOVABLE"
PIN_TARGET = "GFP_USER|__GFP_NOWARN|__GFP_COMP"
SLAB = "GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP"
DISK, BDEV = "254:0", "0:3"


class Drawing:
    """Lines of one recording; each takes `step_us` of its time. Methods return the drawing, so that they chain."""

    def __init__(self, report: bool = False, step_us: int = 10) -> None:
        self.lines = ["cpus=2"] if report else ["# tracer: nop", "#"]
        self.report = report
        self.step_us = step_us
        self.now_us = 5_000_000

    def event(self, name: str, fields: str, pid: int = 100, comm: str = "app") -> Drawing:
        self.now_us += self.step_us
        seconds = f"{self.now_us // 1_000_000}.{self.now_us % 1_000_000:06d}"
        if self.report:
            line = f"{comm:>16}-{pid:<5} [001] {seconds}: {name + ':':<21} {fields}"
        else:
            line = f"{comm:>16}-{pid:<7} [001] d..1. {seconds}: {name}: {fields}"
        self.lines.append(line)
        return self

    def wait(self, milliseconds: float) -> Drawing:
        self.now_us += int(milliseconds * 1000)
        return self

    def alloc(self, pfn: int, gfp: str = ZERO, pid: int = 100, order: int = 0) -> Drawing:
        kind = 1 if "MOVABLE" in gfp else 0
        fields = f"page=(____ptrval____) pfn=0x{pfn:x} order={order} migratetype={kind} gfp_flags={gfp}"
        return self.event("mm_page_alloc", fields, pid)

    def free(self, pfn: int, pid: int = 100, order: int = 0) -> Drawing:
        return self.event("mm_page_free", f"page=(____ptrval____) pfn=0x{pfn:x} order={order}", pid)

    def add(self, pfn: int, index: int, pid: int = 100, dev: str = DISK, ino: int = 0xE, order: int = 0) -> Drawing:
        fields = f"dev {dev} ino {ino:x} pfn=0x{pfn:x} ofs={index * 4096} order={order}"
        return self.event("mm_filemap_add_to_page_cache", fields, pid)

    def remove(self, pfn: int, index: int, pid: int = 100, dev: str = DISK, ino: int = 0xE) -> Drawing:
        fields = f"dev {dev} ino {ino:x} pfn=0x{pfn:x} ofs={index * 4096} order=0"
        return self.event("mm_filemap_delete_from_page_cache", fields, pid)

    def read(self, pfn: int, index: int, pid: int = 100, dev: str = DISK, ino: int = 0xE) -> Drawing:
        return self.alloc(pfn, READAHEAD, pid).add(pfn, index, pid, dev, ino)

    def reclaim(self, pid: int = 100) -> Drawing:
        return self.event("mm_vmscan_direct_reclaim_begin", f"order=0 gfp_flags={ZERO}", pid)

    def reclaimed(self, pid: int = 100) -> Drawing:
        return self.event("mm_vmscan_direct_reclaim_end", "nr_reclaimed=1", pid)

    def swap_out(self, pfn: int, pid: int = 100) -> Drawing:
        flags = "RECLAIM_WB_ANON|RECLAIM_WB_ASYNC"
        return self.event("mm_vmscan_write_folio", f"page=(____ptrval____) pfn=0x{pfn:x} flags={flags}", pid)

    def fork(self, child: int, pid: int = 1) -> Drawing:
        return self.event("sched_process_fork", f"comm=init pid={pid} child_comm=init child_pid={child}", pid, "init")

    def exit(self, pid: int = 100) -> Drawing:
        return self.event("sched_process_exit", f"comm=app pid={pid} prio=120", pid)

    def cma_start(self, count: int, align: int = 0, pid: int = 50) -> Drawing:
        return self.event("cma_alloc_start", f"name=reserved count={count} align={align}", pid, "camera")

    def cma_finish(self, pfn: int, count: int, align: int = 0, error: int = 0, pid: int = 50) -> Drawing:
        fields = f"name=reserved pfn=0x{pfn:x} page=(____ptrval____) count={count} align={align} errorno={error}"
        return self.event("cma_alloc_finish", fields, pid, "camera")

    def cma_release(self, pfn: int, count: int, pid: int = 50) -> Drawing:
        fields = f"name=reserved pfn=0x{pfn:x} page=(____ptrval____) count={count}"
        return self.event("cma_release", fields, pid, "camera")

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def imported(self, folder: Path) -> tuple[Workload, TraceReport]:
        path = folder / "drawn.ftrace"
        path.write_text(self.text())
        return import_trace(path)


def told(workload: Workload, *without: Op) -> list[tuple[str, int, int, int]]:
    """The events of a workload as (op, task, start, nr), the last tick and `without` left out."""
    left_out = {int(op) for op in (*without, Op.TICK)}
    return [
        (Op(int(event["op"])).name, int(event["task"]), int(event["start"]), int(event["nr"]))
        for event in workload.events
        if int(event["op"]) not in left_out
    ]


def events_of(workload: Workload, op: Op) -> np.ndarray:
    """The events of one op."""
    return workload.events[workload.events["op"] == op]
