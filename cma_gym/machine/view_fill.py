"""Writing the view of an open question, in the order of `view.FEATURES`."""

from __future__ import annotations

import numpy as np

from cma_gym.machine.events import Op, TouchFlag
from cma_gym.machine.view import FILE_PAGES, Subject, View
from cma_gym.mm.memory import fault_request
from cma_gym.mm.mmzone import NO_PAGE, NR_ZONES, REQUEST_ZSMALLOC, WMARK_HIGH, WMARK_LOW, PageKind, ZoneStat
from cma_gym.mm.workingset import NS_PER_SECOND
from cma_gym.mm.zonelist import nr_free_cma
from cma_gym.support.jit import jit

NS_PER_MS = 1_000_000
NEVER_MS = 1 << 20


@jit
def write_request(mem, view):
    """What is asked for, and by whom."""
    cursor = mem.cursor
    task = mem.task[cursor.task]
    view[View.KIND] = cursor.kind
    view[View.ORDER] = 0
    view[View.RUN_PAGES] = cursor.run
    view[View.IMPORTANCE] = task.importance
    view[View.OWNER_PINNED] = task.has_pinned
    view[View.WRITABLE] = cursor.writable


@jit
def write_zones(mem, view):
    """Counters summed over the zones."""
    free = 0
    low = 0
    high = 0
    managed = 0
    active_anon = 0
    inactive_anon = 0
    active_file = 0
    inactive_file = 0
    for index in range(NR_ZONES):
        zone = mem.zones[index]
        if zone.managed_pages == 0:
            continue
        free += zone.vm_stat[ZoneStat.FREE_PAGES]
        low += zone.watermark[WMARK_LOW]
        high += zone.watermark[WMARK_HIGH]
        managed += zone.managed_pages
        active_anon += zone.vm_stat[ZoneStat.ACTIVE_ANON]
        inactive_anon += zone.vm_stat[ZoneStat.INACTIVE_ANON]
        active_file += zone.vm_stat[ZoneStat.ACTIVE_FILE]
        inactive_file += zone.vm_stat[ZoneStat.INACTIVE_FILE]
    free_cma = nr_free_cma(mem)
    view[View.FREE_PAGES] = free
    view[View.FREE_CMA] = free_cma
    view[View.WATERMARK_LOW] = low
    view[View.WATERMARK_HIGH] = high
    view[View.MANAGED_PAGES] = managed
    view[View.ACTIVE_ANON] = active_anon
    view[View.INACTIVE_ANON] = inactive_anon
    view[View.ACTIVE_FILE] = active_file
    view[View.INACTIVE_FILE] = inactive_file
    view[View.CMA_FREE_64THS] = free_cma * 64 // max(mem.cma.nr_pages, 1)
    view[View.NORMAL_FREE_16THS] = min(max(free - free_cma, 0) * 16 // max(high, 1), 255)


@jit
def write_node(mem, view):
    """Counters of the whole machine, and of the area."""
    node = mem.node
    second = mem.clock // NS_PER_SECOND
    rate = node.refault_rate if second == node.refault_second else node.refault_now
    view[View.TOTALRESERVE] = node.totalreserve_pages
    view[View.CMA_PAGES] = mem.cma.nr_pages
    view[View.DIRTY] = node.nr_dirty
    view[View.WRITEBACK] = node.nr_writeback
    view[View.SWAP_FREE] = node.nr_swap_free
    view[View.KSWAPD_AWAKE] = node.kswapd_awake
    view[View.REFAULT_RATE] = rate if second <= node.refault_second + 1 else 0
    view[View.CMA_BUSY] = mem.cma.busy
    since = (mem.clock - mem.last_demand_ns) // NS_PER_MS
    view[View.DEMAND_MS] = min(since, NEVER_MS) if mem.nr_demands_logged > 0 else NEVER_MS
    view[View.DEMAND_FAILED] = mem.last_demand_failed
    view[View.CMA_ANON] = mem.cma.occupancy[PageKind.ANON]
    view[View.CMA_FILE] = mem.cma.occupancy[PageKind.FILE]
    view[View.CMA_BDEV] = mem.cma.occupancy[PageKind.BDEV]
    view[View.CMA_SHMEM] = mem.cma.occupancy[PageKind.SHMEM]
    view[View.CMA_ZSMALLOC] = mem.cma.occupancy[PageKind.ZSMALLOC]


@jit
def write_view(mem, view):
    """Fill all of `view`, int64[NR_VIEW]."""
    write_request(mem, view)
    write_zones(mem, view)
    write_node(mem, view)


@jit
def last_subject(mem, event):
    """The last page of this event that the answer can cover: what is present does not count against the run."""
    left = mem.cursor.run
    page = np.int64(event.start) + mem.cursor.offset
    end = np.int64(event.start) + event.nr
    last = page
    while page < end and left > 0:
        if event.op == Op.FILE:
            missing = mem.filemap[page].entry < 0
        else:
            request = fault_request(mem, page, event.arg & TouchFlag.WRITE, event.arg & TouchFlag.DRIVER)
            missing = request == mem.cursor.kind
        if missing:
            last = page
            left -= 1
        page += 1
    return last


@jit
def write_subject(mem, event, view):
    """Fill the tail of a clairvoyant rule's view (Subject): which event asks, and for which pages."""
    view[Subject.EVENT] = mem.cursor.next
    if mem.cursor.kind == REQUEST_ZSMALLOC:
        view[Subject.FIRST] = NO_PAGE
        view[Subject.LAST] = NO_PAGE
        return
    space = FILE_PAGES if event.op == Op.FILE else 0
    view[Subject.FIRST] = space + event.start + mem.cursor.offset
    view[Subject.LAST] = space + last_subject(mem, event)
