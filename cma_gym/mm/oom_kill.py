"""The low memory killer, and the kernel's own last resort.

Linux: drivers/staging/android/lowmemorykiller.c (3.x, 4.x); mm/oom_kill.c
Differs: the victim is marked while reclaim runs and ended at the next safe place, so that nobody loses pages that are
being looked at.
"""

from __future__ import annotations

from cma_gym.mm.clock import elapse
from cma_gym.mm.hands import NEVER_NS, hand_index, release_hand
from cma_gym.mm.mmu_gather import expire_gathers, tlb_finish_mmu, tlb_gather_mmu
from cma_gym.mm.mmzone import NO_TASK, NR_ZONES, Importance, VmEvent, ZoneStat
from cma_gym.mm.pcp import drain_all_pages
from cma_gym.mm.rmap import zap_pte_range
from cma_gym.mm.zonelist import nr_free_cma, nr_free_pages, si_mem_available
from cma_gym.support.jit import jit

DEATH_PENDING_NS = 1_000_000_000
"""Linux: lowmem_deathpending_timeout, HZ."""
LMKD_PERIOD_NS = 250_000_000
"""How often the killer in user space looks. Source: the recorded guest's is its launcher (where a start follows a kill,
it comes 1-5 ms after the victim's exit), which acts every 0.1-0.4 s."""


@jit
def select_victim(mem, least_important, spare):
    """Task of the least important class, down to `least_important`, that was used longest ago; NO_TASK if none.

    Linux: lowmem_scan() takes the largest of a class; Android's class of cached apps is itself ordered by last use.
    """
    victim = NO_TASK
    for task in range(1, mem.nr_tasks):
        entry = mem.task[task]
        if not entry.alive or task == spare or entry.importance >= Importance.SYSTEM:
            continue
        if entry.importance < least_important:
            continue
        if victim != NO_TASK:
            best = mem.task[victim]
            if entry.importance < best.importance:
                continue
            if entry.importance == best.importance and entry.last_active >= best.last_active:
                continue
        victim = task
    return victim


@jit
def lmkd_poll(mem):
    """Mark the task used longest ago when little memory is available or swap is nearly full.

    Model: a killer in user space that reads /proc/meminfo, as the recorded guest's; it looks once in a while, and only
    when memory is being reclaimed, since only then can either be true.
    """
    if mem.clock < mem.node.lmkd_next_ns:
        return
    mem.node.lmkd_next_ns = mem.clock + LMKD_PERIOD_NS
    swap_full = mem.node.nr_swap_free < mem.kernel.lmk_swap_free
    if swap_full or si_mem_available(mem) < mem.kernel.lmk_available:
        mem.node.pending_kill = select_victim(mem, 0, mem.cursor.task)


@jit
def lowmem_scan(mem):
    """Mark a task to be killed when both free memory and page cache are short. Linux: lowmem_scan(), FACTS C9."""
    if not mem.kernel.lmk or mem.node.pending_kill != NO_TASK or mem.clock < mem.node.death_pending_ns:
        return
    if mem.kernel.lmk_available > 0:
        lmkd_poll(mem)
        return
    other_free = nr_free_pages(mem) - mem.node.totalreserve_pages
    if mem.kernel.lmk_subtract_cma:
        other_free -= nr_free_cma(mem)
    other_file = 0
    for index in range(NR_ZONES):
        stat = mem.zones[index].vm_stat
        other_file += stat[ZoneStat.INACTIVE_FILE] + stat[ZoneStat.ACTIVE_FILE]
    for importance in range(Importance.SYSTEM):
        minfree = mem.kernel.lmk_minfree[importance]
        if other_free < minfree and other_file < minfree:
            mem.node.pending_kill = select_victim(mem, importance, mem.cursor.task)
            return


@jit
def exit_mmap(mem, cpu, task):
    """Free all virtual pages of a task, which has come to the end of what it was doing; the gather it fills.

    Linux: exit_mmap(), mm/mmap.c
    """
    entry = mem.task[task]
    if task > 0:
        release_hand(mem, cpu, mem.hand[hand_index(mem, task)])
    gather = tlb_gather_mmu(mem, cpu)
    zap_pte_range(mem, cpu, gather, entry.start, entry.start + entry.nr_vpages)
    tlb_finish_mmu(mem, gather)
    entry.alive = 0
    return gather


@jit
def oom_reap(mem, cpu):
    """End the task that was marked, if any; whether one was."""
    task = mem.node.pending_kill
    mem.node.pending_kill = NO_TASK
    if task == NO_TASK or not mem.task[task].alive:
        return False
    gather = mem.gather[exit_mmap(mem, cpu, task)]
    if gather.nr > 0:
        mem.node.death_pending_ns = min(gather.until_ns, mem.clock + DEATH_PENDING_NS)
    mem.task[task].killed = 1
    mem.metrics.kills += 1
    mem.vm_event[VmEvent.LMK_KILL] += 1
    return True


@jit
def out_of_memory(mem, cpu):
    """Nothing could be reclaimed: wait for tasks that are about to exit, or kill the least important one of all.

    Linux: out_of_memory(), with task_will_free_mem() and the wait of __alloc_pages_may_oom()
    """
    if mem.next_gather_ns != NEVER_NS:
        elapse(mem, mem.next_gather_ns - mem.clock)
        expire_gathers(mem)
        drain_all_pages(mem)  # it was freed on their CPUs
        return True
    if mem.node.pending_kill == NO_TASK:
        mem.node.pending_kill = select_victim(mem, 0, mem.cursor.task)
    if not oom_reap(mem, cpu):
        return False
    mem.vm_event[VmEvent.OOM_KILL] += 1
    return True
