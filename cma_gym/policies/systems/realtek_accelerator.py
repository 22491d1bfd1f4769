"""Realtek's CMA accelerator: movable pages borrow while the page cache thrashes; during cma_alloc() only if it is bad.

Who: Edward Wu, Realtek, 2022, as a module on Android's vendor hooks (kernel 5.15).

Source: FACTS row S18 and section A9.j (the module's rtk_cma_selector() and cma_ebusy_sync_pinned_pages()). The score is
100 * refaults in a second / (file LRU + 1); CMA is allowed if it is above 0, while cma_alloc() runs if above 10.

Assumed: the view's refault rate stands for the file refaults that the module counts, though it has anonymous ones in
it. "Allowed" is Android's flag, with which CMA and its own per-CPU list come first. Copies made by contiguous
allocations stay out of the area, as the module's rule would have it but for scores above 10. When a page of the block
device's cache made a place busy, its device is synced in the background: all that is dirty is written, and the
journal's references end when that is done (`sync_on_busy`).
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "realtek_accelerator",
    row="S18",
    kernel={"cma_pcp": "own", "migrate_into_cma": False, "sync_on_busy": True},
    params={"score_floor": 0, "busy_score_floor": 10},
)
def decide(view: Integers, params: Integers) -> int:
    """The thrashing score against its floor of the moment."""
    score = 100 * view[View.REFAULT_RATE] // (view[View.ACTIVE_FILE] + view[View.INACTIVE_FILE] + 1)
    floor = params[1] if view[View.CMA_BUSY] else params[0]
    return Action.CMA_FIRST if score > floor else Action.NORMAL_ONLY
