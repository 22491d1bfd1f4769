"""What reclaim does with pages: clusters of the oldest ones, and the decision about each.

Linux: mm/vmscan.c (shrink_folio_list(), isolate_lru_folios(), shrink_active_list())
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.cleancache import cleancache_put
from cma_gym.mm.clock import charge
from cma_gym.mm.hands import drop_from_hand, release_hand, take_in_hand
from cma_gym.mm.list import list_add, list_del, list_last
from cma_gym.mm.lru import folio_activate, is_anon_lru, is_orphan, lruvec_add_folio, lruvec_del_folio, put_page
from cma_gym.mm.mmzone import (
    HOLDER_RECLAIM,
    INFLIGHT,
    MIGRATE_CMA,
    NO_PAGE,
    SHADOW_ENTRY,
    SWAP_CLUSTER_MAX,
    Cost,
    Lru,
    PageFlag,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import get_pageblock_migratetype
from cma_gym.mm.swap import swap_congested, swap_out
from cma_gym.mm.workingset import lru_note_cost, note_scan, workingset_eviction
from cma_gym.mm.writeback import start_writeback
from cma_gym.support.jit import jit

# What became of a page that reclaim looked at. Linux: enum folio_references and the labels of shrink_folio_list().
RECLAIMED = 0
KEEP = 1
ACTIVATE = 2


@jit
def folio_check_references(mem, pfn):
    """Whether recent use protects a page. Linux: folio_check_references()."""
    page = mem.page[pfn]
    young = page.flag & PageFlag.YOUNG
    referenced = page.flag & PageFlag.REFERENCED
    page.flag &= ~(PageFlag.YOUNG | PageFlag.REFERENCED)
    if not young:
        return RECLAIMED
    page.flag |= PageFlag.REFERENCED
    if referenced or page.mapcount > 1:
        return ACTIVATE
    if mem.kernel.new_anon_active and is_anon_lru(page.kind):
        return ACTIVATE  # up to 5.8, one use was enough for a swap-backed page
    if page.flag & PageFlag.EXEC:
        return ACTIVATE
    return KEEP


@jit
def remove_mapping(mem, cpu, pfn):
    """Drop a clean file page, leaving a shadow entry behind. Linux: __remove_mapping()."""
    page = mem.page[pfn]
    age = workingset_eviction(mem, np.int64(page.zone))
    mem.filemap[page.index].entry = cleancache_put(mem, pfn, SHADOW_ENTRY - 2 * age)
    charge(mem, Cost.RECLAIM_DROP, 1)
    mem.vm_event[VmEvent.PGSTEAL_FILE] += 1
    put_page(mem, cpu, pfn)


@jit
def shrink_folio(mem, pfn, kswapd):
    """Try to free one page that the reclaimer has in hand. Linux: one round of shrink_folio_list().

    Differs: dirty file pages are only written by kswapd and the flusher, as since 3.2; a page whose writeback is under
    way is kept; unmapping and writing to zram happen in one step.
    """
    page = mem.page[pfn]
    if is_orphan(mem, pfn):
        return KEEP  # its owner dropped it meanwhile; it is free as soon as it leaves the hand
    if page.flag & PageFlag.MLOCKED:
        return ACTIVATE
    if page.flag & PageFlag.WRITEBACK:
        return KEEP
    verdict = folio_check_references(mem, pfn)
    if verdict != RECLAIMED:
        return verdict
    if page.pincount > 1:  # somebody's beside the reclaimer's own
        return KEEP
    if is_anon_lru(page.kind):
        if kswapd and swap_congested(mem):
            return KEEP
        age = workingset_eviction(mem, np.int64(page.zone))
        if not swap_out(mem, 0, pfn, age):
            return ACTIVATE
        mem.vm_event[VmEvent.PGSTEAL_ANON] += 1
        put_page(mem, 0, pfn)
        return RECLAIMED
    if page.flag & PageFlag.DIRTY:
        if kswapd and mem.node.inflight_tail - mem.node.inflight_head < INFLIGHT // 2:
            start_writeback(mem, pfn)
            return KEEP
        return ACTIVATE
    remove_mapping(mem, 0, pfn)
    return RECLAIMED


@jit
def skip_cma(mem, pfn, sc):
    """Whether a page is passed over because the request that reclaims could not use it.

    Linux: skip_cma() of 2023-2024, reverted (FACTS A9.c)
    Differs: passing over takes no time, as with pages of other zones.
    """
    return sc.skip_cma != 0 and get_pageblock_migratetype(mem, pfn) == MIGRATE_CMA


@jit
def next_eligible(mem, head, lru_size, sc):
    """Oldest page of a list that would help; others are moved to the head. NO_PAGE if there is none.

    Linux: isolate_lru_folios()
    """
    for _ in range(lru_size):
        pfn = list_last(mem, head)
        if pfn == head:
            return NO_PAGE
        if mem.page[pfn].zone <= sc.reclaim_idx and not skip_cma(mem, pfn, sc):
            return pfn
        list_del(mem, pfn)
        list_add(mem, pfn, head)
    return NO_PAGE


@jit
def give_up_list(sc, lru):
    """A list that turned out to hold nothing but pages to pass over is not gone through again in this round.

    Differs: Linux goes through it for every cluster (FACTS A9.c).
    """
    if sc.skip_cma:
        sc.left[lru] = 0


@jit
def isolate_lru_folios(mem, lruvec, sc, hand):
    """Take the next cluster off the list the scan control names. Linux: isolate_lru_folios()."""
    head = np.int64(lruvec.lists[sc.lru])
    nr_to_scan = min(sc.left[sc.lru], SWAP_CLUSTER_MAX)
    sc.left[sc.lru] -= nr_to_scan
    sc.nr_kept = 0
    sc.nr_pageout = 0
    sc.nr_activated = 0
    while hand.nr < nr_to_scan:
        pfn = next_eligible(mem, head, lruvec.nr[sc.lru], sc)
        if pfn == NO_PAGE:
            give_up_list(sc, sc.lru)
            break
        lruvec_del_folio(mem, pfn)
        take_in_hand(mem, hand, pfn, HOLDER_RECLAIM)
    charge(mem, Cost.RECLAIM_SCAN, hand.nr)
    mem.vm_event[VmEvent.PGSCAN_KSWAPD if sc.kswapd else VmEvent.PGSCAN_DIRECT] += hand.nr
    sc.nr_scanned += hand.nr


@jit
def shrink_next(mem, sc, hand):
    """Decide about the next page in hand. Linux: shrink_folio_list()."""
    pfn = np.int64(hand.pfn[hand.done])
    hand.done += 1
    written = mem.vm_event[VmEvent.PSWPOUT] + mem.vm_event[VmEvent.NR_WRITTEN]
    verdict = shrink_folio(mem, pfn, sc.kswapd)
    sc.nr_pageout += mem.vm_event[VmEvent.PSWPOUT] + mem.vm_event[VmEvent.NR_WRITTEN] - written
    if verdict == RECLAIMED:
        sc.nr_reclaimed += 1
        mem.vm_event[VmEvent.PGSTEAL_KSWAPD if sc.kswapd else VmEvent.PGSTEAL_DIRECT] += 1
        return
    sc.nr_kept += 1
    if verdict == ACTIVATE:
        sc.nr_activated += 1
        folio_activate(mem, pfn)


@jit
def note_cluster(lruvec, sc, hand):
    """Remember what a cluster cost, for the balance of the lists. Linux: the end of shrink_inactive_list()."""
    lru_note_cost(lruvec, sc.lru == Lru.INACTIVE_ANON, sc.nr_pageout, sc.nr_kept)
    note_scan(lruvec, sc.lru // 2, np.int64(hand.nr), sc.nr_activated)


@jit
def free_reclaimed(mem, cpu, hand):
    """Free what a direct reclaimer has won, which it came for; the rest stays in its hand until its work is over."""
    kept = 0
    for slot in range(hand.nr):
        pfn = np.int64(hand.pfn[slot])
        if is_orphan(mem, pfn):
            drop_from_hand(mem, cpu, pfn, HOLDER_RECLAIM)
        else:
            hand.pfn[kept] = pfn
            kept += 1
    hand.nr = kept


@jit
def shrink_inactive_list(mem, cpu, lruvec, sc, hand):
    """Look at a cluster of the oldest pages of an inactive list and free what can be freed, all at once.

    Linux: shrink_inactive_list(), in direct reclaim
    """
    release_hand(mem, cpu, hand)
    isolate_lru_folios(mem, lruvec, sc, hand)
    while hand.done < hand.nr:
        shrink_next(mem, sc, hand)
    note_cluster(lruvec, sc, hand)
    free_reclaimed(mem, cpu, hand)


@jit
def shrink_active_list(mem, lruvec, lru, nr_to_scan, sc):
    """Move the oldest pages of an active list to the inactive one. Linux: shrink_active_list()."""
    head = np.int64(lruvec.lists[lru])
    nr_rotated = 0
    nr_referenced = 0
    nr_taken = 0
    while nr_taken < nr_to_scan:
        pfn = next_eligible(mem, head, lruvec.nr[lru], sc)
        if pfn == NO_PAGE:
            give_up_list(sc, lru)
            break
        nr_taken += 1
        lruvec_del_folio(mem, pfn)
        page = mem.page[pfn]
        young = page.flag & PageFlag.YOUNG
        page.flag &= ~PageFlag.YOUNG
        nr_referenced += young != 0
        if young and page.flag & PageFlag.EXEC and page.kind == PageKind.FILE:
            nr_rotated += 1
        else:
            page.flag &= ~PageFlag.ACTIVE
            mem.vm_event[VmEvent.PGDEACTIVATE] += 1
        lruvec_add_folio(mem, pfn, False)
    charge(mem, Cost.RECLAIM_SCAN, nr_taken)
    lru_note_cost(lruvec, lru == Lru.ACTIVE_ANON, 0, nr_rotated)
    note_scan(lruvec, lru // 2, nr_taken, nr_referenced)


@jit
def is_worth_moving(mem, page):
    """Whether a contiguous allocation moves this clean file page, because many tasks map it, and does not drop it.

    Linux: filecache_need_migrate() of Amlogic's kernels: mapped by 3 tasks if active, by 12 if not (FACTS A9.j)
    Model: mappings of file pages are not counted; active ones and code count as mapped by many.
    """
    often = page.flag & (PageFlag.ACTIVE | PageFlag.EXEC)
    return mem.kernel.migrate_mapped_file and page.flag & PageFlag.MAPPED and often


@jit
def reclaim_clean_page(mem, cpu, pfn):
    """Drop a page on behalf of a contiguous allocation if it is clean, unpinned file cache; whether it was.

    Linux: reclaim_clean_pages_from_list()
    """
    page = mem.page[pfn]
    if is_worth_moving(mem, page):
        return False
    if page.kind != PageKind.FILE and page.kind != PageKind.BDEV:
        return False
    busy = PageFlag.DIRTY | PageFlag.WRITEBACK | PageFlag.MLOCKED | PageFlag.LRU_BATCH
    if page.flag & busy or page.pincount > 0:
        return False
    remove_mapping(mem, cpu, pfn)
    mem.vm_event[VmEvent.CMA_DROPPED] += 1
    return True
