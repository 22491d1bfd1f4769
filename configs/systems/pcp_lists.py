"""Per-CPU lists: page cache only and anonymous only with freed CMA pages on the movable list, or on one of their own.

Who: variants that answer one question of the discussion; Chen Feng (HiSilicon) wanted freed CMA pages to skip the
per-CPU lists, HiSilicon's and Android's kernels give them a list of their own, mainline keeps them on the movable one.

Source: FACTS sections A1 (thread of ZONE_CMA v3, June 2016), A4 and A6.

Assumed: nothing but the list differs from the systems page_cache_only and anonymous_only, which have none.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system

_REST = {"compact_into_cma": False, "migrate_into_cma": False}


@system("page_cache_own_list", kernel={"cma_pcp": "own", **_REST})
@system("page_cache_shared_list", kernel={"cma_pcp": "shared", **_REST})
def page_cache(view: Integers, params: Integers) -> int:
    """As page_cache_only."""
    return Action.CMA_FIRST if view[View.KIND] == RequestKind.FILE else Action.NORMAL_ONLY


@system("anonymous_own_list", kernel={"cma_pcp": "own", **_REST})
@system("anonymous_shared_list", kernel={"cma_pcp": "shared", **_REST})
def anonymous(view: Integers, params: Integers) -> int:
    """As anonymous_only."""
    return Action.CMA_FIRST if view[View.KIND] <= RequestKind.SWAPIN else Action.NORMAL_ONLY
