"""What each event does to the memory model; a handler stops where a movable page needs a placement answer.

Every handler that may ask takes up again at `cursor.offset`, so that an event of many pages can hold many questions.
"""

from __future__ import annotations

import numpy as np

from cma_gym.machine.events import (
    KALLOC_ORDER_MASK,
    KALLOC_ORDER_SHIFT,
    PIN_HOLDER_SHIFT,
    FileFlag,
    KallocFlag,
    Op,
    PinFlag,
    TouchFlag,
)
from cma_gym.mm.cma import run_demands, start_demand
from cma_gym.mm.filemap import (
    access_file_page,
    count_file_fault,
    file_request,
    filemap_add_folio,
    hold_file_pages,
    sync_file_page,
    truncate_file_page,
    wait_for_device,
    write_file_page,
)
from cma_gym.mm.gup import pin_fpage, pin_vpage
from cma_gym.mm.lru import put_page, task_cpu
from cma_gym.mm.memory import (
    NO_REQUEST,
    copy_page_range,
    fault_request,
    finish_fault,
    hold_fault,
    hold_fork,
    mlock_vpage,
    unmap_range,
)
from cma_gym.mm.mmzone import (
    HOLDER_ACCESS,
    HOLDER_JOURNAL,
    HOLDER_PAGE_LOCK,
    KIND_KERNEL,
    KIND_PAGE_TABLE,
    KIND_SLAB,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    NO_ENTRY,
    NO_PAGE,
    REQUEST_BDEV,
    REQUEST_FILE,
    REQUEST_SHMEM,
    PageFlag,
)
from cma_gym.mm.oom_kill import exit_mmap
from cma_gym.mm.page_alloc import ALLOC_MIN_RESERVE, ALLOC_NON_BLOCK, prep_new_page
from cma_gym.mm.pcp import free_pages
from cma_gym.mm.slowpath import alloc_pages
from cma_gym.mm.zonelist import ZONE_NORMAL, gfp_zone, placement_flags
from cma_gym.support.jit import jit

RUN_PAGES = 32
"""Pages of one request that one answer covers: a read-ahead window, a fault-around."""
NS_PER_US = 1_000
NS_PER_MS = 1_000_000


@jit
def answered(mem, kind, left, writable):
    """Whether the latest answer covers one more page of this kind; if not, the question is written into the cursor."""
    cursor = mem.cursor
    if cursor.budget > 0 and cursor.answer_kind == kind:
        cursor.budget -= 1
        return True
    cursor.kind = kind
    cursor.writable = writable
    cursor.run = min(left, RUN_PAGES)
    return False


@jit
def alloc_placed(mem, cpu, kind):
    """A movable page where the latest answer wants it; NO_PAGE if memory is out."""
    flags = placement_flags(mem, mem.cursor.action)
    return alloc_pages(mem, cpu, 0, MIGRATE_MOVABLE, gfp_zone(mem, kind, flags), flags)


@jit
def do_spawn(mem, event):
    """SPAWN: a new life of a task, with an empty range; or none, if it was to start only what does not run."""
    task = mem.task[event.task]
    if event.op == Op.SPAWN and event.value > 0 and task.alive:
        return
    task.cold = event.value if event.op == Op.SPAWN else 0
    if task.alive and event.task > 0:
        exit_mmap(mem, task_cpu(mem, event.task), np.int64(event.task))
    task.alive = 1
    task.killed = 0
    task.start = event.start
    task.nr_vpages = event.nr
    task.importance = event.arg
    task.has_pinned = 0
    task.last_active = mem.clock


@jit
def do_fork(mem, event):
    """FORK: a new task that shares its parent's pages."""
    do_spawn(mem, event)
    parent = mem.task[event.value]
    if parent.alive:
        nr = min(event.nr, parent.nr_vpages)
        copy_page_range(mem, np.int64(parent.start), np.int64(event.start), nr)
        hold_fork(mem, np.int64(event.value), np.int64(parent.start), nr)


@jit
def do_touch(mem, event):
    """TOUCH: fault in what is missing; False if a question is open."""
    cursor = mem.cursor
    cpu = task_cpu(mem, np.int64(event.task))
    write = event.arg & TouchFlag.WRITE
    driver = event.arg & TouchFlag.DRIVER
    mem.task[event.task].last_active = mem.clock
    faulted = np.int64(NO_PAGE)
    faulted_vpn = np.int64(event.start)
    faulted_by = np.int64(NO_REQUEST)
    while cursor.offset < event.nr:
        run_demands(mem)
        vpn = np.int64(event.start) + cursor.offset
        request = fault_request(mem, vpn, write, driver)
        if request == NO_REQUEST:
            mem.page[mem.pte[vpn].entry].flag |= PageFlag.YOUNG
            cursor.offset += 1
            continue
        if not answered(mem, request, event.nr - cursor.offset, 0):
            return False
        pfn = alloc_placed(mem, cpu, request)
        if pfn == NO_PAGE:
            cursor.offset += 1
            continue
        if fault_request(mem, vpn, write, driver) != request:
            prep_new_page(mem, pfn, 0, KIND_KERNEL, NO_PAGE, 0)
            free_pages(mem, cpu, pfn, 0)
            continue
        finish_fault(mem, cpu, np.int64(event.task), request, pfn, vpn)
        faulted = pfn
        faulted_vpn = vpn
        faulted_by = request
        cursor.offset += 1
    if faulted != NO_PAGE:
        hold_fault(mem, np.int64(event.task), faulted_by, faulted, faulted_vpn)
    return True


@jit
def base_request(arg):
    """Request kind of a FILE event."""
    if arg & FileFlag.BDEV:
        return REQUEST_BDEV
    return REQUEST_SHMEM if arg & FileFlag.SHMEM else REQUEST_FILE


@jit
def use_file_page(mem, pfn, event):
    """The access itself, once the page is there."""
    arg = event.arg
    access_file_page(mem, pfn, arg & FileFlag.MAPPED, arg & FileFlag.EXEC, arg & FileFlag.WRITABLE)
    if arg & FileFlag.JOURNAL:
        pin_fpage(mem, np.int64(mem.page[pfn].index), HOLDER_JOURNAL, np.int64(event.value) * NS_PER_US)
    if arg & FileFlag.WRITE:
        write_file_page(mem, pfn)


@jit
def do_file(mem, event):
    """FILE: read or write through the page cache; False if a question is open."""
    cursor = mem.cursor
    task = np.int64(event.task)
    cpu = task_cpu(mem, task)
    base = base_request(event.arg)
    writable = event.arg & (FileFlag.WRITABLE | FileFlag.WRITE) != 0
    unmovable = base == REQUEST_BDEV and event.arg & FileFlag.UNMOVABLE != 0
    metadata = base == REQUEST_BDEV and (not unmovable or event.arg & FileFlag.METADATA != 0)
    mem.task[task].last_active = mem.clock
    while cursor.offset < event.nr:
        run_demands(mem)
        fpn = np.int64(event.start) + cursor.offset
        pfn = np.int64(mem.filemap[fpn].entry)
        missed = pfn < 0
        if missed:
            request = file_request(mem, fpn, base)
            if unmovable:
                pfn = alloc_pages(mem, cpu, 0, MIGRATE_UNMOVABLE, ZONE_NORMAL, 0)
            elif not answered(mem, request, event.nr - cursor.offset, writable):
                return False
            else:
                pfn = alloc_placed(mem, cpu, request)
            if pfn == NO_PAGE:
                cursor.offset += 1
                continue
            create = event.arg & FileFlag.WRITE != 0 and mem.filemap[fpn].entry == NO_ENTRY
            filemap_add_folio(mem, cpu, task, pfn, fpn, base, create, metadata)
            pfn = np.int64(mem.filemap[fpn].entry)
        if event.arg & FileFlag.MAPPED:
            count_file_fault(mem, fpn, cursor.offset == 0, missed)
        if pfn >= 0:
            use_file_page(mem, pfn, event)
        cursor.offset += 1
    holder = HOLDER_PAGE_LOCK if event.arg & (FileFlag.WRITE | FileFlag.MAPPED) else HOLDER_ACCESS
    hold_file_pages(mem, task, np.int64(event.start), np.int64(event.nr), holder)
    return True


@jit
def do_sync(mem, event):
    """SYNC: write what is dirty and wait for it."""
    for fpn in range(event.start, event.start + event.nr):
        sync_file_page(mem, np.int64(fpn))
    wait_for_device(mem)


@jit
def do_truncate(mem, event):
    """TRUNCATE: the file pages are gone."""
    cpu = task_cpu(mem, np.int64(event.task))
    for fpn in range(event.start, event.start + event.nr):
        truncate_file_page(mem, cpu, np.int64(fpn))


@jit
def kernel_kind(arg):
    """Page kind of a KALLOC event."""
    if arg & KallocFlag.PAGE_TABLE:
        return KIND_PAGE_TABLE
    return KIND_SLAB if arg & KallocFlag.SLAB else KIND_KERNEL


@jit
def do_kalloc(mem, event):
    """KALLOC: unmovable blocks, kept in the task's handles."""
    cpu = task_cpu(mem, np.int64(event.task))
    order = np.int64(event.arg >> KALLOC_ORDER_SHIFT & KALLOC_ORDER_MASK)
    migratetype = MIGRATE_RECLAIMABLE if event.arg & KallocFlag.RECLAIMABLE else MIGRATE_UNMOVABLE
    flags = ALLOC_NON_BLOCK if event.arg & (KallocFlag.ATOMIC | KallocFlag.NOWAIT) else 0
    flags |= ALLOC_MIN_RESERVE if event.arg & KallocFlag.ATOMIC else 0
    for handle in range(event.start, event.start + event.nr):
        if mem.pte[handle].entry != NO_ENTRY:
            continue
        pfn = alloc_pages(mem, cpu, order, migratetype, ZONE_NORMAL, flags)
        if pfn == NO_PAGE:
            continue
        prep_new_page(mem, pfn, order, kernel_kind(event.arg), np.int64(handle), np.int64(event.task))
        mem.page[pfn].mapcount = 1
        mem.pte[handle].entry = pfn
        mem.pte[handle].next = NO_PAGE


@jit
def do_kfree(mem, event):
    """KFREE: give the blocks in these handles back."""
    cpu = task_cpu(mem, np.int64(event.task))
    for handle in range(event.start, event.start + event.nr):
        pfn = np.int64(mem.pte[handle].entry)
        if pfn < 0 or mem.page[pfn].kind < KIND_SLAB:
            continue
        mem.pte[handle].entry = NO_ENTRY
        mem.page[pfn].mapcount = 0
        put_page(mem, cpu, pfn)


@jit
def do_pin(mem, event):
    """PIN: hold references on what is present."""
    cpu = task_cpu(mem, np.int64(event.task))
    holder = np.int64(event.arg >> PIN_HOLDER_SHIFT)
    duration_ns = np.int64(event.value) * NS_PER_US
    mem.task[event.task].has_pinned = 1
    for index in range(event.start, event.start + event.nr):
        if event.arg & PinFlag.FILE:
            pin_fpage(mem, np.int64(index), holder, duration_ns)
        else:
            pin_vpage(mem, cpu, np.int64(index), holder, duration_ns, event.arg & PinFlag.LONGTERM != 0)


@jit
def do_mlock(mem, event):
    """MLOCK: lock or unlock what is present."""
    for vpn in range(event.start, event.start + event.nr):
        mlock_vpage(mem, np.int64(vpn), event.arg != 0)


@jit
def do_exit(mem, event):
    """EXIT: end a task."""
    exit_mmap(mem, task_cpu(mem, np.int64(event.task)), np.int64(event.task))


@jit
def do_unmap(mem, event):
    """UNMAP: free virtual pages."""
    unmap_range(mem, task_cpu(mem, np.int64(event.task)), np.int64(event.start), np.int64(event.nr))


@jit
def do_demand(mem, event):
    """DEMAND: a device asks for a buffer; its first try begins at once and goes on beside what follows."""
    hold_ns = np.int64(event.task) * NS_PER_MS
    start_demand(
        mem, np.int64(event.start), np.int64(event.nr), np.int64(event.value), np.int64(event.arg), hold_ns
    )
    run_demands(mem)
