"""Half and half: any movable request borrows while more than half of the free memory is CMA.

Who: Roman Gushchin, mainline since 5.8 (2020) and so in 6.12.

Source: FACTS row S3; __rmqueue(), mm/page_alloc.c.

Assumed: nothing. The rule is tested for every page taken from the buddy lists, inside rmqueue_bulk(), and not once per
request; so it is the kernel switch `cma_ratio`, and the decision only says what happens otherwise: the fallback.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "half_and_half",
    row="S3",
    kernel={"cma_ratio": 2, "cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True},
)
def decide(view: Integers, params: Integers) -> int:
    """The kernel's own per-page test decides; below it, CMA is the fallback."""
    return Action.NORMAL_FIRST
