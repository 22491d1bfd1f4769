"""Android GKI with restrict_cma_redirect=false: every movable request is redirected to CMA first.

Who: Android common kernels 5.10 to 6.12; some of Sony's devices boot with it.

Source: FACTS row S12 and section A6.

Assumed: without the restriction every movable request counts as flagged, block-device cache and migration targets too.
On 6.6 and 6.12 the same parameter takes away the per-CPU list of CMA pages, so they wait on the movable one. Nobody
borrows while a contiguous allocation runs; lmkd subtracts CmaFree.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "android_gki_redirect_all",
    row="S12",
    kernel={
        "cma_pcp": "shared",
        "lending_stops_while_busy": True,
        "compact_into_cma": True,
        "migrate_into_cma": True,
        "lmk_subtract_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """Whatever it is, into the area; the kernel switch keeps everybody out while it is busy."""
    return Action.CMA_FIRST
