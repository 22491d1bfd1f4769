"""Refault distance: whether a page that comes back should not have been evicted.

Linux: mm/workingset.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.lru import folio_activate, is_anon_lru, lruvec_index
from cma_gym.mm.mmzone import SHADOW_MASK, SWAP_CLUSTER_MAX, Lru, PageFlag, VmEvent
from cma_gym.support.jit import jit

NS_PER_SECOND = 1_000_000_000


@jit
def workingset_eviction(mem, zone_index):
    """Age of the LRU at an eviction, to be kept in the shadow entry or the swap slot. Linux: workingset_eviction()."""
    lruvec = mem.lruvec[lruvec_index(mem, zone_index)]
    lruvec.nonresident_age += 1
    return lruvec.nonresident_age & SHADOW_MASK


@jit
def lru_note_cost(lruvec, anon, nr_io, nr_rotated):
    """Remember what reclaiming this kind of page cost. Linux: lru_note_cost(), mm/swap.c."""
    cost = nr_io * SWAP_CLUSTER_MAX + nr_rotated
    if anon:
        lruvec.anon_cost += cost
    else:
        lruvec.file_cost += cost
    size = 0
    for lru in range(Lru.UNEVICTABLE):
        size += lruvec.nr[lru]
    if lruvec.anon_cost + lruvec.file_cost > size // 4:
        lruvec.anon_cost //= 2
        lruvec.file_cost //= 2


@jit
def note_scan(lruvec, file, nr_scanned, nr_rotated):
    """Remember how many pages of a kind reclaim looked at and how many of them were in use.

    Linux: struct zone_reclaim_stat, up to 5.7; halved in get_scan_count()
    """
    lruvec.recent_scanned[file] += nr_scanned
    lruvec.recent_rotated[file] += nr_rotated
    if lruvec.recent_scanned[file] > (lruvec.nr[2 * file] + lruvec.nr[2 * file + 1]) // 4:
        lruvec.recent_scanned[file] //= 2
        lruvec.recent_rotated[file] //= 2


@jit
def count_refault(mem):
    """Keep the number of refaults of the last whole second, for the view. Model."""
    second = mem.clock // NS_PER_SECOND
    node = mem.node
    if second != node.refault_second:
        node.refault_rate = node.refault_now if second == node.refault_second + 1 else 0
        node.refault_now = 0
        node.refault_second = second
    node.refault_now += 1


@jit
def workingset_refault(mem, pfn, age):
    """A page returns that was evicted at `age`: activate it if memory as large as the working set would have kept it.

    Linux: workingset_refault(), workingset_test_recent()
    """
    page = mem.page[pfn]
    anon = is_anon_lru(page.kind)
    mem.vm_event[VmEvent.WORKINGSET_REFAULT_ANON if anon else VmEvent.WORKINGSET_REFAULT_FILE] += 1
    count_refault(mem)
    lruvec = mem.lruvec[lruvec_index(mem, np.int64(page.zone))]
    lru_note_cost(lruvec, anon, 1, 0)
    distance = (lruvec.nonresident_age - age) & SHADOW_MASK
    size = lruvec.nr[Lru.ACTIVE_FILE]
    if anon:
        size += lruvec.nr[Lru.INACTIVE_FILE]
    if mem.node.nr_swap_free > 0:
        size += lruvec.nr[Lru.ACTIVE_ANON]
        if not anon:
            size += lruvec.nr[Lru.INACTIVE_ANON]
    if distance <= size:
        folio_activate(mem, pfn)
        page.flag |= PageFlag.WORKINGSET
        mem.vm_event[VmEvent.WORKINGSET_ACTIVATE] += 1
        lruvec.activated[0 if anon else 1] += 1
