"""Page reclaim: aging of the LRU lists, direct reclaim and kswapd.

Linux: mm/vmscan.c
"""

from __future__ import annotations

from cma_gym.mm.balance import balance_cma
from cma_gym.mm.clock import elapse
from cma_gym.mm.hands import (
    KSWAPD_HAND,
    current_task,
    hand_index,
    hold_for,
    release_hand,
    run_queue,
)
from cma_gym.mm.kcompactd import kswapd_has_slept
from cma_gym.mm.lru import lru_add_drain_cpu
from cma_gym.mm.mmzone import (
    DEF_PRIORITY,
    MAX_RECLAIM_RETRIES,
    NR_ZONES,
    SWAP_CLUSTER_MAX,
    WMARK_HIGH,
    WMARK_MIN,
    Lru,
    VmEvent,
    ZoneStat,
)
from cma_gym.mm.oom_kill import lowmem_scan
from cma_gym.mm.page_alloc import ALLOC_CMA
from cma_gym.mm.shrink import isolate_lru_folios, note_cluster, shrink_active_list, shrink_inactive_list, shrink_next
from cma_gym.mm.swap import swap_congested
from cma_gym.mm.watermark import int_sqrt, pgdat_balanced, zone_balanced
from cma_gym.mm.zonelist import ZONE_NORMAL
from cma_gym.support.jit import jit

KSWAPD_CPU = 0
"""Model: kswapd runs on CPU 0."""
THROTTLE_MAX_NS = 1_000_000_000
"""Linux: HZ in throttle_direct_reclaim()."""
THROTTLE_STEP_NS = 1_000_000
"""Model: how often a throttled task looks whether kswapd has woken it."""
WAKE_LATENCY_NS = 4_000_000
"""A woken kswapd waits for the next scheduler tick when no CPU is free. Assumption: HZ = 250."""
INACTIVE_ANON, ACTIVE_ANON, INACTIVE_FILE, ACTIVE_FILE = map(int, (*Lru,)[:4])


@jit
def inactive_is_low(mem, lruvec, inactive):
    """Whether the inactive list is too short for its active one. Linux: inactive_is_low(), FACTS C5.

    Up to 4.9 an inactive file list only had to be as long as the active one: inactive_file_is_low().
    """
    gb = mem.nr_pages >> 18
    ratio = int_sqrt(10 * gb) if gb > 0 else 1
    if mem.kernel.scan_by_rotation and inactive == INACTIVE_FILE:
        ratio = 1
    return lruvec.nr[inactive] * ratio < lruvec.nr[inactive + 1]


@jit
def prepare_scan_control(mem, lruvec, sc):
    """Which active lists may be aged: short inactive ones' and, while a new working set refaults, all of its kind.

    Linux: prepare_scan_control(), since 5.8
    """
    sc.may_deactivate = 0
    for file in range(2):
        thrashes = not mem.kernel.scan_by_rotation and lruvec.activated[file] != lruvec.refaults[file]
        if sc.force_deactivate or thrashes or inactive_is_low(mem, lruvec, 2 * file):
            sc.may_deactivate |= 1 << file


@jit
def snapshot_refaults(mem):
    """Note at the end of a reclaimer's work how many refaults were activated. Linux: snapshot_refaults()."""
    for index in range(NR_ZONES):
        lruvec = mem.lruvec[index]
        for file in range(2):
            lruvec.refaults[file] = lruvec.activated[file]


@jit
def file_is_tiny(mem, lruvec, sc):
    """Whether there is so little page cache that only anonymous pages can help. Linux: prepare_scan_control()."""
    pages = lruvec.nr[INACTIVE_FILE] + lruvec.nr[ACTIVE_FILE]
    high = 0
    for index in range(NR_ZONES):
        if mem.kernel.lru_per_zone and index != sc.lruvec:
            continue
        zone = mem.zones[index]
        if zone.managed_pages > 0:
            pages += zone.vm_stat[ZoneStat.FREE_PAGES]
            high += zone.watermark[WMARK_HIGH]
    if pages > high:
        return False
    return mem.kernel.scan_by_rotation or (not sc.may_deactivate & 1 and lruvec.nr[INACTIVE_ANON] >> sc.priority > 0)


@jit
def anon_share(mem, lruvec, sc):
    """Share of the scan that goes to anonymous pages, in 1/1024. Linux: get_scan_count()."""
    if mem.node.nr_swap_free == 0 or mem.kernel.swappiness == 0:
        return 0
    if sc.priority == 0:
        return 512
    if file_is_tiny(mem, lruvec, sc):
        return 1024
    if lruvec.nr[INACTIVE_FILE] >> sc.priority > 0 and not sc.may_deactivate & 2:
        return 0  # plenty of page cache that does not refault; up to 5.7, that is not short
    anon_cost = lruvec.anon_cost
    file_cost = lruvec.file_cost
    total = anon_cost + file_cost
    anon = mem.kernel.swappiness * (2 * total + 1) // (total + anon_cost + 1)
    file = (200 - mem.kernel.swappiness) * (2 * total + 1) // (total + file_cost + 1)
    if mem.kernel.scan_by_rotation:
        anon = mem.kernel.swappiness * (lruvec.recent_scanned[0] + 1) // (lruvec.recent_rotated[0] + 1)
        file = (200 - mem.kernel.swappiness) * (lruvec.recent_scanned[1] + 1) // (lruvec.recent_rotated[1] + 1)
    return 1024 * anon // max(anon + file, 1)


@jit
def get_scan_count(mem, lruvec, sc):
    """How many pages of each list this round looks at; at priority 0, all. Linux: get_scan_count()."""
    prepare_scan_control(mem, lruvec, sc)
    sc.share = anon_share(mem, lruvec, sc)
    for lru in range(4):
        share = sc.share if lru < INACTIVE_FILE else 1024 - sc.share
        scan = lruvec.nr[lru] >> sc.priority
        sc.left[lru] = scan if sc.priority == 0 and share > 0 else scan * share // 1024
    sc.turn = 0


@jit
def next_cluster(mem, lruvec, sc):
    """Go round the lists, aging active ones, to the next cluster of an inactive one; False if the round is over.

    Linux: the loop of shrink_lruvec(). `sc.lru` names the list.
    """
    while sc.left[0] > 0 or sc.left[1] > 0 or sc.left[2] > 0 or sc.left[3] > 0:
        if sc.turn == 4:
            if sc.nr_reclaimed >= sc.nr_to_reclaim:
                return False
            sc.turn = 0
        lru = sc.turn ^ 1  # the active list of a kind before its inactive one
        sc.turn += 1
        if sc.left[lru] <= 0:
            continue
        if not lru & 1:
            sc.lru = lru
            return True
        if sc.may_deactivate & (1 << lru // 2):
            shrink_active_list(mem, lruvec, lru, min(sc.left[lru], SWAP_CLUSTER_MAX), sc)
        else:
            sc.skipped_deactivate = 1
        sc.left[lru] -= SWAP_CLUSTER_MAX
    return False


@jit
def finish_lruvec(mem, lruvec, sc):
    """Age anonymous pages even if none were scanned. Linux: the end of shrink_lruvec()."""
    if sc.share > 0 and inactive_is_low(mem, lruvec, INACTIVE_ANON):
        shrink_active_list(mem, lruvec, ACTIVE_ANON, SWAP_CLUSTER_MAX, sc)


@jit
def shrink_lruvec(mem, cpu, lruvec, sc, hand):
    """Scan the four evictable lists in proportion, in clusters, until enough was freed. Linux: shrink_lruvec()."""
    get_scan_count(mem, lruvec, sc)
    while next_cluster(mem, lruvec, sc):
        shrink_inactive_list(mem, cpu, lruvec, sc, hand)
    finish_lruvec(mem, lruvec, sc)


@jit
def finish_node(mem, sc):
    """What follows a round over the lists, whoever did it. Linux: shrink_node(), shrink_slab()'s low memory killer."""
    if sc.nr_reclaimed > 0:
        mem.node.kswapd_failures = 0  # any progress revives a kswapd that had given up
    lowmem_scan(mem)


@jit
def wants_scan(mem, sc):
    """Whether a zone's lists are to be scanned; kswapd leaves balanced ones alone. Linux: shrink_zones() of 4.6."""
    zone = mem.zones[sc.lruvec]
    return zone.managed_pages > 0 and not (sc.kswapd and zone_balanced(mem, zone, 0))


@jit
def next_lruvec(mem, sc):
    """Go to the next set of LRU lists that holds eligible pages; False if there is none."""
    last = sc.reclaim_idx if mem.kernel.lru_per_zone else 0
    sc.lruvec += 1
    while sc.lruvec <= last:
        if not mem.kernel.lru_per_zone or wants_scan(mem, sc):
            return True
        sc.lruvec += 1
    return False


@jit
def shrink_node(mem, cpu, sc, hand):
    """One round over the LRU lists that hold eligible pages, and the low memory killer. Linux: shrink_node()."""
    sc.lruvec = -1
    while next_lruvec(mem, sc):
        shrink_lruvec(mem, cpu, mem.lruvec[sc.lruvec], sc, hand)
    finish_node(mem, sc)


@jit
def start_scan(mem, cpu, sc, nr_to_reclaim, reclaim_idx, kswapd):
    """Fill the scan control of a new reclaimer, whose CPU first lets go of the pages in its LRU batch.

    Linux: the beginning of do_try_to_free_pages() and balance_pgdat(), and lru_add_drain() in shrink_inactive_list()
    """
    lru_add_drain_cpu(mem, cpu)
    sc.nr_to_reclaim = nr_to_reclaim
    sc.nr_reclaimed = 0
    sc.nr_scanned = 0
    sc.reclaim_idx = reclaim_idx
    sc.priority = DEF_PRIORITY
    sc.kswapd = kswapd
    sc.lruvec = -1
    sc.force_deactivate = 0
    sc.skipped_deactivate = 0
    sc.skip_cma = 0


@jit
def allow_direct_reclaim(mem):
    """Whether half of the reserves is left, or kswapd cannot be waited for. Linux: allow_direct_reclaim()."""
    if not mem.node.kswapd_awake:
        return True
    reserve = 0
    free = 0
    for index in range(ZONE_NORMAL + 1):
        reserve += mem.zones[index].watermark[WMARK_MIN]
        free += mem.zones[index].vm_stat[ZoneStat.FREE_PAGES]
    return free > reserve // 2


@jit
def throttle_direct_reclaim(mem, task):
    """Make a task wait for kswapd while the reserves run out, for a second at most. Linux: throttle_direct_reclaim().

    Differs: callers that may enter file systems wait no longer than others.
    """
    before = mem.clock
    for _ in range(THROTTLE_MAX_NS // THROTTLE_STEP_NS):
        if task == 0 or allow_direct_reclaim(mem):
            break
        elapse(mem, THROTTLE_STEP_NS)
        kswapd_run(mem)
    mem.metrics.stall_ns += mem.clock - before


@jit
def do_try_to_free_pages(mem, cpu, sc, hand):
    """Rounds of rising priority until enough was freed. Linux: do_try_to_free_pages()."""
    sc.priority = DEF_PRIORITY
    while sc.priority >= 0 and sc.nr_reclaimed < sc.nr_to_reclaim:
        shrink_node(mem, cpu, sc, hand)
        sc.priority -= 1
    snapshot_refaults(mem)


@jit
def try_to_free_pages(mem, cpu, nr_to_reclaim, reclaim_idx, alloc_flags):
    """Direct reclaim with rising priority, for a request with these flags; pages freed. Linux: try_to_free_pages().

    The pages of its last cluster that it could not free stay in its hand while its caller waits for it, and as long
    again: by then others see what they would have seen in its midst.
    """
    sc = mem.sc
    task = current_task(mem)
    hand = mem.hand[hand_index(mem, task)]
    throttle_direct_reclaim(mem, task)
    before = mem.work_ns
    start_scan(mem, cpu, sc, nr_to_reclaim, reclaim_idx, 0)
    sc.skip_cma = mem.kernel.reclaim_skips_cma != 0 and not alloc_flags & ALLOC_CMA
    do_try_to_free_pages(mem, cpu, sc, hand)
    if sc.nr_reclaimed == 0 and sc.skipped_deactivate:
        sc.force_deactivate = 1
        do_try_to_free_pages(mem, cpu, sc, hand)
    if task > 0:
        hold_for(mem, hand, 2 * (mem.work_ns - before))
    else:
        release_hand(mem, cpu, hand)
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
    node.kswapd_budget_ns = -WAKE_LATENCY_NS if run_queue(mem) >= mem.kernel.nr_cpus else 0
    mem.vm_event[VmEvent.KSWAPD_WAKE] += 1


@jit
def kswapd_sleep(mem):
    """Go to sleep; whatever boosted the watermarks has been answered. Linux: the end of balance_pgdat()."""
    mem.node.kswapd_awake = 0
    mem.node.kswapd_order = 0
    snapshot_refaults(mem)
    for index in range(NR_ZONES):
        mem.zones[index].watermark_boost = 0
    kswapd_has_slept(mem)


@jit
def kswapd_start_round(mem):
    """Begin a round at the present priority. Linux: kswapd_shrink_node()."""
    node = mem.node
    if balance_cma(mem, KSWAPD_CPU) > 0:
        return
    target = 0
    for index in range(node.kswapd_highest_zoneidx + 1):
        if mem.zones[index].managed_pages > 0:
            target += max(mem.zones[index].watermark[WMARK_HIGH], SWAP_CLUSTER_MAX)
    sc = mem.kswapd_sc
    start_scan(mem, KSWAPD_CPU, sc, target, node.kswapd_highest_zoneidx, 1)
    sc.priority = node.kswapd_priority
    node.kswapd_in_round = 1
    if next_lruvec(mem, sc):
        get_scan_count(mem, mem.lruvec[sc.lruvec], sc)
    else:
        kswapd_end_round(mem)


@jit
def kswapd_end_round(mem):
    """Judge a round: with too little success the next one looks at more pages. Linux: the loop of balance_pgdat()."""
    node = mem.node
    nr_reclaimed = mem.kswapd_sc.nr_reclaimed
    node.kswapd_in_round = 0
    mem.vm_event[VmEvent.PAGEOUTRUN] += 1
    finish_node(mem, mem.kswapd_sc)
    if nr_reclaimed < SWAP_CLUSTER_MAX:
        node.kswapd_priority -= 1
    if node.kswapd_priority >= 1:
        return
    node.kswapd_priority = DEF_PRIORITY
    node.kswapd_order = 0
    snapshot_refaults(mem)
    if nr_reclaimed == 0:
        node.kswapd_failures += 1
    if node.kswapd_failures >= MAX_RECLAIM_RETRIES:
        kswapd_sleep(mem)


@jit
def kswapd_step(mem):
    """One step of background reclaim: a page of the cluster in hand, or the end of that cluster and the next one."""
    sc = mem.kswapd_sc
    hand = mem.hand[KSWAPD_HAND]
    if hand.done < hand.nr:
        shrink_next(mem, sc, hand)
        return
    lruvec = mem.lruvec[sc.lruvec]
    if hand.nr > 0:
        note_cluster(lruvec, sc, hand)
        release_hand(mem, KSWAPD_CPU, hand)
    if next_cluster(mem, lruvec, sc):
        isolate_lru_folios(mem, lruvec, sc, hand)
        return
    finish_lruvec(mem, lruvec, sc)
    if next_lruvec(mem, sc):
        get_scan_count(mem, mem.lruvec[sc.lruvec], sc)
    else:
        kswapd_end_round(mem)


@jit
def kswapd_run(mem):
    """Background reclaim within the time that has passed; sleeps when balanced or after too many vain rounds.

    Linux: balance_pgdat(), kswapd(). When its time is up it stops where it is, with a cluster of pages in hand.
    """
    node = mem.node
    while node.kswapd_awake and node.kswapd_budget_ns > 0 and not swap_congested(mem):
        before = mem.work_ns
        if node.kswapd_in_round:
            kswapd_step(mem)
        elif pgdat_balanced(mem, node.kswapd_order, node.kswapd_highest_zoneidx):
            kswapd_sleep(mem)
            node.kswapd_failures = 0
            return
        else:
            kswapd_start_round(mem)
        node.kswapd_budget_ns -= max(mem.work_ns - before, 1)
