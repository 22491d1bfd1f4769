"""Checking a machine: every counter and list recomputed from first principles.

Model: what CONFIG_DEBUG_VM, page_owner and kmemleak do for the kernel in parts. Read-only; may be called between any
two operations (but not in the midst of one).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cma_gym.mm.bitmap import test_bit
from cma_gym.mm.check.validate_cma import check_cma, check_contig
from cma_gym.mm.check.validate_hands import check_hands, count_passing
from cma_gym.mm.check.violation import ValidationError, Violation, violation
from cma_gym.mm.cleancache import COPY_AGE, SLOT_OWNER, count_named_copies
from cma_gym.mm.list import check_links
from cma_gym.mm.lru import folio_lru_list, lruvec_index
from cma_gym.mm.mmzone import (
    CLEAN_ENTRY,
    FILE_OWNER,
    INFLIGHT,
    MAX_NR_CPUS,
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    NO_PAGE,
    NR_LRU,
    NR_MIGRATETYPES,
    NR_PAGE_ORDERS,
    NR_PCP_LISTS,
    NR_PCP_TYPES,
    NR_ZONES,
    NR_ZSPAGE_CLASSES,
    SWAP_ENTRY,
    PageFlag,
    PageKind,
    ZoneStat,
)
from cma_gym.mm.page_alloc import get_pageblock_migratetype, may_be_listed
from cma_gym.mm.pcp import pcp_type
from cma_gym.mm.swap import ZS_OBJECTS, is_swap_entry, swap_slot_of
from cma_gym.support.jit import jit


@jit
def check_free_list(mem, zone, order, migratetype):
    """Blocks on a free list: marked, aligned, inside the zone, of the list's type, and not mergeable."""
    head = np.int64(zone.free_area[order].free_list[migratetype])
    if check_links(mem, head) < 0:
        return violation(Violation.LIST_LINKS, head)
    pfn = np.int64(mem.page[head].next)
    while pfn != head:
        page = mem.page[pfn]
        if not page.flag & PageFlag.BUDDY or page.order != order or pfn & ((1 << order) - 1):
            return violation(Violation.FREE_BLOCK, pfn)
        if pfn < zone.start_pfn or pfn + (1 << order) > zone.end_pfn or page.kind != PageKind.FREE:
            return violation(Violation.FREE_BLOCK, pfn)
        for start in range(pfn, pfn + (1 << order), 1 << mem.kernel.pageblock_order):
            if not may_be_listed(mem, start, migratetype):
                return violation(Violation.FREE_TYPE, start)
        buddy = pfn ^ (1 << order)
        if order < mem.kernel.pageblock_order and order < NR_PAGE_ORDERS - 1:
            if buddy >= zone.start_pfn and buddy + (1 << order) <= zone.end_pfn:
                if mem.page[buddy].flag & PageFlag.BUDDY and mem.page[buddy].order == order:
                    return violation(Violation.UNMERGED, pfn)
        pfn = np.int64(page.next)
    return 0


@jit
def check_zone_lists(mem, zone):
    """Free lists and their counters."""
    free = 0
    free_cma = 0
    free_highatomic = 0
    for order in range(NR_PAGE_ORDERS):
        blocks = 0
        for migratetype in range(NR_MIGRATETYPES):
            found = check_free_list(mem, zone, order, migratetype)
            if found:
                return found
            length = check_links(mem, np.int64(zone.free_area[order].free_list[migratetype]))
            blocks += length
            if migratetype != MIGRATE_ISOLATE:
                free += length << order
            if migratetype == MIGRATE_CMA:
                free_cma += length << order
            if migratetype == MIGRATE_HIGHATOMIC:
                free_highatomic += length << order
        if blocks != zone.free_area[order].nr_free:
            return violation(Violation.NR_FREE, order)
    if free != zone.vm_stat[ZoneStat.FREE_PAGES]:
        return violation(Violation.FREE_PAGES, zone.index)
    if free_cma != zone.vm_stat[ZoneStat.FREE_CMA]:
        return violation(Violation.FREE_CMA, zone.index)
    return 0 if free_highatomic == zone.nr_free_highatomic else violation(Violation.HIGHATOMIC, zone.index)


@jit
def check_pcp(mem, zone, cpu):
    """Per-CPU lists: marked pages of the right type, and the count."""
    pcp = zone.pcp[cpu]
    if pcp.high_min > pcp.high_max or pcp.high > pcp.high_max or pcp.alloc_factor > mem.kernel.pcp_scale_max:
        return violation(Violation.PCP_BOUNDS, cpu)
    pages = 0
    for index in range(NR_PCP_LISTS):
        head = np.int64(pcp.lists[index])
        length = check_links(mem, head)
        if length < 0:
            return violation(Violation.LIST_LINKS, head)
        order = index // NR_PCP_TYPES
        pages += length << order
        pfn = np.int64(mem.page[head].next)
        while pfn != head:
            page = mem.page[pfn]
            if not page.flag & PageFlag.PCP or page.order != order or page.zone != zone.index:
                return violation(Violation.PCP_PAGE, pfn)
            kind = pcp_type(mem, get_pageblock_migratetype(mem, pfn))
            if (kind == 3) != (index % NR_PCP_TYPES == 3):
                return violation(Violation.PCP_PAGE, pfn)
            pfn = np.int64(page.next)
    return 0 if pages == pcp.nr else violation(Violation.PCP_COUNT, zone.index)


@jit
def check_lru(mem):
    """LRU lists: marked pages on the list their flags say, and both sets of counters."""
    for index in range(NR_ZONES):
        for lru in range(NR_LRU):
            head = np.int64(mem.lruvec[index].lists[lru])
            length = check_links(mem, head)
            if length < 0:
                return violation(Violation.LIST_LINKS, head)
            if length != mem.lruvec[index].nr[lru]:
                return violation(Violation.LRU_COUNT, lru)
            pfn = np.int64(mem.page[head].next)
            while pfn != head:
                page = mem.page[pfn]
                right = lruvec_index(mem, np.int64(page.zone)) == index and folio_lru_list(page) == lru
                if not page.flag & PageFlag.LRU or not right or page.flag & PageFlag.LRU_BATCH:
                    return violation(Violation.LRU_PAGE, pfn)
                pfn = np.int64(page.next)
    return check_lru_counts(mem)


@jit
def check_lru_counts(mem):
    """Pages marked as being on a list are on one, and the zones' counters agree."""
    counts = np.zeros((NR_ZONES, NR_LRU), np.int64)
    listed = 0
    for pfn in range(mem.nr_pages):
        if mem.page[pfn].flag & PageFlag.LRU:
            counts[mem.page[pfn].zone, folio_lru_list(mem.page[pfn])] += 1
            listed += 1
    for index in range(NR_ZONES):
        for lru in range(NR_LRU):
            listed -= mem.lruvec[index].nr[lru]
            if mem.zones[index].vm_stat[ZoneStat.INACTIVE_ANON + lru] != counts[index, lru]:
                return violation(Violation.LRU_COUNT, lru)
    return 0 if listed == 0 else violation(Violation.LRU_PAGE, 0)


@jit
def check_batches(mem):
    """Pages in LRU batches are marked, and no others are."""
    queued = 0
    for cpu in range(MAX_NR_CPUS):
        for batch in (mem.lru_add[cpu], mem.lru_activate[cpu]):
            for slot in range(batch.nr):
                if not mem.page[batch.pfn[slot]].flag & PageFlag.LRU_BATCH:
                    return violation(Violation.LRU_BATCH, batch.pfn[slot])
            queued += batch.nr
    for pfn in range(mem.nr_pages):
        queued -= mem.page[pfn].flag & PageFlag.LRU_BATCH != 0
    return 0 if queued == 0 else violation(Violation.LRU_BATCH, 0)


@jit
def chain_length(mem, first, entry):
    """Virtual pages of a chain that all hold `entry`; -1 if one does not."""
    length = 0
    vpn = first
    while vpn >= 0:
        if mem.pte[vpn].entry != entry or length > mem.nr_vpages:
            return -1
        length += 1
        vpn = np.int64(mem.pte[vpn].next)
    return length


@jit
def is_handle_kind(kind):
    """Kernel memory, which one handle points at."""
    return kind == PageKind.SLAB or kind == PageKind.PAGE_TABLE or kind == PageKind.KERNEL


@jit
def check_used_page(mem, pfn):
    """Somebody must know a used page: a mapping, the page cache, a slot, a handle, a device, or a passing reference."""
    page = mem.page[pfn]
    kind = page.kind
    held = page.pincount > 0 or page.flag & (PageFlag.LRU_BATCH | PageFlag.WRITEBACK)
    if kind == PageKind.ANON or kind == PageKind.DRIVER:
        if page.mapcount == 0:
            return 0 if held else violation(Violation.LEAK, pfn)
        if chain_length(mem, np.int64(page.index), pfn) != page.mapcount:
            return violation(Violation.RMAP, pfn)
        return 0
    if kind == PageKind.SHMEM or kind == PageKind.FILE or kind == PageKind.BDEV:
        if page.index < 0:
            return 0 if held else violation(Violation.LEAK, pfn)
        return 0 if mem.filemap[page.index].entry == pfn else violation(Violation.FILEMAP, pfn)
    if kind == PageKind.ZSMALLOC:
        return check_zspage(mem, pfn)
    if kind == PageKind.CLEANCACHE:
        if page.index <= SLOT_OWNER:
            known = mem.swap[SLOT_OWNER - page.index].age == COPY_AGE - pfn
        else:
            known = mem.filemap[page.index].entry == CLEAN_ENTRY - 2 * pfn
        return 0 if known else violation(Violation.CLEANCACHE, pfn)
    if is_handle_kind(kind) and page.index >= 0:
        return 0 if mem.pte[page.index].entry >= 0 else violation(Violation.LEAK, pfn)
    if kind == PageKind.CMA:
        return 0 if test_bit(mem.cma_bitmap, pfn - mem.cma.base_pfn) else violation(Violation.BITMAP, pfn)
    return 0


@jit
def check_zspage(mem, pfn):
    """A zspage's objects are as many as it says, and all know it."""
    page = mem.page[pfn]
    objects = 0
    slot = np.int64(page.index)
    while slot >= 0:
        if mem.swap[slot].zspage != pfn or objects > 8:
            return violation(Violation.ZSPAGE, pfn)
        objects += 1
        slot = np.int64(mem.swap[slot].next)
    if objects == 0 or objects != page.mapcount or objects > ZS_OBJECTS[page.task]:
        return violation(Violation.ZSPAGE, pfn)
    return 0


@jit
def check_pages(mem):
    """Each page is either in a free block, or on a per-CPU list, or used; and is known to whoever uses it."""
    pfn = 0
    while pfn < mem.nr_pages:
        page = mem.page[pfn]
        if page.flag & PageFlag.BUDDY:
            order = np.int64(page.order)
            for inner in range(pfn + 1, pfn + (1 << order)):
                if mem.page[inner].kind != PageKind.FREE or mem.page[inner].flag != 0:
                    return violation(Violation.PAGE_STATE, inner)
            pfn += 1 << order
            continue
        if page.kind == PageKind.FREE:
            if not page.flag & PageFlag.PCP:
                return violation(Violation.PAGE_STATE, pfn)
            pfn += 1 << np.int64(page.order)
            continue
        if page.flag & PageFlag.PCP or (page.flag & PageFlag.ISOLATED and page.flag & PageFlag.LRU):
            return violation(Violation.PAGE_STATE, pfn)
        found = check_used_page(mem, pfn)
        if found:
            return found
        pfn += 1
    return 0


@jit
def check_tables(mem):
    """Page tables and file maps point at pages of the right kind; swap entries at slots in use."""
    mapped = 0
    for vpn in range(mem.nr_vpages):
        entry = np.int64(mem.pte[vpn].entry)
        if entry >= 0:
            if mem.page[entry].kind == PageKind.FREE:
                return violation(Violation.RMAP, vpn)
            mapped += not is_handle_kind(mem.page[entry].kind)
        elif is_swap_entry(entry) and mem.swap[swap_slot_of(entry)].zspage == NO_PAGE:
            return violation(Violation.SWAP_SLOT, vpn)
    for pfn in range(mem.nr_pages):
        kind = mem.page[pfn].kind
        if kind == PageKind.ANON or kind == PageKind.DRIVER:
            mapped -= mem.page[pfn].mapcount
    if mapped != 0:
        return violation(Violation.RMAP, 0)
    for fpn in range(mem.nr_fpages):
        entry = np.int64(mem.filemap[fpn].entry)
        if entry >= 0 and mem.page[entry].index != fpn:
            return violation(Violation.FILEMAP, fpn)
    return 0


@jit
def check_swap(mem):
    """Slots: used ones have a zspage and sharers, free ones are all on the free list; zspage counters."""
    used = 0
    for slot in range(mem.node.nr_swap_total):
        if mem.swap[slot].zspage == NO_PAGE:
            continue
        used += 1
        owner = np.int64(mem.swap[slot].vpn)
        entry = SWAP_ENTRY - 2 * slot
        if owner >= 0 and chain_length(mem, owner, entry) < 1:
            return violation(Violation.SWAP_SLOT, slot)
        if owner < 0 and (owner > FILE_OWNER or mem.filemap[FILE_OWNER - owner].entry != entry):
            return violation(Violation.SWAP_SLOT, slot)
    if used + mem.node.nr_swap_free != mem.node.nr_swap_total:
        return violation(Violation.SWAP_COUNT, used)
    length = 0
    slot = np.int64(mem.node.swap_free_head)
    while length < mem.node.nr_swap_free:
        if mem.swap[slot].zspage != NO_PAGE:
            return violation(Violation.SWAP_SLOT, slot)
        slot = np.int64(mem.swap[slot].vpn)
        length += 1
    return check_zspage_lists(mem)


@jit
def check_zspage_lists(mem):
    """Zspages with room are on the list of their class, and only they."""
    pages = 0
    partial = 0
    for pfn in range(mem.nr_pages):
        page = mem.page[pfn]
        if page.kind == PageKind.ZSMALLOC:
            pages += 1
            partial += page.mapcount < ZS_OBJECTS[page.task]
    for size in range(NR_ZSPAGE_CLASSES):
        head = np.int64(mem.node.zspage_partial[size])
        length = check_links(mem, head)
        if length < 0:
            return violation(Violation.LIST_LINKS, head)
        partial -= length
        pfn = np.int64(mem.page[head].next)
        while pfn != head:
            page = mem.page[pfn]
            if page.kind != PageKind.ZSMALLOC or page.task != size or page.mapcount >= ZS_OBJECTS[size]:
                return violation(Violation.ZSPAGE, pfn)
            pfn = np.int64(page.next)
    return 0 if partial == 0 and pages == mem.node.nr_zspages else violation(Violation.ZSPAGE, 0)


@jit
def check_io(mem):
    """Dirty and writeback counters, and the queue of the device."""
    dirty = 0
    writeback = 0
    for pfn in range(mem.nr_pages):
        page = mem.page[pfn]
        dirty += page.flag & PageFlag.DIRTY != 0 and page.kind != PageKind.SHMEM
        writeback += page.flag & PageFlag.WRITEBACK != 0
    if dirty != mem.node.nr_dirty:
        return violation(Violation.DIRTY_COUNT, dirty)
    queued = mem.node.inflight_tail - mem.node.inflight_head
    if writeback != mem.node.nr_writeback or writeback != queued or queued > INFLIGHT:
        return violation(Violation.WRITEBACK_COUNT, writeback)
    return 0


@jit
def check_cleancache(mem):
    """Copies in the cleancache: all on its list, and each named by its file page."""
    length = check_links(mem, np.int64(mem.node.cleancache))
    if length < 0:
        return violation(Violation.LIST_LINKS, mem.node.cleancache)
    right = length == mem.node.nr_cleancache and length == count_named_copies(mem)
    return 0 if right else violation(Violation.CLEANCACHE, length)


@jit
def check_pins(mem):
    """As many references in the heap as on the pages, and the heap in order."""
    held = np.zeros(mem.nr_pages, np.int64)
    for slot in range(mem.nr_pins):
        held[mem.pin[slot].pfn] += 1
    count_passing(mem, held)
    for pfn in range(mem.nr_pages):
        if mem.page[pfn].pincount != held[pfn]:
            return violation(Violation.PIN_COUNT, pfn)
    for slot in range(1, mem.nr_pins):
        if mem.pin[slot].expire < mem.pin[(slot - 1) // 2].expire:
            return violation(Violation.PIN_HEAP, slot)
    return 0


@jit
def check_pageblocks(mem, zone):
    """Isolated pageblocks and reserved pages against the zone's counters; what cannot be moved stays in its region."""
    block = 1 << mem.kernel.pageblock_order
    isolated = 0
    reserved = 0
    for pfn in range(zone.start_pfn, zone.end_pfn, block):
        migratetype = get_pageblock_migratetype(mem, pfn)
        if mem.kernel.contiguitas and pfn >= zone.unmovable_end:
            if migratetype != MIGRATE_MOVABLE and migratetype <= MIGRATE_HIGHATOMIC:
                return violation(Violation.PAGEBLOCKS, pfn)
        isolated += migratetype == MIGRATE_ISOLATE
        reserved += block * (migratetype == MIGRATE_HIGHATOMIC)
    if isolated != zone.nr_isolated_pageblocks or reserved != zone.nr_reserved_highatomic:
        return violation(Violation.PAGEBLOCKS, zone.index)
    return 0


@jit
def first_violation(mem):
    """Run all checks in turn; 0, or the first finding."""
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        found = check_zone_lists(mem, zone) or check_pageblocks(mem, zone)
        if found:
            return found
        for cpu in range(MAX_NR_CPUS):
            found = check_pcp(mem, zone, cpu)
            if found:
                return found
    found = check_pages(mem) or check_lru(mem) or check_batches(mem)
    if found:
        return found
    found = check_tables(mem) or check_swap(mem) or check_io(mem) or check_pins(mem)
    if found:
        return found
    return check_hands(mem) or check_cma(mem) or check_cleancache(mem) or check_contig(mem)


@jit
def find_violation(mems, i):
    """First contradiction in machine `i`, packed; 0 if there is none."""
    return first_violation(mems[i])


def validate(mems: Any, i: int = 0) -> None:
    """Check machine `i` from first principles.

    Raises:
        ValidationError: naming the first contradiction found and where it is.
    """
    found = int(find_violation(mems, i))
    if found:
        name = Violation(found >> 40).name
        raise ValidationError(f"machine {i} contradicts itself: {name} at {found & ((1 << 40) - 1)}")
