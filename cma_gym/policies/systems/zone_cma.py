"""ZONE_CMA: the area is a zone of its own, the first in the zonelist of user pages.

Who: Joonsoo Kim, LG Electronics, v1 February 2015 to v7 April 2017; in LG products for years.

Source: FACTS row S14 and section A1 ("[PATCH v3 0/6] Introduce ZONE_CMA", 26 May 2016, and v5, 29 August 2016).

Assumed: every request of the view but block-device cache is GFP_HIGHUSER_MOVABLE, as measured on a 6.12 kernel with
this layout (no block-device page in 109 snapshots; anonymous memory, shmem and zsmalloc get in). Drivers' movable pages
are taken to be allocated that way too. The zone's own watermarks and reserves come with the `zone_cma` layout.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "zone_cma",
    row="S14",
    kernel={"zone_cma": True, "cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True},
)
def decide(view: Integers, params: Integers) -> int:
    """Highest zone first for GFP_HIGHUSER_MOVABLE; block-device cache lacks __GFP_HIGHMEM and never gets there."""
    if view[View.KIND] == RequestKind.BDEV:
        return Action.NORMAL_ONLY
    return Action.CMA_FIRST
