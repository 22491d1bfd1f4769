"""Mainline fallback: any movable request may borrow, but only when the ordinary free lists are empty.

Who: mainline Linux 4.1 to 5.7 (Joonsoo Kim's change of the fallback order), 4.6 in the discussion of May 2016.

Source: FACTS row S2 and section A2; __rmqueue(), mm/page_alloc.c: own lists first, then the smallest fitting block of
CMA, and only then pageblocks of other types.

Assumed: nothing; the switches are mainline's. Freed CMA pages wait on the movable per-CPU list, and compaction and
contiguous allocations may use CMA pageblocks as targets.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "mainline_fallback",
    row="S2",
    kernel={"cma_ratio": 0, "cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True},
)
def decide(view: Integers, params: Integers) -> int:
    """CMA is the fallback of every movable request."""
    return Action.NORMAL_FIRST
