"""GFP_PAGE_CACHE: page cache of regular files borrows when ordinary memory runs short, and never the last of the area.

Who: Feng Tang, Intel, for the Sofia phones with Android M, 2015-2016 (kernel 3.14).

Source: FACTS row S9 and section A3 (patch text in "Re: [PATCH v3 0/6] Introduce ZONE_CMA", 27 May 2016; commit
fb28d4db6278 of 15 July 2015). The rule there: CMA if normal = free - totalreserve - free CMA <= 48 MB and free CMA >=
48 MB. Block-device cache is excluded, freed CMA pages skip the per-CPU lists, MOVABLE does not fall back to CMA.

Assumed: both thresholds "need tuning per platform"; they are the patch's 48 MB wherever the area has 256 MB, whatever
the size of RAM, and scale with the area elsewhere, so that a scaled-down twin keeps its shape. The low memory killer
and reclaim were adjusted, which was not shown: here the killer subtracts free CMA as in HiSilicon's and Qualcomm's
kernels, and reclaim is left alone. The nearest known change, `reclaim_skips_cma`, moves no success figure on a twin and
walks over the whole area's pages for each cluster at full size, for which mainline took it back in 2024 (A9.c). Neither
compaction nor contiguous allocations put anything else into the area.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "gfp_page_cache",
    row="S9",
    kernel={"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False, "lmk_subtract_cma": True},
    params={"normal_limit_256ths": 48, "cma_floor_256ths": 48},
)
def decide(view: Integers, params: Integers) -> int:
    """File cache only, in the free-level window: little ordinary memory left, but enough of the area."""
    if view[View.KIND] != RequestKind.FILE:
        return Action.NORMAL_ONLY
    normal = view[View.FREE_PAGES] - view[View.TOTALRESERVE] - view[View.FREE_CMA]
    short = normal * 256 <= params[0] * view[View.CMA_PAGES]
    enough = view[View.FREE_CMA] * 256 >= params[1] * view[View.CMA_PAGES]
    return Action.CMA_FIRST if short and enough else Action.NORMAL_ONLY
