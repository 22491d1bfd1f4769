"""Booting a machine from a recorded state: every page frame holds at the start what it held on the recorded machine.

The state is plain arrays (`StartState`); where they come from is the business of `workloads`. Page tables, file maps,
LRU lists, per-CPU lists and swap are built so that `validate()` holds at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.spec import PAGES_PER_MB, MachineSpec
from cma_gym.mm.list import list_add, list_add_tail
from cma_gym.mm.lru import lruvec_add_folio
from cma_gym.mm.mm_init import begin_uptime, init_cma, init_heads, init_tables, init_zone, setup_pagesets
from cma_gym.mm.mm_types import nr_list_heads
from cma_gym.mm.mmzone import (
    KIND_ANON,
    KIND_BDEV,
    KIND_FILE,
    KIND_FREE,
    KIND_RESERVED,
    KIND_SHMEM,
    KIND_SLAB,
    KIND_ZSMALLOC,
    MIGRATE_CMA,
    MIGRATE_MOVABLE,
    NO_PAGE,
    NR_ZONES,
    SWAP_ENTRY,
    PageFlag,
    ZoneStat,
    ZoneType,
)
from cma_gym.mm.page_alloc import free_one_page, get_pageblock_migratetype, prep_new_page, set_pageblock_migratetype
from cma_gym.mm.pcp import pcp_type
from cma_gym.mm.rmap import add_rmap
from cma_gym.mm.rmqueue import find_unmovable_end
from cma_gym.mm.swap import ZS_OBJECTS
from cma_gym.mm.watermark import setup_per_zone_lowmem_reserve, setup_per_zone_wmarks
from cma_gym.mm.writeback import folio_mark_dirty
from cma_gym.mm.zonelist import build_all_zonelists
from cma_gym.support.jit import jit


class Frame(IntEnum):
    """What a frame is to the allocator."""

    USED = 0
    BLOCK = 1
    """Head of a free block of `order`."""
    TAIL = 2
    """The rest of a free block."""
    PCP = 3
    """Free, on the list of CPU `cpu`."""


_BLOCK, _PCP, _ACTIVE, _MLOCKED, _DIRTY = map(
    int, (Frame.BLOCK, Frame.PCP, PageFlag.ACTIVE, PageFlag.MLOCKED, PageFlag.DIRTY)
)

start_page_dtype = np.dtype(
    [
        ("frame", "u1"),  # Frame
        ("kind", "u1"),  # PageKind
        ("order", "u1"),
        ("cpu", "u1"),
        ("mark", "i4"),  # PageFlag: ACTIVE, MLOCKED, DIRTY
        ("index", "i4"),  # virtual page (ANON), file page (FILE, BDEV, SHMEM), handle or NO_PAGE (kernel memory)
        ("task", "i4"),
    ],
    align=True,
)
"""One page frame at the start."""

start_zone_dtype = np.dtype(
    [
        ("index", "i8"),  # ZoneType
        ("start_pfn", "i8"),
        ("end_pfn", "i8"),
        ("managed", "i8"),
        ("watermark", "i8", (3,)),  # 0, 0, 0: the kernel's own formula
        ("lowmem_reserve", "i8", (NR_ZONES,)),
        ("batch", "i8"),  # of the per-CPU lists; 0: the kernel's own formula
    ],
    align=True,
)
"""One zone at the start."""

start_slot_dtype = np.dtype([("vpn", "i4"), ("zspage", "i4")], align=True)
"""One swap slot in use: the virtual page that it holds, and the frame that stores its content."""


@dataclass(frozen=True)
class StartState:
    """A machine's memory at the start of a workload."""

    page: np.ndarray
    """`start_page_dtype` [frames]."""
    block: np.ndarray
    """uint8 [pageblocks]: MigrateType."""
    zone: np.ndarray
    """`start_zone_dtype` [zones]."""
    swap: np.ndarray
    """`start_slot_dtype` [slots in use]."""
    pageblock_order: int
    nr_swap: int
    """Slots of the swap device."""
    cma_base: int
    cma_pages: int

    @property
    def nr_pages(self) -> int:
        """Page frames."""
        return len(self.page)

    def numbers(self) -> dict[str, int]:
        """The scalars, JSON-plain."""
        return {name: int(getattr(self, name)) for name in ("pageblock_order", "nr_swap", "cma_base", "cma_pages")}

    def spec(self, nr_cpus: int) -> MachineSpec:
        """The machine that this state is of."""
        return MachineSpec(
            ram_mb=self.nr_pages // PAGES_PER_MB,
            cma_mb=self.cma_pages // PAGES_PER_MB,
            nr_cpus=nr_cpus,
            pageblock_order=self.pageblock_order,
            zram_percent=min(100, -(-100 * self.nr_swap // self.nr_pages)),
        )

    def with_own_zone(self) -> StartState:
        """The same state with the area in a zone of its own, up to the end of the zone that it lies in (ZONE_CMA).

        Its pageblocks become ordinary movable ones. Where the zone has to be divided, watermarks and reserves are the
        kernel's own formula.
        """
        if (self.zone["index"] == ZoneType.CMA).any():
            return self
        inside = (self.zone["start_pfn"] <= self.cma_base) & (self.cma_base < self.zone["end_pfn"])
        around = self.zone[inside].copy()
        block = self.block.copy()
        first, last = (pfn >> self.pageblock_order for pfn in (self.cma_base, self.cma_base + self.cma_pages))
        block[first:last][block[first:last] == MIGRATE_CMA] = MIGRATE_MOVABLE
        own = around.copy()
        own["index"] = ZoneType.CMA
        zones = [self.zone[~inside]]
        if int(around["start_pfn"][0]) < self.cma_base:
            lies = self.page["kind"][self.cma_base : int(own["end_pfn"][0])] != KIND_RESERVED
            own["managed"] = np.count_nonzero(lies)
            own["start_pfn"], around["end_pfn"] = self.cma_base, self.cma_base
            around["managed"] -= own["managed"]
            for part in (own, around):
                part["watermark"], part["lowmem_reserve"] = 0, 0
            zones.append(around)
        for zone in zones:  # what was kept from requests for ZONE_MOVABLE is kept from those for the area
            reserve = zone["lowmem_reserve"]
            reserve[:, ZoneType.CMA] = np.maximum(reserve[:, ZoneType.CMA], reserve[:, ZoneType.MOVABLE])
        return replace(self, block=block, zone=np.concatenate([*zones, own]))


@jit
def declare_zone(mem, start):
    """Set up a zone, its pages not free yet."""
    init_zone(mem, np.int64(start.index), np.int64(start.start_pfn), np.int64(start.end_pfn), MIGRATE_MOVABLE)
    mem.zones[start.index].managed_pages = start.managed


@jit
def set_marks(mem, start):
    """Put the recorded watermarks in place of the computed ones."""
    zone = mem.zones[start.index]
    if start.watermark[2] > 0:
        for which in range(3):
            zone.watermark[which] = start.watermark[which]


@jit
def set_reserves(mem, start):
    """The recorded lowmem_reserve and batch."""
    zone = mem.zones[start.index]
    for index in range(NR_ZONES):
        if start.watermark[2] > 0:
            zone.lowmem_reserve[index] = start.lowmem_reserve[index]
    for cpu in range(len(zone.pcp)):
        if start.batch > 0:
            zone.pcp[cpu].batch = start.batch


@jit
def put_free(mem, pfn, start):
    """A free block, or a page on a CPU's list; that list's pages of pageblocks it does not take go to the buddy."""
    zone = mem.zones[mem.page[pfn].zone]
    migratetype = get_pageblock_migratetype(mem, pfn)
    kind = pcp_type(mem, migratetype)
    if start.frame == _BLOCK or kind < 0:
        free_one_page(mem, zone, pfn, np.int64(start.order), migratetype)
        return
    pcp = zone.pcp[start.cpu]
    mem.page[pfn].flag |= PageFlag.PCP
    mem.page[pfn].order = 0
    list_add_tail(mem, pfn, np.int64(pcp.lists[kind]))
    pcp.nr += 1


@jit
def put_on_lru(mem, pfn, start):
    """A page of user memory goes on its list, at the head."""
    mem.page[pfn].flag |= start.mark & (_ACTIVE | _MLOCKED)
    lruvec_add_folio(mem, pfn, False)


@jit
def put_used(mem, pfn, start):
    """A page in use becomes what it was."""
    kind = np.int64(start.kind)
    index = np.int64(start.index)
    cached = kind == KIND_FILE or kind == KIND_BDEV or kind == KIND_SHMEM
    prep_new_page(mem, pfn, 0, kind, index if cached else NO_PAGE, np.int64(start.task))
    page = mem.page[pfn]
    if kind == KIND_ANON:
        add_rmap(mem, pfn, index)
        put_on_lru(mem, pfn, start)
    elif cached:
        mem.filemap[index].entry = pfn
        if kind == KIND_BDEV:
            page.flag |= PageFlag.PRIVATE
        put_on_lru(mem, pfn, start)
        if start.mark & _DIRTY:
            folio_mark_dirty(mem, pfn)
    elif kind == KIND_ZSMALLOC:
        mem.node.nr_zspages += 1
    elif kind >= KIND_SLAB and kind != KIND_RESERVED and index >= 0:
        page.index = index
        page.mapcount = 1
        mem.pte[index].entry = pfn
        mem.pte[index].next = NO_PAGE


@jit
def objects_of(mem, pfn):
    """Objects of a page that stores swapped pages: how many, as its size class is the largest that holds them."""
    page = mem.page[pfn]
    size = 0
    while size + 1 < len(ZS_OBJECTS) and ZS_OBJECTS[size + 1] >= page.mapcount:
        size += 1
    return size


@jit
def put_slots(mem, slots):
    """Swapped pages, as the head of the list of slots; their zspages are on the lists of classes that fit them."""
    for slot in range(len(slots)):
        vpn = np.int64(slots[slot].vpn)
        page = mem.page[slots[slot].zspage]
        mem.swap[slot].vpn = vpn
        mem.swap[slot].zspage = slots[slot].zspage
        mem.swap[slot].next = page.index
        mem.pte[vpn].entry = SWAP_ENTRY - 2 * slot
        mem.pte[vpn].next = NO_PAGE
        page.index = slot
        page.mapcount += 1
    mem.node.swap_free_head = len(slots)
    mem.node.nr_swap_free -= len(slots)
    for pfn in range(mem.nr_pages):
        page = mem.page[pfn]
        if page.kind == KIND_ZSMALLOC:
            size = objects_of(mem, pfn)
            page.task = size
            if page.mapcount < ZS_OBJECTS[size]:
                list_add(mem, pfn, np.int64(mem.node.zspage_partial[size]))


@jit
def start_from(mems, i, zones, pages, blocks, slots, sizes):
    """Bring a zeroed record to life in a recorded state.

    Args:
        mems: machines.
        i: which one; its kernel is configured.
        zones: `start_zone_dtype`.
        pages: `start_page_dtype`.
        blocks: MigrateType of each pageblock.
        slots: `start_slot_dtype`.
        sizes: first list head, swap slots, first frame and frames of the area, whether it is a zone.
    """
    mem = mems[i]
    init_heads(mem, sizes[0])
    init_tables(mem, sizes[1])
    for zone in zones:
        declare_zone(mem, zone)
    init_cma(mem, sizes[2], sizes[3], sizes[4] != 0)
    for block in range(len(blocks)):
        set_pageblock_migratetype(mem, block << mem.kernel.pageblock_order, np.int64(blocks[block]))
    build_all_zonelists(mem)
    setup_per_zone_wmarks(mem)
    for zone in zones:
        set_marks(mem, zone)
    setup_per_zone_lowmem_reserve(mem)
    setup_pagesets(mem)
    for zone in zones:
        set_reserves(mem, zone)
    for pfn in range(len(pages) - 1, -1, -1):  # downwards: the lowest block is at the head of its list
        start = pages[pfn]
        if start.frame == _BLOCK or start.frame == _PCP:
            put_free(mem, pfn, start)
        elif start.kind != KIND_FREE:
            put_used(mem, pfn, start)
    put_slots(mem, slots)
    for index in range(len(mem.zones)):
        find_unmovable_end(mem, mem.zones[index])
    begin_uptime(mem)


def boot_from(mems: np.recarray, i: int, start: StartState, nr_cpus: int, kernel: KernelConfig) -> None:
    """(Re)boot machine `i` in a recorded state.

    Args:
        mems: machines made with `new_machines` for `start.spec(nr_cpus)` and the workload's sizes.
        i: which one.
        start: the state.
        nr_cpus: CPUs of the machine.
        kernel: its kernel's configuration; where it gives the area a zone of its own, the state must have that zone.
    """
    sizes = {name: mems[name][i] for name in ("nr_pages", "nr_vpages", "nr_fpages", "nr_tasks")}
    mems[i : i + 1].view(np.uint8)[:] = 0
    record: Any = mems[i]
    for name, size in sizes.items():
        record[name] = size
    kernel.fill(record["kernel"], start.spec(nr_cpus))
    first_head = len(record["page"]) - nr_list_heads()
    nr_swap = min(start.nr_swap, len(record["swap"]) - 1)
    own_zone = bool((start.zone["index"] == ZoneType.CMA).any())
    numbers = np.array([first_head, nr_swap, start.cma_base, start.cma_pages, own_zone], np.int64)
    start_from(
        mems,
        i,
        start.zone.view(np.recarray),
        start.page.view(np.recarray),
        start.block,
        start.swap.view(np.recarray),
        numbers,
    )


def free_blocks(mem: Any) -> dict[int, list[int]]:
    """Free blocks of each zone in use, by order: /proc/buddyinfo of a machine."""
    zones = mem["zones"]
    used = [index for index in range(NR_ZONES) if zones[index]["managed_pages"] > 0]
    return {index: [int(count) for count in zones[index]["free_area"]["nr_free"]] for index in used}


def free_pages_of(mem: Any) -> tuple[int, int]:
    """Free pages of a machine, and how many of them lie in its CMA area's free lists."""
    stat = mem["zones"]["vm_stat"]
    free = int(stat[:, ZoneStat.FREE_PAGES].sum())
    own = int(stat[ZoneType.CMA, ZoneStat.FREE_PAGES])
    return free, own if mem["zones"][ZoneType.CMA]["managed_pages"] > 0 else int(stat[:, ZoneStat.FREE_CMA].sum())
