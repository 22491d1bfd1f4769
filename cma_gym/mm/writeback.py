"""Dirty file pages and their way to the device.

Linux: mm/page-writeback.c, fs/fs-writeback.c
Differs: one device with a queue; dirty pages are written in the order in which they became dirty.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.lru import is_orphan, put_page
from cma_gym.mm.mmzone import INFLIGHT, Cost, PageFlag, PageKind, VmEvent, ZoneStat, ZoneType
from cma_gym.support.jit import jit

FLUSH_INTERVAL_NS = 5_000_000_000
"""Linux: dirty_writeback_interval, 5 s."""


@jit
def folio_mark_dirty(mem, pfn):
    """A write to a file page. Linux: folio_mark_dirty(). Swap-backed pages have no device to be written to."""
    page = mem.page[pfn]
    if page.flag & PageFlag.DIRTY:
        return
    page.flag |= PageFlag.DIRTY
    if page.kind == PageKind.SHMEM:
        return
    mem.node.nr_dirty += 1
    mem.vm_event[VmEvent.NR_DIRTIED] += 1
    capacity = len(mem.dirty_ring)
    while mem.node.dirty_tail - mem.node.dirty_head >= capacity:
        write_oldest(mem)
    slot = mem.node.dirty_tail % capacity
    mem.dirty_ring[slot] = page.index
    mem.dirty_ns[slot] = mem.clock
    mem.node.dirty_tail += 1


@jit
def folio_cancel_dirty(mem, pfn):
    """Forget the changes of a page that goes away. Linux: folio_cancel_dirty()."""
    page = mem.page[pfn]
    if page.flag & PageFlag.DIRTY:
        page.flag &= ~PageFlag.DIRTY
        if page.kind != PageKind.SHMEM:
            mem.node.nr_dirty -= 1


@jit
def end_oldest_writeback(mem):
    """Finish the page that has been under writeback longest. Linux: folio_end_writeback()."""
    slot = mem.node.inflight_head % INFLIGHT
    mem.node.inflight_head += 1
    mem.node.nr_writeback -= 1
    pfn = np.int64(mem.inflight_pfn[slot])
    mem.page[pfn].flag &= ~PageFlag.WRITEBACK
    if is_orphan(mem, pfn):
        put_page(mem, 0, pfn)


@jit
def submit_write(mem, pfn, cost):
    """Put a page at the end of the device's queue, which must have room. Linux: submit_bio()."""
    mem.page[pfn].flag |= PageFlag.WRITEBACK
    mem.node.nr_writeback += 1
    mem.node.disk_free_ns = max(mem.node.disk_free_ns, mem.clock) + mem.kernel.cost[cost]
    slot = mem.node.inflight_tail % INFLIGHT
    mem.inflight_pfn[slot] = pfn
    mem.inflight_ns[slot] = mem.node.disk_free_ns
    mem.node.inflight_tail += 1


@jit
def start_writeback(mem, pfn):
    """Hand a dirty page to the device, after its oldest one if the queue is full. Linux: folio_start_writeback()."""
    if mem.node.inflight_tail - mem.node.inflight_head >= INFLIGHT:
        end_oldest_writeback(mem)
    page = mem.page[pfn]
    while page.flag & PageFlag.WRITEBACK:  # dirtied again on its way; the device keeps the order
        end_oldest_writeback(mem)
    folio_cancel_dirty(mem, pfn)
    mem.vm_event[VmEvent.NR_WRITTEN] += 1
    submit_write(mem, pfn, Cost.FLASH_WRITE)


@jit
def write_oldest(mem):
    """Start writeback of the page that became dirty first, if it still is."""
    slot = mem.node.dirty_head % len(mem.dirty_ring)
    mem.node.dirty_head += 1
    pfn = np.int64(mem.filemap[mem.dirty_ring[slot]].entry)
    if pfn >= 0 and mem.page[pfn].flag & PageFlag.DIRTY and mem.page[pfn].kind != PageKind.SHMEM:
        start_writeback(mem, pfn)


@jit
def sync_device(mem):
    """Hand everything dirty to the device. Linux: fsync_bdev()."""
    while mem.node.dirty_head < mem.node.dirty_tail:
        write_oldest(mem)


@jit
def end_writebacks(mem):
    """Finish everything the device has completed by now."""
    while mem.node.inflight_head < mem.node.inflight_tail:
        if mem.inflight_ns[mem.node.inflight_head % INFLIGHT] > mem.clock:
            return
        end_oldest_writeback(mem)


@jit
def dirty_limit(mem, percent):
    """Pages that may be dirty: a share of free and page-cache memory. Linux: global_dirtyable_memory()."""
    pages = 0
    for index in range(ZoneType.CMA + 1):
        stat = mem.zones[index].vm_stat
        pages += stat[ZoneStat.FREE_PAGES] + stat[ZoneStat.INACTIVE_FILE] + stat[ZoneStat.ACTIVE_FILE]
    return max(pages - mem.node.totalreserve_pages, 0) * percent // 100


@jit
def flusher_run(mem):
    """Write back while too much is dirty, and every 5 s what is old. Linux: wb_workfn()."""
    if mem.node.nr_dirty == 0:
        return
    periodic = mem.clock >= mem.node.flusher_next_ns
    if periodic:
        mem.node.flusher_next_ns = mem.clock + FLUSH_INTERVAL_NS
    over = mem.node.nr_dirty - dirty_limit(mem, mem.kernel.dirty_background_percent)
    while mem.node.dirty_head < mem.node.dirty_tail:
        if mem.node.inflight_tail - mem.node.inflight_head >= INFLIGHT:
            return
        age = mem.clock - mem.dirty_ns[mem.node.dirty_head % len(mem.dirty_ring)]
        if over <= 0 and not (periodic and age >= mem.kernel.dirty_expire_ns):
            return
        over -= 1
        write_oldest(mem)
