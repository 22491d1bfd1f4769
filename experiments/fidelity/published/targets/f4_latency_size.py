"""F4: time of a contiguous request against its size on an ARMv7 board, CMA and GCMA."""

from __future__ import annotations

from collections.abc import Sequence

from cma_gym.experiments.fidelity.published.target import Case, Figure, Runs, Target, over, relative, shown, sign

SIZES = (1, 512, 1024, 2048, 4096, 8192, 16384, 32000)
REQUESTS = 32
CMA_US = {
    1: (381, 2_853, 684),
    512: (818, 2_382, 1_162),
    1024: (3_113, 184_703, 12_303),
    2048: (2_545, 790_727, 33_084),
    4096: (2_899, 2_768_349, 298_640),
    8192: (4_476, 3_496_211, 407_076),
    16384: (7_266, 4_132_546, 657_603),
    32000: (8_612, 3_910_423, 641_340),
}
"""Least, largest and mean time [us] by pages."""
GCMA_US = {
    1: (13, 279, 26),
    512: (512, 10_140, 2_002),
    1024: (1_016, 17_426, 3_495),
    2048: (2_029, 27_027, 5_983),
    4096: (4_087, 86_887, 13_091),
    8192: (8_254, 75_976, 17_519),
    16384: (16_398, 98_087, 30_474),
    32000: (32_328, 92_502, 44_675),
}
SYSTEMS = {"CMA": ("mainline_fallback", {}), "GCMA": ("carve_out", {"gcma": True})}
BUILD_S = 510.0
EVERY_S = BUILD_S / (REQUESTS + 1)
COMPARED = (1, 512, 4096, 32000)


def row(system: str, size: int) -> str:
    """Name of a row."""
    return f"{system}, {size} pages"


def cases() -> list[Case]:
    """The board under both schemes, one build for each size."""
    machine = {
        "ram_mb": 800,
        "cma_mb": 256,
        "pageblock_order": 10,
        "zram_percent": 64,
        "nr_cpus": 4,
        "profile": "v4_6",
    }
    base = {"cost_profile": "armv7", "swap_backend": "disk", "lmk": False, "demand_tries": 1, "catch_up_ms": 100}
    found = []
    for name, (system, switches) in SYSTEMS.items():
        for size in SIZES:
            load = {
                "family": "kernel_build",
                "camera": {"first_s": EVERY_S, "every_s": EVERY_S, "count": REQUESTS, "sizes_pages": [size]},
                "make": {"jobs": 16, "compile_s": (2.0, 6.0), "heap_mb": (9, 28), "reference_mb": 800},
            }
            found.append(Case(row(name, size), system, machine, {**base, **switches}, load))
    return found


def times_us(runs: Runs, name: str) -> dict[int, tuple[float, float, float]]:
    """Least, largest and mean time [us] of a request by its size."""
    found = {}
    for size in SIZES:
        taken = [demand["latency_ns"] / 1000 for run in runs.of(row(name, size)) for demand in run["demands"]]
        found[size] = min(taken), max(taken), sum(taken) / len(taken)
    return found


def figures(runs: Runs) -> Sequence[Figure]:
    """Growth with the size, spread, and both schemes against each other."""
    cma = times_us(runs, "CMA")
    found = []
    for size in SIZES[1:]:
        published = CMA_US[size][2] / CMA_US[1][2]
        found.append(
            relative(f"CMA: mean of {size} pages over 1 page", round(published, 1), over(cma[size][2], cma[1][2]))
        )
    for size in SIZES[2:]:
        published = CMA_US[size][1] / CMA_US[size][2]
        found.append(
            relative(f"CMA: largest over mean, {size} pages", round(published, 1), over(cma[size][1], cma[size][2]))
        )
    found += gcma_figures(runs, cma)
    for label, table in (("CMA", CMA_US), ("GCMA", GCMA_US)):
        simulated = times_us(runs, label)
        for size in SIZES:
            for what, index in (("least", 0), ("largest", 1), ("mean", 2)):
                found.append(shown(f"{label}, {size} pages: {what} [us]", table[size][index], simulated[size][index]))
    return found


def gcma_figures(runs: Runs, cma: dict[int, tuple[float, float, float]]) -> list[Figure]:
    """CMA over GCMA by size; larger requests gain, those of half a thousand pages lose."""
    published = {size: CMA_US[size][2] / GCMA_US[size][2] for size in COMPARED}
    gcma = times_us(runs, "GCMA")
    found = []
    for size, ratio in published.items():
        simulated = over(cma[size][2], gcma[size][2])
        found.append(relative(f"mean of CMA over GCMA, {size} pages", round(ratio, 2), simulated))
    for size in (1024, 32000):
        found.append(
            relative(
                f"GCMA: mean time a page, {size} pages [us]", round(GCMA_US[size][2] / size, 2), gcma[size][2] / size
            )
        )
    better = all(gcma[size][2] < cma[size][2] for size in SIZES if size >= 1024)
    found.append(sign("GCMA is faster from 1024 pages up", "yes", "yes" if better else "no", better))
    return found


NO_WAITS = (
    "checked (1024 and 8192 pages): no request waited for writeback or had to reclaim, and a third of them found the "
    "area empty, as memory is at the start of a build; what is moved costs 20 us a page. Published means are 12-73 us, "
    "maxima 122-676 us a page. Hypothesis: the callers waited for a card with a queue of seconds; the model's writes a "
    "tenth of the time, with at most 1024 pages (0.4 s) waiting"
)
ALONE = (
    "in the model nobody is in the way of a GCMA request: mean and least time are the same, 1.0 us a page, the least "
    "time published (the one page of the first row: 13 us, a fixed cost that the model lacks)"
)
TARGET = Target(
    name="F4",
    title="Time of a contiguous request against its size (CuBox i4 Pro, 800 MB, 256 MB of CMA, make -j16)",
    source="SeongJae Park, '[RFC v2 0/5] introduce gcma', 24 February 2015 (FACTS A9.h)",
    cases=cases,
    figures=figures,
    assumptions=(
        "board: cost table `armv7`, no HIGHMEM, pageblocks of 4 MB (no huge pages); swap of 512 MB on the card: none "
        "is named, but what the column 'GCMA with zram' replaces is a swap device",
        "compilers of a 32-bit machine need 60 % of the heap (9-28 MB) and 1 s of CPU time for an object",
        "one build for each size, with 32 requests at equal distances in its 510 s, each given back after 1 ms; unlike "
        "on the virtual machines the caller's work is not stretched: the published least times show none of it",
    ),
    reasons={
        **{f"CMA: mean of {size} pages over 1 page": NO_WAITS for size in SIZES[1:]},
        **{f"CMA: largest over mean, {size} pages": NO_WAITS for size in SIZES[2:]},
        **{f"mean of CMA over GCMA, {size} pages": f"{NO_WAITS}; and {ALONE}" for size in COMPARED},
        **{f"GCMA: mean time a page, {size} pages [us]": ALONE for size in (1024, 32000)},
    },
)
