"""Page cache only: regular files always borrow, nobody else ever does; GFP_PAGE_CACHE without its free-level window.

Who: after Feng Tang, Intel, 2015-2016; this variant is policy 3 of the project's kernel measurements.

Source: FACTS row S9, section A3; kernel facts 7, 8 and 16.

Assumed: as measured, freed CMA pages skip the per-CPU lists, and neither compaction nor contiguous allocations put
anything else into the area.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system("page_cache_only", row="S9", kernel={"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False})
def decide(view: Integers, params: Integers) -> int:
    """Page cache of regular files, whatever the free level."""
    return Action.CMA_FIRST if view[View.KIND] == RequestKind.FILE else Action.NORMAL_ONLY
