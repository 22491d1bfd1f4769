"""The record of a machine's kernel configuration: what is a source file, a sysctl or a vendor's patch elsewhere.

`machine/kernel.py` fills it and says what each switch means.
"""

from __future__ import annotations

import numpy as np

kernel = np.dtype(
    [
        ("pageblock_order", "i8"),
        ("nr_cpus", "i8"),
        ("nr_lru_batch", "i8"),
        ("lru_per_zone", "i8"),
        ("new_anon_active", "i8"),  # fresh anonymous pages start on the active list (up to 5.8)
        ("fair_zone", "i8"),
        ("cma_ratio", "i8"),  # n: mainline's rule "CMA first while free CMA > free / n", per page; 0: off
        ("cma_pcp", "i8"),  # PcpCma
        ("boost_factor", "i8"),  # watermark boost, in 1/10000 of high; 0: none
        ("steal_largest_first", "i8"),
        ("lru_cache_disable", "i8"),
        ("migrate_passes", "i8"),
        ("compact_into_cma", "i8"),
        ("migrate_into_cma", "i8"),
        ("swappiness", "i8"),
        ("dirty_background_percent", "i8"),
        ("dirty_percent", "i8"),
        ("dirty_expire_ns", "i8"),
        ("demand_tries", "i8"),
        ("demand_retry_ns", "i8"),
        ("lending_stops_while_busy", "i8"),
        ("shrink_before_cma_alloc", "i8"),
        ("lmk", "i8"),
        ("lmk_minfree", "i8", (4,)),  # pages, for importance class FOREGROUND .. SYSTEM; index: class it may kill from
        ("lmk_subtract_cma", "i8"),
        ("reclaim_skips_cma", "i8"),  # direct reclaim leaves CMA pages to requests that may use CMA
        ("lend", "i8"),  # 0: the area is never lent
        ("cost", "i8", (32,)),  # Cost, ns
        ("swap_disk", "i8"),  # 1: swap is a disk, 0: zram
        ("catch_up_ns", "i8"),  # what saturated tasks can make up for after a wait; negative: arrivals do not wait
        ("cma_round_robin", "i8"),
        ("lmk_available", "i8"),  # pages; > 0: a killer in user space, below so much MemAvailable
        ("lmk_swap_free", "i8"),  # pages; the same, below so much free swap
        ("isolate_max_order", "i8"),
        ("cma_alloc_retries", "i8"),
        ("cma_alloc_retry_ns", "i8"),
        ("cma_alloc_bulk", "i8"),
        ("cpu_contention", "i8"),  # how much longer a driver's work takes on a shared CPU, in percent
        ("zs_half", "i8"),  # half of what is swapped does not compress
        ("old_allocator", "i8"),  # allocator and compaction of 4.6 where no other switch says so
        ("pcp_scale_max", "i8"),  # per-CPU lists tune themselves, batches grow up to 2 ** n; 0: fixed
        ("proactiveness", "i8"),
        ("kcompactd", "i8"),
        ("gcma", "i8"),
        ("cma_balance", "i8"),
        ("cma_first_limit", "i8"),
        ("scan_by_rotation", "i8"),
        ("demand_tries_per_piece", "i8"),
        ("gcma_frontswap", "i8"),
        ("lend_below_watermark", "i8"),
        ("lend_below_available", "i8"),  # pages; > 0: lending begins with less available outside, or after a time
        ("lend_after_ns", "i8"),
        ("cma_helpers", "i8"),
        ("migrate_mapped_file", "i8"),
        ("wake_kswapd_on_busy", "i8"),
        ("sync_on_busy", "i8"),
        ("cma_by_table", "i8"),
        ("cma_sticky", "i8"),
        ("contiguitas", "i8"),
    ],
    align=True,
)
"""Model: the kernel's configuration. Every switch that a known system needs beyond its placement rule."""
