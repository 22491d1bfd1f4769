"""The page cache: regular files, shmem, and the block device's own cache.

Linux: mm/filemap.c, mm/shmem.c, fs/buffer.c, mm/truncate.c
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.cleancache import cleancache_get, cleancache_invalidate
from cma_gym.mm.clock import charge, elapse
from cma_gym.mm.hands import hold_operation, hold_page
from cma_gym.mm.lru import bh_lru_install, folio_add_lru, mark_page_accessed, put_page, task_cpu
from cma_gym.mm.mmzone import (
    FOLIO_BATCH_SIZE,
    HOLDER_ACCESS,
    INFLIGHT,
    KIND_BDEV,
    KIND_FILE,
    KIND_SHMEM,
    NO_ENTRY,
    REQUEST_BDEV,
    REQUEST_SHMEM,
    REQUEST_SWAPIN,
    SHADOW_ENTRY,
    Cost,
    PageFlag,
    PageKind,
    RequestKind,
    VmEvent,
)
from cma_gym.mm.page_alloc import prep_new_page
from cma_gym.mm.swap import is_swap_entry, swap_free, swap_in, swap_slot_of
from cma_gym.mm.workingset import workingset_refault
from cma_gym.mm.writeback import (
    dirty_limit,
    end_oldest_writeback,
    folio_cancel_dirty,
    folio_mark_dirty,
    start_writeback,
    write_oldest,
)
from cma_gym.support.jit import jit


@jit
def file_request(mem, fpn, base_kind):
    """What a miss on this file page asks for: its own kind, or a swap-in. `base_kind`: FILE, BDEV or SHMEM."""
    if base_kind == RequestKind.SHMEM and is_swap_entry(np.int64(mem.filemap[fpn].entry)):
        return REQUEST_SWAPIN
    return base_kind


@jit
def cache_kind(base_kind):
    """Page kind of a page-cache request."""
    if base_kind == REQUEST_SHMEM:
        return KIND_SHMEM
    return KIND_BDEV if base_kind == REQUEST_BDEV else KIND_FILE


@jit
def filemap_add_folio(mem, cpu, task, pfn, fpn, base_kind, create, metadata):
    """Put a freshly allocated page into the page cache and fill it. Linux: filemap_add_folio(), shmem_swapin_folio().

    Args:
        mem: machine record.
        cpu: who runs.
        task: who asked.
        pfn: the new page.
        fpn: file page.
        base_kind: REQUEST_FILE, REQUEST_BDEV or REQUEST_SHMEM.
        create: a write of a page that was never there; nothing has to be read.
        metadata: read by a file system through buffer heads (sb_bread), not through the device's file.
    """
    before = mem.work_ns
    copied = cleancache_get(mem, fpn)
    entry = np.int64(mem.filemap[fpn].entry)
    prep_new_page(mem, pfn, 0, cache_kind(base_kind), fpn, task)
    age = np.int64(-1)
    if is_swap_entry(entry):
        age = swap_in(mem, cpu, swap_slot_of(entry))
    elif entry <= SHADOW_ENTRY:
        age = (SHADOW_ENTRY - entry) // 2
    mem.filemap[fpn].entry = pfn
    if metadata:
        mem.page[pfn].flag |= PageFlag.PRIVATE
    folio_add_lru(mem, cpu, pfn)
    if age >= 0:
        workingset_refault(mem, pfn, age)
    if base_kind != REQUEST_SHMEM and not create and not copied:
        charge(mem, Cost.FLASH_READ, 1)
        mem.vm_event[VmEvent.PGPGIN] += 1
    account_read(mem, mem.work_ns - before, is_swap_entry(entry), age >= 0)


@jit
def account_read(mem, ns, from_swap, refault):
    """Charge the time of a fill to what caused it, and let it pass."""
    if from_swap:
        mem.metrics.swap_ns += ns
    elif refault:
        mem.metrics.refault_ns += ns
    else:
        mem.metrics.io_ns += ns
    elapse(mem, ns)


@jit
def count_file_fault(mem, fpn, first, missed):
    """Count the fault of a mapped access, if there is one: one for every 16 pages, a major one for every window read.

    Linux: do_fault_around() maps what is cached (fault_around_bytes, 64 kB); filemap_fault() reads a window of 128 kB;
    read() faults nothing in. `first`: of its event; `missed`: the page had to be read.
    """
    if first or fpn & 15 == 0:
        mem.vm_event[VmEvent.PGFAULT] += 1
    if missed and (first or fpn & 31 == 0):
        mem.vm_event[VmEvent.PGMAJFAULT] += 1


@jit
def access_file_page(mem, pfn, mapped, executable, writable):
    """A hit in the page cache. Linux: filemap_map_pages() for mapped access, folio_mark_accessed() for reads."""
    page = mem.page[pfn]
    if page.flag & PageFlag.PRIVATE:
        bh_lru_install(mem, task_cpu(mem, mem.cursor.task), pfn)
    if writable:
        page.flag |= PageFlag.WRITABLE
    if not mapped:
        charge(mem, Cost.COPY, 1)
        mark_page_accessed(mem, pfn)
        return
    page.flag |= PageFlag.MAPPED | PageFlag.YOUNG
    if executable:
        page.flag |= PageFlag.EXEC


@jit
def hold_file_pages(mem, task, start, nr, holder):
    """The last pages of a read or write are still in use: a batch of folios, one page where the kernel had no batches.

    Linux: filemap_get_pages() (one folio batch since 5.12), the locked folio of generic_perform_write()
    """
    batch = 1 if mem.kernel.lru_per_zone or holder != HOLDER_ACCESS else FOLIO_BATCH_SIZE
    for fpn in range(max(start, start + nr - batch), start + nr):
        pfn = np.int64(mem.filemap[fpn].entry)
        if pfn >= 0:
            hold_page(mem, task, pfn, holder)
    hold_operation(mem, task)


@jit
def balance_dirty_pages(mem):
    """Make a writer wait while too much is dirty or under writeback. Linux: balance_dirty_pages()."""
    if mem.node.nr_dirty + mem.node.nr_writeback <= 64:
        return
    limit = max(dirty_limit(mem, mem.kernel.dirty_percent), 64)
    while mem.node.nr_dirty + mem.node.nr_writeback > limit:
        if mem.node.dirty_head < mem.node.dirty_tail:
            write_oldest(mem)
        if mem.node.inflight_head == mem.node.inflight_tail:
            continue
        wait_ns = mem.inflight_ns[mem.node.inflight_head % INFLIGHT] - mem.clock
        if wait_ns > 0:
            mem.metrics.io_ns += wait_ns
            elapse(mem, wait_ns)
        else:
            end_oldest_writeback(mem)


@jit
def write_file_page(mem, pfn):
    """Dirty a cached page, and be held back if there are too many. Linux: generic_perform_write()."""
    folio_mark_dirty(mem, pfn)
    balance_dirty_pages(mem)


@jit
def sync_file_page(mem, fpn):
    """Write one page now if it is dirty; the caller waits for it. Linux: file_write_and_wait_range()."""
    pfn = np.int64(mem.filemap[fpn].entry)
    if pfn >= 0 and mem.page[pfn].flag & PageFlag.DIRTY and mem.page[pfn].kind != PageKind.SHMEM:
        start_writeback(mem, pfn)


@jit
def wait_for_device(mem):
    """Wait until the device has written everything it was given."""
    wait_ns = mem.node.disk_free_ns - mem.clock
    if wait_ns > 0:
        mem.metrics.io_ns += wait_ns
        elapse(mem, wait_ns)


@jit
def truncate_file_page(mem, cpu, fpn):
    """Drop a page of a file that is cut or removed, with its swap copy or shadow. Linux: truncate_inode_folio()."""
    cleancache_invalidate(mem, fpn)
    entry = np.int64(mem.filemap[fpn].entry)
    mem.filemap[fpn].entry = NO_ENTRY
    if entry >= 0:
        folio_cancel_dirty(mem, entry)
        put_page(mem, cpu, entry)
    elif is_swap_entry(entry):
        swap_free(mem, cpu, swap_slot_of(entry))
