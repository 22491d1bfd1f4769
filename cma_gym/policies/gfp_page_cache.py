"""GFP_PAGE_CACHE: page cache of regular files borrows when ordinary memory runs short, and never the last of the area.

Who: Feng Tang, Intel, for the Sofia phones with Android M, 2015-2016 (kernel 3.14).

Source: FACTS row S9 and section A3 (patch text in "Re: [PATCH v3 0/6] Introduce ZONE_CMA", 27 May 2016; commit
fb28d4db6278 of 15 July 2015). The rule there: CMA if normal = free - totalreserve - free CMA <= 48 MB and free CMA >=
48 MB. Block-device cache is excluded, freed CMA pages skip the per-CPU lists, MOVABLE does not fall back to CMA.

Assumed: both thresholds "need tuning per platform", and machines here differ in size, so they scale from a Sofia board
taken to have 1 GB of memory and 256 MB of CMA: 48/1024 of the machine, 48/256 of the area. The low memory killer
subtracts free CMA as in HiSilicon's and Qualcomm's kernels (that part of the patch was not shown), and neither
compaction nor contiguous allocations put anything else into the area.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "gfp_page_cache",
    kernel={"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False, "lmk_subtract_cma": True},
    params={"normal_limit_1024ths": 48, "cma_floor_256ths": 48},
)
def decide(view: Integers, params: Integers) -> int:
    """File cache only, in the free-level window: little ordinary memory left, but enough of the area."""
    if view[View.KIND] != RequestKind.FILE:
        return Action.NORMAL_ONLY
    normal = view[View.FREE_PAGES] - view[View.TOTALRESERVE] - view[View.FREE_CMA]
    short = normal * 1024 <= params[0] * view[View.MANAGED_PAGES]
    enough = view[View.FREE_CMA] * 256 >= params[1] * view[View.CMA_PAGES]
    return Action.CMA_FIRST if short and enough else Action.NORMAL_ONLY
