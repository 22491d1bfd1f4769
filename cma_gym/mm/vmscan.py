"""Page reclaim: aging of the LRU lists, direct reclaim and kswapd.

Linux: mm/vmscan.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.balance import balance_cma
from cma_gym.mm.cleancache import cleancache_put
from cma_gym.mm.clock import charge
from cma_gym.mm.jit import jit
from cma_gym.mm.kcompactd import kswapd_has_slept
from cma_gym.mm.list import list_add, list_del, list_last
from cma_gym.mm.lru import (
    folio_activate,
    is_anon_lru,
    lru_add_drain_cpu,
    lruvec_add_folio,
    lruvec_del_folio,
    put_page,
)
from cma_gym.mm.mmzone import (
    DEF_PRIORITY,
    INFLIGHT,
    MAX_RECLAIM_RETRIES,
    NO_PAGE,
    NR_ZONES,
    SHADOW_ENTRY,
    SWAP_CLUSTER_MAX,
    WMARK_HIGH,
    Cost,
    Lru,
    PageFlag,
    PageKind,
    VmEvent,
)
from cma_gym.mm.oom_kill import lowmem_scan
from cma_gym.mm.swap import swap_out
from cma_gym.mm.watermark import int_sqrt, pgdat_balanced, zone_balanced
from cma_gym.mm.workingset import lru_note_cost, workingset_eviction
from cma_gym.mm.writeback import start_writeback

# What became of a page that reclaim looked at. Linux: enum folio_references and the labels of shrink_folio_list().
KSWAPD_CPU = 0
"""Model: kswapd runs on CPU 0."""
RECLAIMED = 0
KEEP = 1
ACTIVATE = 2
INACTIVE_ANON, ACTIVE_ANON, INACTIVE_FILE, ACTIVE_FILE = map(int, (*Lru,)[:4])


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
    """Try to free one page that was taken off the inactive list. Linux: one round of shrink_folio_list().

    Differs: dirty file pages are only written by kswapd and the flusher, as since 3.2; a page whose writeback is under
    way is kept; unmapping and writing to zram happen in one step.
    """
    page = mem.page[pfn]
    if page.flag & PageFlag.MLOCKED:
        return ACTIVATE
    if page.flag & PageFlag.WRITEBACK:
        return KEEP
    verdict = folio_check_references(mem, pfn)
    if verdict != RECLAIMED:
        return verdict
    if page.pincount > 0:
        return KEEP
    if is_anon_lru(page.kind):
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
def next_eligible(mem, head, lru_size, reclaim_idx):
    """Oldest page of a list in an eligible zone; pages of others are moved to the head. NO_PAGE if there is none.

    Linux: isolate_lru_folios()
    """
    for _ in range(lru_size):
        pfn = list_last(mem, head)
        if pfn == head:
            return NO_PAGE
        if mem.page[pfn].zone <= reclaim_idx:
            return pfn
        list_del(mem, pfn)
        list_add(mem, pfn, head)
    return NO_PAGE


@jit
def shrink_inactive_list(mem, lruvec, lru, nr_to_scan, sc):
    """Look at the oldest pages of an inactive list and free what can be freed. Linux: shrink_inactive_list()."""
    head = np.int64(lruvec.lists[lru])
    nr_scanned = 0
    nr_reclaimed = 0
    while nr_scanned < nr_to_scan:
        pfn = next_eligible(mem, head, lruvec.nr[lru], sc.reclaim_idx)
        if pfn == NO_PAGE:
            break
        nr_scanned += 1
        lruvec_del_folio(mem, pfn)
        verdict = shrink_folio(mem, pfn, sc.kswapd)
        if verdict == RECLAIMED:
            nr_reclaimed += 1
            continue
        lruvec_add_folio(mem, pfn, False)
        if verdict == ACTIVATE:
            folio_activate(mem, pfn)
    charge(mem, Cost.RECLAIM_SCAN, nr_scanned)
    mem.vm_event[VmEvent.PGSCAN_KSWAPD if sc.kswapd else VmEvent.PGSCAN_DIRECT] += nr_scanned
    mem.vm_event[VmEvent.PGSTEAL_KSWAPD if sc.kswapd else VmEvent.PGSTEAL_DIRECT] += nr_reclaimed
    sc.nr_scanned += nr_scanned
    sc.nr_reclaimed += nr_reclaimed
    lru_note_cost(lruvec, lru == Lru.INACTIVE_ANON, 0, nr_scanned - nr_reclaimed)


@jit
def shrink_active_list(mem, lruvec, lru, nr_to_scan, sc):
    """Move the oldest pages of an active list to the inactive one. Linux: shrink_active_list()."""
    head = np.int64(lruvec.lists[lru])
    nr_rotated = 0
    nr_taken = 0
    while nr_taken < nr_to_scan:
        pfn = next_eligible(mem, head, lruvec.nr[lru], sc.reclaim_idx)
        if pfn == NO_PAGE:
            break
        nr_taken += 1
        lruvec_del_folio(mem, pfn)
        page = mem.page[pfn]
        young = page.flag & PageFlag.YOUNG
        page.flag &= ~PageFlag.YOUNG
        if young and page.flag & PageFlag.EXEC and page.kind == PageKind.FILE:
            nr_rotated += 1
        else:
            page.flag &= ~PageFlag.ACTIVE
            mem.vm_event[VmEvent.PGDEACTIVATE] += 1
        lruvec_add_folio(mem, pfn, False)
    charge(mem, Cost.RECLAIM_SCAN, nr_taken)
    lru_note_cost(lruvec, lru == Lru.ACTIVE_ANON, 0, nr_rotated)


@jit
def inactive_is_low(mem, lruvec, inactive):
    """Whether the inactive list is too short for its active one. Linux: inactive_is_low(), FACTS C5."""
    gb = mem.nr_pages >> 18
    ratio = int_sqrt(10 * gb) if gb > 0 else 1
    return lruvec.nr[inactive] * ratio < lruvec.nr[inactive + 1]


@jit
def anon_share(mem, lruvec, sc):
    """Share of the scan that goes to anonymous pages, in 1/1024. Linux: get_scan_count()."""
    if mem.node.nr_swap_free == 0 or mem.kernel.swappiness == 0:
        return 0
    if sc.priority == 0:
        return 512
    plenty = not inactive_is_low(mem, lruvec, INACTIVE_FILE)
    if plenty and lruvec.nr[Lru.INACTIVE_FILE] >> sc.priority > 0 and lruvec.file_cost == 0:
        return 0
    total = lruvec.anon_cost + lruvec.file_cost
    anon = mem.kernel.swappiness * (2 * total + 1) // (total + lruvec.anon_cost + 1)
    file = (200 - mem.kernel.swappiness) * (2 * total + 1) // (total + lruvec.file_cost + 1)
    return 1024 * anon // max(anon + file, 1)


@jit
def scan_target(lruvec, lru, share, priority):
    """Pages of a list to look at in this round. Linux: the end of get_scan_count()."""
    size = lruvec.nr[lru]
    scan = size >> priority
    if scan == 0 and share > 0:
        scan = min(size, SWAP_CLUSTER_MAX)
    if priority == 0 and share > 0:
        return scan  # SCAN_EQUAL: everything
    return scan * share // 1024


@jit
def shrink_lruvec(mem, lruvec, sc):
    """Scan the four evictable lists in proportion, in clusters, until enough was freed. Linux: shrink_lruvec()."""
    share = anon_share(mem, lruvec, sc)
    left_anon = scan_target(lruvec, INACTIVE_ANON, share, sc.priority)
    left_anon_active = scan_target(lruvec, ACTIVE_ANON, share, sc.priority)
    left_file = scan_target(lruvec, INACTIVE_FILE, 1024 - share, sc.priority)
    left_file_active = scan_target(lruvec, ACTIVE_FILE, 1024 - share, sc.priority)
    while left_anon > 0 or left_file > 0 or left_anon_active > 0 or left_file_active > 0:
        if left_anon_active > 0 and inactive_is_low(mem, lruvec, INACTIVE_ANON):
            shrink_active_list(mem, lruvec, ACTIVE_ANON, min(left_anon_active, SWAP_CLUSTER_MAX), sc)
        left_anon_active -= SWAP_CLUSTER_MAX
        if left_anon > 0:
            shrink_inactive_list(mem, lruvec, INACTIVE_ANON, min(left_anon, SWAP_CLUSTER_MAX), sc)
        left_anon -= SWAP_CLUSTER_MAX
        if left_file_active > 0 and inactive_is_low(mem, lruvec, INACTIVE_FILE):
            shrink_active_list(mem, lruvec, ACTIVE_FILE, min(left_file_active, SWAP_CLUSTER_MAX), sc)
        left_file_active -= SWAP_CLUSTER_MAX
        if left_file > 0:
            shrink_inactive_list(mem, lruvec, INACTIVE_FILE, min(left_file, SWAP_CLUSTER_MAX), sc)
        left_file -= SWAP_CLUSTER_MAX
        if sc.nr_reclaimed >= sc.nr_to_reclaim:
            break
    if inactive_is_low(mem, lruvec, INACTIVE_ANON) and share > 0:
        shrink_active_list(mem, lruvec, ACTIVE_ANON, SWAP_CLUSTER_MAX, sc)


@jit
def shrink_node(mem, sc):
    """One round over the LRU lists that hold eligible pages, and the low memory killer. Linux: shrink_node()."""
    if mem.kernel.lru_per_zone:
        for index in range(sc.reclaim_idx + 1):
            if mem.zones[index].managed_pages > 0 and not (sc.kswapd and zone_balanced(mem, mem.zones[index], 0)):
                shrink_lruvec(mem, mem.lruvec[index], sc)
    else:
        shrink_lruvec(mem, mem.lruvec[0], sc)
    if sc.nr_reclaimed > 0:
        mem.node.kswapd_failures = 0  # any progress revives a kswapd that had given up
    lowmem_scan(mem)


@jit
def start_scan(mem, cpu, nr_to_reclaim, reclaim_idx, kswapd):
    """Fill the scan control of a new reclaimer, whose CPU first lets go of the pages in its LRU batch.

    Linux: the beginning of do_try_to_free_pages() and balance_pgdat(), and lru_add_drain() in shrink_inactive_list()
    """
    lru_add_drain_cpu(mem, cpu)
    sc = mem.sc
    sc.nr_to_reclaim = nr_to_reclaim
    sc.nr_reclaimed = 0
    sc.nr_scanned = 0
    sc.reclaim_idx = reclaim_idx
    sc.priority = DEF_PRIORITY
    sc.kswapd = kswapd


@jit
def try_to_free_pages(mem, cpu, nr_to_reclaim, reclaim_idx):
    """Direct reclaim with rising priority; pages freed. Linux: try_to_free_pages()."""
    start_scan(mem, cpu, nr_to_reclaim, reclaim_idx, 0)
    sc = mem.sc
    while sc.priority >= 0 and sc.nr_reclaimed < nr_to_reclaim:
        shrink_node(mem, sc)
        sc.priority -= 1
    return sc.nr_reclaimed


@jit
def wakeup_kswapd(mem, order, highest_zoneidx):
    """Start background reclaim unless free memory suffices. Linux: wakeup_kswapd()."""
    node = mem.node
    if node.kswapd_awake:
        node.kswapd_order = max(node.kswapd_order, order)
        node.kswapd_highest_zoneidx = max(node.kswapd_highest_zoneidx, highest_zoneidx)
        return
    if node.kswapd_failures >= MAX_RECLAIM_RETRIES or pgdat_balanced(mem, order, highest_zoneidx):
        return
    node.kswapd_awake = 1
    node.kswapd_order = order
    node.kswapd_highest_zoneidx = highest_zoneidx
    node.kswapd_priority = DEF_PRIORITY
    node.kswapd_budget_ns = 0
    mem.vm_event[VmEvent.KSWAPD_WAKE] += 1


@jit
def kswapd_sleep(mem):
    """Go to sleep; whatever boosted the watermarks has been answered. Linux: the end of balance_pgdat()."""
    mem.node.kswapd_awake = 0
    mem.node.kswapd_order = 0
    for index in range(NR_ZONES):
        mem.zones[index].watermark_boost = 0
    kswapd_has_slept(mem)


@jit
def kswapd_round(mem):
    """One round at the present priority; whether it freed enough. Linux: kswapd_shrink_node()."""
    node = mem.node
    if balance_cma(mem, KSWAPD_CPU) > 0:
        return SWAP_CLUSTER_MAX
    target = 0
    for index in range(node.kswapd_highest_zoneidx + 1):
        if mem.zones[index].managed_pages > 0:
            target += max(mem.zones[index].watermark[WMARK_HIGH], SWAP_CLUSTER_MAX)
    start_scan(mem, KSWAPD_CPU, target, node.kswapd_highest_zoneidx, 1)
    mem.sc.priority = node.kswapd_priority
    shrink_node(mem, mem.sc)
    return mem.sc.nr_reclaimed


@jit
def kswapd_run(mem):
    """Background reclaim within the time that has passed; sleeps when balanced or after too many vain rounds.

    Linux: balance_pgdat(), kswapd()
    """
    node = mem.node
    while node.kswapd_awake and node.kswapd_budget_ns > 0:
        if pgdat_balanced(mem, node.kswapd_order, node.kswapd_highest_zoneidx):
            kswapd_sleep(mem)
            node.kswapd_failures = 0
            return
        before = mem.work_ns
        nr_reclaimed = kswapd_round(mem)
        mem.vm_event[VmEvent.PAGEOUTRUN] += 1
        node.kswapd_budget_ns -= max(mem.work_ns - before, 1)
        if nr_reclaimed < SWAP_CLUSTER_MAX:
            node.kswapd_priority -= 1
        if node.kswapd_priority < 1:
            node.kswapd_priority = DEF_PRIORITY
            if nr_reclaimed == 0:
                node.kswapd_failures += 1
            if node.kswapd_order > 0:
                node.kswapd_order = 0
            if node.kswapd_failures >= MAX_RECLAIM_RETRIES:
                kswapd_sleep(mem)


@jit
def reclaim_clean_page(mem, cpu, pfn):
    """Drop a page on behalf of a contiguous allocation if it is clean, unpinned file cache; whether it was.

    Linux: reclaim_clean_pages_from_list()
    """
    page = mem.page[pfn]
    if page.kind != PageKind.FILE and page.kind != PageKind.BDEV:
        return False
    busy = PageFlag.DIRTY | PageFlag.WRITEBACK | PageFlag.MLOCKED | PageFlag.LRU_BATCH
    if page.flag & busy or page.pincount > 0:
        return False
    remove_mapping(mem, cpu, pfn)
    mem.vm_event[VmEvent.CMA_DROPPED] += 1
    return True
