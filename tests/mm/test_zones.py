"""Zones and per-CPU lists: layout, reserves, who may use which zone, fair zones, lists that tune themselves."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from cma_gym.machine.events import KallocFlag, Op
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mm_init import zone_batchsize
from cma_gym.mm.mmzone import MigrateType, PageKind, VmEvent, ZoneStat
from cma_gym.mm.page_alloc import ALLOC_CMA, ALLOC_CMA_FIRST
from tests.mm.test_watermarks import HIGHMEM, PAGES_PER_MB, Zones
from tests.mm.tiny import CMA_ZONE, DMA32, MOVABLE_ZONE, MS, NORMAL, Do, Tiny

MOVABLE, UNMOVABLE = int(MigrateType.MOVABLE), int(MigrateType.UNMOVABLE)


def booted(profile: str = "v6_12", *, switches: dict[str, object] | None = None, **sizes: object) -> np.recarray:
    spec = MachineSpec(pageblock_order=9, profile=profile, **sizes)
    mems = new_machines(1, spec, 16, 16, 2)
    boot(mems, 0, spec, KernelConfig.for_profile(profile, **(switches or {})))
    return mems


def spans(mems: np.recarray) -> list[tuple[int, int]]:
    """(first page, pages) of each zone in MB."""
    zones = mems[0]["zones"]
    return [
        (int(start) // PAGES_PER_MB if managed else 0, int(managed) // PAGES_PER_MB)
        for start, managed in zip(zones["start_pfn"], zones["managed_pages"], strict=True)
    ]


def area(mems: np.recarray) -> tuple[int, int]:
    return int(mems[0]["cma"]["base_pfn"]) // PAGES_PER_MB, int(mems[0]["cma"]["nr_pages"]) // PAGES_PER_MB


# Layout.


def test_memory_below_4_gb_is_dma32_and_the_area_lies_at_its_end():
    mems = booted(ram_mb=64, cma_mb=16)
    assert spans(mems) == [(0, 64), (0, 0), (0, 0), (0, 0), (0, 0)]
    assert area(mems) == (48, 16)


def test_above_the_boundary_is_normal_and_the_area_stays_below():
    mems = booted(ram_mb=64, cma_mb=8, dma32_mb=32)
    assert spans(mems) == [(0, 32), (32, 32), (0, 0), (0, 0), (0, 0)]
    assert area(mems) == (24, 8)
    assert mems[0]["zones"]["cma_pages"][DMA32] == 8 * PAGES_PER_MB


def test_a_32_bit_machine_has_normal_and_highmem_and_the_area_in_highmem():
    mems = booted(ram_mb=64, cma_mb=8, highmem_mb=24)
    assert spans(mems) == [(0, 0), (0, 40), (40, 24), (0, 0), (0, 0)]
    assert area(mems) == (56, 8)
    assert area(booted(ram_mb=64, cma_mb=16, highmem_mb=8)) == (40, 16)


def test_zone_movable_lies_at_the_end():
    mems = booted(ram_mb=64, cma_mb=8, movable_mb=16, dma32_mb=32)
    assert spans(mems) == [(0, 32), (32, 16), (0, 0), (48, 16), (0, 0)]


def test_an_area_of_its_own_is_cut_out_of_its_zone():
    mems = booted(ram_mb=64, cma_mb=8, dma32_mb=32, switches={"zone_cma": True})
    assert spans(mems) == [(0, 24), (32, 32), (0, 0), (0, 0), (24, 8)]
    mems = booted(ram_mb=64, cma_mb=8, highmem_mb=24, switches={"zone_cma": True})
    assert spans(mems) == [(0, 0), (0, 40), (40, 16), (0, 0), (56, 8)]


def test_an_area_that_does_not_fit_its_zone_is_one_sentence():
    with pytest.raises(ValidationError, match=r"zone 'dma32' has 16 MB for cma_mb=32; set another cma_zone"):
        MachineSpec(ram_mb=128, cma_mb=32, dma32_mb=16)
    with pytest.raises(ValidationError, match="leave no low memory"):
        MachineSpec(ram_mb=64, cma_mb=16, highmem_mb=32, movable_mb=16)


def test_gcma_needs_an_area_that_is_not_lent():
    with pytest.raises(ValidationError, match="set lend=False"):
        KernelConfig(gcma=True)


# Reserves.


def test_highmem_kept_a_share_from_users_of_movable_memory_in_4_6():
    """1/32 of MOVABLE up to 4.16; ZONE_CMA's patches took that back for their own zone."""
    sizes = {"normal": 760, "highmem": 1024, "movable": 256, "cma": 128}
    old, new = Zones(old=True, **sizes).zones, Zones(**sizes).zones
    assert list(old["lowmem_reserve"][HIGHMEM]) == [0, 0, 0, 256 * PAGES_PER_MB // 32, 0]
    assert not new["lowmem_reserve"][HIGHMEM].any()
    assert new["lowmem_reserve"][NORMAL, HIGHMEM] == 1024 * PAGES_PER_MB // 32 == 8192


def test_watermarks_of_a_machine_with_dma32_and_normal():
    """6 GB: min_free_kbytes = sqrt(6 GB in kB * 16) = 10033, shared by size; low + 1/4 or 1/1000 of the zone."""
    zones = Zones(dma32=4096, normal=2048).zones
    pages = 10033 // 4
    assert list(zones["watermark"][DMA32]) == [pages * 2 // 3, pages * 2 // 3 + 1048, pages * 2 // 3 + 2 * 1048]
    assert list(zones["watermark"][NORMAL]) == [pages // 3, pages // 3 + 524, pages // 3 + 2 * 524]


# Who may use which zone.


def layered(**switches: object) -> Tiny:
    """32 pages of low memory, 32 of HIGHMEM."""
    return Tiny(64, 16, high_pages=32, **switches)


def test_kernel_memory_and_block_device_cache_stay_in_low_memory():
    m = layered()
    m.event(Op.KALLOC, 0, 0, 4)
    m.file(0, 4, 16)
    m.touch(1, 0, 4)
    m.do(Do.DRAIN_LRU)
    assert m.kinds(0, 32) == {"k": 4, "b": 4}
    assert m.kinds(32, 64) == {"a": 4}


def test_user_memory_goes_down_the_zonelist():
    m = layered(nr_swap=0)
    m.touch(1, 0, 40)
    assert m.kinds(32, 64) == {"a": 32}
    assert m.kinds(0, 32) == {"a": 8}


def test_a_request_for_high_memory_leaves_low_memory_its_reserve():
    """Nothing but HIGHMEM can be used once low memory is down to its reserve against users of HIGHMEM."""
    m = layered(nr_swap=0, lmk=False)
    m.mem["zones"]["lowmem_reserve"][DMA32, HIGHMEM:] = 30
    got = [m.do(Do.ALLOC, 0, 0, MOVABLE, MOVABLE_ZONE, ALLOC_CMA, PageKind.KERNEL) for _ in range(40)]
    assert sum(pfn >= 32 for pfn in got) == 32
    assert sum(0 <= pfn < 32 for pfn in got) == 2
    assert m.alloc(0, UNMOVABLE) >= 0


# The fair-zone policy of 4.6.


def fair() -> Tiny:
    m = Tiny(128, 64, zone_cma=True, profile="v4_6")
    m.mem["zones"]["watermark"][DMA32] = (0, 0, 4)
    m.mem["zones"]["watermark"][CMA_ZONE] = (0, 0, 8)
    m.mem["zones"]["nr_alloc_batch"] = (4, 0, 0, 0, 8)
    m.mem["zones"]["pcp"]["batch"] = 1
    return m


def test_zones_take_turns_by_their_allowances():
    """high - low pages from each zone in a round: 8 of CMA, 4 of DMA32; then a new round for both."""
    m = fair()
    asked = (0, 0, MOVABLE, CMA_ZONE, ALLOC_CMA | ALLOC_CMA_FIRST, PageKind.KERNEL)
    got = [m.do(Do.ALLOC, *asked) >= 64 for _ in range(24)]
    assert got == ([True] * 8 + [False] * 4) * 2


def test_the_round_is_begun_again_exactly_not_added_to():
    m = fair()
    m.mem["zones"]["nr_alloc_batch"] = (-5, 0, 0, 0, -5)
    m.do(Do.ALLOC, 0, 0, MOVABLE, CMA_ZONE, ALLOC_CMA | ALLOC_CMA_FIRST, PageKind.KERNEL)
    assert list(m.mem["zones"]["nr_alloc_batch"][[DMA32, CMA_ZONE]]) == [4, 7]


def test_unmovable_requests_take_part_in_their_own_zones():
    m = fair()
    for _ in range(6):
        m.alloc(0, UNMOVABLE)
    assert list(m.mem["zones"]["nr_alloc_batch"][[DMA32, CMA_ZONE]]) == [2, 8]


# Per-CPU lists.


@pytest.mark.parametrize(("ram_mb", "batch"), [(64, 3), (256, 15), (512, 31), (1024, 63), (4096, 63)])
def test_batches_of_real_kernels(ram_mb, batch):
    raw = getattr(zone_batchsize, "py_func", zone_batchsize)
    assert raw(ram_mb * PAGES_PER_MB, 256) == batch
    assert raw(ram_mb * PAGES_PER_MB, 128) == min(batch, 31)


def test_bounds_of_the_lists_at_boot():
    """64 MB, 2 CPUs: from half the low watermark (320) to half an eighth of the zone; in 4.6 six batches."""
    pcp = booted(ram_mb=64, cma_mb=16)[0]["zones"]["pcp"][DMA32, 0]
    assert (pcp["batch"], pcp["high_min"], pcp["high_max"]) == (3, 320 // 2, 16384 // 8 // 2)
    pcp = booted("v4_6", ram_mb=64, cma_mb=16)[0]["zones"]["pcp"][DMA32, 0]
    assert (pcp["batch"], pcp["high"], pcp["high_max"]) == (3, 18, 18)


def tuned(nr_pages: int = 512) -> Tiny:
    """Batch 4, lists between 16 and 128 pages, batches up to 4 << 5."""
    m = Tiny(nr_pages, pcp_scale_max=5)
    for name, value in (("batch", 4), ("high", 16), ("high_min", 16), ("high_max", 128)):
        m.mem["zones"]["pcp"][name] = value
    return m


def state(m: Tiny) -> tuple[int, int, int]:
    pcp = m.mem["zones"]["pcp"][DMA32, 0]
    return int(pcp["nr"]), int(pcp["high"]), int(pcp["alloc_factor"])


def test_refills_double_while_a_cpu_only_allocates_and_its_lists_grow():
    """Refills of 4, 8, 16, 32 pages; each makes the lists longer by as much."""
    m = tuned()
    found = []
    for _ in range(60):
        m.alloc()
        found.append(state(m))
    assert found[0] == (3, 20, 1)
    assert found[4] == (7, 28, 2)
    assert found[12] == (15, 44, 3)
    assert found[28] == (31, 76, 4)
    m.validate()


def test_freeing_in_a_row_empties_more_and_more_at_once():
    m = tuned()
    pages = [m.alloc() for _ in range(200)]
    m.mem["zones"]["pcp"]["high"][DMA32, 0] = 16
    most = 0
    for pfn in pages:
        before = state(m)[0]
        m.do(Do.FREE, 0, pfn, 0)
        most = max(most, before + 1 - state(m)[0])
    assert most > 4
    assert m.mem["zones"]["pcp"]["free_count"][DMA32, 0] > 100
    assert 16 < state(m)[1] <= 128
    m.validate()


def test_below_the_high_watermark_lists_shrink_and_do_not_grow():
    m = tuned()
    pages = [m.alloc() for _ in range(100)]
    m.mem["zones"]["watermark"][DMA32] = (0, 0, 1000)
    high = state(m)[1]
    pages += [m.alloc() for _ in range(100)]
    assert m.mem["zones"]["below_high"][DMA32] == 1
    assert state(m)[1] == high
    for pfn in pages:
        m.do(Do.FREE, 0, pfn, 0)
    assert state(m)[1] == 16
    m.mem["zones"]["watermark"][DMA32] = (0, 0, 0)
    m.do(Do.FREE, 0, m.alloc(), 0)
    m.validate()


def test_lists_decay_by_an_eighth_a_second():
    m = tuned()
    for pfn in [m.alloc() for _ in range(100)]:
        m.do(Do.FREE, 0, pfn, 0)
    m.mem["zones"]["pcp"]["high"][DMA32, 0] = 64
    m.idle(1000 * MS)
    assert state(m)[1] == 56
    m.idle(1000 * MS)
    assert state(m)[1] == 49
    m.idle(60_000 * MS)
    assert state(m)[1] == 16
    assert state(m)[0] <= 16
    m.validate()


def test_while_kswapd_runs_lists_are_kept_to_four_batches():
    m = tuned()
    pages = [m.alloc() for _ in range(100)]
    m.mem["zones"]["watermark"][DMA32] = (0, 0, 1000)
    m.do(Do.WAKE_KSWAPD, 0, MOVABLE_ZONE)
    for pfn in pages:
        m.do(Do.FREE, 0, pfn, 0)
    assert state(m)[0] <= 16


def test_in_4_6_only_single_pages_have_lists():
    m = Tiny(32, profile="v4_6", pcp=(4, 64))
    pfn = m.do(Do.RMQUEUE, DMA32, 0, 1, MOVABLE, 0, PageKind.KERNEL)
    m.do(Do.FREE, 0, pfn, 1)
    m.expect("""
        M 5...............
        M ................
    """)


# Requests that may not wait.


def test_gfp_nowait_has_no_right_to_the_reserve():
    """Kernel fact 14: below min it fails, where GFP_ATOMIC still gets pages down to three eighths of min."""
    m = Tiny(64)
    m.mem["zones"]["watermark"][DMA32] = (63, 63, 63)
    m.event(Op.KALLOC, 0, 0, 4, KallocFlag.NOWAIT)
    assert (m.events(VmEvent.ATOMIC_FAIL), m.events(VmEvent.NOWAIT_FAIL)) == (3, 3)
    m.event(Op.KALLOC, 0, 8, 4, KallocFlag.ATOMIC)
    assert m.events(VmEvent.ATOMIC_FAIL) == 3
    assert m.kinds() == {"k": 5}


@pytest.mark.parametrize("own_zone", [False, True])
def test_atomic_failures_come_with_fallback_lending_and_go_with_zone_cma(own_zone):
    """Problem 3 of the ZONE_CMA list (F8): half of memory is CMA; movable requests use up ordinary memory and kswapd
    sleeps, since free CMA hides it from their watermark test. ZONE_CMA has watermarks of its own.
    """
    m = Tiny(512, 256, profile="v4_6", fair_zone=False, zone_cma=own_zone, nr_swap=0, lmk=False)
    m.mem["zones"]["watermark"][DMA32] = (32, 40, 48)
    if own_zone:
        m.mem["zones"]["watermark"][CMA_ZONE] = (2, 4, 6)
    m.paint("\n".join(["M ffffffffffffffff"] * 13))
    highest, flags = (CMA_ZONE, ALLOC_CMA | ALLOC_CMA_FIRST) if own_zone else (MOVABLE_ZONE, ALLOC_CMA)
    for _ in range(48):
        assert m.do(Do.ALLOC, 0, 0, MOVABLE, highest, flags, PageKind.KERNEL) >= 0
    woken = m.events(VmEvent.KSWAPD_WAKE)
    m.event(Op.KALLOC, 0, 0, 24, KallocFlag.ATOMIC)
    assert woken == 0
    assert (m.events(VmEvent.ATOMIC_FAIL) > 0) == (not own_zone)
    assert m.free_cma() + m.free(CMA_ZONE) > 200
    assert m.mem["zones"]["vm_stat"][DMA32, ZoneStat.FREE_PAGES] > 0


def test_the_running_task_dies_when_there_is_nobody_else():
    m = Tiny(64, nr_swap=0, lmk=False)
    m.touch(1, 0, 70)
    assert m.mem["node"]["pending_kill"] == 1
    m.idle(MS)
    assert m.mem["task"]["alive"][1] == 0
    m.idle(10 * MS)
    assert m.kinds() == {}
    m.validate()
