"""Emptying a range of page frames: isolate, drop or move what is there, test, take.

Linux: mm/page_alloc.c (alloc_contig_range(), in mm/page_alloc.c up to 6.12)
Model: a job that is advanced in short steps, its state in `mem.contig`, so that the other CPUs' tasks go on meanwhile.
What a step costs is charged to the job alone; mm/cma.py lets it pass.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.blame import note_blame
from cma_gym.mm.cleancache import cleancache_drop_range
from cma_gym.mm.clock import charge
from cma_gym.mm.hands import lock_end_ns
from cma_gym.mm.lru import is_orphan, lru_add_drain_all
from cma_gym.mm.migrate import isolate_folio, move_folio, putback_folio, refusal
from cma_gym.mm.mmzone import (
    COMPACT_CLUSTER_MAX,
    CONTIG_DONE,
    CONTIG_ISOLATE,
    CONTIG_MIGRATE,
    CONTIG_SCAN,
    CONTIG_SKIPPED,
    CONTIG_TEST,
    HOLDER_NO_TARGET,
    HOLDER_NONE,
    HOLDER_PAGE_LOCK,
    INFLIGHT,
    KIND_ANON,
    KIND_CMA,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    NO_PAGE,
    NR_PAGE_ORDERS,
    STAGE_MIGRATE,
    STAGE_NO_MEMORY,
    STAGE_TEST,
    Cost,
    PageFlag,
    PageKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import ALLOC_CMA, ALLOC_NORETRY, del_page_from_free_list, free_one_page, prep_new_page
from cma_gym.mm.page_isolation import (
    EBUSY,
    first_not_isolated,
    free_block_head,
    start_isolate_page_range,
    undo_isolate_page_range,
)
from cma_gym.mm.pcp import drain_all_pages, free_pages
from cma_gym.mm.shrink import reclaim_clean_page
from cma_gym.mm.slowpath import alloc_pages
from cma_gym.mm.zonelist import ZONE_CMA, ZONE_MOVABLE
from cma_gym.support.jit import jit

ENOMEM = -12
MIGRATE_TRIES = 5
"""Rounds for the same leftovers. Linux: __alloc_contig_migrate_range()."""
ASYNC_PASSES = 3
"""First passes of each round, which wait for nothing. Linux: NR_MAX_MIGRATE_ASYNC_RETRY; `force` up to 6.2."""
STEP_NS = 100_000
"""A step ends at the next page once it has worked this long. Assumption: grain of what runs beside it."""


@jit
def begin_contig(mem, slot, start, end, fast, drain):
    """Start to empty the frames `start .. end-1` for the demand in `slot`.

    Args:
        mem: machine record.
        slot: demand, or -1.
        start: first frame.
        end: frame behind the last one.
        fast: one round that waits for nothing (bulk allocation, FACTS A9).
        drain: whether to empty the CPUs' lists and batches first.
    """
    contig = mem.contig
    contig.slot = slot
    contig.start_pfn = start
    contig.end_pfn = end
    contig.cursor_pfn = start
    contig.fast = fast
    contig.drain = drain
    contig.error = 0
    contig.nr_cluster = 0
    contig.nr_skipped = 0
    contig.nr_logged = 0
    contig.begun_ns = mem.clock
    contig.phase = CONTIG_ISOLATE


@jit
def isolation_unit(mem):
    """Pages whose isolation goes together: a pageblock, or the largest buddy block up to 5.18.

    Linux: pfn_max_align_down(), pfn_max_align_up()
    """
    if mem.kernel.isolate_max_order:
        return max(1 << (NR_PAGE_ORDERS - 1), 1 << mem.kernel.pageblock_order)
    return 1 << mem.kernel.pageblock_order


@jit
def isolation_start(mem):
    """First frame that is isolated for the range; an area whose ends are not aligned is not left."""
    block = 1 << mem.kernel.pageblock_order
    wide = mem.contig.start_pfn & ~(isolation_unit(mem) - 1)
    return max(wide, min(mem.cma.base_pfn, mem.contig.start_pfn & ~(block - 1)))


@jit
def isolation_end(mem):
    """Frame behind the last one that is isolated for the range."""
    block = 1 << mem.kernel.pageblock_order
    unit = isolation_unit(mem)
    wide = (mem.contig.end_pfn + unit - 1) & ~(unit - 1)
    return min(wide, max(mem.cma.base_pfn + mem.cma.nr_pages, (mem.contig.end_pfn + block - 1) & ~(block - 1)))


@jit
def isolate_range(mem):
    """First step: isolate the pageblocks, and empty what may hide pages of them. Linux: the start of C7.

    GCMA has an allocator of its own and nobody's pages in the area, so that it has nothing to isolate or drain.
    """
    contig = mem.contig
    first = isolation_start(mem)
    last = isolation_end(mem)
    if not mem.kernel.gcma:
        charge(mem, Cost.ISOLATE_BLOCK, (last - first) >> mem.kernel.pageblock_order)
    if start_isolate_page_range(mem, first, last) != 0:
        contig.error = EBUSY
        contig.phase = CONTIG_DONE
        return
    drain_all_pages(mem)
    if mem.kernel.gcma:
        cleancache_drop_range(mem, contig.start_pfn, contig.end_pfn)
    elif contig.drain:
        lru_add_drain_all(mem)
        charge(mem, Cost.DRAIN, 1)
    mem.node.lru_disabled += mem.kernel.lru_cache_disable
    contig.phase = CONTIG_SCAN


@jit
def note_skipped(mem, pfn):
    """Remember who held a page that is passed over; the final test will find it if it is still there."""
    contig = mem.contig
    mem.vm_event[VmEvent.CMA_BATCHED] += mem.page[pfn].flag & PageFlag.LRU_BATCH != 0
    if contig.nr_skipped < CONTIG_SKIPPED:
        contig.skipped_pfn[contig.nr_skipped] = pfn
        contig.skipped_holder[contig.nr_skipped] = refusal(mem, pfn)
        contig.nr_skipped += 1


@jit
def isolate_cluster(mem):
    """Isolate the next cluster of used pages.

    Linux: isolate_migratepages_range(). Anonymous pages with extra references are left where they are (kernel fact 3),
    so are pages that cannot be isolated at all; the final test finds them.
    """
    contig = mem.contig
    pfn = contig.cursor_pfn
    nr = 0
    while pfn < contig.end_pfn and nr < COMPACT_CLUSTER_MAX:
        page = mem.page[pfn]
        if page.flag & PageFlag.BUDDY:
            pfn += 1 << np.int64(page.order)
            continue
        movable = page.flag & PageFlag.LRU or page.kind == PageKind.ZSMALLOC
        if movable and not (page.kind == KIND_ANON and page.pincount > 0):
            isolate_folio(mem, pfn)
            contig.cluster[nr] = pfn
            nr += 1
        else:
            note_skipped(mem, pfn)
        pfn += 1
    if not mem.kernel.gcma:
        charge(mem, Cost.ISOLATE_PAGE, pfn - contig.cursor_pfn)
    contig.nr_cluster = nr
    contig.cursor_pfn = pfn


@jit
def scan_range(mem):
    """Step: take the next cluster in hand, or go on to the test if there is none."""
    contig = mem.contig
    isolate_cluster(mem)
    contig.nr_pass = 0
    contig.index = 0
    contig.refused = 0
    contig.phase = CONTIG_MIGRATE if contig.nr_cluster > 0 else CONTIG_TEST


@jit
def migration_target(mem, cpu):
    """A page for a copy; it may lie in CMA only where the kernel allows that. Linux: alloc_migration_target()."""
    flags = ALLOC_CMA if mem.kernel.migrate_into_cma and mem.kernel.lend else 0
    if mem.kernel.lending_stops_while_busy and mem.cma.busy:
        flags = 0
    highest = ZONE_CMA if flags and mem.zones[ZONE_CMA].managed_pages > 0 else ZONE_MOVABLE
    return alloc_pages(mem, cpu, 0, MIGRATE_MOVABLE, highest, flags | ALLOC_NORETRY)


@jit
def migrate_one(mem, cpu, pfn):
    """Move one isolated page out; HOLDER_NONE if it is gone, else who refused. Linux: migrate_pages(), one folio."""
    if not mem.page[pfn].flag & PageFlag.ISOLATED:
        return HOLDER_NONE
    holder = refusal(mem, pfn)
    if holder != HOLDER_NONE:
        return holder
    dst = migration_target(mem, cpu)
    if dst == NO_PAGE:
        return HOLDER_NO_TARGET
    prep_new_page(mem, dst, 0, KIND_ANON, NO_PAGE, 0)
    if not mem.page[pfn].flag & PageFlag.ISOLATED:
        free_pages(mem, cpu, dst, 0)
        return HOLDER_NONE
    move_folio(mem, cpu, pfn, dst)
    mem.vm_event[VmEvent.CMA_MIGRATED] += 1
    return HOLDER_NONE


@jit
def start_round(mem, cpu):
    """Each round first drops what is clean by now; its retries unmap and map again what stays.

    Linux: reclaim_clean_pages_from_list() in __alloc_contig_migrate_range(), and the unmapping of migrate_pages_batch()
    """
    contig = mem.contig
    for slot in range(contig.nr_cluster):
        pfn = np.int64(contig.cluster[slot])
        if not reclaim_clean_page(mem, cpu, pfn) and contig.nr_pass > 0 and mem.page[pfn].flag & PageFlag.ISOLATED:
            charge(mem, Cost.MIGRATE, 1)


@jit
def blocked_until(mem, pfn):
    """When a synchronous pass should look at this page again; 0 if it need not wait. Linux: migrate_folio_unmap()."""
    page = mem.page[pfn]
    if page.flag & PageFlag.WRITEBACK:
        return np.int64(mem.inflight_ns[mem.node.inflight_head % INFLIGHT])
    if page.pincount > 0 and page.holder == HOLDER_PAGE_LOCK:
        return lock_end_ns(mem, pfn)
    return np.int64(0)


@jit
def must_sleep(mem, pfn):
    """Whether this pass has to wait before it can try the page; until when is then noted.

    Linux: only synchronous passes wait, and a fail-fast allocation has none
    """
    contig = mem.contig
    if contig.fast or contig.nr_pass % mem.kernel.migrate_passes < ASYNC_PASSES:
        return False
    if not mem.page[pfn].flag & PageFlag.ISOLATED:
        return False
    wake_ns = blocked_until(mem, pfn)
    if wake_ns <= mem.clock:
        return False
    contig.wake_ns = wake_ns
    return True


@jit
def give_up_cluster(mem, error):
    """Put back what could not be moved, and blame it. Linux: putback_movable_pages()."""
    contig = mem.contig
    for slot in range(contig.nr_cluster):
        pfn = np.int64(contig.cluster[slot])
        if not mem.page[pfn].flag & PageFlag.ISOLATED:
            continue
        holder = refusal(mem, pfn)
        if holder != HOLDER_NONE:
            mem.vm_event[VmEvent.PGMIGRATE_FAIL] += 1
            note_blame(mem, pfn, holder, STAGE_MIGRATE)
        elif error == ENOMEM:
            mem.vm_event[VmEvent.PGMIGRATE_FAIL] += 1
            note_blame(mem, pfn, HOLDER_NO_TARGET, STAGE_NO_MEMORY)
        if is_orphan(mem, pfn):
            mem.page[pfn].flag &= ~PageFlag.ISOLATED
        else:
            putback_folio(mem, pfn)
    contig.nr_cluster = 0
    contig.error = error
    contig.phase = CONTIG_TEST


@jit
def end_pass(mem):
    """After a pass over the cluster: the next cluster, another pass, or the end (kernel fact 5)."""
    contig = mem.contig
    charge(mem, Cost.ISOLATE_PAGE, contig.refused)
    if contig.refused == 0:
        contig.nr_cluster = 0
        contig.phase = CONTIG_SCAN
        return
    contig.nr_pass += 1
    contig.index = 0
    contig.refused = 0
    passes = ASYNC_PASSES if contig.fast else MIGRATE_TRIES * mem.kernel.migrate_passes
    if contig.nr_pass >= passes:
        give_up_cluster(mem, EBUSY)


@jit
def migrate_cluster(mem, cpu):
    """Step: one pass over the cluster, or a part of it.

    Linux: __alloc_contig_migrate_range(), migrate_pages()
    """
    contig = mem.contig
    before = mem.work_ns
    if contig.index == 0 and contig.nr_pass % mem.kernel.migrate_passes == 0:
        start_round(mem, cpu)
    while contig.index < contig.nr_cluster:
        pfn = np.int64(contig.cluster[contig.index])
        if must_sleep(mem, pfn):
            return
        holder = migrate_one(mem, cpu, pfn)
        if holder == HOLDER_NO_TARGET:
            give_up_cluster(mem, ENOMEM)
            return
        contig.refused += holder != HOLDER_NONE
        forced = contig.nr_pass % mem.kernel.migrate_passes >= ASYNC_PASSES
        mem.vm_event[VmEvent.CMA_FORCED_RETRY] += holder != HOLDER_NONE and forced
        contig.index += 1
        if mem.work_ns - before >= STEP_NS and contig.index < contig.nr_cluster:
            return
    end_pass(mem)


@jit
def blame_remaining(mem):
    """The final test failed though every cluster went: blame what was passed over and is still there.

    The holder is that of now, or where none is left, that of the time of the scan.
    """
    contig = mem.contig
    slot = 0
    for pfn in range(contig.start_pfn, contig.end_pfn):
        if mem.page[pfn].kind == PageKind.FREE:
            continue
        while slot < contig.nr_skipped and contig.skipped_pfn[slot] < pfn:
            slot += 1
        holder = refusal(mem, pfn)
        if holder == HOLDER_NONE and slot < contig.nr_skipped and contig.skipped_pfn[slot] == pfn:
            holder = np.int64(contig.skipped_holder[slot])
        note_blame(mem, pfn, holder, STAGE_TEST)


@jit
def isolate_freepages_range(mem, start, end):
    """Take a free, isolated range out of the free lists; parts of its blocks outside go back. Linux: same name."""
    zone = mem.zones[mem.page[start].zone]
    pfn = free_block_head(mem, start)
    while pfn < end:
        order = np.int64(mem.page[pfn].order)
        following = pfn + (1 << order)
        del_page_from_free_list(mem, zone, pfn, order, MIGRATE_ISOLATE)
        for outside in range(pfn, min(following, start)):
            free_one_page(mem, zone, outside, 0, MIGRATE_ISOLATE)
        for outside in range(max(end, pfn), following):
            free_one_page(mem, zone, outside, 0, MIGRATE_ISOLATE)
        pfn = following


@jit
def test_range(mem):
    """Last step: if all is free the range is taken, whatever migration said; the pageblocks go back in any case.

    Linux: test_pages_isolated(), isolate_freepages_range(), undo_isolate_page_range(). 4.6 drains once more before,
    because nothing kept pages out of the LRU batches.
    """
    contig = mem.contig
    mem.node.lru_disabled -= mem.kernel.lru_cache_disable
    if not (mem.kernel.lru_cache_disable or contig.fast or mem.kernel.gcma):
        lru_add_drain_all(mem)
        drain_all_pages(mem)
        charge(mem, Cost.DRAIN, 1)
    if contig.error != ENOMEM:
        if first_not_isolated(mem, contig.start_pfn, contig.end_pfn) == NO_PAGE:
            contig.error = 0
            isolate_freepages_range(mem, contig.start_pfn, contig.end_pfn)
            for pfn in range(contig.start_pfn, contig.end_pfn):
                prep_new_page(mem, pfn, 0, KIND_CMA, NO_PAGE, 0)
        else:
            if contig.error == 0:
                blame_remaining(mem)
            contig.error = EBUSY
    undo_isolate_page_range(mem, isolation_start(mem), isolation_end(mem))
    contig.phase = CONTIG_DONE


@jit
def contig_step(mem, cpu):
    """Do the next bit of work on the range in hand; `phase` is CONTIG_DONE and `error` its outcome in the end.

    Linux: alloc_contig_range(), FACTS C7
    """
    phase = mem.contig.phase
    if phase == CONTIG_ISOLATE:
        isolate_range(mem)
    elif phase == CONTIG_SCAN:
        scan_range(mem)
    elif phase == CONTIG_MIGRATE:
        migrate_cluster(mem, cpu)
    elif phase == CONTIG_TEST:
        test_range(mem)
