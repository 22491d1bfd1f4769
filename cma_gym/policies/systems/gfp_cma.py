"""GFP_CMA: anonymous pages first; zero-filled faults and copy-on-write always borrow, nobody else ever does.

Who: HiSilicon / Huawei P9, kernel 4.1, 2016; LG products and a chip vendor used "anonymous page first" before.

Source: FACTS row S10 and section A4 (the P9 kernel's mm/memory.c, include/linux/highmem.h, lowmemorykiller.c; Joonsoo
Kim in "Re: [PATCH v3 0/6] Introduce ZONE_CMA", May 2016).

Assumed: swap-in, shmem, zsmalloc and drivers are not flagged, as in that kernel's source. CMA pages have a per-CPU list
of their own, the low memory killer subtracts free CMA, and requests without the flag (compaction's and contiguous
allocation's targets too) stay out of the area. What its reclaim does where all free memory of a zone is
CMA is left out.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "gfp_cma",
    row="S10",
    kernel={"cma_pcp": "own", "compact_into_cma": False, "migrate_into_cma": False, "lmk_subtract_cma": True},
)
def decide(view: Integers, params: Integers) -> int:
    """The flag is set where a zeroed anonymous page and a copy for a writer are allocated."""
    if view[View.KIND] == RequestKind.ANON or view[View.KIND] == RequestKind.COW:
        return Action.CMA_FIRST
    return Action.NORMAL_ONLY
