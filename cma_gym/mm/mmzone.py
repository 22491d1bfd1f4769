"""Constants and enumerations of the memory model, under the kernel's names.

Linux: include/linux/mmzone.h, include/linux/page-flags.h, include/linux/vm_event_item.h
"""

from __future__ import annotations

from enum import IntEnum

NO_PAGE = -1
"""No page frame: the empty answer of everything that looks for a page."""
NO_TASK = -1
PINCOUNT_MAX = 32000
"""References that one page's counter can hold."""
PAGE_SIZE = 4096
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
BLAMES_PER_ATTEMPT = 32
"""Pages of one attempt whose times are looked up and logged; all are counted."""
NR_MS_BUCKETS = 24
"""Octaves of milliseconds in the histograms of ages and pins: up to two hours."""
INFLIGHT = 1024
"""Pages under writeback at a time; a device queue, not a kernel limit."""
NR_ZSPAGE_CLASSES = 5
NR_GATHERS = 8
"""Tasks that can be exiting or unmapping at a time; one more ends the oldest."""
BH_LRU_SIZE = 16
"""Linux: fs/buffer.c."""
NR_HANDS = 18
"""Operations that can have pages in hand at a time: kswapd's, a demand's, and those of 16 tasks."""
TICK_SHIFT = 20
"""Page ages are kept in ticks of about a millisecond (2^20 ns)."""
NO_ENTRY = -1
SWAP_ENTRY = -2
SHADOW_ENTRY = -3
"""Below NO_ENTRY, even entries are swap slots (SWAP_ENTRY - 2 * slot), odd ones shadows (SHADOW_ENTRY - 2 * age)."""
SHADOW_MASK = (1 << 29) - 1
ON_DISK = -2
"""In place of a zspage: the slot's content lies on a swap disk."""
CLEAN_ENTRY = SHADOW_ENTRY - 2 * (SHADOW_MASK + 1)
"""From here downwards, odd entries of a file are pages of the cleancache (CLEAN_ENTRY - 2 * pfn)."""
FILE_OWNER = -2
"""Owner of a shmem swap slot: FILE_OWNER - file page."""


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
    CLEANCACHE = 12
    """Copy of an evicted clean file page or a swapped page; nobody but the cleancache knows it (GCMA, FACTS A9.h)."""


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
    KIND_CLEANCACHE,
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
    ISOLATED = 8192
    """Model: taken off its LRU list for migration."""
    PRIVATE = 16384
    """Has buffer heads."""
    WRITABLE = 32768
    """Model: the mapping is open for writing."""
    YOUNG = 65536
    """Model: accessed through a page table since the last scan (the accessed bit of its entries)."""
    RECLAIM = 1 << 20
    """Model: off its LRU list, in the hand of a reclaimer."""


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
    RECLAIM = 12
    """kswapd or a task in direct reclaim has taken it off the LRU; most such pages return to it within milliseconds."""
    PAGE_LOCK = 13
    """Locked while it is read from the device or from swap (FACTS B10)."""
    ACCESS = 14
    """A read or a fault is using it."""


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
    HOLDER_RECLAIM,
    HOLDER_PAGE_LOCK,
    HOLDER_ACCESS,
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


NR_IMPORTANCES = len(Importance)


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
    NOWAIT_FAIL = 47
    """Those of ATOMIC_FAIL that had no right to the reserve (GFP_NOWAIT)."""
    KCOMPACTD_WAKE = 48
    CLEANCACHE_PUT = 49
    """Evicted clean file pages, and copies of swapped pages, that were kept in the area (GCMA)."""
    CLEANCACHE_GET = 50
    """Refaults served from there."""
    CLEANCACHE_DROP = 51
    """Copies dropped: for newer ones, because the file changed, or because the area was asked for."""
    CMA_BALANCED = 52
    """Pages that background balancing moved into CMA."""
    PGPGIN = 53
    """File pages read from the device."""
    CMA_FORCED_RETRY = 54
    """Pages that a contiguous allocation could not move in a pass that waits for locks and writeback, each time."""
    CMA_BATCHED = 55
    """Pages that it had to leave out because they lay in an LRU batch."""


NR_VM_EVENTS = len(VmEvent)


class DemandState(IntEnum):
    """Life of a demand."""

    IDLE = 0
    WAITING = 1
    """Between tries."""
    HELD = 2
    TRYING = 3
    """Inside a try: being served, waiting for `cma_mutex`, or asleep before another search."""


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
    SWAP_DISK_OUT = 13
    """The device's time for one page of a sequential write; nobody waits for it but through the queue."""
    SWAP_DISK_IN = 14


class ContigPhase(IntEnum):
    """What the next step of a contiguous allocation does (mm/contig_alloc.py)."""

    IDLE = 0
    """Nobody holds `cma_mutex`."""
    ISOLATE = 1
    SCAN = 2
    MIGRATE = 3
    TEST = 4
    DONE = 5


CONTIG_IDLE, CONTIG_ISOLATE, CONTIG_SCAN, CONTIG_MIGRATE, CONTIG_TEST, CONTIG_DONE = map(int, ContigPhase)
CONTIG_SKIPPED = 1024
"""Pages passed over by one attempt whose holders of that moment are remembered."""


class BlameStage(IntEnum):
    """Where a page stopped an attempt; the first three are the stages m, n and T of the measurements."""

    MIGRATE = 0
    """It refused to be migrated."""
    NO_MEMORY = 1
    """There was no memory for its copy."""
    TEST = 2
    """It was passed over and still there at the final test."""
    BITMAP = 3
    """Another buffer of the area was in the way of every place (FACTS B15)."""


STAGE_MIGRATE, STAGE_NO_MEMORY, STAGE_TEST, STAGE_BITMAP = map(int, BlameStage)
NR_BLAME_STAGES = len(BlameStage)
