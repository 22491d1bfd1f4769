"""GFP_PAGE_CACHE with the block device: all page cache borrows in the free-level window, file system metadata included.

Who: after Feng Tang, Intel, 2015-2016; his flag is set where any page of the page cache is allocated, and block-device
cache has to be taken out again.

Source: FACTS row S9 and section A3; the discussion of May 2016 agrees that block-device cache must stay out, and this
is what it costs to let it in.

Assumed: as gfp_page_cache, in everything but the block device. Raw reads of the device are unmovable requests and
never asked about.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "gfp_page_cache_bdev",
    row="S9",
    kernel={"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False, "lmk_subtract_cma": True},
    params={"normal_limit_256ths": 48, "cma_floor_256ths": 48},
)
def decide(view: Integers, params: Integers) -> int:
    """The window of gfp_page_cache, for files and for the block device."""
    if view[View.KIND] != RequestKind.FILE and view[View.KIND] != RequestKind.BDEV:
        return Action.NORMAL_ONLY
    normal = view[View.FREE_PAGES] - view[View.TOTALRESERVE] - view[View.FREE_CMA]
    short = normal * 256 <= params[0] * view[View.CMA_PAGES]
    enough = view[View.FREE_CMA] * 256 >= params[1] * view[View.CMA_PAGES]
    return Action.CMA_FIRST if short and enough else Action.NORMAL_ONLY
