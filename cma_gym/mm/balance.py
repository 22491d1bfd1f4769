"""Moving movable pages from ordinary memory into free CMA, so that requests that cannot use CMA find room.

Linux: not merged; "CMA balancing" (van der Linden, RFC of September 2025, FACTS A9.k): balance_node_cma()
Differs: called by kswapd before each of its rounds (van Riel's suggestion), not by a thread of its own; a zone is
balanced while its ordinary free pages are below the high watermark.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.compaction import isolate_migratepages_block, prepare_target
from cma_gym.mm.migrate import move_folio, putback_folio
from cma_gym.mm.mmzone import (
    COMPACT_CLUSTER_MAX,
    MIGRATE_CMA,
    MIGRATE_ISOLATE,
    NO_PAGE,
    NR_ZONES,
    WMARK_HIGH,
    VmEvent,
    ZoneStat,
)
from cma_gym.mm.page_alloc import get_pageblock_migratetype, rmqueue_smallest
from cma_gym.mm.watermark import wmark_pages
from cma_gym.support.jit import jit

BALANCE_CLUSTERS = 4
"""Clusters of 32 pages that one call moves. Assumption: about what kswapd reclaims in one round at low priority."""


@jit
def should_balance(mem, zone):
    """Whether ordinary memory of a zone is short while its CMA has free pages that may be lent."""
    free_cma = zone.vm_stat[ZoneStat.FREE_CMA]
    if zone.cma_pages == 0 or not mem.kernel.lend or mem.cma.busy:
        return False
    short = zone.vm_stat[ZoneStat.FREE_PAGES] - free_cma < wmark_pages(zone, WMARK_HIGH)
    return short and free_cma > COMPACT_CLUSTER_MAX


@jit
def move_cluster_into(mem, zone, cpu, migratetype):
    """Move the isolated pages into free pages of this type; how many were moved."""
    moved = 0
    for slot in range(COMPACT_CLUSTER_MAX):
        src = np.int64(mem.migrate_pfn[slot])
        if src < 0:
            break
        dst = rmqueue_smallest(mem, zone, 0, migratetype)
        if dst == NO_PAGE:
            putback_folio(mem, src)
            continue
        mem.page[dst].next = dst
        mem.page[dst].prev = dst
        prepare_target(mem, dst)
        move_folio(mem, cpu, src, dst)
        moved += 1
    return moved


@jit
def next_source_block(mem, zone):
    """First page of the pageblock to go on with, from the zone's end downwards; NO_PAGE if all are CMA."""
    block = 1 << mem.kernel.pageblock_order
    for _ in range((zone.end_pfn - zone.start_pfn) // block):
        if zone.balance_pfn <= zone.start_pfn:
            zone.balance_pfn = zone.end_pfn
        start = (zone.balance_pfn - 1) & ~(block - 1)
        migratetype = get_pageblock_migratetype(mem, start)
        if migratetype != MIGRATE_CMA and migratetype != MIGRATE_ISOLATE:
            return start
        zone.balance_pfn = start
    return NO_PAGE


@jit
def balance_zone(mem, zone, cpu):
    """Move up to some clusters; pages moved."""
    block = 1 << mem.kernel.pageblock_order
    moved = 0
    blocks = (zone.end_pfn - zone.start_pfn) // block
    while moved < BALANCE_CLUSTERS * COMPACT_CLUSTER_MAX and blocks > 0 and should_balance(mem, zone):
        start = next_source_block(mem, zone)
        if start == NO_PAGE:
            break
        pfn = start
        while pfn < start + block:
            pfn = isolate_migratepages_block(mem, pfn, start + block)
            moved += move_cluster_into(mem, zone, cpu, MIGRATE_CMA)
        zone.balance_pfn = start
        blocks -= 1
    return moved


@jit
def balance_cma(mem, cpu):
    """Balance every zone that needs it, in the time of the caller; pages moved. Linux: balance_node_cma()."""
    if not mem.kernel.cma_balance:
        return 0
    moved = 0
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        if zone.managed_pages > 0 and should_balance(mem, zone):
            moved += balance_zone(mem, zone, cpu)
    mem.vm_event[VmEvent.CMA_BALANCED] += moved
    return moved
