"""The core under test: one compiled entry that reaches every function the tests of `cma_gym.mm` call.

A function of the core that Python calls is compiled together with everything below it, some twenty seconds; all unit
tests therefore go through `operate`, on machines of one dtype, whose sizes the tests choose below its capacities.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from cma_gym.machine.events import FileFlag, Op, TouchFlag
from cma_gym.machine.ops import RUN_PAGES
from cma_gym.machine.step import answer_one, ask_for_zsmalloc, background, begin_event, dispatch, end_event, idle_until
from cma_gym.mm.check.validate import first_violation
from cma_gym.mm.clock import elapse
from cma_gym.mm.cma import cma_release, find_next_zero_area, refresh_next_demand, run_demands, start_demand
from cma_gym.mm.compaction import COMPACT_PRIO_SYNC_LIGHT, COMPACT_SUCCESS, compact_zone, try_to_compact_pages
from cma_gym.mm.contig_alloc import begin_contig, contig_step
from cma_gym.mm.filemap import filemap_add_folio
from cma_gym.mm.gup import pin_vpage
from cma_gym.mm.lru import lru_add_drain_all
from cma_gym.mm.memory import finish_anon_fault, finish_driver_fault
from cma_gym.mm.mm_init import declare_zones, finish_boot, init_heads, init_tables
from cma_gym.mm.mm_types import Shape, memory_dtype
from cma_gym.mm.mmzone import (
    CONTIG_DONE,
    CONTIG_IDLE,
    KIND_ANON,
    KIND_BDEV,
    KIND_DRIVER,
    KIND_FILE,
    KIND_SHMEM,
    NO_PAGE,
    REQUEST_BDEV,
    REQUEST_FILE,
    REQUEST_SHMEM,
    DemandState,
)
from cma_gym.mm.oom_kill import lowmem_scan, select_victim
from cma_gym.mm.page_alloc import (
    del_page_from_free_list,
    free_one_page,
    free_pages_prepare,
    get_pageblock_migratetype,
    prep_new_page,
    rmqueue_buddy,
)
from cma_gym.mm.page_isolation import free_block_head, start_isolate_page_range, undo_isolate_page_range
from cma_gym.mm.page_ref import get_page
from cma_gym.mm.pcp import drain_all_pages, free_pages, rmqueue
from cma_gym.mm.random import random_below
from cma_gym.mm.slowpath import alloc_pages, reserve_highatomic_pageblock, unreserve_highatomic_pageblock
from cma_gym.mm.vmscan import kswapd_run, try_to_free_pages, wakeup_kswapd
from cma_gym.mm.watermark import zone_watermark_ok
from cma_gym.support.jit import jit

SHAPE = Shape(nr_pages=1024, nr_vpages=2048, nr_fpages=1024, nr_swap=512, nr_tasks=16, nr_pins=256)
DTYPE = memory_dtype(SHAPE)
NR_ARGS = 10


class Do(IntEnum):
    """What `operate` does; the names of its arguments in parentheses."""

    BOOT = 0
    """(below, area_end, low_end, high_end, own_zone, nr_swap, kernel_pages, unused, first_head)"""
    EVENT = 1
    """(action): the event in `events[0]`, every question answered alike."""
    IDLE = 2
    """(ns): time passes, with all that runs beside the tasks."""
    PUT = 3
    """(pfn, kind, index, task): this very page becomes what a fault or a read would have made of it."""
    RMQUEUE_BUDDY = 4
    """(zone, order, migratetype, alloc_flags, kind): from the buddy lists only."""
    FREE_BUDDY = 5
    """(pfn, order): to the buddy lists only."""
    ALLOC = 6
    """(cpu, order, migratetype, highest_zoneidx, alloc_flags, kind)"""
    FREE = 7
    """(cpu, pfn, order)"""
    RMQUEUE = 8
    """(zone, cpu, order, migratetype, alloc_flags, kind): through the per-CPU lists, no watermark."""
    DRAIN = 9
    DRAIN_LRU = 10
    WATERMARK_OK = 11
    """(zone, order, mark, highest_zoneidx, alloc_flags)"""
    ISOLATE = 12
    """(start, end)"""
    UNDO_ISOLATE = 13
    """(start, end)"""
    CONTIG = 14
    """(start, end)"""
    CMA_ALLOC = 15
    """(nr_pages, align_order)"""
    CMA_RELEASE = 16
    """(pfn, nr_pages)"""
    NEXT_ZERO = 17
    """(start, nr_pages, align_order)"""
    DEMAND = 18
    """(id, nr_pages, pieces, align_order, hold_ns)"""
    RUN_DEMANDS = 19
    HOLD = 20
    """(pfn, holder, ns)"""
    PIN_VPAGE = 21
    """(cpu, vpn, holder, ns, longterm)"""
    COMPACT = 22
    """(cpu, order, migratetype, highest_zoneidx)"""
    COMPACT_ZONE = 23
    """(zone, cpu, order, migratetype, priority)"""
    WAKE_KSWAPD = 24
    """(order, highest_zoneidx)"""
    RUN_KSWAPD = 25
    """(budget_ns)"""
    RECLAIM = 26
    """(nr_pages, highest_zoneidx, alloc_flags)"""
    LOWMEM_SCAN = 27
    SELECT_VICTIM = 28
    """(least_important, spare)"""
    RESERVE_HIGHATOMIC = 29
    """(pfn, order)"""
    UNRESERVE_HIGHATOMIC = 30
    """(migratetype)"""
    SOAK = 31
    """(nr, validate_every): random events; the packed violation found, or 0."""
    STEP_DEMANDS = 32
    """Time passes until a demand wants attention, which it gets; 0 if none does within a minute."""


@jit
def take_page(mem, pfn):
    """Take one page out of the free block it lies in; the rest of the block stays free."""
    head = free_block_head(mem, pfn)
    if head == NO_PAGE:
        return False
    zone = mem.zones[mem.page[pfn].zone]
    order = np.int64(mem.page[head].order)
    migratetype = get_pageblock_migratetype(mem, head)
    del_page_from_free_list(mem, zone, head, order, migratetype)
    for other in range(head, head + (1 << order)):
        if other != pfn:
            free_one_page(mem, zone, other, 0, migratetype)
    return True


@jit
def put(mem, pfn, kind, index, task):
    """Make a free page an anonymous, cached or kernel page."""
    if not take_page(mem, pfn):
        return 0
    if kind == KIND_ANON:
        finish_anon_fault(mem, 0, task, pfn, index)
    elif kind == KIND_DRIVER:
        finish_driver_fault(mem, task, pfn, index)
    elif kind == KIND_FILE:
        filemap_add_folio(mem, 0, task, pfn, index, REQUEST_FILE, True, False)
    elif kind == KIND_BDEV:
        filemap_add_folio(mem, 0, task, pfn, index, REQUEST_BDEV, True, True)
    elif kind == KIND_SHMEM:
        filemap_add_folio(mem, 0, task, pfn, index, REQUEST_SHMEM, True, False)
    else:
        prep_new_page(mem, pfn, 0, kind, NO_PAGE, task)
    return 1


@jit
def run_event(mem, event, action):
    """One event at its time, with one answer to all its questions."""
    if ask_for_zsmalloc(mem):
        answer_one(mem, action)
    if begin_event(mem, event):
        while not dispatch(mem, event):
            answer_one(mem, action)
    end_event(mem)


@jit
def touch_or_file(mem, event, pick):
    """Make the event an access to memory or a file. Files: regular, then shmem, then the block device's."""
    if pick < 45:
        event.op = Op.TOUCH
        event.arg = TouchFlag.WRITE if random_below(mem, 3) > 0 else 0
        if random_below(mem, 40) == 0:
            event.arg |= TouchFlag.DRIVER
        return
    third = mem.nr_fpages // 3
    area = random_below(mem, 3)
    event.op = Op.FILE
    event.start = area * third + random_below(mem, third - 40)
    event.arg = random_below(mem, 8)
    if area == 1:
        event.arg |= FileFlag.SHMEM
    elif area == 2:
        event.arg |= FileFlag.BDEV | (FileFlag.UNMOVABLE | FileFlag.METADATA) * (random_below(mem, 4) == 0)
        if random_below(mem, 4) == 0:
            event.arg |= FileFlag.JOURNAL
            event.value = 1 + random_below(mem, 100_000)


@jit
def file_or_task(mem, event, pick, each):
    """Make the event a change of a file's or a task's state."""
    if pick < 76:
        event.op = Op.UNMAP
    elif pick < 79:
        event.op = Op.SYNC if pick < 77 else Op.TRUNCATE
        event.start = random_below(mem, mem.nr_fpages - 40)
    elif pick < 85:
        event.op = Op.PIN
        event.value = 1 + random_below(mem, 200_000)
        event.arg = (3 + random_below(mem, 6)) << 4 | 2 * random_below(mem, 2)
        if random_below(mem, 3) == 0:
            event.start = random_below(mem, mem.nr_fpages - 40)
            event.arg = event.arg & ~2 | 1
    elif pick < 87:
        event.op = Op.MLOCK
        event.nr = 1 + random_below(mem, 6)
        event.arg = random_below(mem, 2)
    elif pick < 88:
        event.op = Op.EXIT
    elif pick < 94:
        event.op = Op.SPAWN
        event.start = event.task * each
        event.nr = each
        event.arg = random_below(mem, 4)
    else:
        event.op = Op.FORK
        event.start = event.task * each
        event.nr = each
        event.arg = random_below(mem, 4)
        event.value = 1 + random_below(mem, mem.nr_tasks - 1)
        if event.value == event.task:
            event.op = Op.IMPORTANCE


@jit
def kernel_or_demand(mem, event, pick, each):
    """Make the event one of kernel memory, or a demand."""
    if pick < 99:
        event.op = Op.KALLOC if pick < 97 else Op.KFREE
        event.task = 0
        event.start = random_below(mem, each - 12)
        event.nr = 1 + random_below(mem, 12)
        event.arg = random_below(mem, 16) | random_below(mem, 4) << 4
        return
    event.op = Op.DEMAND
    event.task = random_below(mem, 50)
    event.arg = random_below(mem, 5)
    whole = random_below(mem, 2) == 0
    event.nr = mem.cma.nr_pages if whole else 1 + random_below(mem, mem.cma.nr_pages // 8)
    event.value = 1 if whole else 1 + random_below(mem, 6)


@jit
def random_event(mem, event):
    """A random event some time after now."""
    each = mem.nr_vpages // mem.nr_tasks
    pick = random_below(mem, 1000) // 10
    event.time = mem.clock + random_below(mem, 2_000_000)
    event.task = 1 + random_below(mem, mem.nr_tasks - 1)
    event.start = event.task * each + random_below(mem, each - 40)
    event.nr = 1 + random_below(mem, 40)
    event.arg = 0
    event.value = 0
    if pick < 74:
        touch_or_file(mem, event, pick)
    elif pick < 95:
        file_or_task(mem, event, pick, each)
    else:
        kernel_or_demand(mem, event, pick, each)


@jit
def soak(mem, events, nr, every):
    """Random events under random answers, checked at intervals."""
    event = events[0]
    for step in range(1, nr + 1):
        random_event(mem, event)
        run_event(mem, event, random_below(mem, 3))
        if step % every == 0:
            found = first_violation(mem)
            if found:
                return found
    return first_violation(mem)


@jit
def boot_machine(mem, args):
    """Bring a zeroed record to life."""
    init_heads(mem, args[8])
    init_tables(mem, args[5])
    declare_zones(mem, args[0], args[1], args[2], args[3], args[4] != 0)
    finish_boot(mem, args[6])
    mem.node.zs_budget = RUN_PAGES
    return 0


@jit
def prepared(mem, pfn, order, kind):
    """A block from an allocator, made what was asked for."""
    if pfn != NO_PAGE:
        prep_new_page(mem, pfn, order, kind, NO_PAGE, 0)
    return pfn


@jit
def operate_allocator(mem, op, a):
    """Operations of the page allocator."""
    if op == Do.PUT:
        return put(mem, a[0], a[1], a[2], a[3])
    if op == Do.RMQUEUE_BUDDY:
        mem.refill += 1
        return prepared(mem, rmqueue_buddy(mem, mem.zones[a[0]], a[1], a[2], a[3]), a[1], a[4])
    if op == Do.RMQUEUE:
        return prepared(mem, rmqueue(mem, mem.zones[a[0]], a[1], a[2], a[3], a[4]), a[2], a[5])
    if op == Do.ALLOC:
        return prepared(mem, alloc_pages(mem, a[0], a[1], a[2], a[3], a[4]), a[1], a[5])
    if op == Do.FREE:
        free_pages(mem, a[0], a[1], a[2])
    elif op == Do.FREE_BUDDY:
        free_pages_prepare(mem, a[0], a[1])
        zone = mem.zones[mem.page[a[0]].zone]
        free_one_page(mem, zone, a[0], a[1], get_pageblock_migratetype(mem, a[0]))
    elif op == Do.DRAIN:
        drain_all_pages(mem)
    elif op == Do.DRAIN_LRU:
        lru_add_drain_all(mem)
    elif op == Do.WATERMARK_OK:
        return np.int64(zone_watermark_ok(mem, mem.zones[a[0]], a[1], a[2], a[3], a[4]))
    elif op == Do.RESERVE_HIGHATOMIC:
        reserve_highatomic_pageblock(mem, a[0], a[1])
    elif op == Do.UNRESERVE_HIGHATOMIC:
        return np.int64(unreserve_highatomic_pageblock(mem, a[0], True))
    return 0


@jit
def step_demands(mem):
    """Let the next demand do its next step; whether there was one."""
    if mem.next_demand_ns > mem.clock + 60_000_000_000:
        return False
    elapse(mem, mem.next_demand_ns - mem.clock)
    run_demands(mem)
    return True


@jit
def contig_to_its_end(mem, start, end):
    """A whole alloc_contig_range() for nobody, its time passing on the way; its error."""
    begin_contig(mem, -1, start, end, False, True)
    contig = mem.contig
    while contig.phase != CONTIG_DONE:
        before = mem.work_ns
        contig.stepping = 1
        contig_step(mem, 0)
        contig.stepping = 0
        elapse(mem, max(mem.work_ns - before, 1, contig.wake_ns - mem.clock))
        contig.wake_ns = 0
    contig.phase = CONTIG_IDLE
    return contig.error


@jit
def cma_alloc_to_its_end(mem, nr_pages, align_order):
    """A demand of one try, served to its end and then forgotten; the first frame of its buffer, or NO_PAGE."""
    tries = mem.kernel.demand_tries
    mem.kernel.demand_tries = 1
    demand = mem.demand[start_demand(mem, 0, nr_pages, 1, align_order, 1 << 60)]
    while demand.state == DemandState.WAITING or demand.state == DemandState.TRYING:
        elapse(mem, mem.next_demand_ns - mem.clock)
        run_demands(mem)
    mem.kernel.demand_tries = tries
    if demand.state != DemandState.HELD:
        return NO_PAGE
    demand.state = DemandState.IDLE
    refresh_next_demand(mem)
    return np.int64(demand.piece_pfn[0])


@jit
def operate_contig(mem, op, a):
    """Operations of isolation, contiguous allocation and compaction."""
    if op == Do.ISOLATE:
        return np.int64(start_isolate_page_range(mem, a[0], a[1]))
    if op == Do.UNDO_ISOLATE:
        undo_isolate_page_range(mem, a[0], a[1])
    elif op == Do.CONTIG:
        return np.int64(contig_to_its_end(mem, a[0], a[1]))
    elif op == Do.CMA_ALLOC:
        return cma_alloc_to_its_end(mem, a[0], a[1])
    elif op == Do.CMA_RELEASE:
        cma_release(mem, a[0], a[1])
    elif op == Do.NEXT_ZERO:
        return find_next_zero_area(mem, a[0], a[1], a[2])
    elif op == Do.DEMAND:
        return np.int64(start_demand(mem, a[0], a[1], a[2], a[3], a[4]) + 1)
    elif op == Do.RUN_DEMANDS:
        run_demands(mem)
    elif op == Do.STEP_DEMANDS:
        return np.int64(step_demands(mem))
    elif op == Do.COMPACT:
        result = try_to_compact_pages(mem, a[0], a[1], a[2], a[3], COMPACT_PRIO_SYNC_LIGHT)
        return np.int64(result == COMPACT_SUCCESS)
    elif op == Do.COMPACT_ZONE:
        return np.int64(compact_zone(mem, mem.zones[a[0]], a[1], a[2], a[3], a[4]))
    return 0


@jit
def operate_rest(mem, op, a, events):
    """Operations of reclaim, references and the machine as a whole."""
    if op == Do.EVENT:
        run_event(mem, events[0], a[0])
    elif op == Do.IDLE:
        idle_until(mem, mem.clock + a[0])
        background(mem)
    elif op == Do.HOLD:
        return np.int64(get_page(mem, a[0], a[1], a[2]))
    elif op == Do.PIN_VPAGE:
        return np.int64(pin_vpage(mem, a[0], a[1], a[2], a[3], a[4] != 0))
    elif op == Do.WAKE_KSWAPD:
        wakeup_kswapd(mem, a[0], a[1])
    elif op == Do.RUN_KSWAPD:
        mem.node.kswapd_budget_ns += a[0]
        kswapd_run(mem)
    elif op == Do.RECLAIM:
        return try_to_free_pages(mem, 0, a[0], a[1], a[2])
    elif op == Do.LOWMEM_SCAN:
        lowmem_scan(mem)
    elif op == Do.SELECT_VICTIM:
        return np.int64(select_victim(mem, a[0], a[1]))
    elif op == Do.SOAK:
        return np.int64(soak(mem, events, a[0], a[1]))
    elif op == Do.BOOT:
        return boot_machine(mem, a)
    return 0


@jit
def operate(mems, i, op, args, events):
    """Do one operation on machine `i`.

    Args:
        mems: recarray of machine records.
        i: which one.
        op: see Do.
        args: int64[NR_ARGS].
        events: array of event_dtype; `events[0]` is the event of EVENT, and room for SOAK.

    Returns:
        What the function under test returned, as int64; 0 where it returns nothing.
    """
    mem = mems[i]
    if Do.PUT <= op <= Do.WATERMARK_OK or op == Do.RESERVE_HIGHATOMIC or op == Do.UNRESERVE_HIGHATOMIC:
        return operate_allocator(mem, op, args)
    if Do.ISOLATE <= op <= Do.RUN_DEMANDS or op == Do.COMPACT or op == Do.COMPACT_ZONE or op == Do.STEP_DEMANDS:
        return operate_contig(mem, op, args)
    return operate_rest(mem, op, args, events)
