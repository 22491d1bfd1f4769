"""Anonymous only: anonymous memory always borrows, nobody else ever does; GFP_CMA with both leaks closed.

Who: after HiSilicon / Huawei P9, 2016; this variant is policy 4 of the project's kernel measurements.

Source: FACTS row S10, section A4; kernel facts 7 and 8.

Assumed: "anonymous" is every anonymous fault: zero-filled, copied for a writer, and swapped in (P9's kernel flags the
first two). Freed CMA pages skip the per-CPU lists, and neither compaction nor contiguous allocations put anything
else into the area, as measured.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system("anonymous_only", row="S10", kernel={"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False})
def decide(view: Integers, params: Integers) -> int:
    """The three anonymous kinds come first among the request kinds."""
    return Action.CMA_FIRST if view[View.KIND] <= RequestKind.SWAPIN else Action.NORMAL_ONLY
