"""GCMA of 2015: the area holds copies only, of evicted clean file pages and of swapped pages, to be dropped at need.

Who: SeongJae Park, "[RFC v2 0/5] introduce gcma", 24 February 2015; EWiLi 2015; IEEE Transactions on Computers, 2019.

Source: FACTS row S20 and section A9.h, the measured system of its latency table.

Assumed: the mechanism is the kernel switches `gcma` and `gcma_frontswap` (mm/cleancache.py). Swapped pages are written
through: the swap device gets them all the same, so that dropping a copy loses nothing, and a page that comes back while
its copy is there is copied and not read. On zram that saves decompression only. Both kinds of copies share one list,
the oldest goes first; the page allocator and the low memory killer do not see the area.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "gcma_2015",
    row="S20",
    kernel={
        "gcma": True,
        "gcma_frontswap": True,
        "lend": False,
        "compact_into_cma": False,
        "migrate_into_cma": False,
        "lmk_subtract_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """Nobody borrows; what lies in the area are second copies."""
    return Action.NORMAL_ONLY
