"""A short life of a tiny machine that meets every mechanism once, checked after each step; for uncompiled code."""

from __future__ import annotations

from collections.abc import Callable

from cma_gym.machine.events import FileFlag, Op
from cma_gym.mm.mmzone import Holder, VmEvent
from tests.mm.tiny import EACH, LONG_NS, MS, Do, Tiny, age

NR_PAGES = 128
AREA = 96
"""First page of the CMA area: two pageblocks."""
CHECK_EVERY = 3
"""Steps between validations, which take most of the time."""
MET = ("PSWPOUT", "PSWPIN", "PGSTEAL_FILE", "CMA_ALLOC_SUCCESS", "CMA_ALLOC_FAIL", "PGMIGRATE_SUCCESS", "NR_WRITTEN")
"""Events that must have happened, or the life shows nothing."""


def steps(m: Tiny) -> list[Callable[[], object]]:
    """What happens, in order."""
    return [
        lambda: m.touch(1, 0, 12, action=2),
        lambda: m.event(Op.FORK, 2, 2 * EACH, EACH, 0, 1),
        lambda: m.do(Do.DRAIN_LRU),
        lambda: m.do(Do.CMA_ALLOC, 16, 4),
        lambda: m.do(Do.CMA_RELEASE, AREA, 16),
        lambda: m.do(Do.DRAIN),
        lambda: m.touch(2, 0, 4),
        lambda: m.file(100, 4, FileFlag.SHMEM | FileFlag.WRITE),
        lambda: m.file(0, 8),
        lambda: m.file(0, 8),
        lambda: m.write(20, 4),
        lambda: m.event(Op.SYNC, 1, 20, 2),
        lambda: m.idle(200 * MS),
        lambda: m.event(Op.TRUNCATE, 1, 20, 4),
        lambda: m.do(Do.DRAIN_LRU),
        lambda: age(m),
        lambda: m.do(Do.RECLAIM, 12, 3),
        lambda: m.touch(1, 0, 3, write=False),
        lambda: m.event(Op.KALLOC, 0, 0, 3, 0),
        lambda: m.event(Op.KALLOC, 0, 4, 1, 2 << 4),
        lambda: m.event(Op.KFREE, 0, 1, 2),
        lambda: m.touch(1, 40, 3, action=2),
        lambda: m.do(Do.DRAIN_LRU),
        lambda: [m.hold(m.entry(1, 40 + n), (3 - n) * MS, Holder.DIRECT_IO) for n in range(3)],
        lambda: m.do(Do.DEMAND, 7, 32, 1, 0, 0),
        lambda: m.do(Do.RUN_DEMANDS),
        lambda: m.event(Op.UNMAP, 1, EACH + 40, 2),
        lambda: m.idle(500 * MS),
        lambda: m.file(60, 6, action=2),
        lambda: m.do(Do.DRAIN_LRU),
        lambda: m.hold(int(m.mem["filemap"]["entry"][62]), LONG_NS // 1000, Holder.JOURNAL),
        lambda: m.do(Do.CMA_ALLOC, 24, 0),
        lambda: m.idle(2000 * MS),
        lambda: m.event(Op.EXIT, 1),
        lambda: m.event(Op.EXIT, 2),
        lambda: m.event(Op.KFREE, 0, 0, EACH),
        lambda: m.event(Op.TRUNCATE, 0, 0, 128),
        lambda: m.idle(5000 * MS),
        lambda: m.do(Do.DRAIN_LRU),
        lambda: m.do(Do.DRAIN),
    ]


def run() -> None:
    """Live it.

    Raises:
        AssertionError: the machine contradicts itself, or has lost pages.
    """
    m = Tiny(NR_PAGES, NR_PAGES - AREA, nr_swap=48, kernel_pages=6, pcp=(2, 8), cma_pcp="shared")
    m.mem["nr_vpages"], m.mem["nr_fpages"] = 3 * EACH, 128  # less to check
    m.do(Do.DRAIN)
    booted = m.free()
    for number, step in enumerate(steps(m)):
        step()
        if number % CHECK_EVERY == 0:
            m.validate()
    m.validate()
    held = int(m.mem["cma"]["nr_allocated"])
    assert m.free() + held == booted, f"of {booted} free pages {booted - m.free() - held} were lost"
    unmet = [name for name in MET if m.events(VmEvent[name]) == 0]
    assert not unmet, f"these events did not happen: {unmet}"
