"""The state of one simulated memory system: a single nested, aligned record per machine.

Linux: include/linux/mm_types.h, include/linux/mmzone.h, include/linux/cma.h

Rules of this layout (ARCHITECTURE.md, "State"):

* capacities live in the dtype (`Shape`), values in the record, nothing in globals;
* scalar fields are `i4` or `i8`; narrower ones only inside the per-page record, where the size pays;
* list heads are extra entries behind the last page, so that list operations have no special cases, as in the kernel;
* no field may be named like an attribute of a NumPy scalar (`flags`, `base`, ...): unjitted code reads attributes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cma_gym.mm.bitmap import bitmap_words
from cma_gym.mm.cma_types import blame, blame_sum, contig, demand, demand_record
from cma_gym.mm.kernel_types import kernel
from cma_gym.mm.mmzone import (
    BH_LRU_SIZE,
    BLAME_LOG,
    COMPACT_CLUSTER_MAX,
    DEMAND_LOG,
    FOLIO_BATCH_SIZE,
    INFLIGHT,
    MAX_NR_CPUS,
    NR_DEMANDS,
    NR_GATHERS,
    NR_HANDS,
    NR_HOLDERS,
    NR_LRU,
    NR_MIGRATETYPES,
    NR_PAGE_KINDS,
    NR_PAGE_ORDERS,
    NR_PCP_LISTS,
    NR_VM_EVENTS,
    NR_ZONES,
    NR_ZSPAGE_CLASSES,
    SWAP_CLUSTER_MAX,
    ZoneStat,
)

CACHE_LINE = 64
"""Bytes. Two page records share one, and none lies on two."""


class Shape(NamedTuple):
    """Capacities of a machine; each distinct shape is a dtype of its own and compiles the core once."""

    nr_pages: int
    """Page frames."""
    nr_vpages: int
    """Virtual pages of all tasks together (and handles of kernel memory)."""
    nr_fpages: int
    """File pages of all files together."""
    nr_swap: int
    """Swap slots."""
    nr_tasks: int
    nr_pins: int
    """Extra references that can be held at the same time."""


def shape_for(nr_pages: int) -> Shape:
    """The smallest capacity class that holds `nr_pages` page frames.

    Classes are powers of four from 16 MB to 64 GB, so that the core is compiled for a handful of dtypes only.

    Raises:
        ValueError: above 64 GB.
    """
    for shift in (12, 14, 16, 18, 20, 22, 24):
        if nr_pages <= 1 << shift:
            capacity = 1 << shift
            return Shape(capacity, 4 * capacity, 4 * capacity, capacity, 1024, max(1024, capacity // 4))
    raise ValueError(f"a machine of {nr_pages} pages is above the largest capacity class (64 GB); use less memory")


page = np.dtype(
    [
        ("next", "i4"),
        ("prev", "i4"),
        ("index", "i4"),  # first virtual page that maps it (ANON, kernel handles), or file page (SHMEM, FILE, BDEV)
        ("flag", "i4"),  # PageFlag
        ("stamp", "i4"),  # time of allocation, in TICK_SHIFT
        ("task", "i4"),  # who asked for it
        ("mapcount", "i2"),  # page table entries that point at it (ANON)
        ("pincount", "i2"),  # references beyond mappings, page cache and LRU batch
        ("kind", "u1"),  # PageKind
        ("order", "u1"),  # of a free block (head) or an allocated block (head)
        ("holder", "u1"),  # Holder of the latest extra reference
        ("zone", "u1"),  # ZoneType
    ],
    align=True,
)
"""One page frame: 32 bytes. Linux: struct page."""

pageblock = np.dtype([("migratetype", "i4"), ("isolated_from", "i4"), ("skip", "i4"), ("refused", "i4")], align=True)
"""Linux: the pageblock bitmap; `isolated_from` is the type to restore, `skip` compaction's PB_migrate_skip.
Model: `refused` is the refill (`mem.refill`) that found the block not worth claiming."""

pte = np.dtype([("entry", "i4"), ("next", "i4")], align=True)
"""Model: one virtual page. entry: pfn, NO_ENTRY or a swap slot. next: next virtual page that shares it."""


filemap = np.dtype([("entry", "i4")], align=True)
"""Model: one file page. entry: pfn, NO_ENTRY, a swap slot (shmem) or a shadow (mm/workingset.c)."""

swap_slot = np.dtype([("vpn", "i4"), ("zspage", "i4"), ("next", "i4"), ("age", "i4")], align=True)
"""Model: one zram slot. vpn: first virtual page that shares it (for shmem, FILE_OWNER - file page; in the free list,
the next slot); zspage: pfn of the page that stores it, ON_DISK, or NO_PAGE if free; next: next object in that page."""


pin = np.dtype([("expire", "i8"), ("pfn", "i4"), ("holder", "i4"), ("since", "i8")], align=True)
"""Model: an extra reference with a beginning and an end; kept in a heap by expiry."""

free_area = np.dtype([("free_list", "i4", (NR_MIGRATETYPES,)), ("nr_free", "i8")], align=True)
"""Linux: struct free_area."""

per_cpu_pages = np.dtype(
    [
        ("nr", "i4"),
        ("high", "i4"),
        ("batch", "i4"),
        ("pad", "i4"),
        ("lists", "i4", (NR_PCP_LISTS,)),
        ("high_min", "i4"),  # bounds between which `high` tunes itself (6.7+)
        ("high_max", "i4"),
        ("alloc_factor", "i4"),  # refills double with every one that sees no freeing
        ("free_count", "i4"),  # pages freed in a row; halved by an allocation
        ("freed_high_order", "i4"),  # the page freed last was of a higher order (PCPF_PREV_FREE_HIGH_ORDER)
        ("pad2", "i4"),
    ],
    align=True,
)
"""Linux: struct per_cpu_pages; lists are indexed order * NR_PCP_TYPES + type."""

zone = np.dtype(
    [
        ("start_pfn", "i8"),
        ("end_pfn", "i8"),
        ("managed_pages", "i8"),
        ("cma_pages", "i8"),
        ("index", "i8"),  # ZoneType
        ("watermark", "i8", (3,)),
        ("watermark_boost", "i8"),
        ("lowmem_reserve", "i8", (NR_ZONES,)),
        ("nr_reserved_highatomic", "i8"),
        ("nr_isolated_pageblocks", "i8"),
        ("nr_alloc_batch", "i8"),  # fair-zone policy of 4.x
        ("compact_cached_migrate_pfn", "i8"),
        ("compact_cached_free_pfn", "i8"),
        ("compact_considered", "i8"),
        ("compact_defer_shift", "i8"),
        ("compact_order_failed", "i8"),
        ("vm_stat", "i8", (len(ZoneStat),)),
        ("free_area", free_area, (NR_PAGE_ORDERS,)),
        ("pcp", per_cpu_pages, (MAX_NR_CPUS,)),
        ("nr_try_movable", "i8"),  # round robin of May 2014: pages left to take from either kind of block
        ("nr_try_cma", "i8"),
        ("below_high", "i8"),  # ZONE_BELOW_HIGH: per-CPU lists shrink rather than grow
        ("nr_free_highatomic", "i8"),
        ("compact_cached_migrate_sync", "i8"),  # where a synchronous compaction goes on
        ("compact_blockskip_flush", "i8"),
        ("balance_pfn", "i8"),  # where the balancing into CMA goes on
        ("unmovable_end", "i8"),  # end of the region for what cannot be moved (Contiguitas)
    ],
    align=True,
)
"""Linux: struct zone."""

lruvec = np.dtype(
    [
        ("lists", "i4", (NR_LRU,)),
        ("pad", "i4"),
        ("nr", "i8", (NR_LRU,)),
        ("anon_cost", "i8"),
        ("file_cost", "i8"),
        ("nonresident_age", "i8"),
        ("activated", "i8", (2,)),  # refaults that were activated, of anonymous and of file pages
        ("refaults", "i8", (2,)),  # the same when the last reclaimer ended
        ("recent_scanned", "i8", (2,)),  # up to 5.7: pages reclaim has looked at lately, and those it had to keep
        ("recent_rotated", "i8", (2,)),
    ],
    align=True,
)
"""Linux: struct lruvec."""

lru_batch = np.dtype([("nr", "i4"), ("pad", "i4"), ("pfn", "i4", (FOLIO_BATCH_SIZE + 1,))], align=True)
"""Linux: struct folio_batch of lru_add and lru_activate; the pages in it carry an extra reference."""

node = np.dtype(
    [
        ("kswapd_awake", "i8"),
        ("kswapd_order", "i8"),
        ("populated", "i8"),  # bit of each zone that has pages
        ("kswapd_highest_zoneidx", "i8"),
        ("kswapd_priority", "i8"),
        ("kswapd_failures", "i8"),
        ("kswapd_budget_ns", "i8"),
        ("totalreserve_pages", "i8"),
        ("nr_dirty", "i8"),
        ("nr_writeback", "i8"),
        ("nr_swap_free", "i8"),
        ("nr_swap_total", "i8"),
        ("swap_free_head", "i4"),
        ("zspage_partial", "i4", (NR_ZSPAGE_CLASSES,)),  # list heads
        ("nr_zspages", "i8"),
        ("dirty_head", "i8"),  # ring of dirtied file pages
        ("dirty_tail", "i8"),
        ("flusher_next_ns", "i8"),
        ("inflight_head", "i8"),  # ring of pages under writeback, in order of completion
        ("inflight_tail", "i8"),
        ("disk_free_ns", "i8"),  # when the device finishes what it has
        ("lru_disabled", "i8"),  # lru_cache_disable() depth
        ("refault_rate", "i8"),  # refaults in the last whole second
        ("refault_now", "i8"),
        ("refault_second", "i8"),
        ("zs_budget", "i8"),  # zsmalloc pages still covered by the latest answer
        ("zs_action", "i8"),  # that answer (Action)
        ("pending_kill", "i8"),  # task the low memory killer chose, or NO_TASK
        ("kswapd_in_round", "i8"),
        ("death_pending_ns", "i8"),  # until when the low memory killer waits for its last victim
        ("run_lag_ns", "i8"),  # how far the present event is behind its time
        ("run_mean_ns", "i8"),  # mean time of an event that takes any
        ("run_begin_ns", "i8"),  # start of the present event
        ("run_begin_work", "i8"),  # work done before it
        ("vmstat_next_ns", "i8"),  # when the per-CPU lists decay next
        ("boosted", "i8"),  # a watermark was boosted: kswapd is woken by the next allocation
        ("kswapd_alloc_order", "i8"),  # largest order that kswapd was woken for
        ("kcompactd_order", "i8"),  # order kcompactd was woken for; 0: it sleeps
        ("kcompactd_highest_zoneidx", "i8"),
        ("kcompactd_free_ns", "i8"),  # when it will have done its last work
        ("kcompactd_next_ns", "i8"),  # next look at the fragmentation score
        ("proactive_defer", "i8"),
        ("cleancache", "i4"),  # list head: pages of the cleancache, newest first
        ("nr_cleancache", "i8"),
        ("compact_result", "i8"),  # of the latest direct compaction
        ("lmkd_next_ns", "i8"),  # when the killer in user space looks again
        ("lending_waits", "i8"),  # a kernel that does not lend from boot on has not begun to
        ("lending_look_ns", "i8"),  # when they look next whether it is time
    ],
    align=True,
)
"""Linux: struct pglist_data, plus the writeback and swap state of the whole machine."""

cma = np.dtype(
    [
        ("base_pfn", "i8"),
        ("nr_pages", "i8"),
        ("nr_allocated", "i8"),
        ("busy", "i8"),  # a try of some demand is under way
        ("occupancy", "i8", (NR_PAGE_KINDS,)),  # pages of the area by kind, kept incrementally
    ],
    align=True,
)
"""Linux: struct cma."""

scan_control = np.dtype(
    [
        ("nr_to_reclaim", "i8"),
        ("nr_reclaimed", "i8"),
        ("nr_scanned", "i8"),
        ("reclaim_idx", "i8"),
        ("priority", "i8"),
        ("kswapd", "i8"),
        ("share", "i8"),  # of anonymous pages, in 1/1024
        ("left", "i8", (4,)),  # pages still to be scanned, by Lru
        ("turn", "i8"),  # list that comes next
        ("lruvec", "i8"),
        ("lru", "i8"),  # list the cluster in hand came from
        ("nr_kept", "i8"),  # pages of that cluster that were not freed
        ("nr_pageout", "i8"),  # of the cluster in hand: pages written out, and those made active
        ("nr_activated", "i8"),
        ("may_deactivate", "i8"),  # bit 0: anonymous pages, bit 1: file pages
        ("force_deactivate", "i8"),
        ("skipped_deactivate", "i8"),
        ("skip_cma", "i8"),  # pages of CMA pageblocks would not help
    ],
    align=True,
)
"""Linux: struct scan_control, mm/vmscan.c, with the local variables of shrink_lruvec(): kswapd stops between two pages
and goes on later. One for direct reclaim, which runs to its end, and one for kswapd."""

gather = np.dtype([("until_ns", "i8"), ("first", "i4"), ("nr", "i4"), ("cpu", "i4"), ("pad", "i4")], align=True)
"""Linux: struct mmu_gather; its pages are chained by `page.next`."""

bh_lru = np.dtype([("nr", "i4"), ("pad", "i4"), ("pfn", "i4", (BH_LRU_SIZE,))], align=True)
"""Linux: struct bh_lru, fs/buffer.c; the latest first. Each entry is a reference."""

hand = np.dtype(
    [
        ("until_ns", "i8"),
        ("nr", "i4"),
        ("done", "i4"),  # pages that reclaim has looked at
        ("holder", "i4"),  # Holder
        ("pad", "i4"),
        ("pfn", "i4", (SWAP_CLUSTER_MAX,)),
    ],
    align=True,
)
"""Model: pages that an operation in progress has in hand (mm/hands.py)."""

task = np.dtype(
    [
        ("alive", "i4"),
        ("killed", "i4"),
        ("start", "i4"),  # first virtual page
        ("nr_vpages", "i4"),
        ("importance", "i4"),
        ("has_pinned", "i4"),
        ("last_active", "i8"),
        ("cold", "i8"),  # value of the SPAWN that started it
    ],
    align=True,
)
"""Model: one task with one range of virtual pages. Linux: struct task_struct, struct mm_struct."""

cursor = np.dtype(
    [
        ("next", "i8"),  # index of the event being worked on
        ("end", "i8"),
        ("offset", "i8"),  # pages of it already done
        ("begun", "i8"),  # its time has come
        ("kind", "i8"),  # of the pending question (RequestKind)
        ("task", "i8"),
        ("writable", "i8"),
        ("run", "i8"),  # pages the pending question covers
        ("budget", "i8"),  # pages still covered by the latest answer
        ("answer_kind", "i8"),
        ("action", "i8"),
        ("slip_ns", "i8"),  # how much later than scheduled events have become due for good
    ],
    align=True,
)
"""Model: where the machine stands in its stream of events."""

metrics = np.dtype(
    [
        ("stall_ns", "i8"),  # direct reclaim and compaction inside allocations
        ("swap_ns", "i8"),  # swap-in
        ("refault_ns", "i8"),  # re-reading evicted file pages
        ("io_ns", "i8"),  # first reads of file pages
        ("demand_ns", "i8"),
        ("kills", "i8"),
        ("whole_tried", "i8"),
        ("whole_ok", "i8"),
        ("whole_first_ok", "i8"),
        ("pieces_tried", "i8"),
        ("pieces_ok", "i8"),
        ("pieces_first_ok", "i8"),
        ("cma_idle_ns", "i8"),  # integral of the free share of the area (1024ths) over time
        ("time_ns", "i8"),
        ("free_ns", "i8"),  # integral of free pages over time, in 1024 ns
    ],
    align=True,
)
"""Model: what a user of the machine feels; reported apart from any reward."""


def nr_list_heads() -> int:
    """Entries behind the last page that serve as list heads."""
    zones = NR_ZONES * (NR_PAGE_ORDERS * NR_MIGRATETYPES + MAX_NR_CPUS * NR_PCP_LISTS + NR_LRU)
    return zones + NR_ZSPAGE_CLASSES + 1


_BEGINNING: list[tuple[Any, ...]] = [
    ("clock", "i8"),  # ns
    ("work_ns", "i8"),  # work done by whoever runs; callers take differences
    ("rng", "i8"),
    ("nr_pages", "i8"),
    ("nr_vpages", "i8"),
    ("nr_fpages", "i8"),
    ("nr_tasks", "i8"),
    ("nr_pins", "i8"),
    ("nr_demands_logged", "i8"),
    ("nr_blames_logged", "i8"),
    ("next_demand_ns", "i8"),
    ("last_demand_ns", "i8"),
    ("last_demand_failed", "i8"),
    ("migrate_pfn", "i4", (COMPACT_CLUSTER_MAX,)),  # pages isolated for compaction
    ("target_pfn", "i4", (COMPACT_CLUSTER_MAX,)),  # free pages isolated as compaction's targets
    ("nr_targets", "i8"),
    ("refill", "i8"),  # number of the latest refill from the buddy lists, from 1
    ("kernel", kernel),
    ("cursor", cursor),
    ("metrics", metrics),
    ("vm_event", "i8", (NR_VM_EVENTS,)),
    ("node", node),
    ("sc", scan_control),
    ("cma", cma),
    ("lruvec", lruvec, (NR_ZONES,)),
    ("lru_add", lru_batch, (MAX_NR_CPUS,)),
    ("zones", zone, (NR_ZONES,)),
    ("demand", demand, (NR_DEMANDS,)),
    ("demand_log", demand_record, (DEMAND_LOG,)),
    ("blame_log", blame, (BLAME_LOG,)),
    ("blame_sum", blame_sum, (NR_PAGE_KINDS, NR_HOLDERS)),
    ("contig", contig),
    ("inflight_pfn", "i4", (INFLIGHT,)),
    ("inflight_ns", "i8", (INFLIGHT,)),
]
"""What a record begins with, whatever its shape."""

_END: list[tuple[Any, ...]] = [
    ("next_hand_ns", "i8"),
    ("kswapd_sc", scan_control),
    ("hand", hand, (NR_HANDS,)),
    ("next_gather_ns", "i8"),
    ("gather", gather, (NR_GATHERS,)),
    ("bh_lru", bh_lru, (MAX_NR_CPUS,)),
    ("lru_activate", lru_batch, (MAX_NR_CPUS,)),
]
"""What it ends with."""


def memory_dtype(shape: Shape) -> np.dtype:
    """The record of one machine of this shape.

    Args:
        shape: capacities; `shape_for()` picks a class.

    Returns:
        A nested, C-aligned structured dtype of whole cache lines. `machine_array` makes a vector of machines of it.
    """
    fields = [*_BEGINNING, *_padding(_BEGINNING, "pad"), *_tables(shape), *_END]
    return np.dtype([*fields, *_padding(fields, "pad2")], align=True)


def _padding(fields: list[tuple[Any, ...]], name: str) -> list[tuple[Any, ...]]:
    """What is missing to a whole number of cache lines."""
    missing = -np.dtype(fields, align=True).itemsize % CACHE_LINE
    return [(name, "i8", (missing // 8,))] if missing > 0 else []


def _tables(shape: Shape) -> list[tuple[Any, ...]]:
    """What grows with the machine; each begins at a cache line."""
    return [
        ("task", task, (shape.nr_tasks,)),
        ("pin", pin, (shape.nr_pins,)),
        ("dirty_ring", "i4", (shape.nr_pages // 2,)),
        ("dirty_ns", "i8", (shape.nr_pages // 2,)),
        ("swap", swap_slot, (shape.nr_swap,)),
        ("pageblock", pageblock, (shape.nr_pages >> 4,)),
        ("cma_bitmap", "i8", (bitmap_words(shape.nr_pages),)),
        ("pte", pte, (shape.nr_vpages,)),
        ("filemap", filemap, (shape.nr_fpages,)),
        ("page", page, (shape.nr_pages + nr_list_heads(),)),
    ]


def machine_array(n: int, memory: np.dtype) -> np.recarray:
    """`n` machines, all zero, each at the beginning of a cache line.

    Args:
        n: how many.
        memory: their record, `memory_dtype()`.
    """
    room = np.zeros(n * memory.itemsize + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + n * memory.itemsize].view(memory).view(np.recarray)
