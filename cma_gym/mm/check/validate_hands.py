"""Self-check of what is in flight: pages in hands, gathers and buffer-head LRUs.

Model: see mm/hands.py
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.check.violation import Violation, violation
from cma_gym.mm.mmzone import HOLDER_RECLAIM, MAX_NR_CPUS, NR_GATHERS, NR_HANDS, PageFlag
from cma_gym.support.jit import jit


@jit
def count_passing(mem, held):
    """Add the references that are not in the heap: of hands, gathers and buffer-head LRUs."""
    for index in range(NR_HANDS):
        for slot in range(mem.hand[index].nr):
            held[mem.hand[index].pfn[slot]] += 1
    for cpu in range(MAX_NR_CPUS):
        for slot in range(mem.bh_lru[cpu].nr):
            held[mem.bh_lru[cpu].pfn[slot]] += 1
    for index in range(NR_GATHERS):
        pfn = np.int64(mem.gather[index].first)
        for _ in range(mem.gather[index].nr):
            held[pfn] += 1
            pfn = np.int64(mem.page[pfn].next)


@jit
def check_hands(mem):
    """Pages in reclaimers' hands are marked, off the LRU and in one hand only; all hands know when they end."""
    marked = 0
    for index in range(NR_GATHERS):
        if mem.gather[index].nr > 0 and mem.gather[index].until_ns < mem.next_gather_ns:
            return violation(Violation.HAND, index)
    for index in range(NR_HANDS):
        hand = mem.hand[index]
        if index > 0 and hand.nr > 0 and hand.until_ns < mem.next_hand_ns:
            return violation(Violation.HAND, index)
        if hand.holder != HOLDER_RECLAIM:
            continue
        for slot in range(hand.nr):
            if mem.page[hand.pfn[slot]].flag & (PageFlag.RECLAIM | PageFlag.LRU) != PageFlag.RECLAIM:
                return violation(Violation.HAND, hand.pfn[slot])
        marked += hand.nr
    for pfn in range(mem.nr_pages):
        marked -= mem.page[pfn].flag & PageFlag.RECLAIM != 0
    return 0 if marked == 0 else violation(Violation.HAND, 0)
