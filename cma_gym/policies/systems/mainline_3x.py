"""Mainline 3.x: CMA is one of the types that a movable request falls back to, and the largest block is split first.

Who: mainline Linux 3.5 to 4.0.

Source: FACTS row S1 and section A2 (the fallback table of 3.14: MOVABLE -> CMA, RECLAIMABLE, UNMOVABLE, RESERVE;
__rmqueue_fallback(), mm/page_alloc.c).

Assumed: a block that a movable request borrows from another type is the largest of all, CMA among equals first, and
the rest of a split CMA block stays CMA (`cma_by_table`, `steal_largest_first`). RESERVE pageblocks are not modelled.
Everything else is the profile's; freed CMA pages wait on the movable per-CPU list.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "mainline_3x",
    row="S1",
    kernel={
        "cma_by_table": True,
        "steal_largest_first": True,
        "cma_ratio": 0,
        "cma_pcp": "shared",
        "compact_into_cma": True,
        "migrate_into_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """CMA is a fallback of every movable request."""
    return Action.NORMAL_FIRST
