"""Page cache with the block device: every page of the page cache borrows, metadata included; nobody else does.

Who: policy 5 of the project's kernel measurements, to show what excluding the block device is worth.

Source: FACTS row S9, section A3; kernel facts 1, 2, 7 and 8.

Assumed: as measured, freed CMA pages skip the per-CPU lists, and neither compaction nor contiguous allocations put
anything else into the area. Raw reads of the device are unmovable requests and never asked about.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "page_cache_and_bdev", row="S9", kernel={"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False}
)
def decide(view: Integers, params: Integers) -> int:
    """Page cache of files and of the block device."""
    if view[View.KIND] == RequestKind.FILE or view[View.KIND] == RequestKind.BDEV:
        return Action.CMA_FIRST
    return Action.NORMAL_ONLY
