"""Checks of the CMA area, of demands, and of the contiguous allocation that runs; see mm/validate.py."""

from __future__ import annotations

import numpy as np

from cma_gym.mm.bitmap import test_bit
from cma_gym.mm.check.violation import Violation, violation
from cma_gym.mm.mmzone import (
    CONTIG_DONE,
    CONTIG_IDLE,
    CONTIG_ISOLATE,
    CONTIG_MIGRATE,
    MIGRATE_ISOLATE,
    NR_DEMANDS,
    NR_PAGE_KINDS,
    DemandState,
    PageFlag,
)
from cma_gym.mm.page_alloc import get_pageblock_migratetype
from cma_gym.support.jit import jit


@jit
def check_cma(mem):
    """The census of the area and its bitmap."""
    census = np.zeros(NR_PAGE_KINDS, np.int64)
    taken = 0
    for pfn in range(mem.cma.base_pfn, mem.cma.base_pfn + mem.cma.nr_pages):
        census[mem.page[pfn].kind] += 1
        taken += test_bit(mem.cma_bitmap, pfn - mem.cma.base_pfn)
    for kind in range(NR_PAGE_KINDS):
        if census[kind] != mem.cma.occupancy[kind]:
            return violation(Violation.OCCUPANCY, kind)
    if mem.contig.phase != CONTIG_IDLE:
        taken -= mem.contig.end_pfn - mem.contig.start_pfn
    return 0 if taken == mem.cma.nr_allocated else violation(Violation.BITMAP, taken)


@jit
def check_contig(mem):
    """A contiguous allocation has all isolated pages in hand, its pageblocks are isolated, and LRU batches are off."""
    contig = mem.contig
    isolated = 0
    for pfn in range(mem.nr_pages):
        isolated += mem.page[pfn].flag & PageFlag.ISOLATED != 0
    for slot in range(contig.nr_cluster):
        pfn = np.int64(contig.cluster[slot])
        if pfn < contig.start_pfn or pfn >= contig.cursor_pfn:
            return violation(Violation.CONTIG, pfn)
        isolated -= mem.page[pfn].flag & PageFlag.ISOLATED != 0
    if isolated != 0 or (contig.nr_cluster > 0 and contig.phase != CONTIG_MIGRATE):
        return violation(Violation.CONTIG, isolated)
    working = CONTIG_ISOLATE < contig.phase < CONTIG_DONE
    if mem.node.lru_disabled != (mem.kernel.lru_cache_disable if working else 0):
        return violation(Violation.CONTIG, mem.node.lru_disabled)
    if working:
        for pfn in range(contig.start_pfn, contig.end_pfn):
            if get_pageblock_migratetype(mem, pfn) != MIGRATE_ISOLATE:
                return violation(Violation.CONTIG, pfn)
    return check_queue(mem)


@jit
def check_queue(mem):
    """Whoever is served is inside a try, and the area is busy while somebody is."""
    trying = 0
    for slot in range(NR_DEMANDS):
        demand = mem.demand[slot]
        trying += demand.state == DemandState.TRYING
        settled = demand.got + demand.missed
        if demand.state != DemandState.IDLE and not 0 <= demand.missed <= settled <= demand.pieces:
            return violation(Violation.CONTIG, slot)
    served = mem.contig.phase != CONTIG_IDLE
    if mem.cma.busy != (trying > 0) or mem.contig.stepping or served != (mem.contig.slot >= 0):
        return violation(Violation.CONTIG, trying)
    if served and mem.demand[mem.contig.slot].state != DemandState.TRYING:
        return violation(Violation.CONTIG, mem.contig.slot)
    return 0
