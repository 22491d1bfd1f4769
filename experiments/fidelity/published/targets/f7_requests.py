"""F7: shape of a phone's requests: their order, and the burst of a launch."""

from __future__ import annotations

from collections.abc import Sequence

from cma_gym.experiments.fidelity.published.target import Case, Figure, Runs, Target, relative
from cma_gym.experiments.fidelity.published.targets import f6_phone

GB_PAGES = 1 << 18
ACCLAIM_GB = 3
"""Memory of the phone of the published launch."""


def cases() -> list[Case]:
    """The phone of F6, sampled every tenth of a second."""
    (case,) = f6_phone.cases()
    return [Case(case.name, case.system, case.machine, case.kernel, case.scenario, case.seeds, sample_ms=100)]


def figures(runs: Runs) -> Sequence[Figure]:
    """Share of single pages, and the largest rates, as parts of memory."""
    single, second, burst = [], [], []
    for run in runs.of(f6_phone.PHONE):
        single.append(run["order0_share"])
        pages = run["samples"]["pgalloc"]
        second.append(max(after - before for before, after in zip(pages, pages[10:], strict=False)))
        burst.append(max(after - before for before, after in zip(pages, pages[50:], strict=False)))
    ram = f6_phone.cases()[0].machine["ram_mb"] / 1024 * GB_PAGES
    published = ACCLAIM_GB * GB_PAGES
    return [
        relative("requests of order 0 [%]", 99, 100 * sum(single) / len(single)),
        relative("largest rate in 1 s [% of RAM]", round(100 * 44_400 / published, 1), 100 * max(second) / ram),
        relative("largest burst in 5 s [% of RAM]", round(100 * 135_000 / published, 1), 100 * max(burst) / ram),
    ]


TARGET = Target(
    name="F7",
    title="Shape of a phone's requests",
    source="Acclaim, USENIX ATC 2020: Huawei P9, 3 GB, Chrome's launch (FACTS D2)",
    cases=cases,
    figures=figures,
    assumptions=(
        *f6_phone.TARGET.assumptions,
        "rates are compared as parts of memory: programs are taken to grow with it",
    ),
    reasons={
        "largest rate in 1 s [% of RAM]": "the launch of one app is published; the model's largest "
        "second holds a launch "
        "and what runs beside it, swap-in of other apps and playback",
        "largest burst in 5 s [% of RAM]": "as the rate in 1 s",
    },
)
