"""Adjustable ratio: any movable request borrows while more than a quarter of the free memory is CMA.

Who: Sukadev Bhattiprolu, Qualcomm, 31 January 2023 (a sysctl, cma_utilization_ratio); not merged.

Source: FACTS row S4 and section A6. The rule there: CMA first while free CMA > free pages / ratio; 2 is mainline's
half rule, 1 never prefers CMA, larger values borrow earlier.

Assumed: the ratio. 4 is the one at which the area of a phone whose CMA is a quarter of its RAM (256 MB of 1 GB, and
every machine in configs/machine but the guests') is borrowed in proportion: free memory keeps the composition of all
memory. The rule is tested for every page taken from the buddy lists, so it is the kernel switch `cma_ratio`.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "adjustable_ratio",
    row="S4",
    kernel={"cma_ratio": 4, "cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True},
)
def decide(view: Integers, params: Integers) -> int:
    """The kernel's own per-page test decides; below it, CMA is the fallback."""
    return Action.NORMAL_FIRST
