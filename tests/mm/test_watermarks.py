"""Watermarks, reserves, boost, and kswapd's part."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mmzone import Lru, MigrateType, PageKind, VmEvent, ZoneType
from cma_gym.mm.page_alloc import (
    ALLOC_CMA,
    ALLOC_HIGHATOMIC,
    ALLOC_MIN_RESERVE,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
)
from cma_gym.mm.watermark import int_sqrt, min_free_pages, setup_per_zone_lowmem_reserve, setup_per_zone_wmarks
from tests.mm.tiny import CMA_ZONE, DMA32, MOVABLE_ZONE, MS, NORMAL, Do, Tiny

HIGHMEM = int(ZoneType.HIGHMEM)
ATOMIC = ALLOC_NON_BLOCK | ALLOC_MIN_RESERVE
PAGES_PER_MB = 256


class Zones:
    """Stands in for a machine record of any size where only zone sizes matter; the functions run uncompiled."""

    def __init__(self, *, old: bool = False, **managed_mb: int) -> None:
        dtype = np.dtype([("managed_pages", "i8"), ("watermark", "i8", 3), ("lowmem_reserve", "i8", 5)])
        self.zones = np.zeros(5, dtype).view(np.recarray)
        self.node = np.zeros(1, [("totalreserve_pages", "i8")]).view(np.recarray)[0]
        self.kernel = np.array([(int(old),)], [("old_allocator", "i8")]).view(np.recarray)[0]
        for name, size in managed_mb.items():
            self.zones["managed_pages"][ZoneType[name.upper()]] = size * PAGES_PER_MB
        for function in (setup_per_zone_wmarks, setup_per_zone_lowmem_reserve):
            getattr(function, "py_func", function)(self)


@pytest.mark.parametrize(
    ("ram_mb", "min_free_kbytes", "marks"),
    [
        (512, 2896, (724, 905, 1086)),
        (1024, 4096, (1024, 1286, 1548)),
        (1536, 5016, (1254, 1647, 2040)),
        (2048, 5792, (1448, 1972, 2496)),
        (3072, 7094, (1773, 2559, 3345)),
        (4096, 8192, (2048, 3096, 4144)),
    ],
)
def test_watermarks_of_real_kernels(ram_mb, min_free_kbytes, marks):
    """The table of FACTS C3."""
    raw = getattr(min_free_pages, "py_func", min_free_pages)
    assert raw(ram_mb * PAGES_PER_MB) == min_free_kbytes // 4
    assert tuple(Zones(dma32=ram_mb).zones["watermark"][DMA32]) == marks


def test_integer_square_root_is_exact():
    raw = getattr(int_sqrt, "py_func", int_sqrt)
    numbers = [*range(1, 200), 8388608, (1 << 30) - 1, 1 << 30, (1 << 30) + 1]
    assert all(raw(n) ** 2 <= n < (raw(n) + 1) ** 2 for n in numbers)


def test_min_free_is_clamped():
    raw = getattr(min_free_pages, "py_func", min_free_pages)
    assert raw(16) == 128 // 4
    assert raw(1 << 24) <= 262144 // 4


def test_high_zones_have_small_watermarks():
    zones = Zones(dma32=512, cma=512).zones
    assert zones["watermark"][CMA_ZONE, 0] == 128
    assert zones["watermark"][HIGHMEM, 0] == 0
    assert Zones(dma32=64, cma=4).zones["watermark"][CMA_ZONE, 0] == 32


def test_lower_zones_are_kept_from_users_of_higher_ones():
    """DMA32 keeps 1/256, NORMAL 1/32 of what lies above; the reserve grows with the highest zone of the request."""
    machine = Zones(dma32=1024, normal=2048, highmem=512, cma=256)
    reserve = machine.zones["lowmem_reserve"]
    pages = PAGES_PER_MB
    assert list(reserve[DMA32]) == [above_mb * pages // 256 for above_mb in (0, 2048, 2560, 2560, 2816)]
    assert list(reserve[NORMAL]) == [above_mb * pages // 32 for above_mb in (0, 0, 512, 512, 768)]
    assert list(reserve[HIGHMEM]) == [0, 0, 0, 0, 0]
    marks = machine.zones["watermark"][:, 2]
    assert machine.node.totalreserve_pages == sum(marks) + 2816 + 768 * 8


def test_empty_zones_reserve_nothing():
    assert not Zones(dma32=1024).zones["lowmem_reserve"].any()


def test_a_booted_machine_has_these_watermarks():
    spec = MachineSpec(ram_mb=64, cma_mb=16, pageblock_order=6)
    mems = new_machines(1, spec, 16, 16, 2)
    boot(mems, 0, spec, KernelConfig.for_profile("v6_12"))
    assert tuple(mems[0]["zones"]["watermark"][DMA32]) == (256, 320, 384)
    boot(mems, 0, spec, KernelConfig.for_profile("v6_12", zone_cma=True))
    assert tuple(mems[0]["zones"]["managed_pages"]) == (12288, 0, 0, 0, 4096)
    assert mems[0]["zones"]["lowmem_reserve"][DMA32, CMA_ZONE] == 16


def above(m: Tiny, mark: int, flags: int = 0, *, order: int = 0, highest: int = NORMAL) -> bool:
    return bool(m.do(Do.WATERMARK_OK, DMA32, order, mark, highest, flags))


def test_free_cma_counts_only_for_those_who_may_use_it():
    m = Tiny(64, 16)
    assert above(m, 47)
    assert not above(m, 48)
    assert above(m, 63, ALLOC_CMA)
    assert not above(m, 64, ALLOC_CMA)


def test_what_a_request_may_use_of_the_reserve():
    """Min reserve: half; that and not waiting: three eighths; a dying task: half."""
    m = Tiny(64)
    m.paint("""
        M kkkkkkkkkkkkkkkk
        M kkkkkkkkkkkkkkkk
        M kkkkkkkkkkkkk...
    """)
    assert m.free() == 19
    for flags, mark in ((0, 18), (ALLOC_MIN_RESERVE, 36), (ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK, 48), (ALLOC_OOM, 36)):
        assert above(m, mark, flags)
        assert not above(m, mark + 2, flags)


def test_the_lowmem_reserve_is_added_to_the_mark():
    m = Tiny(64)
    m.mem["zones"]["lowmem_reserve"][DMA32, CMA_ZONE] = 20
    assert above(m, 43, highest=CMA_ZONE)
    assert not above(m, 44, highest=CMA_ZONE)
    assert above(m, 63, highest=NORMAL)


def test_a_high_order_needs_a_block_and_not_only_pages():
    m = Tiny(32)
    m.paint("""
        M kk..kk..kk..kk..
        M kk..kk..kk..kk..
    """)
    assert above(m, 10, order=1)
    assert not above(m, 10, order=2)


def test_a_high_order_block_in_cma_needs_the_right_to_it():
    m = Tiny(32, 16)
    m.paint("M k.k.k.k.k.k.k.k.")
    assert not above(m, 1, order=1)
    assert above(m, 1, ALLOC_CMA, order=1)


def test_the_highatomic_reserve_is_free_for_atomic_requests_only():
    m = Tiny(64, profile="v4_6")
    m.do(Do.RMQUEUE_BUDDY, DMA32, 0, MigrateType.UNMOVABLE, 0, PageKind.KERNEL)
    m.do(Do.RESERVE_HIGHATOMIC, 0)
    assert m.free() == 63
    assert not above(m, 47)
    assert above(m, 46)
    assert above(m, 62, ALLOC_HIGHATOMIC)


def test_mixing_types_boosts_the_watermark_up_to_a_limit():
    """By a pageblock each time, to 1.5 times the high watermark, or a block if that is more."""
    m = Tiny(256, boost_factor=15000)
    m.mem["zones"]["watermark"][DMA32] = (0, 0, 20)
    for block in range(16):
        m.paint("M aaaaaaa.........", first=block)
    boosts = []
    for _ in range(3):
        m.do(Do.RMQUEUE_BUDDY, DMA32, 3, MigrateType.UNMOVABLE, 0, PageKind.KERNEL)
        boosts.append(int(m.mem["zones"]["watermark_boost"][DMA32]))
    assert boosts == [16, 30, 30]


def test_no_boost_in_4_6():
    m = Tiny(256, profile="v4_6")
    m.mem["zones"]["watermark"][DMA32] = (0, 0, 20)
    for block in range(16):
        m.paint("M aaaaaaa.........", first=block)
    m.do(Do.RMQUEUE_BUDDY, DMA32, 3, MigrateType.UNMOVABLE, 0, PageKind.KERNEL)
    assert m.mem["zones"]["watermark_boost"][DMA32] == 0


def full_of_old_files(cma_pages: int = 0, **switches: object) -> Tiny:
    """A machine whose ordinary memory is page cache but for some pages; low 24, high 40."""
    m = Tiny(256, cma_pages, **switches)
    m.mem["zones"]["watermark"][DMA32] = (8, 24, 40)
    ordinary = (256 - cma_pages) // 16
    m.paint("\n".join(["M ffffffffffffffff"] * (ordinary - 1) + ["M ffffffff........"]))
    return m


def test_kswapd_works_until_the_high_watermark_and_sleeps():
    m = full_of_old_files()
    assert m.free() == 8
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    assert m.mem["node"]["kswapd_awake"] == 1
    m.mem["zones"]["watermark_boost"][DMA32] = 5
    m.do(Do.RUN_KSWAPD, 100 * MS)
    m.do(Do.DRAIN)
    assert m.mem["node"]["kswapd_awake"] == 0
    assert m.mem["zones"]["watermark_boost"][DMA32] == 0
    assert 45 < m.free() <= 45 + 64
    assert m.events(VmEvent.PGSTEAL_KSWAPD) == m.free() - 8
    assert m.lru(Lru.INACTIVE_FILE) == 248 - (m.free() - 8)
    m.validate()


def test_kswapd_stays_asleep_above_the_high_watermark():
    m = Tiny(256)
    m.mem["zones"]["watermark"][DMA32] = (8, 24, 40)
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    assert m.mem["node"]["kswapd_awake"] == 0


def test_kswapd_does_not_count_free_cma():
    """Kernel fact 9: a zone with much free CMA still reclaims; what it frees in CMA does not count either."""
    m = full_of_old_files(64)
    assert (m.free(), m.free_cma()) == (72, 64)
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    assert m.mem["node"]["kswapd_awake"] == 1


def test_kswapd_is_paid_in_time():
    m = full_of_old_files()
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    m.mem["node"]["kswapd_priority"] = 1  # 248 pages are too few for the rounds before
    m.do(Do.RUN_KSWAPD, 1)
    assert m.mem["node"]["kswapd_budget_ns"] <= 0
    assert m.mem["hand"]["nr"][0] == 0
    m.do(Do.RUN_KSWAPD, 1)
    assert m.mem["hand"]["nr"][0] > 0
    spent = m.mem["work_ns"]
    m.do(Do.RUN_KSWAPD, 0)
    assert m.mem["work_ns"] == spent
    assert m.events(VmEvent.PGSTEAL_KSWAPD) == 0
    m.validate()


def test_kswapd_gives_up_when_nothing_can_be_freed_and_direct_reclaim_revives_it():
    """Linux: shrink_node() resets kswapd_failures when a reclaimer makes progress."""
    m = Tiny(256, nr_swap=0)
    m.mem["zones"]["watermark"][DMA32] = (8, 24, 40)
    m.paint("\n".join(["M kkkkkkkkkkkkkkkk"] * 15))
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    for _ in range(50):
        m.do(Do.RUN_KSWAPD, 1000 * MS)
    assert (m.mem["node"]["kswapd_awake"], m.mem["node"]["kswapd_failures"]) == (0, 16)
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    assert m.mem["node"]["kswapd_awake"] == 0
    m.paint("M ffffffff........", first=15)
    assert m.do(Do.RECLAIM, 4, MOVABLE_ZONE) >= 4
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    assert m.mem["node"]["kswapd_awake"] == 1


def test_an_allocation_below_low_wakes_kswapd_and_one_below_min_reclaims():
    m = full_of_old_files()
    m.alloc()
    assert m.events(VmEvent.KSWAPD_WAKE) == 1
    assert m.events(VmEvent.ALLOCSTALL) > 0
    assert m.events(VmEvent.PGSTEAL_DIRECT) > 0
    assert m.mem["metrics"]["stall_ns"] > 0
    m.validate()


def test_an_atomic_request_fails_instead_of_reclaiming():
    m = full_of_old_files()
    m.mem["zones"]["watermark"][DMA32] = (40, 50, 60)
    assert m.alloc(0, MigrateType.UNMOVABLE, ATOMIC) == -1
    assert m.events(VmEvent.ATOMIC_FAIL) == 1
    assert m.events(VmEvent.ALLOCSTALL) == 0


def test_movable_requests_that_borrow_do_not_wake_kswapd_and_let_atomic_ones_fail():
    """Problem 3 of the ZONE_CMA list: free CMA hides that ordinary memory is used up."""
    m = full_of_old_files(64)
    m.mem["zones"]["watermark"][DMA32] = (30, 40, 50)
    pages = [m.do(Do.ALLOC, 0, 0, MigrateType.MOVABLE, MOVABLE_ZONE, ALLOC_CMA, PageKind.KERNEL) for _ in range(20)]
    assert max(pages) >= 192
    assert m.events(VmEvent.KSWAPD_WAKE) == 0
    assert m.alloc(0, MigrateType.UNMOVABLE, ATOMIC) == -1
    assert m.free_cma() > 40
