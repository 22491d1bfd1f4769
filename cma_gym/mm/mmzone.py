"""The state of one simulated memory system: a single nested, aligned record per machine.

Linux: include/linux/mmzone.h, include/linux/mm_types.h, include/linux/cma.h

Rules of this layout (ARCHITECTURE.md, "State"):

* capacities live in the dtype (`Shape`), values in the record, nothing in globals;
* scalar fields are `i4` or `i8`; narrower ones only inside the per-page record, where the size pays;
* list heads are extra entries behind the last page, so that list operations have no special cases, as in the kernel;
* no field may be named like an attribute of a NumPy scalar (`flags`, `base`, ...): unjitted code reads attributes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

NO_PAGE = -1
"""No page frame: the empty answer of everything that looks for a page."""
NO_TASK = -1
PINCOUNT_MAX = 32000
"""References that one page's counter can hold."""
PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
NR_PAGE_ORDERS = 11
PAGE_ALLOC_COSTLY_ORDER = 3
SWAP_CLUSTER_MAX = 32
COMPACT_CLUSTER_MAX = 32
DEF_PRIORITY = 12
MAX_RECLAIM_RETRIES = 16
MAX_NR_CPUS = 8
FOLIO_BATCH_SIZE = 31
"""Pages a CPU's LRU batch can hold. Linux: include/linux/pagevec.h (15 in 4.x)."""
NR_DEMANDS = 4
"""CMA buffers that can be asked for or held at the same time."""
NR_PIECES = 5120
"""Blocks one demand can consist of (the largest known: 4800 scattered 64 KiB blocks)."""
DEMAND_LOG = 256
BLAME_LOG = 512
INFLIGHT = 1024
"""Pages under writeback at a time; a device queue, not a kernel limit."""
NR_ZSPAGE_CLASSES = 5
TICK_SHIFT = 20
"""Page ages are kept in ticks of about a millisecond (2^20 ns)."""


class MigrateType(IntEnum):
    """Linux: enum migratetype, include/linux/mmzone.h."""

    UNMOVABLE = 0
    MOVABLE = 1
    RECLAIMABLE = 2
    HIGHATOMIC = 3
    CMA = 4
    ISOLATE = 5


MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_HIGHATOMIC, MIGRATE_CMA, MIGRATE_ISOLATE = map(
    int, MigrateType
)
# Plain integers beside the enums: passing an enum member to a compiled function would compile it a second time.
NR_MIGRATETYPES = len(MigrateType)
NR_PCP_TYPES = 4
"""Per-CPU lists by type: UNMOVABLE, MOVABLE, RECLAIMABLE, and CMA where a kernel keeps a list of its own for it."""
NR_PCP_LISTS = NR_PCP_TYPES * (PAGE_ALLOC_COSTLY_ORDER + 1)


class ZoneType(IntEnum):
    """Linux: enum zone_type, include/linux/mmzone.h; CMA is Joonsoo Kim's ZONE_CMA, always the highest."""

    DMA32 = 0
    NORMAL = 1
    HIGHMEM = 2
    MOVABLE = 3
    CMA = 4


NR_ZONES = len(ZoneType)


class Watermark(IntEnum):
    """Linux: enum zone_watermarks."""

    MIN = 0
    LOW = 1
    HIGH = 2


WMARK_MIN, WMARK_LOW, WMARK_HIGH = map(int, Watermark)


class ZoneStat(IntEnum):
    """Counters of a zone. Linux: enum zone_stat_item."""

    FREE_PAGES = 0
    FREE_CMA = 1
    INACTIVE_ANON = 2
    ACTIVE_ANON = 3
    INACTIVE_FILE = 4
    ACTIVE_FILE = 5
    UNEVICTABLE = 6


class Lru(IntEnum):
    """Linux: enum lru_list. A file list is an anonymous list + 2, an active one an inactive one + 1."""

    INACTIVE_ANON = 0
    ACTIVE_ANON = 1
    INACTIVE_FILE = 2
    ACTIVE_FILE = 3
    UNEVICTABLE = 4


NR_LRU = len(Lru)


class PageKind(IntEnum):
    """What a page frame holds. Model: the kernel knows this from mapping, flags and page type together."""

    FREE = 0
    ANON = 1
    SHMEM = 2
    FILE = 3
    BDEV = 4
    ZSMALLOC = 5
    DRIVER = 6
    """Allocated as movable by a driver that cannot migrate it (FACTS B16)."""
    SLAB = 7
    PAGE_TABLE = 8
    KERNEL = 9
    CMA = 10
    """Handed to a device by cma_alloc()."""
    RESERVED = 11


(
    KIND_FREE,
    KIND_ANON,
    KIND_SHMEM,
    KIND_FILE,
    KIND_BDEV,
    KIND_ZSMALLOC,
    KIND_DRIVER,
    KIND_SLAB,
    KIND_PAGE_TABLE,
    KIND_KERNEL,
    KIND_CMA,
    KIND_RESERVED,
) = map(int, PageKind)
NR_PAGE_KINDS = len(PageKind)


class PageFlag(IntEnum):
    """Bits of `page.flag`. Linux: enum pageflags, include/linux/page-flags.h, unless marked Model."""

    REFERENCED = 1
    ACTIVE = 2
    DIRTY = 4
    WRITEBACK = 8
    LRU = 16
    """On an LRU list."""
    BUDDY = 32
    """Head of a free block in the buddy lists."""
    MLOCKED = 64
    EXEC = 128
    """Model: mapped executable; reclaim keeps such pages active at once (VM_EXEC)."""
    MAPPED = 256
    """Model: a file page mapped into some task; the kernel counts mappings."""
    PCP = 512
    """Model: free, on a per-CPU list."""
    LRU_BATCH = 1024
    """Model: waits in a CPU's LRU batch, which holds a reference (FACTS B1)."""
    WORKINGSET = 2048
    CMA_BITMAP = 4096
    """Model: this page's bit of the CMA area's bitmap."""
    ISOLATED = 8192
    """Model: taken off its LRU list for migration."""
    PRIVATE = 16384
    """Has buffer heads."""
    WRITABLE = 32768
    """Model: the mapping is open for writing."""
    YOUNG = 65536
    """Model: accessed through a page table since the last scan (the accessed bit of its entries)."""


class Holder(IntEnum):
    """Who holds an extra reference on a page (FACTS B1-B10)."""

    NONE = 0
    LRU_BATCH = 1
    BUFFER_HEAD = 2
    JOURNAL = 3
    FORK_EXIT = 4
    DIRECT_IO = 5
    DRIVER = 6
    PIPE = 7
    LONGTERM = 8
    WRITEBACK = 9
    NO_TARGET = 10
    """Nothing held it: there was no memory for the copy (FACTS B12)."""
    UNMOVABLE = 11
    """The page's kind cannot be migrated at all."""


(
    HOLDER_NONE,
    HOLDER_LRU_BATCH,
    HOLDER_BUFFER_HEAD,
    HOLDER_JOURNAL,
    HOLDER_FORK_EXIT,
    HOLDER_DIRECT_IO,
    HOLDER_DRIVER,
    HOLDER_PIPE,
    HOLDER_LONGTERM,
    HOLDER_WRITEBACK,
    HOLDER_NO_TARGET,
    HOLDER_UNMOVABLE,
) = map(int, Holder)
NR_HOLDERS = len(Holder)


class RequestKind(IntEnum):
    """Movable requests that may be placed; what a kernel can tell from gfp flags and call site."""

    ANON = 0
    """Zero-filled anonymous fault."""
    COW = 1
    """Copy-on-write of an anonymous page."""
    SWAPIN = 2
    SHMEM = 3
    FILE = 4
    BDEV = 5
    """Block-device page cache, movable variant (sb_bread, sb_getblk)."""
    ZSMALLOC = 6
    DRIVER = 7


(
    REQUEST_ANON,
    REQUEST_COW,
    REQUEST_SWAPIN,
    REQUEST_SHMEM,
    REQUEST_FILE,
    REQUEST_BDEV,
    REQUEST_ZSMALLOC,
    REQUEST_DRIVER,
) = map(int, RequestKind)
NR_REQUEST_KINDS = len(RequestKind)


class Action(IntEnum):
    """The answer to a placement question."""

    NORMAL_ONLY = 0
    """Ordinary memory only; reclaim rather than borrow."""
    NORMAL_FIRST = 1
    """CMA only when the ordinary free lists have nothing (mainline's fallback)."""
    CMA_FIRST = 2


NR_ACTIONS = len(Action)


class Importance(IntEnum):
    """Importance class of a task; stands for Android's oom_score_adj levels (FACTS C9)."""

    FOREGROUND = 0
    VISIBLE = 1
    BACKGROUND = 2
    SYSTEM = 3


class PcpCma(IntEnum):
    """Where freed and refilled CMA pages wait on a CPU (FACTS C2, A4, B14)."""

    SHARED = 0
    """On the movable list, as in mainline: any movable request may get one."""
    OWN = 1
    """On a list of their own (HiSilicon, OpenHarmony, Android)."""
    NONE = 2
    """Straight to the buddy lists (Feng Tang's GFP_PAGE_CACHE patch)."""


class VmEvent(IntEnum):
    """Event counters under their /proc/vmstat names. Linux: enum vm_event_item, include/linux/vm_event_item.h."""

    PGALLOC = 0
    PGFREE = 1
    PGFAULT = 2
    PGMAJFAULT = 3
    PSWPIN = 4
    PSWPOUT = 5
    PGSCAN_KSWAPD = 6
    PGSCAN_DIRECT = 7
    PGSTEAL_KSWAPD = 8
    PGSTEAL_DIRECT = 9
    PGSTEAL_ANON = 10
    PGSTEAL_FILE = 11
    PGACTIVATE = 12
    PGDEACTIVATE = 13
    ALLOCSTALL = 14
    PAGEOUTRUN = 15
    KSWAPD_WAKE = 16
    WORKINGSET_REFAULT_ANON = 17
    WORKINGSET_REFAULT_FILE = 18
    WORKINGSET_ACTIVATE = 19
    PGMIGRATE_SUCCESS = 20
    PGMIGRATE_FAIL = 21
    COMPACT_STALL = 22
    COMPACT_FAIL = 23
    COMPACT_SUCCESS = 24
    COMPACT_MIGRATE_SCANNED = 25
    COMPACT_FREE_SCANNED = 26
    CMA_ALLOC_SUCCESS = 27
    CMA_ALLOC_FAIL = 28
    CMA_ALLOC_PAGES = 29
    CMA_BUSY_RETRY = 30
    EXTFRAG = 31
    PAGEBLOCK_CLAIM = 32
    OOM_KILL = 33
    LMK_KILL = 34
    ATOMIC_FAIL = 35
    """Failed GFP_ATOMIC / GFP_NOWAIT requests."""
    ALLOC_FAIL = 36
    """Failed requests that were allowed to reclaim."""
    NR_DIRTIED = 37
    NR_WRITTEN = 38
    CMA_DROPPED = 39
    """Clean page cache dropped by a contiguous allocation (reclaim_clean_pages_from_list)."""
    CMA_MIGRATED = 40
    """Pages moved by contiguous allocations."""
    LONGTERM_MOVED = 41
    """Pages moved out of CMA before a long-term pin."""
    PIN_LOST = 42
    """Pins refused because the pin table was full; must stay zero in any result that is used."""
    DECISIONS = 43
    EVENTS = 44
    EVENTS_SKIPPED = 45
    """Events of tasks that had been killed."""
    DEMAND_LOST = 46
    """Demands refused because too many were open; must stay zero in any result that is used."""


NR_VM_EVENTS = len(VmEvent)


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

pageblock = np.dtype([("migratetype", "i4"), ("isolated_from", "i4"), ("skip", "i4"), ("pad", "i4")], align=True)
"""Linux: the pageblock bitmap (migratetype, skip hint); `isolated_from` is the type to restore."""

pte = np.dtype([("entry", "i4"), ("next", "i4")], align=True)
"""Model: one virtual page. entry: pfn, NO_ENTRY or a swap slot. next: next virtual page that shares it."""

NO_ENTRY = -1
SWAP_ENTRY = -2
SHADOW_ENTRY = -3
"""Below NO_ENTRY, even entries are swap slots (SWAP_ENTRY - 2 * slot), odd ones shadows (SHADOW_ENTRY - 2 * age)."""
SHADOW_MASK = (1 << 29) - 1

filemap = np.dtype([("entry", "i4")], align=True)
"""Model: one file page. entry: pfn, NO_ENTRY, a swap slot (shmem) or a shadow (mm/workingset.c)."""

swap_slot = np.dtype([("vpn", "i4"), ("zspage", "i4"), ("next", "i4"), ("age", "i4")], align=True)
"""Model: one zram slot. vpn: first virtual page that shares it (for shmem, FILE_OWNER - file page; in the free list,
the next slot); zspage: pfn of the page that stores it, NO_PAGE if free; next: next object in that page."""

FILE_OWNER = -2

pin = np.dtype([("expire", "i8"), ("pfn", "i4"), ("holder", "i4")], align=True)
"""Model: an extra reference with an end; kept in a heap by expiry."""

free_area = np.dtype([("free_list", "i4", (NR_MIGRATETYPES,)), ("nr_free", "i8")], align=True)
"""Linux: struct free_area."""

per_cpu_pages = np.dtype(
    [("nr", "i4"), ("high", "i4"), ("batch", "i4"), ("pad", "i4"), ("lists", "i4", (NR_PCP_LISTS,))], align=True
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
    ],
    align=True,
)
"""Linux: struct lruvec."""

lru_batch = np.dtype([("nr", "i4"), ("pad", "i4"), ("pfn", "i4", (FOLIO_BATCH_SIZE + 1,))], align=True)
"""Linux: struct folio_batch of lru_add; the pages in it carry an extra reference."""

node = np.dtype(
    [
        ("kswapd_awake", "i8"),
        ("kswapd_order", "i8"),
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
    ],
    align=True,
)
"""Linux: struct pglist_data, plus the writeback and swap state of the whole machine."""

cma = np.dtype(
    [
        ("base_pfn", "i8"),
        ("nr_pages", "i8"),
        ("nr_allocated", "i8"),
        ("busy", "i8"),  # a contiguous allocation runs
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
    ],
    align=True,
)
"""Linux: struct scan_control, mm/vmscan.c; kept in the record because only one reclaimer runs at a time."""

task = np.dtype(
    [
        ("alive", "i4"),
        ("killed", "i4"),
        ("start", "i4"),  # first virtual page
        ("nr_vpages", "i4"),
        ("importance", "i4"),
        ("has_pinned", "i4"),
        ("last_active", "i8"),
    ],
    align=True,
)
"""Model: one task with one range of virtual pages. Linux: struct task_struct, struct mm_struct."""

demand = np.dtype(
    [
        ("state", "i4"),  # DemandState
        ("id", "i4"),
        ("nr_pages", "i4"),  # of one piece
        ("pieces", "i4"),
        ("align_order", "i4"),
        ("got", "i4"),
        ("tries", "i4"),
        ("first_ok", "i4"),
        ("start_ns", "i8"),
        ("next_try_ns", "i8"),
        ("release_ns", "i8"),
        ("hold_ns", "i8"),
        ("work_ns", "i8"),
        ("free_before", "i8"),
        ("nr_blamed", "i8"),
        ("blamed", "i4", (NR_PAGE_KINDS, NR_HOLDERS)),
        ("piece_pfn", "i4", (NR_PIECES,)),
    ],
    align=True,
)
"""Model: one CMA buffer that somebody wants or holds."""


class DemandState(IntEnum):
    """Life of a demand."""

    IDLE = 0
    WAITING = 1
    """Between tries."""
    HELD = 2


demand_record = np.dtype(
    [
        ("start_ns", "i8"),
        ("latency_ns", "i8"),  # start of the first try to the end of the last, waits between tries included
        ("work_ns", "i8"),  # spent inside cma_alloc()
        ("id", "i4"),
        ("nr_pages", "i4"),
        ("pieces", "i4"),
        ("got", "i4"),
        ("tries", "i4"),
        ("ok", "i4"),
        ("first_ok", "i4"),
        ("nr_blamed", "i4"),
        ("free_before", "i4"),  # free pages of the area before the first try
        ("whole", "i4"),  # asked for the whole area in one piece
        ("blamed", "i4", (NR_PAGE_KINDS, NR_HOLDERS)),  # refusals over all tries
    ],
    align=True,
)
"""Model: the outcome of one demand."""

blame = np.dtype(
    [
        ("time_ns", "i8"),
        ("demand_id", "i4"),
        ("pfn", "i4"),
        ("kind", "i4"),
        ("holder", "i4"),
        ("task", "i4"),
        ("importance", "i4"),
        ("age_ms", "i4"),
        ("pad", "i4"),
    ],
    align=True,
)
"""Model: one page that held up a demand."""

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
    ],
    align=True,
)
"""Model: what a user of the machine feels; reported apart from any reward."""

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
        ("lend", "i8"),  # 0: the area is never lent
        ("cost", "i8", (16,)),  # Cost, ns
    ],
    align=True,
)
"""Model: the kernel's configuration. Every switch that a known system needs beyond its placement rule."""


class Cost(IntEnum):
    """Entries of the cost table, in nanoseconds (FACTS C10)."""

    FAULT = 0
    COPY = 1
    RECLAIM_SCAN = 2
    RECLAIM_DROP = 3
    ZRAM_OUT = 4
    ZRAM_IN = 5
    FLASH_READ = 6
    FLASH_WRITE = 7
    MIGRATE = 8
    ISOLATE_BLOCK = 9
    ISOLATE_PAGE = 10
    DRAIN = 11
    COMPACT_SCAN = 12


def nr_list_heads() -> int:
    """Entries behind the last page that serve as list heads."""
    zones = NR_ZONES * (NR_PAGE_ORDERS * NR_MIGRATETYPES + MAX_NR_CPUS * NR_PCP_LISTS + NR_LRU)
    return zones + NR_ZSPAGE_CLASSES


def memory_dtype(shape: Shape) -> np.dtype:
    """The record of one machine of this shape.

    Args:
        shape: capacities; `shape_for()` picks a class.

    Returns:
        A nested, C-aligned structured dtype. A vector of machines is a `np.recarray` of it.
    """
    return np.dtype(
        [
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
            ("blame_demand", "i8"),  # slot of the demand that is being tried, or -1
            ("migrate_pfn", "i4", (COMPACT_CLUSTER_MAX,)),  # pages isolated for migration
            ("target_pfn", "i4", (COMPACT_CLUSTER_MAX,)),  # free pages isolated as compaction's targets
            ("nr_targets", "i8"),
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
            ("inflight_pfn", "i4", (INFLIGHT,)),
            ("inflight_ns", "i8", (INFLIGHT,)),
            ("task", task, (shape.nr_tasks,)),
            ("pin", pin, (shape.nr_pins,)),
            ("dirty_ring", "i4", (shape.nr_pages // 2,)),
            ("dirty_ns", "i8", (shape.nr_pages // 2,)),
            ("swap", swap_slot, (shape.nr_swap,)),
            ("pageblock", pageblock, (shape.nr_pages >> 4,)),
            ("pte", pte, (shape.nr_vpages,)),
            ("filemap", filemap, (shape.nr_fpages,)),
            ("page", page, (shape.nr_pages + nr_list_heads(),)),
        ],
        align=True,
    )
