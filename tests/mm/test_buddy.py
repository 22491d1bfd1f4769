"""The buddy allocator and the per-CPU lists, on memory maps of pageblocks of 16 pages (tiny.py has the legend)."""

from __future__ import annotations

import pytest

from cma_gym.mm.mmzone import MigrateType, PageKind, VmEvent
from cma_gym.mm.page_alloc import ALLOC_CMA, ALLOC_CMA_FIRST, ALLOC_MIN_RESERVE, ALLOC_NO_STEAL, ALLOC_NON_BLOCK
from tests.mm.tiny import CMA_ZONE, DMA32, Do, Tiny

UNMOVABLE, MOVABLE, RECLAIMABLE, HIGHATOMIC, CMA, ISOLATE = map(int, MigrateType)


def take(m: Tiny, order: int, kind: int = MOVABLE, flags: int = 0) -> int:
    """A block from the buddy lists."""
    return m.do(Do.RMQUEUE_BUDDY, DMA32, order, kind, flags, PageKind.KERNEL)


def through_pcp(m: Tiny, kind: int = MOVABLE, flags: int = 0, order: int = 0, cpu: int = 0, zone: int = DMA32) -> int:
    return m.do(Do.RMQUEUE, zone, cpu, order, kind, flags, PageKind.KERNEL)


def test_a_split_gives_the_lowest_part_and_frees_the_upper_halves():
    m = Tiny(32)
    m.expect("""
        M 5...............
        M ................
    """)
    assert take(m, 1) == 0
    m.expect("""
        M kk1.2...3.......
        M 4...............
    """)


def test_the_smallest_block_that_fits_is_split():
    m = Tiny(32)
    m.paint("M ....kkkk.kkkkkkk")
    m.expect("""
        M 2...kkkk0kkkkkkk
        M 4...............
    """)
    assert take(m, 0) == 8
    assert take(m, 1) == 0
    m.expect("""
        M kk1.kkkkkkkkkkkk
        M 4...............
    """)


def test_a_freed_page_merges_as_far_as_its_buddies_are_free():
    m = Tiny(32)
    m.paint("M k..k....k.......")
    m.expect("""
        M k00k2...k01.2...
        M 4...............
    """)
    m.do(Do.FREE_BUDDY, 3, 0)
    m.expect("M k01.2...k01.2...")
    m.do(Do.FREE_BUDDY, 0, 0)
    m.expect("M 3.......k01.2...")
    m.do(Do.FREE_BUDDY, 8, 0)
    m.expect("""
        M 5...............
        M ................
    """)


def test_neighbours_that_are_no_buddies_do_not_merge():
    m = Tiny(16)
    m.paint("M k..kkkkkkkkkkkkk")
    m.expect("M k00kkkkkkkkkkkkk")


def test_cma_blocks_merge_with_each_other_but_not_with_ordinary_ones():
    m = Tiny(64, 32)
    m.expect("""
        M 5...............
        M ................
        C 5...............
        C ................
    """)
    first = take(m, 4, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST)
    second = take(m, 4, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST)
    m.do(Do.FREE_BUDDY, first, 4)
    m.do(Do.FREE_BUDDY, second, 4)
    m.expect("""
        M 5...............
        M ................
        C 5...............
        C ................
    """)


def test_an_unmovable_request_claims_the_largest_free_foreign_block():
    m = Tiny(32)
    m.paint("M kkkkkkkkkkkk....")
    assert take(m, 0, UNMOVABLE) == 16
    m.expect("""
        M kkkkkkkkkkkk2...
        U k01.2...3.......
    """)
    assert m.events(VmEvent.PAGEBLOCK_CLAIM) == 1


def test_a_part_of_a_block_is_claimed_with_it_when_half_is_free_or_alike():
    m = Tiny(16)
    m.paint("M kkkkkkkk........")
    assert take(m, 0, UNMOVABLE) == 8
    m.expect("U kkkkkkkkk01.2...")


def test_a_part_of_a_block_is_stolen_alone_when_most_of_the_block_is_foreign():
    m = Tiny(16)
    m.paint("M aaaaaaaaaaaa....")
    assert take(m, 0, UNMOVABLE) == 12
    m.expect("M aaaaaaaaaaaak01.")
    assert m.events(VmEvent.PAGEBLOCK_CLAIM) == 0
    assert m.events(VmEvent.EXTFRAG) > 0


def test_a_movable_request_does_not_claim_for_a_small_block():
    """Half the pageblock's order is the least that a movable request claims for; smaller ones are stolen."""
    m = Tiny(16)
    assert take(m, 0, UNMOVABLE) == 0
    m.paint("U ..kkkkkkkkkkkkkk")
    m.expect("U k0kkkkkkkkkkkkkk")
    assert take(m, 0, MOVABLE) == 1
    m.expect("U kkkkkkkkkkkkkkkk")


def test_stealing_takes_the_smallest_block_and_in_4_6_the_largest():
    drawing = "M aa.aaaaaaaaaaa.."
    new = Tiny(16)
    new.paint(drawing)
    assert take(new, 0, UNMOVABLE) == 2
    old = Tiny(16, profile="v4_6")
    old.paint(drawing)
    assert take(old, 0, UNMOVABLE) == 14
    old.expect("M aa0aaaaaaaaaaak0")


def test_in_4_6_only_free_pages_count_for_a_claim():
    """Eleven of sixteen pages are unmovable already, which satisfies 6.12, but only five are free."""
    drawing = "M kkkkkkkkkkk....."
    new = Tiny(16)
    new.paint(drawing)
    take(new, 0, UNMOVABLE)
    new.expect("U kkkkkkkkkkkk2...")
    old = Tiny(16, profile="v4_6")
    old.paint(drawing)
    take(old, 0, UNMOVABLE)
    old.expect("M kkkkkkkkkkk0k01.")


def test_in_4_6_what_is_left_of_a_stolen_block_stays_with_the_thief():
    """Its pageblock stays movable, but its free pages wait on the unmovable list, and are the next to go."""
    m = Tiny(32, profile="v4_6")
    m.paint("""
        M aaaaaaaaaaaaaa..
        M ................
    """)
    take(m, 4, MOVABLE)
    assert take(m, 0, UNMOVABLE) == 14
    head = int(m.mem["zones"]["free_area"]["free_list"][DMA32, 0, UNMOVABLE])
    assert int(m.page["next"][head]) == 15
    m.expect("M aaaaaaaaaaaaaak0")
    assert take(m, 0, MOVABLE) == 15, "the movable list is empty, so it is stolen back"


def test_a_reclaimable_request_prefers_unmovable_blocks_to_movable_ones():
    m = Tiny(32)
    m.paint("""
        M kkkkkkkkkkkkkkkk
        M ................
    """)
    assert take(m, 3, UNMOVABLE) == 16
    assert take(m, 0, RECLAIMABLE) == 24
    m.expect("R kkkkkkkkk01.2...", first=1)


def test_no_stealing_where_it_is_not_allowed():
    m = Tiny(16)
    assert take(m, 0, UNMOVABLE, ALLOC_NO_STEAL) == -1
    m.expect("M 4...............")


def test_unmovable_requests_never_get_cma():
    m = Tiny(32, 16)
    m.paint("M kkkkkkkkkkkkkkkk")
    assert take(m, 0, UNMOVABLE) == -1
    assert take(m, 0, RECLAIMABLE) == -1
    assert take(m, 0, MOVABLE) == -1
    m.expect("C 4...............", first=1)


def test_cma_comes_last_when_lent_as_a_fallback():
    m = Tiny(32, 16)
    m.paint("M kkkkkkkkkkkkkk..")
    assert [take(m, 0, MOVABLE, ALLOC_CMA) for _ in range(4)] == [14, 15, 16, 17]
    m.expect("""
        M kkkkkkkkkkkkkkkk
        C kk1.2...3.......
    """)


def test_cma_comes_before_stealing():
    m = Tiny(48, 16)
    m.paint("M kkkkkkkkkkkkkkkk", first=1)
    take(m, 0, UNMOVABLE)
    m.expect("""
        U k01.2...3.......
        M kkkkkkkkkkkkkkkk
        C 4...............
    """)
    assert take(m, 0, MOVABLE, ALLOC_CMA) == 32


def test_cma_comes_first_when_preferred():
    m = Tiny(32, 16)
    assert take(m, 0, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST) == 16
    m.expect("""
        M 4...............
        C k01.2...3.......
    """)


def test_the_half_rule_is_tested_for_each_page():
    """CMA first while more than half of the free pages are CMA; so the two kinds shrink in step (kernel fact 10)."""
    m = Tiny(48, 32, cma_ratio=2)
    assert (m.free(), m.free_cma()) == (48, 32)
    for _ in range(16):
        assert take(m, 0, MOVABLE, ALLOC_CMA) >= 16
    assert (m.free(), m.free_cma()) == (32, 16)
    kinds = [take(m, 0, MOVABLE, ALLOC_CMA) >= 16 for _ in range(6)]
    assert kinds == [False, True, False, True, False, True]
    m.validate()


def test_the_half_rule_is_tested_for_each_page_of_a_refill():
    """Expect a refill of 8 to hold 4 ordinary pages and 4 of CMA, though the area held half when it began."""
    m = Tiny(32, 16, cma_ratio=2, pcp=(8, 32))
    through_pcp(m, MOVABLE, ALLOC_CMA)
    m.expect("""
        M k---2...3.......
        C ----2...3.......
    """)


def test_a_refill_takes_a_batch_and_a_full_list_gives_one_back():
    m = Tiny(16, pcp=(4, 6))
    pages = [through_pcp(m) for _ in range(4)]
    m.expect("M kkkk2...3.......")
    pages += [through_pcp(m)]
    m.expect("M kkkkk---3.......")
    m.do(Do.FREE, 0, pages[0], 0)
    m.do(Do.FREE, 0, pages[1], 0)
    m.expect("M --kkk---3.......")
    m.do(Do.FREE, 0, pages[2], 0)
    m.expect("M 0--kk01.3.......")


def test_large_blocks_bypass_the_per_cpu_lists():
    m = Tiny(32, pcp=(4, 64))
    pfn = through_pcp(m, order=4)
    m.do(Do.FREE, 0, pfn, 4)
    m.expect("""
        M 5...............
        M ................
    """)
    pfn = through_pcp(m, order=3)
    m.do(Do.FREE, 0, pfn, 3)
    m.expect("""
        M --------3.......
        M 4...............
    """)


def test_a_cpu_does_not_see_the_lists_of_another():
    m = Tiny(16, pcp=(16, 64))
    through_pcp(m, cpu=0)
    assert through_pcp(m, cpu=1) == -1
    m.do(Do.DRAIN)
    m.expect("M k01.2...3.......")
    assert through_pcp(m, cpu=1) == 1


def test_shared_list_hands_freed_cma_pages_to_any_movable_request():
    """The leak of kernel fact 8."""
    m = Tiny(32, 16, pcp=(1, 64), cma_pcp="shared")
    pfn = through_pcp(m, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST)
    assert pfn == 16
    m.do(Do.FREE, 0, pfn, 0)
    m.expect("C -01.2...3.......", first=1)
    assert through_pcp(m, MOVABLE) == 16


def test_own_list_keeps_cma_pages_from_requests_without_the_right():
    m = Tiny(32, 16, pcp=(1, 64), cma_pcp="own")
    pfn = through_pcp(m, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST)
    assert pfn == 16
    m.do(Do.FREE, 0, pfn, 0)
    m.expect("C -01.2...3.......", first=1)
    assert through_pcp(m, MOVABLE) < 16
    assert through_pcp(m, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST) == 16


def test_without_a_list_freed_cma_pages_go_straight_back():
    m = Tiny(32, 16, pcp=(4, 64), cma_pcp="none")
    pfn = through_pcp(m, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST)
    m.expect("""
        M 4...............
        C k01.2...3.......
    """)
    m.do(Do.FREE, 0, pfn, 0)
    m.expect("C 4...............", first=1)


@pytest.mark.parametrize("cma_pcp", ["own", "none"])
def test_split_lists_fall_back_in_the_kernels_order(cma_pcp):
    """Ordinary pages, then CMA, then stealing; each as long as there are any."""
    m = Tiny(48, 16, pcp=(1, 64), cma_pcp=cma_pcp)
    m.paint("M kkkkkkkkkkkkkkk.", first=1)
    take(m, 0, UNMOVABLE)
    got = [through_pcp(m, MOVABLE, ALLOC_CMA) for _ in range(18)]
    assert got[0] == 31
    assert sorted(got[1:17]) == list(range(32, 48))
    assert got[17] < 16
    m.validate()


def test_freed_pages_of_an_isolated_block_stay_in_it():
    m = Tiny(32, 16, pcp=(1, 64))
    pfn = take(m, 0, MOVABLE, ALLOC_CMA | ALLOC_CMA_FIRST)
    m.do(Do.ISOLATE, 16, 32)
    m.do(Do.FREE, 0, pfn, 0)
    m.expect("""
        M 4...............
        I 4...............
    """)
    assert (m.free(), m.free_cma()) == (16, 0)


def test_a_high_order_atomic_request_reserves_its_block():
    m = Tiny(64, profile="v4_6")
    assert m.alloc(2, MigrateType.UNMOVABLE, ALLOC_NON_BLOCK | ALLOC_MIN_RESERVE) == 0
    m.expect("U kkkk2...3.......")
    m.mem["zones"]["watermark"][DMA32] = (0, 1000, 1000)
    pfn = m.alloc(2, MigrateType.UNMOVABLE, ALLOC_NON_BLOCK | ALLOC_MIN_RESERVE)
    assert pfn == 4
    m.expect("H kkkkkkkk3.......")
    assert m.mem["zones"]["nr_reserved_highatomic"][DMA32] == 16


def test_ordinary_requests_stay_out_of_the_reserve_until_memory_is_short():
    m = Tiny(32, profile="v4_6")
    m.paint("M kkkkkkkkkkkkkkkk", first=1)
    take(m, 2, UNMOVABLE)
    m.do(Do.RESERVE_HIGHATOMIC, 0)
    m.expect("""
        H kkkk2...3.......
        M kkkkkkkkkkkkkkkk
    """)
    assert take(m, 0, UNMOVABLE) == -1
    assert take(m, 0, MOVABLE) == -1
    assert m.do(Do.UNRESERVE_HIGHATOMIC, MOVABLE) == 1
    m.expect("M kkkk2...3.......")
    assert m.mem["zones"]["nr_reserved_highatomic"][DMA32] == 0
    assert m.do(Do.UNRESERVE_HIGHATOMIC, MOVABLE) == 0


def test_the_reserve_is_one_block_or_one_percent():
    m = Tiny(64, profile="v4_6")
    take(m, 4, UNMOVABLE)
    take(m, 4, UNMOVABLE)
    m.do(Do.RESERVE_HIGHATOMIC, 0)
    m.do(Do.RESERVE_HIGHATOMIC, 16)
    m.expect("""
        H kkkkkkkkkkkkkkkk
        U kkkkkkkkkkkkkkkk
    """)


def test_a_reserved_block_larger_than_a_pageblock_is_reserved_whole():
    m = Tiny(64)
    m.mem["zones"]["managed_pages"][DMA32] = 3200
    pfn = take(m, 5, UNMOVABLE)
    m.do(Do.RESERVE_HIGHATOMIC, pfn, 5)
    assert m.mem["zones"]["nr_reserved_highatomic"][DMA32] == 32
    m.do(Do.FREE_BUDDY, pfn, 5)
    m.mem["zones"]["managed_pages"][DMA32] = 64
    m.expect("""
        H 5...............
        H ................
    """)


def test_two_reserved_neighbours_are_given_back_one_by_one():
    """Blocks of the reserve merge; giving one back must not carry the other's pages along."""
    m = Tiny(64)
    first, second = take(m, 4, UNMOVABLE), take(m, 4, UNMOVABLE)
    assert second == first ^ 16
    m.mem["zones"]["managed_pages"][DMA32] = 3200
    m.do(Do.RESERVE_HIGHATOMIC, first)
    m.do(Do.RESERVE_HIGHATOMIC, second)
    assert m.mem["zones"]["nr_reserved_highatomic"][DMA32] == 32
    m.do(Do.FREE_BUDDY, first, 4)
    m.do(Do.FREE_BUDDY, second, 4)
    m.expect("""
        H 5...............
        H ................
    """)
    assert m.do(Do.UNRESERVE_HIGHATOMIC, MOVABLE) == 1
    m.paint("""
        M kkkkkkkkkkkkkkkk
        M kkkkkkkkkkkkkkkk
    """, first=2)
    take(m, 0, MOVABLE)
    m.validate()


def test_zone_cma_is_a_zone_of_ordinary_movable_blocks():
    m = Tiny(64, 32, zone_cma=True)
    m.expect("""
        M 5...............
        M ................
        M 5...............
        M ................
    """)
    assert through_pcp(m, zone=CMA_ZONE) == 32
    assert m.do(Do.ALLOC, 0, 0, MOVABLE, DMA32, 0, PageKind.KERNEL) < 32
