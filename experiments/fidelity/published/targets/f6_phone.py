"""F6: ratios of a phone's /proc/vmstat, and the free part of its CMA area."""

from __future__ import annotations

from collections.abc import Sequence

from cma_gym.experiments.fidelity.published.target import Case, Figure, Runs, Target, over, relative, shown, sign

PHONE = "phone"
SEEDS = (0, 1)
LENGTH_S = 600.0
SWAP_PERCENT = 14
"""D1: 512 MB of 3656 MB."""
SIZE_PERCENT = 50
"""Makes 14 apps of 7.5 % of RAM, the zygote and the services the 60 % that D1's anonymous pages and full swap are."""


def cases() -> list[Case]:
    """A phone of 1 GB in use, anonymous pages first."""
    machine = {"ram_mb": 1024, "cma_mb": 64, "zram_percent": SWAP_PERCENT, "nr_cpus": 8, "profile": "v4_6"}
    load = {
        "family": "app_launches",
        "camera": {"first_s": 30, "every_s": 20, "count": 28, "sizes_pages": [4096], "length_s": LENGTH_S},
        "apps": {"size_percent": SIZE_PERCENT},
    }
    return [Case(PHONE, "gfp_cma", machine, {}, load, SEEDS)]


def figures(runs: Runs) -> Sequence[Figure]:
    """Shares of event counters."""

    def count(name: str) -> float:
        return runs.mean(PHONE, f"vmstat.{name}")

    direct = over(count("pgsteal_direct"), count("pgsteal_direct") + count("pgsteal_kswapd"))
    refaults = over(count("workingset_refault_file"), count("pgsteal_file"))
    failed = over(count("pgmigrate_fail"), count("pgmigrate_fail") + count("pgmigrate_success"))
    idle = runs.mean(PHONE, "metrics.cma_idle")
    return [
        sign("direct reclaim, of all reclaimed pages", "0.2 - 0.8 %", f"{direct:.2%}", 0.002 / 1.5 <= direct <= 0.012),
        sign("refaults, of reclaimed cache", "30 - 80 %", f"{refaults:.0%}", 0.2 <= refaults <= 1.2),
        relative("major faults, of all faults [%]", 0.58, 100 * over(count("pgmajfault"), count("pgfault"))),
        relative("moves of a page that fail [%]", 0.058, 100 * failed),
        sign("free part of the CMA area", "near 0", f"{idle:.1%}", idle < 0.05),
        *(shown(name, published, count(name)) for name, published in VMSTAT.items()),
    ]


VMSTAT = {
    "pgfault": 181.7e6,
    "pgmajfault": 1.06e6,
    "pgsteal_kswapd": 40.6e6,
    "pgsteal_direct": 91_500,
    "allocstall": 1587,
}

TARGET = Target(
    name="F6",
    title="Ratios of a phone's vmstat",
    source="Perfetto's test data, a 4 GB phone of 2018; Acclaim, USENIX ATC 2020 (FACTS D1, D2)",
    cases=cases,
    figures=figures,
    assumptions=(
        "a phone of 1 GB with 64 MB of CMA, as large a share as 192 MB of 4 GB; ratios are taken not to depend on size",
        "input from the same phone: size of swap (14 % of RAM), anonymous memory of all programs with what is swapped "
        "(60 %)",
        "ten minutes without pause stand for days of use, most of which a phone lies idle",
        "bands of ranges: a factor of 1.5 beyond either end",
    ),
    reasons={
        "direct reclaim, of all reclaimed pages": "checked: kswapd keeps up, 17 stalls in ten minutes (first seed)",
        "major faults, of all faults [%]": "checked: two thirds are windows of files read again, one third swap-ins; "
        "ten minutes of launches and switches stand for days, and a fault on a page that is present (first write, "
        "accessed bit) is none in the model, which makes all faults too few",
        "moves of a page that fail [%]": "checked: none of 114 thousand moves failed (first seed); the pins of "
        "apps, 2-60 ms, did not meet the 28 requests, and compaction leaves out pages with extra references beforehand",
    },
)
