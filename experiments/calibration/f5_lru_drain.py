"""F5: retries of contiguous allocations with LRU batches at work, and with the batches switched off meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.calibration.target import Case, Figure, Runs, Target, over, relative, shown, sign

SEEDS = (0, 1)
REQUESTS = 500
ROWS = {"before": False, "after": True}
PUBLISHED = {"before": 400, "after": 30}


def cases() -> list[Case]:
    """A phone between whose apps the user goes to and fro, with and without lru_cache_disable()."""
    machine = {"ram_mb": 1024, "cma_mb": 256, "nr_cpus": 8, "profile": "v6_12"}
    load = {
        "family": "app_launches",
        "apps": {"pin_chance": 0},
        "small_files": None,
        "camera": {"first_s": 10, "every_s": 0.2, "count": REQUESTS, "sizes_pages": [2048], "hold_ms": 50},
    }
    return [
        Case(name, "half_and_half", machine, {"lru_cache_disable": drained, "demand_tries": 1}, load, SEEDS)
        for name, drained in ROWS.items()
    ]


def figures(runs: Runs) -> Sequence[Figure]:
    """Retries before and after."""
    retries = {name: runs.mean(name, "vmstat.cma_busy_retry") for name in ROWS}
    fewer = over(retries["before"], retries["after"])
    return [
        sign("times fewer retries with the drain", "> 10", f"{fewer:.1f}", fewer > 10),
        relative("retries for 500 requests, before", PUBLISHED["before"], retries["before"]),
        shown("retries for 500 requests, after", "< 30", retries["after"]),
        *(shown(f"{name}: failed moves of a page", "-", runs.mean(name, "vmstat.pgmigrate_fail")) for name in ROWS),
    ]


NOT_BESIDE = (
    "batches are drained when a try begins and cannot fill up again before it ends, as a try does not run beside other "
    "tasks; so there is nothing for lru_cache_disable() to prevent"
)
TARGET = Target(
    name="F5",
    title="LRU batches: retries of some 500 contiguous allocations while apps are launched",
    source="Minchan Kim, 'mm: disable LRU pagevec during the migration temporarily', 17 February 2021 (FACTS A9.f, B1)",
    cases=cases,
    figures=figures,
    assumptions=(
        "a phone of 1 GB with 256 MB of CMA, 8 CPUs, cost table `phone`, mainline's half rule",
        "a request of 8 MB every 0.2 s, held for 50 ms (sizes and rate are not published)",
        "apps launched and switched without pause; no pins and no databases, which the change does not touch",
        "a retry is an attempt of alloc_contig_range() that found its range busy",
    ),
    reasons={
        "times fewer retries with the drain": NOT_BESIDE,
        "retries for 500 requests, before": NOT_BESIDE,
    },
)
