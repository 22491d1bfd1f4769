"""F5: pages that contiguous allocations could not move, with LRU batches at work and with them switched off."""

from __future__ import annotations

from collections.abc import Sequence

from cma_gym.experiments.fidelity.published.target import Case, Figure, Runs, Target, over, shown, sign

SEEDS = (0, 1, 2, 3)
REQUESTS = 125
"""In each run; the four make the published 500."""
EVERY_S = 5.0
ROWS = {"before": False, "after": True}
PUBLISHED = {"before": 400, "after": 30}


def cases() -> list[Case]:
    """A phone on which apps are launched all the time, with and without lru_cache_disable()."""
    machine = {"ram_mb": 1024, "cma_mb": 256, "nr_cpus": 8, "profile": "v6_12"}
    load = {
        "family": "app_launches",
        "apps": {"pin_chance": 0},
        "small_files": None,
        "camera": {"first_s": 10, "every_s": EVERY_S, "count": REQUESTS, "sizes_pages": [2048], "hold_ms": 50},
    }
    return [
        Case(name, "half_and_half", machine, {"lru_cache_disable": drained, "demand_tries": 1}, load, SEEDS)
        for name, drained in ROWS.items()
    ]


def per_500(runs: Runs, name: str, counter: str) -> float:
    """An event counter of a row, as of 500 requests."""
    return runs.mean(name, f"vmstat.{counter}") * 500 / REQUESTS


def figures(runs: Runs) -> Sequence[Figure]:
    """Pages in the way before and after; the drain is judged by those in a batch, the only ones that it can help."""
    held = {name: per_500(runs, name, "cma_forced_retry") + per_500(runs, name, "cma_batched") for name in ROWS}
    batched = {name: per_500(runs, name, "cma_batched") for name in ROWS}
    fewer = over(held["before"], held["after"])
    holds = fewer > 10 and batched["before"] >= held["before"] / 2
    return [
        sign("times fewer pages in the way with the drain", "> 10, from batches", f"{fewer:.1f}", holds),
        *(shown(f"{name}: in the way of 500 requests", PUBLISHED[name], held[name]) for name in ROWS),
        *(shown(f"{name}: of them in an LRU batch", "-", batched[name]) for name in ROWS),
        *(shown(f"{name}: ranges found busy", "-", per_500(runs, name, "cma_busy_retry")) for name in ROWS),
    ]


TARGET = Target(
    name="F5",
    title="LRU batches: pages in the way of 500 contiguous allocations while apps are launched",
    source="Minchan Kim, 'mm: disable LRU pagevec during the migration temporarily', 17 February 2021, commit "
    "d479960e44f2 (FACTS A9.f, B1)",
    cases=cases,
    figures=figures,
    assumptions=(
        "published are calls of dump_page() in migrate_pages(), one for each page and each pass after the third; here "
        "pages refused in such passes, and pages that were left out because they lay in a batch, once each",
        "as published, apps are launched all the time and a request comes every 5 s; its size is not: 8 MB, held for "
        "50 ms. The counts depend on it and have no band",
        "no pins and no file system's metadata, which the change does not touch and of which the published rest of 30 "
        "leaves next to none: a page that is pinned throughout makes up to 35 of these counts by itself",
        "a phone of 1 GB with 256 MB of CMA, 8 CPUs, cost table `phone`, mainline's half rule, 6.12 without and with "
        "lru_cache_disable(); in 5.11 a page on its way to the active list stayed isolable and was refused again and "
        "again, here it is left out",
    ),
    reasons={
        "times fewer pages in the way with the drain": "checked: no page lay in a batch when a request came to it, "
        "in either row, so that their difference is chance (231 before and 0 after at an earlier version, where a "
        "reader held the pages). Hypothesis: on a phone it is mapped file pages, marked as accessed when an app ends "
        "(zap_pte_range()), that go through the batches; the model does not mark them",
    },
)
