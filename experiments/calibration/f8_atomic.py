"""F8: atomic order-0 failures that come with fallback lending of a large area, and go with ZONE_CMA or GFP_CMA."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.calibration import builds, f2_free_memory
from experiments.calibration.target import Case, Figure, Runs, Target, sign

SYSTEMS = ("mainline_fallback", "zone_cma", "gfp_cma", "round_robin")


def cases() -> list[Case]:
    """The build of F2 with half of memory as CMA, under four systems."""
    jobs, cpus = f2_free_memory.JOBS, f2_free_memory.CPUS
    return [
        Case(
            system,
            system,
            builds.machine(cpus, 512),
            builds.kernel(jobs, cpus),
            builds.build(jobs, cpus, f2_free_memory.LENGTH_S),
            f2_free_memory.SEEDS,
        )
        for system in SYSTEMS
    ]


def figures(runs: Runs) -> Sequence[Figure]:
    """Failures per run."""
    fails = {system: runs.mean(system, "vmstat.atomic_fail") for system in SYSTEMS}
    found = [
        sign(
            "failures under fallback lending",
            "> 0",
            f"{fails['mainline_fallback']:.1f}",
            fails["mainline_fallback"] > 0,
        )
    ]
    for system in SYSTEMS[1:3]:
        found.append(sign(f"failures under {system}", "0", f"{fails[system]:.1f}", fails[system] == 0))
    fewer = fails["round_robin"] <= fails["mainline_fallback"] / 10
    found.append(sign("failures under round robin", "few", f"{fails['round_robin']:.1f}", fewer))
    return found


TARGET = Target(
    name="F8",
    title="Atomic failures at a large share of CMA",
    source="Joonsoo Kim, 'Introduce ZONE_CMA', problem 3, reported by Aneesh Kumar (FACTS A1); S10",
    cases=cases,
    figures=figures,
    assumptions=(
        *builds.VM_ASSUMPTIONS,
        "load of F2; 15 % of the kernel's own batches may not reclaim (GFP_ATOMIC), 95 % of them of order 0; the "
        "source names no load and no count, only that failures appear and vanish",
    ),
)
