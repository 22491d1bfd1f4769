"""Qualcomm's __GFP_CMA: zero-filled anonymous faults and zram's pages always borrow, except while the area is emptied.

Who: Samsung and Qualcomm (Code Aurora), 2012 to 2020; Chris Goldsworthy's try to get it merged, 2 November 2020.

Source: FACTS row S11 and section A6 ("[PATCH 0/2] Increasing CMA Utilization with a GFP Flag": the flag in
alloc_zeroed_user_highpage_movable() and in zsmalloc; commit 771aaa629a0e of Fairphone's msm kernel). It replaces the
half rule; a zone flag that is set during alloc_contig_range() stops lending.

Assumed: copy-on-write and swap-in are not flagged, as in that patch. Flagged pages have a per-CPU list of their own,
and migration targets of contiguous allocations lack the flag; compaction is left as it is and may put any movable page
into the area (kernel fact 7). The low memory killer subtracts free CMA, as in Qualcomm's lowmemorykiller.c.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import Integers, system


@system(
    "qualcomm_gfp_cma",
    row="S11",
    kernel={
        "cma_pcp": "own",
        "lending_stops_while_busy": True,
        "compact_into_cma": True,
        "migrate_into_cma": False,
        "lmk_subtract_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """The two call sites that carry the flag."""
    if view[View.KIND] == RequestKind.ANON or view[View.KIND] == RequestKind.ZSMALLOC:
        return Action.CMA_FIRST
    return Action.NORMAL_ONLY
