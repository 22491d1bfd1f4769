"""CMA_AGGRESSIVE: any movable request takes CMA first while some of it is left and no contiguous allocation runs.

Who: Hui Zhu, Xiaomi, 15 October 2014 (kernel 3.18); not merged. The "[3] another attempt" of ZONE_CMA's cover letter.

Source: FACTS row S8 and section A5 (__rmqueue() in "[PATCH 3/4] (CMA_AGGRESSIVE)"): CMA first if no cma_alloc() runs
and free CMA > 500 pages + (1 << order). Otherwise mainline's order of that time, CMA as the last resort, also while
one runs. cma_alloc() first reclaims what the request is larger than ordinary free memory.

Assumed: 500 pages are meant for an area of 256 MB and scale with the area, so that a scaled-down twin keeps the same
share of it. The patch switches itself on only where RAM without CMA is 1 GB at most; on larger machines its sysctl,
vm.cma-aggressive-switch, is taken to have been turned on by hand. One answer covers up to 32 pages, where the patch
looks at the free level for each.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "cma_aggressive",
    row="S8",
    kernel={
        "shrink_before_cma_alloc": True,
        "cma_pcp": "shared",
        "compact_into_cma": True,
        "migrate_into_cma": True,
    },
    params={"free_min_65536ths": 500},
)
def decide(view: Integers, params: Integers) -> int:
    """Enough of the area is free, and nobody is emptying it."""
    free_min = params[0] * view[View.CMA_PAGES] + (65536 << view[View.ORDER])
    if view[View.CMA_BUSY] == 0 and view[View.FREE_CMA] * 65536 > free_min:
        return Action.CMA_FIRST
    return Action.NORMAL_FIRST
