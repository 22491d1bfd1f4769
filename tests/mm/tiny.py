"""Tiny machines whose memory is drawn.

A drawing has one row for each pageblock: the block's migratetype (U M R H C I), and one sign for each page:

    0-9 @   head of a free block of this order (@: 10)     .  the rest of a free block     -  free, on a per-CPU list
    a  anonymous   f  page cache   b  block-device cache   m  shmem   z  zsmalloc
    d  a driver's  s  slab         p  page table           k  other kernel memory         o  handed out by cma_alloc()
    c  a copy in the cleancache

A capital letter is a page with an extra reference.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from cma_gym.machine.events import FileFlag, Op, PinFlag, event_dtype
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.bitmap import BITS_PER_WORD
from cma_gym.mm.check.validate import validate
from cma_gym.mm.mm_types import nr_list_heads
from cma_gym.mm.mmzone import (
    Holder,
    MigrateType,
    PageFlag,
    PageKind,
    VmEvent,
    ZoneStat,
    ZoneType,
)
from tests.mm.driver import DTYPE, NR_ARGS, SHAPE, Do, operate

SIGNS = {
    PageKind.ANON: "a",
    PageKind.FILE: "f",
    PageKind.BDEV: "b",
    PageKind.SHMEM: "m",
    PageKind.ZSMALLOC: "z",
    PageKind.DRIVER: "d",
    PageKind.SLAB: "s",
    PageKind.PAGE_TABLE: "p",
    PageKind.KERNEL: "k",
    PageKind.CMA: "o",
    PageKind.CLEANCACHE: "c",
}
KINDS = {sign: kind for kind, sign in SIGNS.items()}
TYPE_SIGNS = "UMRHCI"
EACH = SHAPE.nr_vpages // SHAPE.nr_tasks
"""Virtual pages of a task; task n has those from n * EACH on."""
PAINTED = 8 * EACH
"""First virtual page of painted anonymous pages; tasks from 8 on should not be used beside them."""
DMA32 = int(ZoneType.DMA32)
NORMAL = int(ZoneType.NORMAL)
MOVABLE_ZONE = int(ZoneType.MOVABLE)
CMA_ZONE = int(ZoneType.CMA)
LONG_NS = 10**12
MS = 1_000_000


def trimmed(drawing: str) -> list[str]:
    """The rows of a drawing."""
    return [row.strip() for row in textwrap.dedent(drawing).strip().splitlines()]


class Tiny:
    """A machine of at most 1024 pages, on which task 1 runs in the foreground.

    It has no watermarks unless they are asked for, so that every page can be used; its per-CPU lists keep their sizes.
    """

    def __init__(
        self,
        nr_pages: int = 64,
        cma_pages: int = 0,
        *,
        block_order: int = 4,
        watermarks: bool = False,
        nr_swap: int = 64,
        kernel_pages: int = 0,
        high_pages: int = 0,
        pcp: tuple[int, int] | None = None,
        profile: str = "v6_12",
        nr_cpus: int = 2,
        mems: np.recarray | None = None,
        i: int = 0,
        **switches: Any,
    ) -> None:
        self.i = i
        self.mems = np.zeros(1, DTYPE).view(np.recarray) if mems is None else mems
        mem = self.mem
        mem["nr_pages"], mem["nr_vpages"], mem["nr_fpages"], mem["nr_tasks"] = nr_pages, *SHAPE[1:3], SHAPE.nr_tasks
        plain = {"boost_factor": 0, "pcp_scale_max": 0, "compaction_proactiveness": 0}
        kernel = KernelConfig.for_profile(profile, **{**plain, **switches})
        kernel.fill(mem["kernel"], MachineSpec(ram_mb=16, cma_mb=4, pageblock_order=4, nr_cpus=nr_cpus))
        mem["kernel"]["pageblock_order"] = block_order
        mem["kernel"]["lmk_minfree"] = [share * nr_pages // 1000 for share in kernel.lmk_minfree_permille]
        low_end = nr_pages - high_pages
        first_head = len(mem["page"]) - nr_list_heads()
        below = low_end - cma_pages
        ends = (below, low_end, low_end, nr_pages)
        self.do(Do.BOOT, *ends, kernel.zone_cma, nr_swap, kernel_pages, 0, first_head)
        if not watermarks:
            mem["zones"]["watermark"] = 0
            mem["zones"]["lowmem_reserve"] = 0
            mem["node"]["totalreserve_pages"] = 0
        if pcp is not None:
            mem["zones"]["pcp"]["batch"], mem["zones"]["pcp"]["high"] = pcp
            mem["zones"]["pcp"]["high_min"] = mem["zones"]["pcp"]["high_max"] = pcp[1]
        mem["task"][1] = (1, 0, EACH, EACH, 0, 0, 0, 0)
        self.next_vpage = PAINTED
        self.next_fpage = 0

    @property
    def mem(self) -> Any:
        return self.mems[self.i]

    @property
    def page(self) -> np.ndarray:
        return self.mem["page"]

    def do(self, op: Do, *args: int, event: np.ndarray | None = None) -> int:
        """Call a function under test."""
        padded = np.zeros(NR_ARGS, np.int64)
        padded[: len(args)] = args
        events = np.zeros(1, event_dtype) if event is None else event
        return int(operate(self.mems, self.i, int(op), padded, events.view(np.recarray)))

    # What the tests read.

    def draw(self, first: int = 0, last: int | None = None) -> list[str]:
        """The memory map, one row a pageblock."""
        mem, page = self.mem, self.page
        order = int(mem["kernel"]["pageblock_order"])
        nr_pages = int(mem["nr_pages"])
        signs = []
        while len(signs) < nr_pages:
            entry = page[len(signs)]
            if entry["flag"] & PageFlag.BUDDY:
                signs += "0123456789@"[entry["order"]] + "." * ((1 << int(entry["order"])) - 1)
            elif entry["flag"] & PageFlag.PCP:
                signs += "-" * (1 << int(entry["order"]))
            else:
                sign = SIGNS.get(PageKind(entry["kind"]), "?")
                signs += sign.upper() if entry["pincount"] > 0 else sign
        rows = []
        for block in range(nr_pages >> order):
            kind = TYPE_SIGNS[mem["pageblock"]["migratetype"][block]]
            rows.append(f"{kind} {''.join(signs[block << order : (block + 1) << order])}")
        return rows[first:last]

    def expect(self, drawing: str, first: int = 0) -> None:
        """The memory map, from pageblock `first` on, must be this; and the machine must be sound."""
        rows = trimmed(drawing)
        found = self.draw(first, first + len(rows))
        assert found == rows, "found\n  " + "\n  ".join(found) + "\nexpected\n  " + "\n  ".join(rows)
        self.validate()

    def validate(self) -> None:
        validate(self.mems, self.i)

    def events(self, event: VmEvent) -> int:
        return int(self.mem["vm_event"][event])

    def free(self, zone: int = DMA32) -> int:
        return int(self.mem["zones"]["vm_stat"][zone, ZoneStat.FREE_PAGES])

    def free_cma(self, zone: int = DMA32) -> int:
        return int(self.mem["zones"]["vm_stat"][zone, ZoneStat.FREE_CMA])

    def lru(self, lru: int, index: int = 0) -> int:
        return int(self.mem["lruvec"]["nr"][index, lru])

    def kinds(self, first: int = 0, last: int | None = None) -> dict[str, int]:
        """Used pages of a range by sign."""
        used = self.page["kind"][first : self.mem["nr_pages"] if last is None else last]
        names, counts = np.unique(used[used != PageKind.FREE], return_counts=True)
        return {SIGNS[PageKind(name)]: int(count) for name, count in zip(names, counts, strict=True)}

    def clock(self) -> int:
        return int(self.mem["clock"])

    # What the tests do.

    def paint(self, drawing: str, first: int = 0) -> None:
        """Fill a machine as drawn, from pageblock `first` on; free blocks come out as they merge."""
        pfn = first << int(self.mem["kernel"]["pageblock_order"])
        for row in trimmed(drawing):
            for sign in row[2:]:
                if sign.isalpha():
                    self.put(pfn, KINDS[sign.lower()])
                    if sign.isupper():
                        self.do(Do.DRAIN_LRU)
                        self.hold(pfn)
                pfn += 1
        self.do(Do.DRAIN_LRU)
        self.validate()

    def put(self, pfn: int, kind: PageKind, task: int = 1) -> int:
        """Make a free page one of this kind, at the next virtual page from PAINTED on, or the next file page from 0 on;
        which one.
        """
        if kind in (PageKind.FILE, PageKind.BDEV, PageKind.SHMEM):
            index = self.next_fpage
            self.next_fpage += 1
        else:
            index = self.next_vpage
            self.next_vpage += 1
        assert self.do(Do.PUT, pfn, kind, index, task), f"page {pfn} is not free"
        return index

    def hold(self, pfn: int, ns: int = LONG_NS, holder: Holder = Holder.DRIVER) -> None:
        assert self.do(Do.HOLD, pfn, holder, ns)

    def idle(self, ns: int) -> None:
        self.do(Do.IDLE, ns)

    def settle(self) -> None:
        """Let all operations in progress end, and empty the LRU batches."""
        self.idle(MS)
        self.do(Do.DRAIN_LRU)

    def event(
        self, op: Op, task: int = 0, start: int = 0, nr: int = 0, arg: int = 0, value: int = 0, *, action: int = 1
    ) -> None:
        """Let an event happen now; every question it asks gets the same answer."""
        self.do(Do.EVENT, action, event=np.array([(self.clock(), op, task, start, nr, arg, value)], event_dtype))

    def spawn(self, task: int, importance: int = 0) -> None:
        self.event(Op.SPAWN, task, task * EACH, EACH, importance)

    def touch(self, task: int, vpn: int, nr: int = 1, *, write: bool = True, action: int = 1) -> None:
        """Access virtual pages `vpn ..` of a task's own range."""
        self.event(Op.TOUCH, task, task * EACH + vpn, nr, int(write), action=action)

    def file(self, fpn: int, nr: int = 1, flags: int = 0, *, value: int = 0, action: int = 1, task: int = 1) -> None:
        self.event(Op.FILE, task, fpn, nr, flags, value, action=action)

    def write(self, fpn: int, nr: int = 1, *, action: int = 1) -> None:
        self.file(fpn, nr, FileFlag.WRITE, action=action)

    def pin(self, task: int, vpn: int, nr: int, ns: int, *, longterm: bool = False) -> None:
        arg = Holder.DIRECT_IO << 4 | (PinFlag.LONGTERM if longterm else 0)
        self.event(Op.PIN, task, task * EACH + vpn, nr, arg, ns // 1000)

    def alloc(self, order: int = 0, kind: MigrateType = MigrateType.MOVABLE, flags: int = 0, cpu: int = 0) -> int:
        """alloc_pages() without any right to high zones; kernel memory that nobody knows."""
        return self.do(Do.ALLOC, cpu, order, kind, NORMAL, flags, PageKind.KERNEL)

    def entry(self, task: int, vpn: int) -> int:
        return int(self.mem["pte"]["entry"][task * EACH + vpn])

    def bits(self) -> list[int]:
        """Bits of the area's bitmap that are set."""
        words = enumerate(map(int, self.mem["cma_bitmap"]))
        return [BITS_PER_WORD * at + bit for at, word in words for bit in range(BITS_PER_WORD) if word >> bit & 1]

    def slot(self, vpage: int) -> int:
        """Swap slot of a virtual page."""
        entry = int(self.mem["pte"]["entry"][vpage])
        assert entry <= -2 and entry % 2 == 0, f"virtual page {vpage} is not swapped out: {entry}"
        return (-2 - entry) // 2


def age(m: Tiny) -> None:
    """Forget recent use, so that reclaim takes what it sees first."""
    m.page["flag"][: int(m.mem["nr_pages"])] &= ~(PageFlag.YOUNG | PageFlag.REFERENCED)


def reclaim(m: Tiny, nr: int) -> int:
    return m.do(Do.RECLAIM, nr, MOVABLE_ZONE)


def swap_out_everything(m: Tiny) -> None:
    m.idle(MS)
    for _ in range(20):
        age(m)
        m.do(Do.DRAIN_LRU)
        reclaim(m, 64)
