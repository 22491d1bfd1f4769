"""Sticky MIGRATE_MOVABLE: CMA pageblocks are movable pageblocks like others, but never change their type.

Who: Mel Gorman, an idea in the thread of ZONE_CMA v2, 28 and 29 April 2016; never written.

Source: FACTS row S15 and section A1.

Assumed: a movable request takes the smallest free block that fits of ordinary movable pageblocks and of the area
together (`cma_sticky`); of two alike the ordinary one, since Gorman wanted the area to be used little. No other
request claims or steals from the area, and its free pages do not count for them in the watermarks, as in mainline:
some count of that kind the idea would need as well. Everything else is mainline's fallback.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "sticky_movable",
    row="S15",
    kernel={
        "cma_sticky": True,
        "cma_ratio": 0,
        "cma_pcp": "shared",
        "compact_into_cma": True,
        "migrate_into_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """The area is open to every movable request; the kernel makes no difference."""
    return Action.NORMAL_FIRST
