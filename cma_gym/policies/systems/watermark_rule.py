"""Watermark rule: the half rule, and CMA first whenever ordinary free memory alone would not pass the watermark.

Who: Zhaoyang Huang, Unisoc, v1 28 April 2023 to v6 16 October 2023; not merged.

Source: FACTS row S5 ("mm: optimization on page allocation when CMA enabled": use_cma_first(), mm/page_alloc.c). A
movable request that passed the watermark only thanks to free CMA takes CMA; one that did not need it follows the half
rule. So movable requests no longer use up what unmovable ones need.

Assumed: the watermark is the low one, summed over the zones; the patch takes the mark of the pass and of the zone,
which is the same in the fast path of a machine with one zone. The half rule is tested for each page, as in mainline.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "watermark_rule",
    row="S5",
    kernel={"cma_ratio": 2, "cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True},
)
def decide(view: Integers, params: Integers) -> int:
    """A watermark is passed by having more than it; below, CMA first, above, the kernel's own half rule."""
    if view[View.FREE_PAGES] - view[View.FREE_CMA] <= view[View.WATERMARK_LOW]:
        return Action.CMA_FIRST
    return Action.NORMAL_FIRST
