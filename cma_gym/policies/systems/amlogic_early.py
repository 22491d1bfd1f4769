"""Amlogic's early rule: cold page cache borrows, everything does below a free limit; block device and writers never do.

Who: Amlogic, kernels 3.14 and 4.9 for set-top boxes, about 2015-2018.

Source: FACTS row S16 and section A9.j; can_use_cma(), mm/cma.c of linux-amlogic 3.14, with use_cma_first=0 on the
command line ("for high speed cma allocation"; its default, 1, lets in everything but block device and writers). In
this order: a block-device or write request never; any other if free - free CMA is below mem_management_thresh; cold
requests only, which are file pages; and these not while cma_alloc() runs.

Assumed: the limit is 8192 pages on boxes of 1 GB and 4096 on boxes of 512 MB, as their start scripts set it: 32/1024
of memory. A request that may use CMA takes it first and from the buddy lists; compaction and contiguous allocations
stay out of the area, as Amlogic's later code does (FACTS C6). Below the limit the source lends even while cma_alloc()
runs.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "amlogic_early",
    row="S16",
    kernel={"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False},
    params={"free_limit_1024ths": 32},
)
def decide(view: Integers, params: Integers) -> int:
    """The tests in the order of the source."""
    if view[View.KIND] == RequestKind.BDEV or view[View.WRITABLE] != 0:
        return Action.NORMAL_ONLY
    if (view[View.FREE_PAGES] - view[View.FREE_CMA]) * 1024 < params[0] * view[View.MANAGED_PAGES]:
        return Action.CMA_FIRST
    if view[View.KIND] == RequestKind.FILE and view[View.CMA_BUSY] == 0:
        return Action.CMA_FIRST
    return Action.NORMAL_ONLY
