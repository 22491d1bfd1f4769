"""OpenHarmony: single anonymous pages always borrow, nobody else ever does, and nobody while the area is emptied.

Who: Song Yuanzheng and Li Jiawei for OpenHarmony, January 2022.

Source: FACTS row S13 and section A4 (their article): the flag is set for order-0 anonymous faults of user space only,
which take CMA first; all other movable requests are forbidden; CMA has a per-CPU list of its own. Their reason:
anonymous pages migrate more reliably.

Assumed: a fault is anonymous whether it zero-fills, copies for a writer or swaps in. Migration targets lack the flag;
compaction is mainline's. The low memory killer is not said to know about CMA.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "openharmony",
    row="S13",
    kernel={
        "cma_pcp": "own",
        "lending_stops_while_busy": True,
        "compact_into_cma": True,
        "migrate_into_cma": False,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """The three anonymous kinds come first among the request kinds."""
    if view[View.KIND] <= RequestKind.SWAPIN and view[View.ORDER] == 0:
        return Action.CMA_FIRST
    return Action.NORMAL_ONLY
