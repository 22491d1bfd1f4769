"""CMA first: every movable request borrows as long as the area has a free page.

Who: several vendors' out-of-tree patches, 2012-2014; known to be bad (Laura Abbott, 12 May 2014: use rises, and
migration failures with it).

Source: FACTS row S7 and section A7.

Assumed: mainline's handling of everything else. It also stands in for the "sharing patch from another vendor" of the
original discussion, of which nothing but its failure is known.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system("cma_first", row="S7", kernel={"cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True})
def decide(view: Integers, params: Integers) -> int:
    """Whatever it is, into the area."""
    return Action.CMA_FIRST
