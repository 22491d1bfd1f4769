"""Who held a demand up: which pages, who held them, since when, until when, and what it cost.

Model: Linux has a debug dump (alloc_contig_dump_pages(), mm/page_alloc.c) and an out-of-tree page_pinner (FACTS B6).
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.mmzone import (
    BLAME_LOG,
    BLAMES_PER_ATTEMPT,
    HOLDER_WRITEBACK,
    INFLIGHT,
    KIND_ANON,
    NR_HOLDERS,
    NR_MS_BUCKETS,
    NR_PAGE_KINDS,
    TICK_SHIFT,
)
from cma_gym.support.jit import jit

UNKNOWN = -1
NS_PER_MS = 1_000_000


@jit
def last_reference(mem, pfn):
    """The reference to a page that ends last, by its place in the heap; UNKNOWN if it has none."""
    found = UNKNOWN
    if mem.page[pfn].pincount == 0:
        return found
    for slot in range(mem.nr_pins):
        if mem.pin[slot].pfn == pfn and (found == UNKNOWN or mem.pin[slot].expire > mem.pin[found].expire):
            found = slot
    return found


@jit
def writeback_end(mem, pfn):
    """When the device will have written this page; UNKNOWN if it was not given it."""
    for place in range(mem.node.inflight_head, mem.node.inflight_tail):
        if mem.inflight_pfn[place % INFLIGHT] == pfn:
            return np.int64(mem.inflight_ns[place % INFLIGHT])
    return UNKNOWN


@jit
def note_times(mem, entry, pfn, holder):
    """Since when a page is held, and for how long it still will be, where that is known [ms]."""
    entry.held_ms = UNKNOWN
    entry.left_ms = UNKNOWN
    slot = last_reference(mem, pfn)
    if slot != UNKNOWN:
        entry.held_ms = (mem.clock - mem.pin[slot].since) // NS_PER_MS
        entry.left_ms = (mem.pin[slot].expire - mem.clock) // NS_PER_MS
    elif holder == HOLDER_WRITEBACK:
        end_ns = writeback_end(mem, pfn)
        if end_ns != UNKNOWN:
            entry.left_ms = max(end_ns - mem.clock, 0) // NS_PER_MS


@jit
def octave(ms):
    """Bucket of a time: 0, 1, 2-3, 4-7 ms and so on."""
    bucket = 0
    while ms > 0 and bucket < NR_MS_BUCKETS - 1:
        ms >>= 1
        bucket += 1
    return bucket


@jit
def count_times(total, entry):
    """Count the times of a logged page in the histograms of its kind and holder."""
    total.age[octave(np.int64(entry.age_ms))] += 1
    if entry.held_ms != UNKNOWN:
        total.held[octave(np.int64(entry.held_ms))] += 1
    if entry.left_ms != UNKNOWN:
        total.left[octave(np.int64(entry.left_ms))] += 1


@jit
def note_blame(mem, pfn, holder, stage):
    """Write down that this page refused the demand that is being served.

    Args:
        mem: machine record.
        pfn: the page.
        holder: Holder, of now or of the time it was passed over.
        stage: BlameStage.
    """
    if mem.contig.slot < 0:
        return
    page = mem.page[pfn]
    demand = mem.demand[mem.contig.slot]
    demand.blamed[page.kind, holder] += 1
    demand.blamed_try[page.kind, holder] += 1
    demand.refused[stage, page.kind] += 1
    demand.nr_blamed += 1
    if page.kind == KIND_ANON:
        mem.blame_sum[page.kind, holder].owner[mem.task[page.task].importance] += 1
    mem.contig.nr_logged += 1
    if mem.contig.nr_logged > BLAMES_PER_ATTEMPT:
        return
    entry = mem.blame_log[mem.nr_blames_logged % BLAME_LOG]
    mem.nr_blames_logged += 1
    entry.time_ns = mem.clock
    entry.demand_id = demand.id
    entry.pfn = pfn
    entry.kind = page.kind
    entry.holder = holder
    entry.stage = stage
    entry.task = page.task
    entry.importance = mem.task[page.task].importance if page.kind == KIND_ANON else UNKNOWN
    entry.age_ms = (mem.clock >> TICK_SHIFT) - page.stamp
    note_times(mem, entry, pfn, holder)
    count_times(mem.blame_sum[page.kind, holder], entry)


@jit
def share_delay(mem, demand, failed):
    """At the end of a try: the time it lost, in equal parts to the pages that refused it."""
    total = 0
    for kind in range(NR_PAGE_KINDS):
        for holder in range(NR_HOLDERS):
            total += demand.blamed_try[kind, holder]
    if total == 0:
        return
    for kind in range(NR_PAGE_KINDS):
        for holder in range(NR_HOLDERS):
            pages = np.int64(demand.blamed_try[kind, holder])
            if pages == 0:
                continue
            entry = mem.blame_sum[kind, holder]
            entry.pages += pages
            entry.tries_failed += failed
            entry.delay_ns += demand.lost_ns * pages // total
            demand.blamed_try[kind, holder] = 0
