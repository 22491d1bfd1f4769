"""Lines of ftrace text to records, compiled.

Both forms are read: `cat /sys/kernel/tracing/trace` and `trace-cmd report`; with and without the column of irq flags
and of thread group ids; page frame numbers in hexadecimal (0x...) or, in older kernels, decimal. Fields are found by
name, so that their order and additions of other kernel versions do not matter. What is not read is counted with the
reason and its first line number, and never stops the import.
"""

from __future__ import annotations

import numpy as np

from cma_gym.recording.leaf import leaf
from cma_gym.recording.text.format import (
    FNV_PRIME,
    FNV_START,
    GFP_SLOTS,
    KEY_ALIGN,
    KEY_CHILD,
    KEY_COUNT,
    KEY_DEV,
    KEY_ERROR,
    KEY_FLAGS,
    KEY_GFP,
    KEY_INO,
    KEY_OFS,
    KEY_ORDER,
    KEY_PAGE,
    KEY_PFN,
    MAX_ORDER,
    MAX_PFN,
    MAX_PID,
    UNKNOWN_CHARS,
    UNKNOWN_SLOTS,
    Field,
    Gfp,
    Skip,
    TraceEvent,
)


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
    value = FNV_START
    while at < end and text[at] != stop and text[at] != 32:
        value = (value ^ np.uint64(text[at])) * FNV_PRIME
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
    if parser.gfp_used < GFP_SLOTS // 2:
        parser.gfp_hash[slot] = key
        parser.gfp_mask[slot] = mask
        parser.gfp_used += 1
    return mask, after


@leaf
def _value(parser, text, at, end, key, record):
    """Read the value of field `key`; returns its Field bit (0: not needed, -1: not a number) and where it ends."""
    event = record.event
    if key == KEY_PFN:
        is_cma = TraceEvent.CMA_START <= event <= TraceEvent.CMA_RELEASE
        record.pfn, at = _number(text, at, end, 16 if is_cma else 10)
        return np.int64(Field.PFN) if at >= 0 else -1, at
    if key == KEY_ORDER:
        value, at = _number(text, at, end, 10)
        record.order = min(value, MAX_ORDER + 1)
        return np.int64(Field.ORDER) if at >= 0 else -1, at
    if key == KEY_GFP:
        record.gfp, at = _gfp(parser, text, at, end)
        return np.int64(Field.GFP), at
    if key == KEY_OFS:
        value, at = _number(text, at, end, 10)
        record.index = value >> 12
        return np.int64(Field.OFS) if at >= 0 else -1, at
    if key == KEY_INO:
        record.ino, at = _number(text, at, end, 16)
        return np.int64(Field.INO) if at >= 0 else -1, at
    if key == KEY_DEV:
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
    if key == KEY_COUNT:
        value, at = _number(text, at, end, 10)
        record.count = min(value, np.int64(1) << 30)
        return np.int64(Field.COUNT) if at >= 0 else -1, at
    if key == KEY_ALIGN:
        value, at = _number(text, at, end, 10)
        record.align = min(value, np.int64(MAX_ORDER + 1))
        return np.int64(Field.ALIGN) if at >= 0 else -1, at
    if key == KEY_CHILD:
        value, at = _number(text, at, end, 10)
        record.child = min(value, np.int64(MAX_PID))
        return np.int64(Field.CHILD) if at >= 0 else -1, at
    if key == KEY_ERROR:
        record.failed = 0 if text[at] == 48 else 1
        return np.int64(Field.ERROR), at
    if key == KEY_FLAGS:
        # RECLAIM_WB_ANON, RECLAIM_WB_FILE
        record.anon = 1 if at + 11 < end and text[at] == 82 and text[at + 11] == 65 else 0
    if key == KEY_PAGE:
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
        if at < end and (text[at] == 61 or key == KEY_DEV or key == KEY_INO):
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
