"""LRU lists, the per-CPU batches in front of them, and the end of a page's life.

Linux: mm/swap.c, include/linux/mm_inline.h
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.list import list_add, list_add_tail, list_del
from cma_gym.mm.mmzone import (
    BH_LRU_SIZE,
    HOLDER_ACCESS,
    HOLDER_BUFFER_HEAD,
    HOLDER_NONE,
    NO_ENTRY,
    Lru,
    PageFlag,
    PageKind,
    VmEvent,
    ZoneStat,
)
from cma_gym.mm.pcp import free_pages
from cma_gym.support.jit import jit


@jit
def is_anon_lru(kind):
    """Kinds that live on the anonymous lists: swap-backed pages. Linux: !folio_is_file_lru()."""
    return kind == PageKind.ANON or kind == PageKind.SHMEM


@jit
def folio_lru_list(page):
    """The list a page belongs on. Linux: folio_lru_list(), mm_inline.h."""
    if page.flag & PageFlag.MLOCKED:
        return np.int64(Lru.UNEVICTABLE)
    lru = np.int64(Lru.INACTIVE_ANON) if is_anon_lru(page.kind) else np.int64(Lru.INACTIVE_FILE)
    return lru + 1 if page.flag & PageFlag.ACTIVE else lru


@jit
def lruvec_index(mem, zone_index):
    """LRU lists of a page's zone: its own up to 4.7, the node's since."""
    return np.int64(zone_index) if mem.kernel.lru_per_zone else 0


@jit
def update_lru_size(mem, zone_index, lru, nr):
    """Linux: update_lru_size(), mm_inline.h."""
    mem.lruvec[lruvec_index(mem, zone_index)].nr[lru] += nr
    mem.zones[zone_index].vm_stat[ZoneStat.INACTIVE_ANON + lru] += nr


@jit
def lruvec_add_folio(mem, pfn, tail):
    """Put a page on its LRU list, at the head, or at the tail where reclaim looks first. Linux: lruvec_add_folio()."""
    page = mem.page[pfn]
    lru = folio_lru_list(page)
    zone_index = np.int64(page.zone)
    head = np.int64(mem.lruvec[lruvec_index(mem, zone_index)].lists[lru])
    if tail:
        list_add_tail(mem, pfn, head)
    else:
        list_add(mem, pfn, head)
    page.flag |= PageFlag.LRU
    update_lru_size(mem, zone_index, lru, 1)


@jit
def lruvec_del_folio(mem, pfn):
    """Take a page off its LRU list. Linux: lruvec_del_folio()."""
    page = mem.page[pfn]
    list_del(mem, pfn)
    page.flag &= ~PageFlag.LRU
    update_lru_size(mem, np.int64(page.zone), folio_lru_list(page), -1)


@jit
def drain_page(mem, cpu, pfn):
    """Move a page from a batch to its LRU list, or free it if only the batch knew it any more."""
    mem.page[pfn].flag &= ~PageFlag.LRU_BATCH
    if is_orphan(mem, pfn):
        put_page(mem, cpu, pfn)
    else:
        lruvec_add_folio(mem, pfn, False)


@jit
def drain_batch(mem, cpu, batch):
    """Move a batch to the LRU lists and drop its references. Linux: folio_batch_move_lru()."""
    nr = np.int64(batch.nr)
    batch.nr = 0
    for slot in range(nr):
        drain_page(mem, cpu, np.int64(batch.pfn[slot]))


@jit
def keep_faults_batch(mem, cpu, batch):
    """Drain a batch but for pages whose fault is still at work: in truth they come into the batch when it is over.

    Linux: do_anonymous_page() queues the page last. This is the race that lru_cache_disable() closes (FACTS B1).
    """
    kept = 0
    for slot in range(batch.nr):
        page = mem.page[batch.pfn[slot]]
        if page.kind == PageKind.ANON and page.pincount > 0 and page.holder == HOLDER_ACCESS:
            pfn = batch.pfn[slot]
            batch.pfn[slot] = batch.pfn[kept]
            batch.pfn[kept] = pfn
            kept += 1
    rest = np.int64(batch.nr) - kept
    for slot in range(kept, kept + rest):
        drain_page(mem, cpu, np.int64(batch.pfn[slot]))
    batch.nr = kept


@jit
def lru_add_drain_cpu(mem, cpu):
    """Drain a CPU's batches of pages to be added and to be activated. Linux: lru_add_drain_cpu()."""
    drain_batch(mem, cpu, mem.lru_add[cpu])
    drain_batch(mem, cpu, mem.lru_activate[cpu])


@jit
def lru_add_drain_all(mem):
    """Drain the batches of all CPUs, and since 5.12 their buffer-head LRUs. Linux: lru_add_drain_all()."""
    for cpu in range(mem.kernel.nr_cpus):
        if mem.kernel.lru_cache_disable:
            lru_add_drain_cpu(mem, cpu)
            invalidate_bh_lru(mem, cpu)
        else:
            keep_faults_batch(mem, cpu, mem.lru_add[cpu])
            drain_batch(mem, cpu, mem.lru_activate[cpu])


@jit
def batch_add(mem, cpu, batch, pfn):
    """Queue a page for the LRU lists; the batch holds a reference until it is drained (FACTS B1).

    Linux: folio_batch_add_and_move(), mm/swap.c
    """
    batch.pfn[batch.nr] = pfn
    batch.nr += 1
    mem.page[pfn].flag |= PageFlag.LRU_BATCH
    if batch.nr >= mem.kernel.nr_lru_batch or mem.node.lru_disabled > 0:
        drain_batch(mem, cpu, batch)


@jit
def folio_add_lru(mem, cpu, pfn):
    """Queue a new page. Linux: folio_add_lru(), mm/swap.c."""
    batch_add(mem, cpu, mem.lru_add[cpu], pfn)


@jit
def bh_lru_install(mem, cpu, pfn):
    """Keep a reference on a block-device page that was looked up, until 16 others were or somebody wants it (FACTS B2).

    Linux: bh_lru_install(), fs/buffer.c. Differs: a page has one buffer.
    """
    lru = mem.bh_lru[cpu]
    if mem.node.lru_disabled > 0 and mem.kernel.lru_cache_disable:
        return
    slot = 0
    while slot < lru.nr and lru.pfn[slot] != pfn:
        slot += 1
    if slot == lru.nr:
        if lru.nr < BH_LRU_SIZE:
            lru.nr += 1
        else:
            slot -= 1
            put_buffer(mem, cpu, np.int64(lru.pfn[slot]))
        if mem.page[pfn].pincount == 0:
            mem.page[pfn].holder = HOLDER_BUFFER_HEAD
        mem.page[pfn].pincount += 1
    while slot > 0:
        lru.pfn[slot] = lru.pfn[slot - 1]
        slot -= 1
    lru.pfn[0] = pfn


@jit
def put_buffer(mem, cpu, pfn):
    """Drop a buffer head's reference. Linux: __brelse()."""
    page = mem.page[pfn]
    page.pincount -= 1
    if page.pincount == 0:
        page.holder = HOLDER_NONE
        if is_orphan(mem, pfn):
            put_page(mem, cpu, pfn)


@jit
def invalidate_bh_lru(mem, cpu):
    """Let a CPU forget the buffers it looked up. Linux: invalidate_bh_lrus_cpu()."""
    lru = mem.bh_lru[cpu]
    nr = np.int64(lru.nr)
    lru.nr = 0
    for slot in range(nr):
        put_buffer(mem, cpu, np.int64(lru.pfn[slot]))


@jit
def folio_activate(mem, pfn):
    """Move a page to the active list, by way of the CPU's batch if it is on a list now. Linux: folio_activate()."""
    page = mem.page[pfn]
    if page.flag & (PageFlag.ACTIVE | PageFlag.MLOCKED):
        return
    on_list = page.flag & PageFlag.LRU
    if on_list:
        lruvec_del_folio(mem, pfn)
    page.flag |= PageFlag.ACTIVE
    if on_list:
        cpu = task_cpu(mem, mem.cursor.task)
        batch_add(mem, cpu, mem.lru_activate[cpu], pfn)
    mem.lruvec[lruvec_index(mem, np.int64(page.zone))].nonresident_age += 1
    mem.vm_event[VmEvent.PGACTIVATE] += 1


@jit
def mark_page_accessed(mem, pfn):
    """A read through the page cache: second reference activates. Linux: folio_mark_accessed()."""
    page = mem.page[pfn]
    if not page.flag & PageFlag.REFERENCED:
        page.flag |= PageFlag.REFERENCED
    elif not page.flag & PageFlag.ACTIVE:
        folio_activate(mem, pfn)
        page.flag &= ~PageFlag.REFERENCED


@jit
def is_orphan(mem, pfn):
    """A page that nobody maps or caches any more and that only a passing reference keeps from being free."""
    page = mem.page[pfn]
    return page.index == NO_ENTRY and page.mapcount == 0


@jit
def put_page(mem, cpu, pfn):
    """Drop the last mapping's or the page cache's reference; the page is free unless somebody else holds one.

    Linux: folio_put() -> __folio_put(), mm/swap.c
    Differs: a page that stays behind leaves the LRU at once.
    """
    page = mem.page[pfn]
    page.index = NO_ENTRY
    if page.flag & PageFlag.LRU:
        lruvec_del_folio(mem, pfn)
    if page.flag & (PageFlag.LRU_BATCH | PageFlag.WRITEBACK) or page.pincount > 0:
        return
    free_pages(mem, cpu, pfn, np.int64(page.order))


@jit
def task_cpu(mem, task):
    """CPU a task runs on. Model: fixed by its number; what runs for nobody runs on CPU 0."""
    return task % mem.kernel.nr_cpus if task > 0 else 0
