"""Guaranteed CMA of 2025: the area holds clean file pages that were evicted, and is given back by dropping them.

Who: Suren Baghdasaryan and Minchan Kim, v1 20 March 2025, v2 26 October 2025; an earlier Android form is used by many
vendors.

Source: FACTS row S20 and section A9.i ("Guaranteed CMA", a cleancache backend).

Assumed: the mechanism is the kernel switch `gcma` (mm/cleancache.py): the page allocator never sees the area, so nobody
borrows and the low memory killer does not count it. The area has no LRU of its own beyond the order in which pages
came, and only pages of regular files are kept.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "gcma_2025",
    row="S20",
    kernel={
        "gcma": True,
        "lend": False,
        "compact_into_cma": False,
        "migrate_into_cma": False,
        "lmk_subtract_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """Nobody borrows; what lies in the area are second copies."""
    return Action.NORMAL_ONLY
