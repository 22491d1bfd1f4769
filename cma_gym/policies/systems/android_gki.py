"""Android GKI as shipped: restrict_cma_redirect=true; only requests with __GFP_CMA borrow, and they come first.

Who: Android common kernels 5.10 to 6.12, since 2020.

Source: FACTS row S12 and section A6 ("ANDROID: cma: redirect page allocation to CMA", "ANDROID: mm: add cma pcp list",
"ANDROID: zram: allow zram to allocate CMA pages"). The boot parameter's default.

Assumed: flagged are zero-filled anonymous faults (alloc_zeroed_user_highpage_movable()) and zram's pages: as far as the
sources tell, this is qualcomm_gfp_cma in another kernel, with the same results. Nobody borrows while a contiguous
allocation runs; compaction is mainline's. There is no low memory killer in these kernels: lmkd, in user space,
subtracts CmaFree from free memory too (get_lowest_watermark()).
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "android_gki",
    row="S12",
    kernel={
        "cma_pcp": "own",
        "lending_stops_while_busy": True,
        "compact_into_cma": True,
        "migrate_into_cma": False,
        "lmk_subtract_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """The two call sites that carry the flag."""
    if view[View.KIND] == RequestKind.ANON or view[View.KIND] == RequestKind.ZSMALLOC:
        return Action.CMA_FIRST
    return Action.NORMAL_ONLY
