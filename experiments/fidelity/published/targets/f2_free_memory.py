"""F2: mean free memory and build time, May 2014: no CMA, fallback lending of 512 MB, round robin."""

from __future__ import annotations

from collections.abc import Sequence

from cma_gym.experiments.fidelity.published import builds
from cma_gym.experiments.fidelity.published.target import Case, Figure, Runs, Target, over, relative, shown, sign

JOBS, CPUS, LENGTH_S = 24, 4, 235.0
SEEDS = (0, 1)
ROWS = {"no CMA": ("carve_out", 0), "fallback": ("mainline_fallback", 512), "round robin": ("round_robin", 512)}
PUBLISHED = {
    "no CMA": (234.8, 283_880, 7, 452),
    "fallback": (361.8, 530_851, 110_064, 767_502),
    "round robin": (235.6, 290_227, 8, 510),
}
"""Elapsed [s], mean MemFree [kB], pswpin, pswpout."""


def cases() -> list[Case]:
    """The three cells; 'no CMA after' is the same kernel as 'no CMA before' here."""
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
    """Free memory and build time against the machine without CMA."""
    keys = ("elapsed_s", "mean_free_kb", "vmstat.pswpin", "vmstat.pswpout")
    value = {name: [runs.mean(name, key) for key in keys] for name in ROWS}
    free = {name: value[name][1] for name in ROWS}
    out = {name: value[name][3] for name in ROWS}
    idle = free["fallback"] - free["no CMA"]
    more = over(out["fallback"], max(out["no CMA"], out["round robin"]))
    found = [
        relative("free memory, fallback over none", 1.870, over(free["fallback"], free["no CMA"])),
        relative("free memory, round robin over none", 1.022, over(free["round robin"], free["no CMA"])),
        relative("elapsed, fallback over none", 1.541, over(value["fallback"][0], value["no CMA"][0])),
        relative("elapsed, round robin over none", 1.003, over(value["round robin"][0], value["no CMA"][0])),
        relative("part of the area that fallback adds to free memory", 0.471, idle / (512 * 1024)),
        sign("swap-out, fallback over the others", "> 100", f"{more:.0f}", more > 100),
        relative("swap-in over swap-out, fallback", 0.143, over(value["fallback"][2], out["fallback"])),
    ]
    for name in ROWS:
        labels = ("elapsed [s]", "mean MemFree [kB]", "pswpin", "pswpout")
        for label, published, simulated in zip(labels, PUBLISHED[name], value[name], strict=True):
            found.append(shown(f"{name}: {label}", published, simulated))
    return found


TARGET = Target(
    name="F2",
    title="Mean free memory and build time with 512 of 1024 MB as CMA (4 CPUs, make -j24)",
    source="Joonsoo Kim, 'aggressively allocate the pages on cma reserved memory', 8-28 May 2014 (FACTS A8)",
    cases=cases,
    figures=figures,
    assumptions=builds.VM_ASSUMPTIONS,
    reasons={
        "elapsed, fallback over none": "checked: the time goes to swap-ins (1 ms each) and re-reads of evicted files",
        "swap-in over swap-out, fallback": "checked: 149 thousand in, 569 thousand out (first seed). Hypothesis: the "
        "model's compilers use all parts of their heaps again, real ones leave much that is never used until they end",
    },
)
