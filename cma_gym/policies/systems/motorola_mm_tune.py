"""Motorola's mm_tune: the area is not lent after boot until little memory is available or 100 s have passed.

Who: Motorola, mm_tune module, 2026.

Source: FACTS row S19 and sections A9.e and A9.j: lending off until less than 800 MB are available or 25 looks, 4 s
apart, are over; migration targets avoid CMA; 10 retries of cma_alloc().

Assumed: the 800 MB are those of a phone of 4 GB with 192 MB of CMA (FACTS D1), which MemAvailable counts while it is
idle; so 608 MB outside the area, 148/1000 of the machine. Areas here are larger shares of memory, hence the threshold
is on what is available outside. The state is kept in the kernel (`lend_below_available_permille`, `lend_after_s`). Once
lent, the area is used as in mainline 6.12, by the half rule; compaction, which the module does not touch, may use it
from the start.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "motorola_mm_tune",
    row="S19",
    kernel={
        "lend_below_available_permille": 148,
        "lend_after_s": 100,
        "cma_ratio": 2,
        "migrate_into_cma": False,
        "cma_alloc_retries": 10,
        "cma_alloc_retry_ms": 100,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """The kernel's gate and its half rule decide; below that, CMA is the fallback."""
    return Action.NORMAL_FIRST
