"""Background compaction: for the order kswapd was woken for, and when free memory is too fragmented.

Linux: mm/compaction.c (kcompactd(), kcompactd_do_work(), proactive_compact_node()), from 4.6 on
Model: the work is done at once, and the thread is then busy for as long as it takes; its time is nobody's stall.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.compaction import (
    COMPACT_MAX_DEFER_SHIFT,
    COMPACT_PRIO_DAEMON,
    compact_block,
    compact_zone,
    compaction_deferred,
    compaction_suitable,
    defer_compaction,
    note_scanned,
    reset_cached_positions,
    reset_isolation_suitable,
    suitable_migration_source,
)
from cma_gym.mm.mmzone import MIGRATE_MOVABLE, MIGRATE_UNMOVABLE, NR_PAGE_ORDERS, NR_ZONES, WMARK_MIN, VmEvent, ZoneStat
from cma_gym.mm.pcp import drain_pages_zone
from cma_gym.mm.watermark import wmark_pages, zone_watermark_ok
from cma_gym.support.jit import jit

FRAG_CHECK_INTERVAL_NS = 500_000_000
"""Linux: HPAGE_FRAG_CHECK_INTERVAL_MSEC."""
KCOMPACTD_CPU = 0


@jit
def needs_compaction(mem, zone, order, highest_zoneidx):
    """Whether the zone lacks a block of this order and compaction could make one.

    Linux: compaction_suit_allocation_order()
    """
    if zone_watermark_ok(mem, zone, order, wmark_pages(zone, WMARK_MIN), highest_zoneidx, 0):
        return False
    return compaction_suitable(mem, zone, order, highest_zoneidx)


@jit
def wakeup_kcompactd(mem, order, highest_zoneidx):
    """Linux: wakeup_kcompactd(), kcompactd_node_suitable()."""
    if order == 0 or not mem.kernel.kcompactd:
        return
    for index in range(highest_zoneidx + 1):
        zone = mem.zones[index]
        if zone.managed_pages > 0 and needs_compaction(mem, zone, order, highest_zoneidx):
            if mem.node.kcompactd_order == 0:
                mem.vm_event[VmEvent.KCOMPACTD_WAKE] += 1
            mem.node.kcompactd_order = max(mem.node.kcompactd_order, order)
            mem.node.kcompactd_highest_zoneidx = max(mem.node.kcompactd_highest_zoneidx, highest_zoneidx)
            return


@jit
def kswapd_has_slept(mem):
    """When kswapd goes to sleep: skip hints are forgotten where a scan came to its end, and kcompactd takes over.

    Linux: reset_isolation_suitable() and wakeup_kcompactd() in kswapd_try_to_sleep()
    """
    for index in range(NR_ZONES):
        if mem.zones[index].compact_blockskip_flush:
            reset_isolation_suitable(mem, mem.zones[index])
    order = mem.node.kswapd_alloc_order
    mem.node.kswapd_alloc_order = 0
    wakeup_kcompactd(mem, order, mem.node.kswapd_highest_zoneidx)


@jit
def kcompactd_do_work(mem):
    """Make a block of the wanted order in every zone that lacks one. Linux: kcompactd_do_work()."""
    order = mem.node.kcompactd_order
    for index in range(mem.node.kcompactd_highest_zoneidx + 1):
        zone = mem.zones[index]
        if zone.managed_pages == 0 or compaction_deferred(zone, order):
            continue
        if not needs_compaction(mem, zone, order, index):
            continue
        if compact_zone(mem, zone, KCOMPACTD_CPU, order, MIGRATE_UNMOVABLE, COMPACT_PRIO_DAEMON):
            zone.compact_order_failed = max(zone.compact_order_failed, order + 1)
            continue
        for cpu in range(mem.kernel.nr_cpus):
            drain_pages_zone(mem, zone, cpu)
        defer_compaction(zone, order)
    mem.node.kcompactd_order = 0
    mem.node.kcompactd_highest_zoneidx = 0


@jit
def fragmentation_score_zone(mem, zone):
    """Share of a zone's free pages that lie in blocks smaller than a pageblock [%]. Linux: extfrag_for_order()."""
    free = zone.vm_stat[ZoneStat.FREE_PAGES]
    if free == 0:
        return 0
    large = 0
    for order in range(mem.kernel.pageblock_order, NR_PAGE_ORDERS):
        large += zone.free_area[order].nr_free << order
    return max(free - large, 0) * 100 // free


@jit
def fragmentation_score_node(mem):
    """The zones' scores by their size. Linux: fragmentation_score_node()."""
    score = 0
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        if zone.managed_pages > 0:
            score += fragmentation_score_zone(mem, zone) * zone.managed_pages // (mem.nr_pages + 1)
    return score


@jit
def score_limit(mem, low):
    """Where proactive compaction begins, and where it stops. Linux: fragmentation_score_wmark()."""
    mark = max(100 - mem.kernel.proactiveness, 5)
    return mark if low else min(mark + 10, 100)


@jit
def proactive_compact_zone(mem, zone):
    """Compact a whole zone until its score is low, or kswapd wakes. Linux: proactive_compact_node()."""
    block = 1 << mem.kernel.pageblock_order
    reset_cached_positions(mem, zone)
    pfn = np.int64(zone.start_pfn)
    while pfn < zone.compact_cached_free_pfn - block and fragmentation_score_zone(mem, zone) > score_limit(mem, True):
        if suitable_migration_source(mem, pfn, MIGRATE_MOVABLE, COMPACT_PRIO_DAEMON):
            found = compact_block(mem, zone, KCOMPACTD_CPU, pfn, mem.kernel.pageblock_order)
            note_scanned(mem, zone, pfn + block, COMPACT_PRIO_DAEMON, found)
        pfn += block
    reset_cached_positions(mem, zone)


@jit
def proactive_compact(mem):
    """If free memory is too fragmented, compact all zones; if that did not help, not again for 64 intervals.

    Linux: should_proactive_compact_node() and the loop of kcompactd()
    """
    node = mem.node
    if node.proactive_defer > 0:
        node.proactive_defer -= 1
        return
    before = fragmentation_score_node(mem)
    if node.kswapd_awake or before <= score_limit(mem, False):
        return
    for index in range(NR_ZONES):
        if mem.zones[index].managed_pages > 0:
            proactive_compact_zone(mem, mem.zones[index])
    if fragmentation_score_node(mem) >= before:
        node.proactive_defer = 1 << COMPACT_MAX_DEFER_SHIFT


@jit
def kcompactd_run(mem):
    """What kcompactd does now, if it is not busy. Linux: kcompactd()."""
    node = mem.node
    if not mem.kernel.kcompactd or node.kcompactd_free_ns > mem.clock:
        return
    before = mem.work_ns
    if node.kcompactd_order > 0:
        kcompactd_do_work(mem)
    elif mem.kernel.proactiveness > 0 and node.kcompactd_next_ns <= mem.clock:
        node.kcompactd_next_ns = mem.clock + FRAG_CHECK_INTERVAL_NS
        proactive_compact(mem)
    node.kcompactd_free_ns = mem.clock + mem.work_ns - before
