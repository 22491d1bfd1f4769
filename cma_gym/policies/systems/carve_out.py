"""Carve-out: the area belongs to its device alone and is never lent.

Who: any board; what CMA was invented to replace.

Source: FACTS row S0; measured as policy 6 ("never lent") in the project's kernel measurements.

Assumed: the low memory killer does not count the area's free pages as free, as with reserved memory that the page
allocator never sees.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "carve_out",
    row="S0",
    kernel={"lend": False, "compact_into_cma": False, "migrate_into_cma": False, "lmk_subtract_cma": True},
)
def decide(view: Integers, params: Integers) -> int:
    """Nobody borrows."""
    return Action.NORMAL_ONLY
