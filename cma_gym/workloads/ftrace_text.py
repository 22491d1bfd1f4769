"""Lines of ftrace text to records, compiled.

Both forms are read: `cat /sys/kernel/tracing/trace` and `trace-cmd report`; with and without the column of irq flags
and of thread group ids; page frame numbers in hexadecimal (0x...) or, in older kernels, decimal. Fields are found by
name, so that their order and additions of other kernel versions do not matter. What is not read is counted with the
reason and its first line number, and never stops the import.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from cma_gym.workloads.ftrace_jit import leaf


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
"""Names without their `__GFP_`, `GFP_` or `___GFP_`. Linux: include/trace/events/mmflags.h. Others do not matter here."""


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

_FNV_START = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)


def name_hash(name: str) -> np.uint64:
    """The 64-bit FNV-1a hash under which the compiled reader knows a name."""
    value = int(_FNV_START)
    for byte in name.encode():
        value = ((value ^ byte) * int(_FNV_PRIME)) & 0xFFFFFFFFFFFFFFFF
    return np.uint64(value)


_PFN, _ORDER, _GFP, _OFS = name_hash("pfn"), name_hash("order"), name_hash("gfp_flags"), name_hash("ofs")
_DEV, _INO, _PAGE, _COUNT = name_hash("dev"), name_hash("ino"), name_hash("page"), name_hash("count")
_ALIGN, _ERROR, _CHILD = name_hash("align"), name_hash("errorno"), name_hash("child_pid")
_FLAGS = name_hash("flags")

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
_GFP_SLOTS = 256
UNKNOWN_SLOTS = 64
UNKNOWN_CHARS = 48

parser_dtype = np.dtype(
    [
        ("name_hash", "u8", (_NAME_SLOTS,)),
        ("name_index", "i4", (_NAME_SLOTS,)),  # index into KNOWN_EVENTS
        ("meaning", "i4", (NR_KNOWN,)),  # TraceEvent
        ("needed", "i4", (len(TraceEvent),)),  # Field
        ("gfp_hash", "u8", (_GFP_SLOTS,)),  # of whole flag strings and of single names
        ("gfp_mask", "i4", (_GFP_SLOTS,)),
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


@leaf
def _skip(parser, reason):
    if parser.skip_count[reason] == 0:
        parser.skip_line[reason] = parser.line
    parser.skip_count[reason] += 1
    return False


@leaf
def _number(text, at, end, base):
    """An unsigned number at `at` (0x... is hexadecimal in any base): its value and the offset behind it, or -1."""
    if at + 1 < end and text[at] == 48 and text[at + 1] == 120:
        base = 16
        at += 2
    value = np.int64(0)
    begin = at
    while at < end:
        char = text[at]
        if 48 <= char <= 57:
            digit = np.int64(char) - 48
        elif base == 16 and 97 <= char <= 102:
            digit = np.int64(char) - 87
        else:
            break
        value = value * base + digit
        at += 1
    if at == begin or at - begin > (16 if base == 16 else 18):
        return value, -1
    return value, at


@leaf
def _hash_until(text, at, end, stop):
    """Hash of the bytes before `stop` or a blank, and where they end."""
    value = _FNV_START
    while at < end and text[at] != stop and text[at] != 32:
        value = (value ^ np.uint64(text[at])) * _FNV_PRIME
        at += 1
    return value, at


@leaf
def _find(keys, key):
    """Slot of a key in an open-addressed table, or of the free slot where it belongs."""
    nr = np.uint64(len(keys))
    slot = np.int64(key % nr)
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) % len(keys)
    return slot


@leaf
def _gfp_of_names(parser, text, at, end):
    """Gfp bits of `NAME|NAME|0x...`; unknown names count nothing."""
    mask = np.int32(0)
    while at < end:
        if 48 <= text[at] <= 57:
            bits, after = _number(text, at, end, 10)
            # These four have had their values since 2.6 or, the last one, since 4.20.
            if bits & 0x2:
                mask |= np.int32(Gfp.HIGHMEM)
            if bits & 0x8:
                mask |= np.int32(Gfp.MOVABLE)
            if bits & 0x10:
                mask |= np.int32(Gfp.RECLAIMABLE)
            if bits & 0x100:
                mask |= np.int32(Gfp.ZERO)
        while at < end and text[at] == 95:
            at += 1
        if at + 4 < end and text[at] == 71 and text[at + 1] == 70 and text[at + 2] == 80 and text[at + 3] == 95:
            at += 4
        key, at = _hash_until(text, at, end, 124)
        slot = _find(parser.gfp_hash, key)
        if parser.gfp_hash[slot] == key:
            mask |= parser.gfp_mask[slot]
        at += 1
    return mask


@leaf
def _gfp(parser, text, at, end):
    """Gfp bits of the flag string at `at`, remembered by its hash, and the offset behind it."""
    key, after = _hash_until(text, at, end, 0)
    slot = _find(parser.gfp_hash, key)
    if parser.gfp_hash[slot] == key:
        return parser.gfp_mask[slot], after
    mask = _gfp_of_names(parser, text, at, after)
    if parser.gfp_used < _GFP_SLOTS // 2:
        parser.gfp_hash[slot] = key
        parser.gfp_mask[slot] = mask
        parser.gfp_used += 1
    return mask, after


@leaf
def _value(parser, text, at, end, key, record):
    """Read the value of field `key`; returns its Field bit (0: not needed, -1: not a number) and where it ends."""
    event = record.event
    if key == _PFN:
        is_cma = TraceEvent.CMA_START <= event <= TraceEvent.CMA_RELEASE
        record.pfn, at = _number(text, at, end, 16 if is_cma else 10)
        return np.int64(Field.PFN) if at >= 0 else -1, at
    if key == _ORDER:
        value, at = _number(text, at, end, 10)
        record.order = min(value, MAX_ORDER + 1)
        return np.int64(Field.ORDER) if at >= 0 else -1, at
    if key == _GFP:
        record.gfp, at = _gfp(parser, text, at, end)
        return np.int64(Field.GFP), at
    if key == _OFS:
        value, at = _number(text, at, end, 10)
        record.index = value >> 12
        return np.int64(Field.OFS) if at >= 0 else -1, at
    if key == _INO:
        record.ino, at = _number(text, at, end, 16)
        return np.int64(Field.INO) if at >= 0 else -1, at
    if key == _DEV:
        major, at = _number(text, at, end, 10)
        if at < 0 or at >= end or text[at] != 58:
            return -1, -1
        minor, at = _number(text, at + 1, end, 10)
        record.dev = np.int32((major & 0xFFF) << 20 | (minor & 0xFFFFF))
        return np.int64(Field.DEV) if at >= 0 else -1, at
    return _rare_value(text, at, end, key, record)


@leaf
def _rare_value(text, at, end, key, record):
    """`_value` of the fields of rare events."""
    if key == _COUNT:
        value, at = _number(text, at, end, 10)
        record.count = min(value, np.int64(1) << 30)
        return np.int64(Field.COUNT) if at >= 0 else -1, at
    if key == _ALIGN:
        value, at = _number(text, at, end, 10)
        record.align = min(value, np.int64(MAX_ORDER + 1))
        return np.int64(Field.ALIGN) if at >= 0 else -1, at
    if key == _CHILD:
        value, at = _number(text, at, end, 10)
        record.child = min(value, np.int64(MAX_PID))
        return np.int64(Field.CHILD) if at >= 0 else -1, at
    if key == _ERROR:
        record.failed = 0 if text[at] == 48 else 1
        return np.int64(Field.ERROR), at
    if key == _FLAGS:
        # RECLAIM_WB_ANON, RECLAIM_WB_FILE
        record.anon = 1 if at + 11 < end and text[at] == 82 and text[at + 11] == 65 else 0
    if key == _PAGE:
        # "(null)" and "(nil)", as printed for a missing page; a masked pointer is "(____ptrval____)".
        if at + 1 < end and text[at] == 40 and text[at + 1] == 110:
            record.failed = 1
    return 0, at


@leaf
def _fields(parser, text, at, end, record):
    """Read `key=value` and `key value` pairs into the record; the Field bits found, or -1 at a bad number."""
    found = np.int64(0)
    while at < end:
        while at < end and text[at] == 32:
            at += 1
        key, at = _hash_until(text, at, end, 61)
        if at < end and (text[at] == 61 or key == _DEV or key == _INO):
            bit, at = _value(parser, text, at + 1, end, key, record)
            if bit < 0:
                return np.int64(-1)
            found |= bit
            while at < end and text[at] != 32:
                at += 1
    return found


@leaf
def _pid_before(text, begin, at, record):
    """Read `name-pid` or `name-pid (tgid)` that ends before `at` into the record; whether there is one."""
    while at > begin and text[at - 1] == 32:
        at -= 1
    tgid = np.int64(-1)
    if at > begin and text[at - 1] == 41:
        close = at - 1
        while at > begin and text[at] != 40:
            at -= 1
        first = at + 1
        while first < close and text[first] == 32:
            first += 1
        tgid, after = _number(text, first, close, 10)
        if after < 0:
            tgid = np.int64(-1)
        while at > begin and text[at - 1] == 32:
            at -= 1
    last = at
    while at > begin and 48 <= text[at - 1] <= 57:
        at -= 1
    if at == begin or text[at - 1] != 45:
        return False
    pid, after = _number(text, at, last, 10)
    if after < 0 or pid >= MAX_PID or tgid >= MAX_PID:
        return False
    record.pid = pid
    record.tgid = pid if tgid < 0 else tgid
    return True


@leaf
def _task(text, begin, end, record):
    """Read `task-pid [cpu]`; the offset behind it, or -1."""
    at = begin
    while at < end:
        if text[at] == 91:
            close = at + 1
            while close < end and 48 <= text[close] <= 57:
                close += 1
            if close > at + 1 and close < end and text[close] == 93 and _pid_before(text, begin, at, record):
                return close + 1
        at += 1
    return -1


@leaf
def _time(text, at, end, record):
    """Read `[flags] seconds.fraction:` into the record as nanoseconds; the offset behind it, or -1."""
    while at < end and text[at] == 32:
        at += 1
    if at < end and not 48 <= text[at] <= 57:
        while at < end and text[at] != 32:
            at += 1
        while at < end and text[at] == 32:
            at += 1
    seconds, at = _number(text, at, end, 10)
    if at < 0 or at >= end or text[at] != 46 or seconds > 1 << 32:
        return -1
    fraction, after = _number(text, at + 1, end, 10)
    digits = after - at - 1
    if after < 0 or after >= end or text[after] != 58 or digits > 9:
        return -1
    for _ in range(9 - digits):
        fraction *= 10
    record.time = seconds * 1_000_000_000 + fraction
    return after + 1


@leaf
def _lost(parser, text, begin, end):
    """Whether the line says that events were lost: `CPU:1 [LOST 12 EVENTS]`, `CPU:1 [12 EVENTS DROPPED]`."""
    if end - begin < 12 or text[begin] != 67 or text[begin + 1] != 80 or text[begin + 2] != 85:
        return False
    at = begin + 4
    while at < end and text[at] != 91:
        at += 1
    nr, found = np.int64(0), False
    while at < end:
        if 48 <= text[at] <= 57 and nr == 0:
            nr, after = _number(text, at, end, 10)
        found |= at + 5 < end and text[at] == 69 and text[at + 1] == 86 and text[at + 2] == 69 and text[at + 3] == 78
        at += 1
    if found:
        if parser.lost_lines == 0:
            parser.lost_line = parser.line
        parser.lost_lines += 1
        parser.lost_events += max(nr, np.int64(1))
    return found


@leaf
def _is_header(text, begin, end):
    """Whether the line is a comment, blank, or trace-cmd's `cpus=2`, `version = 6`, `CPU 0 is empty`."""
    if begin == end or text[begin] == 35:
        return True
    if end - begin >= 6 and text[begin] == 99 and text[begin + 1] == 112 and text[begin + 2] == 117:
        return text[begin + 3] == 115 and text[begin + 4] == 61
    if end - begin >= 9 and text[begin] == 118 and text[begin + 1] == 101 and text[begin + 2] == 114:
        return text[begin + 3] == 115 and text[begin + 6] == 110
    if end - begin >= 10 and text[begin] == 67 and text[begin + 1] == 80 and text[begin + 2] == 85:
        return text[begin + 3] == 32 and text[end - 5] == 101 and text[end - 1] == 121
    return False


@leaf
def _unknown(parser, text, begin, end, key):
    """Count a line of an event that is not known, under its name while there is room for names."""
    for slot in range(parser.unknown_used):
        if parser.unknown_hash[slot] == key:
            parser.unknown_count[slot] += 1
            return
    slot = parser.unknown_used
    if slot == UNKNOWN_SLOTS:
        parser.unknown_more += 1
        return
    parser.unknown_used += 1
    parser.unknown_hash[slot] = key
    parser.unknown_count[slot] = 1
    for i in range(min(end - begin, UNKNOWN_CHARS)):
        parser.unknown_text[slot, i] = text[begin + i]


@leaf
def _sane(record, event):
    """Whether the numbers could be those of a machine."""
    if event == TraceEvent.FORK:
        return record.child < MAX_PID
    if TraceEvent.CMA_START <= event <= TraceEvent.CMA_RELEASE:
        return record.align <= MAX_ORDER and 0 < record.count < MAX_PFN
    return 0 <= record.pfn < MAX_PFN and 0 <= record.order <= MAX_ORDER and record.index >= 0


@leaf
def _line(parser, text, begin, end, record):
    """Read one line into the record; whether it is of use."""
    while begin < end and (text[begin] == 32 or text[begin] == 9):
        begin += 1
    while end > begin and (text[end - 1] == 13 or text[end - 1] == 32):
        end -= 1
    if _is_header(text, begin, end):
        parser.headers += 1
        return False
    at = _task(text, begin, end, record)
    if at < 0:
        return False if _lost(parser, text, begin, end) else _skip(parser, Skip.NOT_FTRACE)
    at = _time(text, at, end, record)
    if at < 0:
        return _skip(parser, Skip.BAD_TIME)
    while at < end and text[at] == 32:
        at += 1
    name = at
    key, at = _hash_until(text, at, end, 58)
    if at == name or at >= end or text[at] != 58:
        return _skip(parser, Skip.NOT_FTRACE)
    parser.event_lines += 1
    slot = _find(parser.name_hash, key)
    if parser.name_hash[slot] != key:
        _unknown(parser, text, name, at, key)
        return _skip(parser, Skip.UNKNOWN_EVENT)
    known = parser.name_index[slot]
    event = parser.meaning[known]
    record.event = event
    record.pfn, record.order, record.failed, record.anon = -1, 0, 0, 0
    record.index, record.align, record.count = 0, 0, 1
    needed = parser.needed[event]
    if needed:
        found = _fields(parser, text, at + 1, end, record)
        if found < 0 or not _sane(record, event):
            return _skip(parser, Skip.BAD_NUMBER)
        if found & needed != needed:
            return _skip(parser, Skip.MISSING_FIELD)
    parser.event_count[known] += 1
    return event != TraceEvent.UNUSED


@leaf
def parse(parsers, text, begin, ends, records):
    """Read whole lines.

    Args:
        parsers: array of one `parser_dtype` record.
        text: bytes of the lines.
        begin: offset of the first line.
        ends: offset of each line's newline.
        records: array of `record_dtype`, at least as long as `ends`.

    Returns:
        Number of records filled.
    """
    parser = parsers[0]
    used = 0
    for end in ends:
        parser.line += 1
        if _line(parser, text, begin, end, records[used]):
            used += 1
        begin = end + 1
    return used
