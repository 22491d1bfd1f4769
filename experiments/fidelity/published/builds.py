"""The virtual machines of the published build times: 1 GB of memory, a hard disk, make -jN of a kernel."""

from __future__ import annotations

from typing import Any

SEEK_MS = 8
"""One access of the disk in the cost table `vm`."""
COMPILE_S = {(16, 8): (0.3, 1.1), (24, 4): (1.1, 4.1)}
"""Life of a compiler by (jobs, CPUs): jobs / CPUs times about 0.36 s of CPU time each, so that some 2000 objects take
the published 92 s on 8 CPUs and 235 s on 4 (a little slower ones)."""

VM_ASSUMPTIONS = (
    "virtual machine: cost table `vm`; swap is a disk of 7200 rpm as large as RAM; no low memory killer",
    "the job is saturated: gaps between its events are time at the CPUs, and shift for good when the machine "
    "is late by more than (jobs - CPUs) x 8 ms, what the other jobs can do while one waits for the disk",
    "the caller of cma_alloc() gets its fair share of the CPUs: its work takes (jobs + 1) / CPUs times as long",
    "the build's sizes (compilers of 14-46 MB of heap, one size for all rows on virtual machines) are not published; "
    "they were fitted with the outcomes of F1 and F2 in view: the mean free memory without CMA in May 2014 (284 MB, "
    "-j24) is met by choice, and no other figure of these two targets was predicted blindly",
)


def machine(cpus: int, cma_mb: int) -> dict[str, Any]:
    """1 GB; an area of 0 MB is represented by the smallest one, 4 MB, that is never lent."""
    return {"ram_mb": 1024, "cma_mb": cma_mb or 4, "zram_percent": 100, "nr_cpus": cpus, "profile": "v4_6"}


def kernel(jobs: int, cpus: int) -> dict[str, Any]:
    """Switches of the machine beyond those of the system."""
    return {
        "swap_backend": "disk",
        "cost_profile": "vm",
        "lmk": False,
        "catch_up_ms": SEEK_MS * max(0, jobs - cpus),
        "cpu_contention_percent": max(0, 100 * (jobs + 1) // cpus - 100),
    }


def build(jobs: int, cpus: int, length_s: float) -> dict[str, Any]:
    """Make -jN for so many seconds at full speed."""
    compile_s = COMPILE_S.get((jobs, cpus)) or compile_time(jobs, cpus)
    return {
        "family": "kernel_build",
        "camera": {"length_s": length_s},
        "make": {"jobs": jobs, "compile_s": compile_s},
    }


def compile_time(jobs: int, cpus: int) -> tuple[float, float]:
    """Life of a compiler on the machine of May 2014 when so many share its CPUs [s]."""
    share = max(1, jobs / cpus) / 6
    low, high = COMPILE_S[24, 4]
    return low * share, high * share
