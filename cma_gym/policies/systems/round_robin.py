"""Round robin: movable pages come from ordinary memory and from CMA in turn, in the ratio of what both can spare.

Who: Joonsoo Kim, LG Electronics, May 2014 (RFC of 8 May, v3 of 28 May); never merged.

Source: FACTS row S6 and section A8 ("aggressively allocate the pages on cma reserved memory when not used").

Assumed: one pageblock's worth of pages is shared out in the ratio (free - free CMA - high watermark) : free CMA, and
then anew. The rule counts pages taken from the buddy lists, inside rmqueue_bulk(); so it is the kernel switch
`cma_round_robin`, and the decision only says what happens when the turn's own lists are empty: the fallback.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "round_robin",
    row="S6",
    kernel={"cma_round_robin": True, "cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True},
)
def decide(view: Integers, params: Integers) -> int:
    """The kernel's own counters decide; where they name ordinary memory and it is empty, CMA is the fallback."""
    return Action.NORMAL_FIRST
