"""Bringing a zeroed record to life: lists, zones, the CMA area, watermarks, and the memory the kernel keeps.

Linux: mm/mm_init.c, mm/cma.c (cma_activate_area())
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.jit import jit
from cma_gym.mm.list import list_init
from cma_gym.mm.mmzone import (
    KIND_FREE,
    KIND_KERNEL,
    MIGRATE_CMA,
    MIGRATE_MOVABLE,
    MIGRATE_UNMOVABLE,
    NO_ENTRY,
    NO_PAGE,
    NO_TASK,
    NR_GATHERS,
    NR_HANDS,
    NR_LRU,
    NR_MIGRATETYPES,
    NR_PAGE_KINDS,
    NR_PAGE_ORDERS,
    NR_PCP_LISTS,
    NR_ZONES,
    NR_ZSPAGE_CLASSES,
    WMARK_HIGH,
    WMARK_LOW,
    ZoneType,
)
from cma_gym.mm.page_alloc import (
    free_one_page,
    get_pageblock_migratetype,
    prep_new_page,
    rmqueue_buddy,
    set_pageblock_migratetype,
)
from cma_gym.mm.random import random_below
from cma_gym.mm.watermark import setup_per_zone_lowmem_reserve, setup_per_zone_wmarks
from cma_gym.mm.zonelist import ZONE_CMA, ZONE_NORMAL

DMA32_PAGES = 1 << 20
"""Page frames below 4 GB."""


@jit
def init_heads(mem, first_head):
    """Give every list its head behind the last page."""
    head = first_head
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        for order in range(NR_PAGE_ORDERS):
            for migratetype in range(NR_MIGRATETYPES):
                zone.free_area[order].free_list[migratetype] = head
                list_init(mem, head)
                head += 1
        for cpu in range(len(zone.pcp)):
            for kind in range(NR_PCP_LISTS):
                zone.pcp[cpu].lists[kind] = head
                list_init(mem, head)
                head += 1
        for lru in range(NR_LRU):
            mem.lruvec[index].lists[lru] = head
            list_init(mem, head)
            head += 1
    for size in range(NR_ZSPAGE_CLASSES):
        mem.node.zspage_partial[size] = head
        list_init(mem, head)
        head += 1


@jit
def init_tables(mem, nr_swap):
    """Empty page tables, file maps and swap."""
    for vpn in range(mem.nr_vpages):
        mem.pte[vpn].entry = NO_ENTRY
        mem.pte[vpn].next = NO_PAGE
    for fpn in range(mem.nr_fpages):
        mem.filemap[fpn].entry = NO_ENTRY
    for slot in range(nr_swap):
        mem.swap[slot].vpn = slot + 1
        mem.swap[slot].zspage = NO_PAGE
    mem.node.swap_free_head = 0
    mem.node.nr_swap_free = nr_swap
    mem.node.nr_swap_total = nr_swap
    mem.node.pending_kill = NO_TASK
    mem.contig.slot = -1
    mem.next_demand_ns = 1 << 62
    mem.next_hand_ns = 1 << 62
    mem.next_gather_ns = 1 << 62
    for gather in range(NR_GATHERS):
        mem.gather[gather].first = NO_PAGE
        mem.gather[gather].until_ns = 1 << 62
    for hand in range(NR_HANDS):
        mem.hand[hand].until_ns = 1 << 62


@jit
def init_zone(mem, index, start_pfn, end_pfn, migratetype):
    """Set up the pages of a zone; they are not free yet. Linux: memmap_init_zone_range()."""
    zone = mem.zones[index]
    zone.index = index
    zone.start_pfn = start_pfn
    zone.end_pfn = end_pfn
    zone.managed_pages = end_pfn - start_pfn
    zone.compact_order_failed = NR_PAGE_ORDERS
    block = 1 << mem.kernel.pageblock_order
    zone.compact_cached_migrate_pfn = start_pfn
    zone.compact_cached_free_pfn = end_pfn & ~(block - 1)
    for pfn in range(start_pfn, end_pfn):
        page = mem.page[pfn]
        page.next = pfn
        page.prev = pfn
        page.index = NO_PAGE
        page.zone = index
        page.kind = KIND_FREE
        page.flag = 0
    for pfn in range(start_pfn, end_pfn, block):
        set_pageblock_migratetype(mem, pfn, migratetype)


@jit
def init_cma(mem, base_pfn, nr_pages, own_zone):
    """Declare the CMA area; in a zone of its own its blocks are ordinary movable ones. Linux: cma_activate_area()."""
    mem.cma.base_pfn = base_pfn
    mem.cma.nr_pages = nr_pages
    for kind in range(NR_PAGE_KINDS):
        mem.cma.occupancy[kind] = 0
    mem.cma.occupancy[KIND_FREE] = nr_pages
    if own_zone:
        return
    mem.zones[mem.page[base_pfn].zone].cma_pages = nr_pages
    for pfn in range(base_pfn, base_pfn + nr_pages, 1 << mem.kernel.pageblock_order):
        set_pageblock_migratetype(mem, pfn, MIGRATE_CMA)


@jit
def free_all(mem):
    """Hand every page to the buddy allocator. Linux: memblock_free_all()."""
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        pfn = zone.start_pfn
        while pfn < zone.end_pfn:
            order = NR_PAGE_ORDERS - 1
            while pfn & ((1 << order) - 1) or pfn + (1 << order) > zone.end_pfn:
                order -= 1
            while get_pageblock_migratetype(mem, pfn) != get_pageblock_migratetype(mem, pfn + (1 << order) - 1):
                order -= 1
            free_one_page(mem, zone, pfn, order, get_pageblock_migratetype(mem, pfn))
            pfn += 1 << order


@jit
def zone_batchsize(managed_pages):
    """Pages moved between a CPU and the buddy lists at a time. Linux: zone_batchsize(), FACTS C2."""
    batch = max(min(managed_pages >> 10, 256) // 4, 1)
    power = 1
    while power * 2 <= batch + batch // 2:
        power *= 2
    return max(power - 1, 1)


@jit
def setup_pagesets(mem, old_rules):
    """Sizes of the per-CPU lists. Linux: zone_set_pageset_high_and_batch(); up to 5.13 high was 6 batches.

    Differs: high and batch stay as they are at boot; 6.8 and later tune them to the load.
    """
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        batch = zone_batchsize(zone.managed_pages)
        if old_rules:
            batch = min(batch, 31)
            high = 6 * batch
        else:
            high = max(zone.watermark[WMARK_LOW] // mem.kernel.nr_cpus, 4 * batch)
        for cpu in range(len(zone.pcp)):
            zone.pcp[cpu].batch = batch
            zone.pcp[cpu].high = high
        zone.nr_alloc_batch = zone.watermark[WMARK_HIGH] - zone.watermark[WMARK_LOW]


@jit
def reserve_kernel_pages(mem, nr_pages):
    """What the kernel takes at boot and keeps, in blocks of mixed sizes. Assumption: orders 0 to 3, evenly drawn."""
    left = nr_pages
    while left > 0:
        order = min(random_below(mem, 4), np.int64(3))
        if 1 << order > left:
            order = 0
        pfn = rmqueue_buddy(mem, mem.zones[ZoneType.DMA32], order, MIGRATE_UNMOVABLE, 0)
        if pfn == NO_PAGE:
            return
        prep_new_page(mem, pfn, order, KIND_KERNEL, NO_PAGE, 0)
        left -= 1 << order


@jit
def finish_boot(mem, kernel_pages, old_rules):
    """Everything after the zones are declared."""
    setup_per_zone_wmarks(mem)
    setup_per_zone_lowmem_reserve(mem)
    setup_pagesets(mem, old_rules)
    free_all(mem)
    reserve_kernel_pages(mem, kernel_pages)
    mem.task[0].alive = 1
    mem.task[0].importance = 3
    mem.node.zs_budget = 32
    for event in range(len(mem.vm_event)):
        mem.vm_event[event] = 0
    mem.work_ns = 0


@jit
def declare_zones(mem, below, area_end, low_end, high_end, own_zone):
    """Declare the zones and the area, from the pfns at which they end.

    Ordinary low memory ends at `below`, the area at `area_end`, the low zone at `low_end`, high memory at `high_end`.
    Memory below 4 GB is DMA32, low memory above it NORMAL.
    """
    last = below if own_zone else low_end
    init_zone(mem, np.int64(ZoneType.DMA32), 0, min(last, DMA32_PAGES), MIGRATE_MOVABLE)
    if last > DMA32_PAGES:
        init_zone(mem, ZONE_NORMAL, DMA32_PAGES, last, MIGRATE_MOVABLE)
    if own_zone:
        init_zone(mem, ZONE_CMA, below, area_end, MIGRATE_MOVABLE)
    if high_end > low_end:
        init_zone(mem, np.int64(ZoneType.HIGHMEM), low_end, high_end, MIGRATE_MOVABLE)
    init_cma(mem, below, area_end - below, own_zone)
