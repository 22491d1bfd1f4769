"""Bringing a zeroed record to life: lists, zones, the CMA area, watermarks, and the memory the kernel keeps.

Linux: mm/mm_init.c, mm/cma.c (cma_activate_area())
"""

from __future__ import annotations

import numpy as np

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
from cma_gym.mm.page_alloc import free_one_page, get_pageblock_migratetype, prep_new_page, set_pageblock_migratetype
from cma_gym.mm.pcp import STAT_INTERVAL_NS
from cma_gym.mm.random import random_below
from cma_gym.mm.rmqueue import rmqueue_block
from cma_gym.mm.watermark import setup_per_zone_lowmem_reserve, setup_per_zone_wmarks
from cma_gym.mm.zonelist import ZONE_CMA, ZONE_MOVABLE, ZONE_NORMAL, build_all_zonelists
from cma_gym.support.jit import jit

DMA32_PAGES = 1 << 20
"""Page frames below 4 GB."""
HIGH_FRACTION = 8
"""Linux: MIN_PERCPU_PAGELIST_HIGH_FRACTION."""


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
    mem.node.cleancache = head
    list_init(mem, head)


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
    mem.refill = 1
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
    zone.compact_cached_migrate_sync = start_pfn
    zone.balance_pfn = end_pfn
    zone.unmovable_end = (start_pfn + block - 1) & ~(block - 1)
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
def zone_batchsize(managed_pages, most):
    """Pages moved between a CPU and the buddy lists at a time. Linux: zone_batchsize(), FACTS C2.

    Args:
        managed_pages: of the zone.
        most: 4 * the largest batch, 256 pages (1 MB) since 4.19 and 128 before.
    """
    batch = max(min(managed_pages >> 10, most) // 4, 1)
    power = 1
    while power * 2 <= batch + batch // 2:
        power *= 2
    return max(power - 1, 1)


@jit
def zone_highsize(mem, pages, batch):
    """A CPU's share of `pages`, at least four batches. Linux: zone_highsize()."""
    return max(pages // mem.kernel.nr_cpus, 4 * batch)


@jit
def setup_pagesets(mem):
    """Sizes of the per-CPU lists. Linux: zone_set_pageset_high_and_batch(); up to 5.13 high was 6 batches.

    Since 6.7 a CPU's lists tune themselves between its share of the low watermark and of an eighth of the zone
    (mm/pcp.py); there is no list of the boot time's size.
    """
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        low = zone_highsize(mem, zone.watermark[WMARK_LOW], zone_batchsize(zone.managed_pages, 256))
        for cpu in range(len(zone.pcp)):
            pcp = zone.pcp[cpu]
            if mem.kernel.old_allocator:
                pcp.batch = zone_batchsize(zone.managed_pages, 128)
                pcp.high = 6 * pcp.batch
            else:
                pcp.batch = zone_batchsize(zone.managed_pages, 256)
                pcp.high = low
            pcp.high_min = pcp.high
            pcp.high_max = pcp.high
            if mem.kernel.pcp_scale_max > 0:
                most = zone_highsize(mem, zone.managed_pages // HIGH_FRACTION, np.int64(pcp.batch))
                pcp.high_max = max(most, np.int64(pcp.high))  # a small zone's low watermark may be above that fraction
        zone.nr_alloc_batch = zone.watermark[WMARK_HIGH] - zone.watermark[WMARK_LOW]


@jit
def reserve_kernel_pages(mem, nr_pages):
    """What the kernel takes at boot and keeps, in blocks of mixed sizes. Assumption: orders 0 to 3, evenly drawn.

    From the lowest zone; on a 32-bit machine that is NORMAL.
    """
    left = nr_pages
    lowest = ZONE_NORMAL if mem.zones[ZoneType.DMA32].managed_pages == 0 else np.int64(ZoneType.DMA32)
    while left > 0:
        order = min(random_below(mem, 4), np.int64(3))
        if 1 << order > left:
            order = 0
        mem.refill += 1
        pfn = rmqueue_block(mem, mem.zones[lowest], order, MIGRATE_UNMOVABLE, 0)
        if pfn == NO_PAGE:
            return
        prep_new_page(mem, pfn, order, KIND_KERNEL, NO_PAGE, 0)
        left -= 1 << order


@jit
def begin_uptime(mem):
    """The kernel runs: whatever is counted or timed begins now."""
    mem.task[0].alive = 1
    mem.task[0].importance = 3
    mem.node.zs_budget = 32
    mem.node.boosted = 0
    mem.node.lending_waits = mem.kernel.lend_below_watermark != 0 or mem.kernel.lend_below_available > 0
    mem.node.vmstat_next_ns = STAT_INTERVAL_NS
    for index in range(NR_ZONES):
        mem.zones[index].watermark_boost = 0
    for event in range(len(mem.vm_event)):
        mem.vm_event[event] = 0
    mem.work_ns = 0


@jit
def finish_boot(mem, kernel_pages):
    """Everything after the zones are declared."""
    build_all_zonelists(mem)
    setup_per_zone_wmarks(mem)
    setup_per_zone_lowmem_reserve(mem)
    setup_pagesets(mem)
    free_all(mem)
    reserve_kernel_pages(mem, kernel_pages)
    begin_uptime(mem)


@jit
def declare_zones(mem, below, area_end, low_end, high_end, own_zone):
    """Declare the zones of a machine whose area lies at the end of low memory, from the pfns at which they end.

    Ordinary low memory ends at `below`, the area at `area_end`, the low zone at `low_end`, high memory at `high_end`.
    Low memory is DMA32 up to 4 GB and NORMAL above.
    """
    dma32_end = min(low_end, DMA32_PAGES)
    declare_layout(mem, dma32_end, low_end, high_end, high_end, below, area_end, own_zone)


@jit
def declare_zone(mem, index, start, end, area_start, area_end, own_zone):
    """Declare one zone, if it has pages; an area that is a zone of its own is cut off its end."""
    if own_zone and start <= area_start and area_end == end:
        end = area_start
    if end > start:
        init_zone(mem, index, start, end, MIGRATE_MOVABLE)


@jit
def declare_layout(mem, dma32_end, normal_end, highmem_end, movable_end, area_start, area_end, own_zone):
    """Declare all zones, from the pfns at which they end, one behind the other; then the area.

    The area must end where one of the first three zones ends, and lie within it.
    """
    declare_zone(mem, np.int64(ZoneType.DMA32), 0, dma32_end, area_start, area_end, own_zone)
    declare_zone(mem, ZONE_NORMAL, dma32_end, normal_end, area_start, area_end, own_zone)
    declare_zone(mem, np.int64(ZoneType.HIGHMEM), normal_end, highmem_end, area_start, area_end, own_zone)
    declare_zone(mem, ZONE_MOVABLE, highmem_end, movable_end, area_start, area_end, False)
    if own_zone:
        init_zone(mem, ZONE_CMA, area_start, area_end, MIGRATE_MOVABLE)
    init_cma(mem, area_start, area_end - area_start, own_zone)
