"""F1: build time, swap in and out with an area of 0 and 512 of 1024 MB, before and after ZONE_CMA."""

from __future__ import annotations

from collections.abc import Sequence

from cma_gym.experiments.fidelity.published import builds
from cma_gym.experiments.fidelity.published.target import Case, Figure, Runs, Target, over, relative, shown, sign

JOBS, CPUS, LENGTH_S = 16, 8, 92.0
SEEDS = (0, 1, 2)
ROWS = {
    "before, 0 MB": ("carve_out", 0),
    "before, 512 MB": ("mainline_fallback", 512),
    "after, 0 MB": ("carve_out", 0),
    "after, 512 MB": ("zone_cma", 512),
}
PUBLISHED = {
    "before, 0 MB": (92.4, 82, 160),
    "before, 512 MB": (186.5, 18_647, 69_839),
    "after, 0 MB": (93.1, 84, 183),
    "after, 512 MB": (93.4, 46, 92),
}
"""Elapsed [s], pswpin, pswpout."""


def cases() -> list[Case]:
    """The four cells of the table."""
    return [
        Case(
            name,
            system,
            builds.machine(CPUS, cma_mb),
            builds.kernel(JOBS, CPUS),
            builds.build(JOBS, CPUS, LENGTH_S),
            SEEDS,
        )
        for name, (system, cma_mb) in ROWS.items()
    ]


def figures(runs: Runs) -> Sequence[Figure]:
    """Relative build time, and the order of the swap counts."""
    elapsed = {name: runs.mean(name, "elapsed_s") for name in ROWS}
    out = {name: runs.mean(name, "vmstat.pswpout") for name in ROWS}
    swapped = {name: runs.mean(name, "vmstat.pswpin") for name in ROWS}
    slower = over(elapsed["before, 512 MB"], elapsed["before, 0 MB"])
    same = over(elapsed["after, 512 MB"], elapsed["after, 0 MB"])
    more = over(out["before, 512 MB"], max(out["before, 0 MB"], out["after, 512 MB"]))
    found = [
        relative("elapsed with 512 MB over 0 MB, before", 2.02, slower),
        relative("elapsed with 512 MB over 0 MB, after", 1.003, same),
        sign("swap-out with 512 MB over all others", "> 100", f"{more:.0f}", more > 100),
        relative(
            "swap-in over swap-out with 512 MB, before", 0.267, over(swapped["before, 512 MB"], out["before, 512 MB"])
        ),
    ]
    for name in ROWS:
        for label, published, simulated in zip(
            ("elapsed [s]", "pswpin", "pswpout"),
            PUBLISHED[name],
            (elapsed[name], swapped[name], out[name]),
            strict=True,
        ):
            found.append(shown(f"{name}: {label}", published, simulated))
    return found


NOT_SHORT = (
    "checked: with 512 MB lent as fallback the model's build swaps out 14 thousand pages (3 thousand in the first "
    "seed, which re-reads 7 thousand, 2 s at the disk), where 69 839 are published; the memory that this build of 2016 "
    "needed is not, and one size serves F1 and F2"
)
TARGET = Target(
    name="F1",
    title="ZONE_CMA: a build with 0 and 512 of 1024 MB as CMA (8 CPUs, make -j16)",
    source="Joonsoo Kim, '[PATCH v5 0/6] Introduce ZONE_CMA', 29 August 2016 (FACTS A1)",
    cases=cases,
    figures=figures,
    assumptions=builds.VM_ASSUMPTIONS,
    reasons={
        "elapsed with 512 MB over 0 MB, before": NOT_SHORT,
        "swap-in over swap-out with 512 MB, before": NOT_SHORT,
        "swap-out with 512 MB over all others": NOT_SHORT,
    },
)
