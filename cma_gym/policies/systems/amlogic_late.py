"""Amlogic late: every movable page of tasks that are not niced borrows first, once memory has run short after boot.

Who: Amlogic, TV-box and board kernels 5.4 to 5.15.

Source: FACTS row S17 and sections A9.j and C6 (drivers/amlogic/memory_ext/aml_cma.c in CoreELEC/linux-amlogic and
khadas/linux: can_use_cma(), check_water_mark(), cma_keep_high_active(), cma_boost_work_func()).

Assumed: nice <= 0 are the foreground, visible and system classes; background tasks are niced. The rest is kernel
switches: lending begins for good when ordinary free memory first reaches the low watermark
(`lend_below_watermark`, from boot on where the area is above 30 % of memory or memory below 1 GB), stops while
cma_alloc() runs, and neither compaction nor contiguous allocations put pages into the area. A demand of half a
pageblock and more is served by boosted threads on all CPUs but one (which changes nothing with two CPUs); file pages
mapped often are moved and not dropped; kswapd is woken when a place was busy; cma_alloc() sleeps 100 ms up to 5 times
and searches again. Its inner retries (up to 10, then every 1-2 ms) are left out. Requests that the driver marks
__GFP_NO_CMA are not told from others.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, Importance
from cma_gym.policies.registry import Integers, system


@system(
    "amlogic_late",
    row="S17",
    kernel={
        "lend_below_watermark": True,
        "lending_stops_while_busy": True,
        "compact_into_cma": False,
        "migrate_into_cma": False,
        "cma_helpers": True,
        "migrate_mapped_file": True,
        "wake_kswapd_on_busy": True,
        "cma_alloc_retries": 5,
        "cma_alloc_retry_ms": 100,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """Not while a contiguous allocation runs, and not for niced tasks."""
    if view[View.CMA_BUSY] or view[View.IMPORTANCE] == Importance.BACKGROUND:
        return Action.NORMAL_ONLY
    return Action.CMA_FIRST
