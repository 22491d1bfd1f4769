"""What lines of ftrace text look like: events, fields and flags by name, and the records that are made of them."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class TraceEvent(IntEnum):
    """What a line means to the reader; several spellings can mean the same."""

    UNUSED = 0
    """Known, but its information is in other lines."""
    PAGE_ALLOC = 1
    PAGE_FREE = 2
    CACHE_ADD = 3
    CACHE_DELETE = 4
    CMA_START = 5
    CMA_FINISH = 6
    CMA_ALLOC = 7
    """Kernels before 5.10 report an allocation once, when it is over."""
    CMA_RELEASE = 8
    RECLAIM_BEGIN = 9
    RECLAIM_END = 10
    KSWAPD = 11
    """A line that only kswapd itself writes."""
    SWAP_OUT = 12
    SHRINK = 13
    COMPACTION_BEGIN = 14
    COMPACTION_END = 15
    MIGRATED = 16
    FORK = 17
    EXIT = 18


KNOWN_EVENTS = (
    ("mm_page_alloc", TraceEvent.PAGE_ALLOC),
    ("mm_page_free", TraceEvent.PAGE_FREE),
    ("mm_page_free_direct", TraceEvent.PAGE_FREE),
    ("mm_page_free_batched", TraceEvent.UNUSED),
    ("mm_pagevec_free", TraceEvent.UNUSED),
    ("mm_page_alloc_extfrag", TraceEvent.UNUSED),
    ("mm_page_alloc_zone_locked", TraceEvent.UNUSED),
    ("mm_page_pcpu_drain", TraceEvent.UNUSED),
    ("mm_filemap_add_to_page_cache", TraceEvent.CACHE_ADD),
    ("mm_filemap_delete_from_page_cache", TraceEvent.CACHE_DELETE),
    ("cma_alloc_start", TraceEvent.CMA_START),
    ("cma_alloc_finish", TraceEvent.CMA_FINISH),
    ("cma_alloc", TraceEvent.CMA_ALLOC),
    ("cma_release", TraceEvent.CMA_RELEASE),
    ("cma_alloc_busy_retry", TraceEvent.UNUSED),
    ("mm_vmscan_direct_reclaim_begin", TraceEvent.RECLAIM_BEGIN),
    ("mm_vmscan_direct_reclaim_end", TraceEvent.RECLAIM_END),
    ("mm_vmscan_memcg_reclaim_begin", TraceEvent.RECLAIM_BEGIN),
    ("mm_vmscan_memcg_reclaim_end", TraceEvent.RECLAIM_END),
    ("mm_vmscan_memcg_softlimit_reclaim_begin", TraceEvent.RECLAIM_BEGIN),
    ("mm_vmscan_memcg_softlimit_reclaim_end", TraceEvent.RECLAIM_END),
    ("mm_vmscan_node_reclaim_begin", TraceEvent.RECLAIM_BEGIN),
    ("mm_vmscan_node_reclaim_end", TraceEvent.RECLAIM_END),
    ("mm_vmscan_kswapd_wake", TraceEvent.KSWAPD),
    ("mm_vmscan_kswapd_sleep", TraceEvent.KSWAPD),
    ("mm_vmscan_wakeup_kswapd", TraceEvent.UNUSED),
    ("mm_vmscan_write_folio", TraceEvent.SWAP_OUT),
    ("mm_vmscan_writepage", TraceEvent.SWAP_OUT),
    ("mm_vmscan_lru_shrink_inactive", TraceEvent.SHRINK),
    ("mm_vmscan_lru_shrink_active", TraceEvent.UNUSED),
    ("mm_vmscan_lru_isolate", TraceEvent.UNUSED),
    ("mm_shrink_slab_start", TraceEvent.UNUSED),
    ("mm_shrink_slab_end", TraceEvent.UNUSED),
    ("mm_compaction_begin", TraceEvent.COMPACTION_BEGIN),
    ("mm_compaction_end", TraceEvent.COMPACTION_END),
    ("mm_migrate_pages", TraceEvent.MIGRATED),
    ("mm_migrate_pages_start", TraceEvent.UNUSED),
    ("test_pages_isolated", TraceEvent.UNUSED),
    ("sched_process_fork", TraceEvent.FORK),
    ("sched_process_exit", TraceEvent.EXIT),
)
NR_KNOWN = len(KNOWN_EVENTS)


class Skip(IntEnum):
    """Why a line was not used."""

    NOT_FTRACE = 0
    """No `task-pid [cpu] time: event:` in it."""
    BAD_TIME = 1
    UNKNOWN_EVENT = 2
    MISSING_FIELD = 3
    BAD_NUMBER = 4
    """A field that is no number, or one that no machine has (a pid above 4 million, an order above 13)."""
    UNFINISHED = 5
    """The last line of a file that was cut off."""


NR_SKIP = len(Skip)


class Gfp(IntEnum):
    """Bits of an allocation's gfp flags that the reader looks at; numbered here, since kernels number them at will."""

    HIGHMEM = 1
    MOVABLE = 2
    RECLAIMABLE = 4
    ZERO = 8
    DIRECT = 16
    """May reclaim directly."""
    IO = 32
    FS = 64
    HARDWALL = 128
    """For user memory."""
    WRITE = 256
    NORETRY = 512
    RETRY_MAYFAIL = 1024
    ACCOUNT = 2048
    COMP = 4096
    NOWARN = 8192
    NOMEMALLOC = 16384
    HIGH = 32768
    """May use the reserve."""


_KERNEL = Gfp.DIRECT | Gfp.IO | Gfp.FS
_USER = _KERNEL | Gfp.HARDWALL
_HUGE = _USER | Gfp.HIGHMEM | Gfp.MOVABLE | Gfp.COMP | Gfp.NOMEMALLOC | Gfp.NOWARN
GFP_NAMES = {
    "HIGHMEM": Gfp.HIGHMEM,
    "MOVABLE": Gfp.MOVABLE,
    "RECLAIMABLE": Gfp.RECLAIMABLE,
    "ZERO": Gfp.ZERO,
    "DIRECT_RECLAIM": Gfp.DIRECT,
    "RECLAIM": Gfp.DIRECT,
    "WAIT": Gfp.DIRECT,
    "IO": Gfp.IO,
    "FS": Gfp.FS,
    "HARDWALL": Gfp.HARDWALL,
    "WRITE": Gfp.WRITE,
    "NORETRY": Gfp.NORETRY,
    "RETRY_MAYFAIL": Gfp.RETRY_MAYFAIL,
    "ACCOUNT": Gfp.ACCOUNT,
    "COMP": Gfp.COMP,
    "NOWARN": Gfp.NOWARN,
    "NOMEMALLOC": Gfp.NOMEMALLOC,
    "HIGH": Gfp.HIGH,
    "ATOMIC": Gfp.HIGH,
    "KERNEL": _KERNEL,
    "KERNEL_ACCOUNT": _KERNEL | Gfp.ACCOUNT,
    "NOIO": Gfp.DIRECT,
    "NOFS": Gfp.DIRECT | Gfp.IO,
    "USER": _USER,
    "HIGHUSER": _USER | Gfp.HIGHMEM,
    "HIGHUSER_MOVABLE": _USER | Gfp.HIGHMEM | Gfp.MOVABLE,
    "TEMPORARY": _KERNEL | Gfp.RECLAIMABLE,
    "TRANSHUGE_LIGHT": _HUGE & ~Gfp.DIRECT,
    "TRANSHUGE": _HUGE,
}
"""Names without their `__GFP_`, `GFP_` or `___GFP_`; others do not matter here.
Linux: include/trace/events/mmflags.h"""


class Field(IntEnum):
    """Bits: which fields a line had."""

    PFN = 1
    ORDER = 2
    GFP = 4
    DEV = 8
    INO = 16
    OFS = 32
    COUNT = 64
    ALIGN = 128
    CHILD = 256
    ERROR = 512


NEEDED = {
    TraceEvent.PAGE_ALLOC: Field.PFN | Field.ORDER | Field.GFP,
    TraceEvent.PAGE_FREE: Field.PFN | Field.ORDER,
    TraceEvent.CACHE_ADD: Field.PFN | Field.DEV | Field.INO | Field.OFS,
    TraceEvent.CACHE_DELETE: Field.PFN | Field.DEV | Field.INO | Field.OFS,
    TraceEvent.CMA_START: Field.COUNT,
    TraceEvent.CMA_FINISH: Field.PFN | Field.COUNT,
    TraceEvent.CMA_ALLOC: Field.PFN | Field.COUNT,
    TraceEvent.CMA_RELEASE: Field.PFN | Field.COUNT,
    TraceEvent.SWAP_OUT: Field.PFN,
    TraceEvent.FORK: Field.CHILD,
}
"""Fields without which a line cannot be used."""

MAX_PID = 1 << 22
MAX_PFN = 1 << 28
"""Page frames up to 1 TB; above, a number is taken for a damaged line."""
MAX_ORDER = 13
"""The largest that any configuration has (arm64 with 64 KiB pages)."""

FNV_START = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)


def name_hash(name: str) -> np.uint64:
    """The 64-bit FNV-1a hash under which the compiled reader knows a name."""
    value = int(FNV_START)
    for byte in name.encode():
        value = ((value ^ byte) * int(FNV_PRIME)) & 0xFFFFFFFFFFFFFFFF
    return np.uint64(value)


KEY_PFN, KEY_ORDER, KEY_GFP, KEY_OFS = name_hash("pfn"), name_hash("order"), name_hash("gfp_flags"), name_hash("ofs")
KEY_DEV, KEY_INO, KEY_PAGE, KEY_COUNT = name_hash("dev"), name_hash("ino"), name_hash("page"), name_hash("count")
KEY_ALIGN, KEY_ERROR, KEY_CHILD = name_hash("align"), name_hash("errorno"), name_hash("child_pid")
KEY_FLAGS = name_hash("flags")

record_dtype = np.dtype(
    [
        ("time", "i8"),  # ns
        ("pfn", "i8"),  # -1: none
        ("ino", "i8"),
        ("index", "i8"),  # page of the file
        ("event", "i4"),  # TraceEvent
        ("pid", "i4"),
        ("tgid", "i4"),  # the pid where the column is missing
        ("dev", "i4"),  # major << 20 | minor
        ("gfp", "i4"),  # Gfp
        ("order", "i4"),
        ("count", "i4"),  # pages of a contiguous request
        ("align", "i4"),
        ("child", "i4"),
        ("failed", "i4"),
        ("anon", "i4"),  # of a page written by reclaim
    ],
    align=True,
)
"""One line that is of use."""

_NAME_SLOTS = 128
GFP_SLOTS = 256
UNKNOWN_SLOTS = 64
UNKNOWN_CHARS = 48

parser_dtype = np.dtype(
    [
        ("name_hash", "u8", (_NAME_SLOTS,)),
        ("name_index", "i4", (_NAME_SLOTS,)),  # index into KNOWN_EVENTS
        ("meaning", "i4", (NR_KNOWN,)),  # TraceEvent
        ("needed", "i4", (len(TraceEvent),)),  # Field
        ("gfp_hash", "u8", (GFP_SLOTS,)),  # of whole flag strings and of single names
        ("gfp_mask", "i4", (GFP_SLOTS,)),
        ("gfp_used", "i4"),
        ("unknown_used", "i4"),
        ("unknown_hash", "u8", (UNKNOWN_SLOTS,)),
        ("unknown_count", "i8", (UNKNOWN_SLOTS,)),
        ("unknown_text", "u1", (UNKNOWN_SLOTS, UNKNOWN_CHARS)),
        ("unknown_more", "i8"),  # lines of yet other unknown events
        ("line", "i8"),
        ("headers", "i8"),  # comments, blank lines, trace-cmd's header
        ("event_lines", "i8"),
        ("event_count", "i8", (NR_KNOWN,)),
        ("skip_count", "i8", (NR_SKIP,)),
        ("skip_line", "i8", (NR_SKIP,)),  # number of the first such line
        ("lost_lines", "i8"),
        ("lost_events", "i8"),
        ("lost_line", "i8"),
    ],
    align=True,
)
"""The reader's tables and counters."""


def new_parser() -> np.recarray:
    """A reader at line 0, as an array of one record."""
    parser = np.zeros(1, parser_dtype)
    row = parser[0]
    row["name_index"] = -1
    for index, (name, meaning) in enumerate(KNOWN_EVENTS):
        _put(row["name_hash"], row["name_index"], name_hash(name), index)
        row["meaning"][index] = meaning
    for event, fields in NEEDED.items():
        row["needed"][event] = fields
    for name, mask in GFP_NAMES.items():
        _put(row["gfp_hash"], row["gfp_mask"], name_hash(name), mask)
    row["gfp_used"] = len(GFP_NAMES)
    return parser.view(np.recarray)


def _put(keys: np.ndarray, values: np.ndarray, key: np.uint64, value: int) -> None:
    slot = int(key) % len(keys)
    while keys[slot]:
        slot = (slot + 1) % len(keys)
    keys[slot], values[slot] = key, value
