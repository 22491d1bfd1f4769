"""The buddy allocator: free lists by order and migratetype, splitting, merging, fallback between migratetypes.

Linux: mm/page_alloc.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.list import list_add, list_add_tail, list_del, list_empty, list_first
from cma_gym.mm.mmzone import (
    KIND_FREE,
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    NO_PAGE,
    NR_PAGE_ORDERS,
    TICK_SHIFT,
    PageFlag,
    PageKind,
    VmEvent,
    ZoneStat,
)
from cma_gym.support.jit import jit

# Bits of alloc_flags. Linux: mm/internal.h; the two lowest bits are the index of the watermark to test.
ALLOC_WMARK_MASK = 3
ALLOC_NO_WATERMARKS = 4
ALLOC_MIN_RESERVE = 8
ALLOC_NON_BLOCK = 16
ALLOC_OOM = 32
ALLOC_CMA = 64
ALLOC_HIGHATOMIC = 128
ALLOC_CMA_FIRST = 256  # Model: the placement rule prefers CMA
ALLOC_NO_STEAL = 512  # Model: own free lists only; used to try CMA before stealing
ALLOC_NORETRY = 1024  # Linux: __GFP_RETRY_MAYFAIL; fail rather than kill
ALLOC_NOFRAGMENT = 2048  # borrow whole pageblocks only, and rather go to the next zone
ALLOC_RESERVES = ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK | ALLOC_OOM | ALLOC_HIGHATOMIC
ALLOC_PLACEMENT = ALLOC_CMA | ALLOC_CMA_FIRST  # Model: what the placement rule says


@jit
def get_pageblock_migratetype(mem, pfn):
    """Migratetype of the block that holds `pfn`. Linux: get_pfnblock_flags_mask()."""
    return np.int64(mem.pageblock[pfn >> mem.kernel.pageblock_order].migratetype)


@jit
def set_pageblock_migratetype(mem, pfn, migratetype):
    """Linux: set_pageblock_migratetype()."""
    mem.pageblock[pfn >> mem.kernel.pageblock_order].migratetype = migratetype


@jit
def account_freepages(zone, nr_pages, migratetype):
    """Count pages that enter (or, negative, leave) the free lists; isolated ones are not free.

    Linux: account_freepages(), mm/page_alloc.c
    """
    if migratetype == MIGRATE_ISOLATE:
        return
    zone.vm_stat[ZoneStat.FREE_PAGES] += nr_pages
    if migratetype == MIGRATE_CMA:
        zone.vm_stat[ZoneStat.FREE_CMA] += nr_pages
    elif migratetype == MIGRATE_HIGHATOMIC:
        zone.nr_free_highatomic += nr_pages


@jit
def add_to_free_list(mem, zone, pfn, order, migratetype, tail):
    """Put a free block on its list; the caller counts its pages. Linux: __add_to_free_list()."""
    area = zone.free_area[order]
    page = mem.page[pfn]
    page.flag = PageFlag.BUDDY
    page.order = order
    head = np.int64(area.free_list[migratetype])
    if tail:
        list_add_tail(mem, pfn, head)
    else:
        list_add(mem, pfn, head)
    area.nr_free += 1


@jit
def take_off_free_list(mem, zone, pfn, order):
    """Take a free block off its list; the caller counts its pages. Linux: __del_page_from_free_list()."""
    list_del(mem, pfn)
    mem.page[pfn].flag &= ~PageFlag.BUDDY
    zone.free_area[order].nr_free -= 1


@jit
def del_page_from_free_list(mem, zone, pfn, order, migratetype):
    """Linux: del_page_from_free_list()."""
    take_off_free_list(mem, zone, pfn, order)
    account_freepages(zone, -(1 << order), migratetype)


@jit
def migratetype_is_mergeable(migratetype):
    """Types whose blocks may merge across pageblocks. Linux: migratetype_is_mergeable(), mmzone.h."""
    return migratetype < MIGRATE_HIGHATOMIC


@jit
def is_free_buddy(mem, zone, pfn, order):
    """Whether `pfn` heads a free block of exactly this order in this zone. Linux: page_is_buddy()."""
    if pfn < zone.start_pfn or pfn + (1 << order) > zone.end_pfn:
        return False
    return (mem.page[pfn].flag & PageFlag.BUDDY) != 0 and mem.page[pfn].order == order


@jit
def free_one_page(mem, zone, pfn, order, migratetype):
    """Return a block to the buddy lists, merging it with its free buddies.

    Linux: __free_one_page(), mm/page_alloc.c
    Differs: no list shuffling; a block goes to the tail if its next larger buddy is free, as buddy_merge_likely() does.
    """
    account_freepages(zone, 1 << order, migratetype)
    while order < NR_PAGE_ORDERS - 1:
        buddy = pfn ^ (1 << order)
        if not is_free_buddy(mem, zone, buddy, order):
            break
        buddy_type = migratetype
        if order >= mem.kernel.pageblock_order:
            buddy_type = get_pageblock_migratetype(mem, buddy)
            if buddy_type != migratetype:
                if mem.kernel.contiguitas:
                    break  # its regions do not mix
                if not (migratetype_is_mergeable(migratetype) and migratetype_is_mergeable(buddy_type)):
                    break
        take_off_free_list(mem, zone, buddy, order)
        if buddy_type != migratetype:
            account_freepages(zone, -(1 << order), buddy_type)
            account_freepages(zone, 1 << order, migratetype)
            change_pageblock_range(mem, buddy, order, migratetype)
        pfn &= buddy
        order += 1
    tail = False
    if order < NR_PAGE_ORDERS - 2:
        higher = (pfn & ~(1 << order)) ^ (1 << (order + 1))
        tail = is_free_buddy(mem, zone, higher, order + 1)
    add_to_free_list(mem, zone, pfn, order, migratetype, tail)


@jit
def change_pageblock_range(mem, pfn, order, migratetype):
    """Give all pageblocks of a block this type. Linux: change_pageblock_range()."""
    block = 1 << mem.kernel.pageblock_order
    for start in range(pfn, pfn + (1 << order), block):
        set_pageblock_migratetype(mem, start, migratetype)


@jit
def expand(mem, zone, pfn, low, high, migratetype):
    """Split a block of order `high` down to `low`, freeing the upper halves. Linux: expand()."""
    account_freepages(zone, (1 << high) - (1 << low), migratetype)
    while high > low:
        high -= 1
        add_to_free_list(mem, zone, pfn + (1 << high), high, migratetype, False)


@jit
def rmqueue_smallest(mem, zone, order, migratetype):
    """Take the smallest free block of this migratetype that fits; NO_PAGE if none. Linux: __rmqueue_smallest()."""
    for current in range(order, NR_PAGE_ORDERS):
        head = np.int64(zone.free_area[current].free_list[migratetype])
        pfn = list_first(mem, head)
        if pfn == head:
            continue
        del_page_from_free_list(mem, zone, pfn, current, migratetype)
        expand(mem, zone, pfn, order, current, migratetype)
        return pfn
    return NO_PAGE


@jit
def fallback_type(migratetype, step):
    """The `step`-th type to borrow from. Linux: fallbacks[][]."""
    if migratetype == MIGRATE_UNMOVABLE:
        return MIGRATE_RECLAIMABLE if step == 0 else MIGRATE_MOVABLE
    if migratetype == MIGRATE_MOVABLE:
        return MIGRATE_RECLAIMABLE if step == 0 else MIGRATE_UNMOVABLE
    return MIGRATE_UNMOVABLE if step == 0 else MIGRATE_MOVABLE


@jit
def find_fallback(mem, zone, order, migratetype):
    """A foreign type with a free block of exactly this order; -1 if none. Linux: find_suitable_fallback()."""
    area = zone.free_area[order]
    if area.nr_free == 0:
        return -1
    for step in range(2):
        other = fallback_type(migratetype, step)
        if not list_empty(mem, np.int64(area.free_list[other])):
            return other
    return -1


@jit
def should_try_claim_block(mem, order, migratetype):
    """Whether taking over a whole pageblock is worth it. Linux: should_try_claim_block() / can_steal_fallback()."""
    if order >= mem.kernel.pageblock_order // 2:
        return True
    return migratetype != MIGRATE_MOVABLE


@jit
def is_movable_page(mem, pfn):
    """A page that compaction could move. Linux: PageLRU() or page_movable_ops()."""
    page = mem.page[pfn]
    return (page.flag & (PageFlag.LRU | PageFlag.LRU_BATCH)) != 0 or page.kind == PageKind.ZSMALLOC


@jit
def boost_watermark(mem, zone):
    """Ask kswapd for more free memory after types were mixed. Linux: boost_watermark()."""
    if mem.kernel.boost_factor == 0:
        return
    block = 1 << mem.kernel.pageblock_order
    limit = zone.watermark[2] * mem.kernel.boost_factor // 10000
    if limit == 0 or block * 4 > zone.managed_pages:
        return
    zone.watermark_boost = min(zone.watermark_boost + block, max(limit, block))
    mem.node.boosted = 1


@jit
def worth_claiming(mem, start_pfn, start_type, block_type):
    """Whether at least half of a pageblock is free, or of the kind that will live there: pages that compaction could
    move for a movable request, such that it could not for a request that takes a movable block.

    Linux: prep_move_freepages_block() and the test in try_to_claim_block(). Model: stops counting when that is clear.
    """
    left = 1 << mem.kernel.pageblock_order
    missing = left >> 1
    pfn = start_pfn
    while 0 < missing <= left:
        page = mem.page[pfn]
        size = 1
        if page.flag & PageFlag.BUDDY:
            size <<= np.int64(page.order)
            missing -= size
        elif start_type == MIGRATE_MOVABLE:
            missing -= is_movable_page(mem, pfn)
        elif block_type == MIGRATE_MOVABLE:
            missing -= not is_movable_page(mem, pfn)
        pfn += size
        left -= size
    return missing <= 0


@jit
def move_freepages(mem, zone, start_pfn, old_type, new_type):
    """Move a pageblock's free pages to the lists of another type; how many. Linux: move_freepages()."""
    pfn = start_pfn
    end = start_pfn + (1 << mem.kernel.pageblock_order)
    moved = 0
    while pfn < end:
        page = mem.page[pfn]
        if not page.flag & PageFlag.BUDDY:
            pfn += 1
            continue
        order = np.int64(page.order)
        list_del(mem, pfn)
        list_add(mem, pfn, np.int64(zone.free_area[order].free_list[new_type]))
        account_freepages(zone, -(1 << order), old_type)
        account_freepages(zone, 1 << order, new_type)
        pfn += 1 << order
        moved += 1 << order
    return moved


@jit
def move_freepages_block(mem, zone, start_pfn, old_type, new_type):
    """Give a pageblock another type, with its free pages. Linux: __move_freepages_block()."""
    move_freepages(mem, zone, start_pfn, old_type, new_type)
    set_pageblock_migratetype(mem, start_pfn, new_type)


@jit
def try_to_claim_block(mem, zone, pfn, current, order, start_type, block_type):
    """Take over the pageblock of a free foreign block if most of it is free or compatible; NO_PAGE if not worth it.

    Linux: try_to_claim_block(), mm/page_alloc.c
    Model: a block that was not worth it is not counted again for the pages of the same refill, which can only have
    taken free pages from it.
    """
    if current >= mem.kernel.pageblock_order:
        del_page_from_free_list(mem, zone, pfn, current, block_type)
        change_pageblock_range(mem, pfn, current, start_type)
        expand(mem, zone, pfn, order, current, start_type)
        mem.vm_event[VmEvent.PAGEBLOCK_CLAIM] += 1
        return pfn
    boost_watermark(mem, zone)
    start_pfn = pfn & ~((1 << mem.kernel.pageblock_order) - 1)
    block = mem.pageblock[pfn >> mem.kernel.pageblock_order]
    if block.refused == mem.refill:
        return NO_PAGE
    if not worth_claiming(mem, start_pfn, start_type, block_type):
        block.refused = mem.refill
        return NO_PAGE
    move_freepages_block(mem, zone, start_pfn, block_type, start_type)
    mem.vm_event[VmEvent.PAGEBLOCK_CLAIM] += 1
    return rmqueue_smallest(mem, zone, order, start_type)


@jit
def rmqueue_claim(mem, zone, order, migratetype, alloc_flags):
    """Claim a whole foreign pageblock, largest free block first. Linux: __rmqueue_claim()."""
    least = max(order, mem.kernel.pageblock_order) if alloc_flags & ALLOC_NOFRAGMENT else order
    for current in range(NR_PAGE_ORDERS - 1, least - 1, -1):
        if not should_try_claim_block(mem, current, migratetype):
            break
        other = find_fallback(mem, zone, current, migratetype)
        if other < 0:
            continue
        pfn = list_first(mem, np.int64(zone.free_area[current].free_list[other]))
        pfn = try_to_claim_block(mem, zone, pfn, current, order, migratetype, other)
        if pfn != NO_PAGE:
            mem.vm_event[VmEvent.EXTFRAG] += 1
            return pfn
    return NO_PAGE


@jit
def rmqueue_steal(mem, zone, order, migratetype):
    """Take one foreign block without claiming its pageblock, smallest first. Linux: __rmqueue_steal()."""
    for current in range(order, NR_PAGE_ORDERS):
        other = find_fallback(mem, zone, current, migratetype)
        if other < 0:
            continue
        pfn = list_first(mem, np.int64(zone.free_area[current].free_list[other]))
        del_page_from_free_list(mem, zone, pfn, current, other)
        expand(mem, zone, pfn, order, current, other)
        mem.vm_event[VmEvent.EXTFRAG] += 1
        return pfn
    return NO_PAGE


@jit
def round_robin_turn(mem, zone):
    """Whether it is CMA's turn: a pageblock's worth of pages is shared out in the ratio of what both kinds can spare.

    Linux: __rmqueue_cma() of the patch of May 2014 (FACTS S6, A8), never merged. Ordinary memory can spare what is free
    above the high watermark.
    """
    if zone.nr_try_movable <= 0 and zone.nr_try_cma <= 0:
        free_cma = zone.vm_stat[ZoneStat.FREE_CMA]
        normal = max(zone.vm_stat[ZoneStat.FREE_PAGES] - free_cma - zone.watermark[2], 0)
        block = 1 << mem.kernel.pageblock_order
        zone.nr_try_movable = block * normal // max(normal + free_cma, 1)
        zone.nr_try_cma = block - zone.nr_try_movable
    if zone.nr_try_movable > 0:
        zone.nr_try_movable -= 1
        return False
    zone.nr_try_cma -= 1
    return True


@jit
def steal_suitable_fallback(mem, zone, pfn, current, start_type, block_type):
    """Up to 5.x: the free pages of a foreign block go to the request's lists, also if the block keeps its type.

    It changes its type when at least half of it was free. Linux: steal_suitable_fallback() of 4.1-4.11
    """
    if current >= mem.kernel.pageblock_order:
        change_pageblock_range(mem, pfn, current, start_type)
        mem.vm_event[VmEvent.PAGEBLOCK_CLAIM] += 1
        return
    block = 1 << mem.kernel.pageblock_order
    start_pfn = pfn & ~(block - 1)
    if move_freepages(mem, zone, start_pfn, block_type, start_type) >= block >> 1:
        set_pageblock_migratetype(mem, start_pfn, start_type)
        mem.vm_event[VmEvent.PAGEBLOCK_CLAIM] += 1


@jit
def may_be_listed(mem, pfn, migratetype):
    """Whether a free page may be on a list of this type: its pageblock's, or in 4.6 one that borrows from that."""
    block_type = get_pageblock_migratetype(mem, pfn)
    if mem.kernel.steal_largest_first and migratetype_is_mergeable(block_type):
        return migratetype_is_mergeable(migratetype)
    return block_type == migratetype


@jit
def rmqueue_fallback(mem, zone, order, migratetype):
    """Borrow as 4.6 does: the largest foreign block, whose rest goes to the request's lists whatever its pageblock is.

    Linux: __rmqueue_fallback() of 4.1-4.11. So a list of one type may hold pages of a block of another (FACTS B18).
    """
    for current in range(NR_PAGE_ORDERS - 1, order - 1, -1):
        other = find_fallback(mem, zone, current, migratetype)
        if other < 0:
            continue
        pfn = list_first(mem, np.int64(zone.free_area[current].free_list[other]))
        mem.vm_event[VmEvent.EXTFRAG] += 1
        if should_try_claim_block(mem, current, migratetype):
            steal_suitable_fallback(mem, zone, pfn, current, migratetype, other)
        del_page_from_free_list(mem, zone, pfn, current, migratetype)
        expand(mem, zone, pfn, order, current, migratetype)
        return pfn
    return NO_PAGE


@jit
def prefers_cma(mem, zone, alloc_flags):
    """Whether this page should come from CMA first: the rule's wish, or mainline's half rule, tested for each page.

    Linux: the first test of __rmqueue() (kernel fact 10); use_cma_first() of the balancing patches (FACTS A9.k)
    """
    if alloc_flags & ALLOC_CMA_FIRST:
        return True
    if mem.kernel.cma_round_robin:
        return round_robin_turn(mem, zone)
    limit = mem.kernel.cma_first_limit
    if limit >= 0:
        return zone.vm_stat[ZoneStat.FREE_CMA] * 100 > limit * zone.vm_stat[ZoneStat.FREE_PAGES]
    ratio = mem.kernel.cma_ratio
    return ratio > 0 and zone.vm_stat[ZoneStat.FREE_CMA] * ratio > zone.vm_stat[ZoneStat.FREE_PAGES]


@jit
def rmqueue_buddy(mem, zone, order, migratetype, alloc_flags):
    """Take one block from the buddy lists in the kernel's order of preference; NO_PAGE if the zone has none.

    Linux: __rmqueue(), mm/page_alloc.c
    """
    cma = alloc_flags & ALLOC_CMA != 0 and zone.vm_stat[ZoneStat.FREE_CMA] > 0
    if cma and prefers_cma(mem, zone, alloc_flags):
        pfn = rmqueue_smallest(mem, zone, order, MIGRATE_CMA)
        if pfn != NO_PAGE:
            return pfn
    pfn = rmqueue_smallest(mem, zone, order, migratetype)
    if pfn != NO_PAGE:
        return pfn
    if cma:
        pfn = rmqueue_smallest(mem, zone, order, MIGRATE_CMA)
        if pfn != NO_PAGE:
            return pfn
    if alloc_flags & ALLOC_NO_STEAL:
        return NO_PAGE
    if mem.kernel.steal_largest_first:
        return rmqueue_fallback(mem, zone, order, migratetype)
    pfn = rmqueue_claim(mem, zone, order, migratetype, alloc_flags)
    if pfn != NO_PAGE or alloc_flags & ALLOC_NOFRAGMENT:
        return pfn
    return rmqueue_steal(mem, zone, order, migratetype)


@jit
def set_page_kind(mem, pfn, kind):
    """Say what a page holds, and keep the CMA area's census. Model: the census is a per-area counter."""
    page = mem.page[pfn]
    offset = pfn - mem.cma.base_pfn
    if 0 <= offset < mem.cma.nr_pages:
        mem.cma.occupancy[page.kind] -= 1
        mem.cma.occupancy[kind] += 1
    page.kind = kind


@jit
def prep_new_page(mem, pfn, order, kind, index, task):
    """Make a freshly allocated block what it was asked for. Linux: prep_new_page(), post_alloc_hook()."""
    for sub in range(pfn, pfn + (1 << order)):
        page = mem.page[sub]
        page.flag = 0
        page.index = index
        page.task = task
        page.stamp = mem.clock >> TICK_SHIFT
        page.mapcount = 0
        page.pincount = 0
        page.holder = 0
        page.order = 0
        page.next = sub
        page.prev = sub
        set_page_kind(mem, sub, kind)
    mem.page[pfn].order = order
    mem.vm_event[VmEvent.PGALLOC] += 1 << order


@jit
def free_pages_prepare(mem, pfn, order):
    """Forget what the pages of a block held. Linux: free_pages_prepare()."""
    for sub in range(pfn, pfn + (1 << order)):
        mem.page[sub].flag = 0
        set_page_kind(mem, sub, KIND_FREE)
    mem.vm_event[VmEvent.PGFREE] += 1 << order
