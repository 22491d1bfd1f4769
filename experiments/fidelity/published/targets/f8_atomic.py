"""F8: atomic order-0 failures that come with fallback lending of a large area, and go with ZONE_CMA or GFP_CMA."""

from __future__ import annotations

from collections.abc import Sequence

from cma_gym.experiments.fidelity.published import builds
from cma_gym.experiments.fidelity.published.target import Case, Figure, Runs, Target, sign
from cma_gym.experiments.fidelity.published.targets import f1_zone_cma, f2_free_memory

SYSTEMS = ("mainline_fallback", "zone_cma", "gfp_cma", "round_robin")
LOADS = {"F1": f1_zone_cma, "F2": f2_free_memory}


def row(load: str, system: str) -> str:
    """Name of a row."""
    return f"load of {load}, {system}"


def cases() -> list[Case]:
    """The builds of F1 and F2 with half of memory as CMA, under four systems."""
    return [
        Case(
            row(name, system),
            system,
            builds.machine(load.CPUS, 512),
            builds.kernel(load.JOBS, load.CPUS),
            builds.build(load.JOBS, load.CPUS, load.LENGTH_S),
            load.SEEDS,
        )
        for name, load in LOADS.items()
        for system in SYSTEMS
    ]


def figures(runs: Runs) -> Sequence[Figure]:
    """Failures per run."""
    found = []
    for load in LOADS:
        fails = {system: runs.mean(row(load, system), "vmstat.atomic_fail") for system in SYSTEMS}
        lent = fails["mainline_fallback"]
        found.append(sign(f"load of {load}: failures under fallback lending", "> 0", f"{lent:.1f}", lent > 0))
        for system in SYSTEMS[1:3]:
            count = fails[system]
            found.append(sign(f"load of {load}: failures under {system}", "0", f"{count:.1f}", count == 0))
        few = fails["round_robin"]
        found.append(sign(f"load of {load}: failures under round robin", "few", f"{few:.1f}", few <= lent / 10))
    return found


TARGET = Target(
    name="F8",
    title="Atomic failures at a large share of CMA",
    source="Joonsoo Kim, 'Introduce ZONE_CMA', problem 3, reported by Aneesh Kumar (FACTS A1); S10",
    cases=cases,
    figures=figures,
    assumptions=(
        *builds.VM_ASSUMPTIONS,
        "loads of F1 and F2; 15 % of the kernel's own batches may not reclaim (GFP_ATOMIC), 95 % of them of order 0; "
        "the source names no load and no count, only that failures appear and vanish",
    ),
    reasons={
        "load of F1: failures under fallback lending": "the model's build at -j16 is hardly short of memory, see F1",
    },
)
