"""Regular page cache and anonymous memory: both always borrow; block device, shmem, zsmalloc and drivers never do.

Who: policy 8 of the project's kernel measurements.

Source: FACTS rows S9 and S10; kernel facts 3, 7 and 8.

Assumed: "anonymous" is every anonymous fault: zero-filled, copied for a writer, and swapped in. Freed CMA pages skip
the per-CPU lists, and neither compaction nor contiguous allocations put anything else into the area, as measured.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system("page_cache_and_anonymous", kernel={"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False})
def decide(view: Integers, params: Integers) -> int:
    """The three anonymous kinds, which come first among the request kinds, and regular files."""
    if view[View.KIND] <= RequestKind.SWAPIN or view[View.KIND] == RequestKind.FILE:
        return Action.CMA_FIRST
    return Action.NORMAL_ONLY
