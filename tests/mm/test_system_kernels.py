"""Kernel switches of single systems: when lending begins, what a demand does, which free list comes first."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.machine.events import FileFlag, Op
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.check.validate import ValidationError
from cma_gym.mm.mmzone import Holder, MigrateType, PageKind, VmEvent
from cma_gym.mm.page_alloc import ALLOC_CMA
from tests.mm.asking import ask, outcome
from tests.mm.driver import DTYPE
from tests.mm.tiny import DMA32, LONG_NS, MS, Do, Tiny

MOVABLE = int(MigrateType.MOVABLE)
UNMOVABLE = MigrateType.UNMOVABLE


# When lending begins.


def test_lending_begins_at_the_low_watermark_and_does_not_end():
    m = Tiny(64, 32, lend_below_watermark=True)
    m.touch(1, 0, 4, action=2)
    assert m.kinds(32) == {}
    m.mem["zones"]["watermark"][DMA32] = (0, 28, 28)  # 28 ordinary pages are free
    m.touch(1, 4, 4, action=2)
    assert m.kinds(32) == {"a": 4}
    m.mem["zones"]["watermark"][DMA32] = 0
    m.touch(1, 8, 4, action=2)
    assert m.kinds(32) == {"a": 8}
    m.validate()


@pytest.mark.parametrize(
    ("ram_mb", "cma_mb", "waits"), [(1024, 256, 1), (64, 16, 1), (512, 128, 0), (2048, 640, 0), (2048, 612, 1)]
)
def test_large_areas_and_small_machines_are_lent_from_boot(ram_mb, cma_mb, waits):
    record = np.zeros(1, DTYPE)[0]
    KernelConfig(lend_below_watermark=True).fill(record["kernel"], MachineSpec(ram_mb=ram_mb, cma_mb=cma_mb))
    assert record["kernel"]["lend_below_watermark"] == waits


def test_lending_begins_when_little_is_available_at_the_next_look():
    m = Tiny(64, 32, lend_below_available_permille=1, cma_pcp="none")
    m.mem["kernel"]["lend_below_available"] = 8
    m.touch(1, 0, 26, action=2)
    assert m.kinds(32) == {}
    m.idle(3900 * MS)
    m.touch(1, 26, 2, action=2)
    assert m.kinds(32) == {}, "6 pages are available outside the area, but nobody has looked"
    m.idle(200 * MS)
    m.touch(1, 28, 2, action=2)
    assert m.kinds(32) == {"a": 2}
    m.event(Op.UNMAP, 1, 128, 28)
    m.idle(5000 * MS)
    m.touch(1, 40, 2, action=2)
    assert m.kinds(32) == {"a": 4}, "for good"
    m.validate()


def test_lending_begins_when_its_time_has_come():
    m = Tiny(64, 32, lend_below_available_permille=1, lend_after_s=10)
    m.mem["kernel"]["lend_below_available"] = 1
    m.idle(9900 * MS)
    m.touch(1, 0, 2, action=2)
    assert m.kinds(32) == {}
    m.idle(2200 * MS)
    m.touch(1, 2, 2, action=2)
    assert m.kinds(32) == {"a": 2}


# What a demand does.


def work_ns(nr_pages: int, **switches: object) -> int:
    """Time inside cma_alloc() for a demand of an area with pages to be moved."""
    m = Tiny(64, 32, nr_cpus=3, migrate_into_cma=False, **switches)
    m.paint("C aaaaaaaa........", first=2)
    ask(m, nr_pages)
    m.idle(1000 * MS)
    assert outcome(m)["first_ok"] == 1
    return int(m.mem["demand_log"]["work_ns"][0])


def test_helpers_share_the_work_of_large_demands():
    assert work_ns(32, cma_helpers=True) == pytest.approx(work_ns(32) / 2, rel=0.01)
    assert work_ns(7, cma_helpers=True) == work_ns(7), "less than half a pageblock"


@pytest.mark.parametrize("switch", [True, False])
def test_file_pages_mapped_by_many_are_moved_where_a_kernel_does_so(switch):
    m = Tiny(64, 32, migrate_into_cma=False, migrate_mapped_file=switch)
    m.file(0, 6, FileFlag.MAPPED | FileFlag.EXEC, action=2)
    m.file(20, 3, FileFlag.MAPPED, action=2)
    m.file(40, 4, action=2)
    m.settle()
    assert m.do(Do.CMA_ALLOC, 32, 0) == 32
    assert m.events(VmEvent.CMA_MIGRATED) == (6 if switch else 0)
    assert m.events(VmEvent.CMA_DROPPED) == (7 if switch else 13)
    m.validate()


@pytest.mark.parametrize("switch", [True, False])
def test_a_busy_place_wakes_kswapd_where_a_kernel_does_so(switch):
    m = Tiny(64, 32, wake_kswapd_on_busy=switch)
    m.paint("C d...............", first=2)
    m.mem["zones"]["watermark"][DMA32] = (0, 0, 60)
    assert m.do(Do.CMA_ALLOC, 32, 0) == -1
    assert m.events(VmEvent.KSWAPD_WAKE) == switch


def with_journal(sign: str, **switches: object) -> Tiny:
    """A demand for an area with a page that the journal holds, a dirty page elsewhere; a second later."""
    m = Tiny(64, 32, migrate_into_cma=False, **switches)
    m.paint(f"C {sign}...............", first=2)
    m.write(100)
    m.settle()
    for holder in (Holder.DIRECT_IO, Holder.JOURNAL, Holder.DIRECT_IO):
        m.hold(int(m.mem["filemap"]["entry"][100]), LONG_NS // 1000, holder)
    m.hold(32, LONG_NS // 1000, Holder.JOURNAL)
    ask(m, 32)
    m.idle(900 * MS)
    m.validate()
    return m


def test_a_sync_of_the_device_ends_the_journals_references():
    m = with_journal("b", sync_on_busy=True)
    assert m.events(VmEvent.NR_WRITTEN) == 1
    assert outcome(m) == {"ok": 1, "first_ok": 0, "tries": 2, "got": 1, "whole": 1}
    assert m.mem["nr_pins"] == 2, "others' references last"


def test_a_file_page_gets_no_device_synced():
    assert with_journal("f", sync_on_busy=True).events(VmEvent.NR_WRITTEN) == 0


def test_without_the_switch_the_journal_keeps_its_pages():
    m = with_journal("b")
    assert (m.events(VmEvent.NR_WRITTEN), outcome(m)["ok"]) == (0, 0)


# Which free list comes first.

FULL = "M kkkkkkkkkkkkkkkk\n"
HOLES = "C a...............\n"


def take(m: Tiny, order: int = 0) -> int:
    """A movable block that may come from CMA, by way of the per-CPU lists."""
    return m.do(Do.RMQUEUE, DMA32, 0, order, MOVABLE, ALLOC_CMA, PageKind.KERNEL)


def test_the_table_of_3_x_splits_the_largest_block():
    m = Tiny(128, 64, cma_by_table=True, steal_largest_first=True)
    m.paint(FULL * 4 + HOLES)
    assert [take(m) for _ in range(3)] == [96, 112, 80]
    m.validate()
    m = Tiny(128, 64)
    m.paint(FULL * 4 + HOLES)
    assert [take(m) for _ in range(3)] == [65, 66, 67]


def test_the_table_of_3_x_takes_cma_among_equals_only():
    m = Tiny(96, 32, cma_by_table=True, steal_largest_first=True)
    assert m.alloc(0, UNMOVABLE) < 64
    m.expect(
        """
        U k01.2...3.......
    """
    )
    assert take(m) == 64, "both have a block of order 5"
    assert take(m) < 64, "now the other type has the larger one"
    m.validate()


def test_sticky_pageblocks_are_used_like_ordinary_movable_ones():
    m = Tiny(64, 32, cma_sticky=True)
    m.paint("C aaa.............", first=2)
    assert take(m) == 35, "the smallest hole"
    assert take(m, 2) == 36
    assert take(m, 4) == 48
    assert take(m, 4) < 32
    m.validate()
    m = Tiny(64, 32)
    m.paint("C aaa.............", first=2)
    assert take(m) < 32


def test_of_two_blocks_alike_the_ordinary_one_is_taken():
    assert take(Tiny(64, 32, cma_sticky=True)) < 32


def test_sticky_pageblocks_are_never_claimed():
    m = Tiny(64, 32, cma_sticky=True, nr_swap=0, lmk=False)
    taken = [m.alloc(4, UNMOVABLE) for _ in range(3)]
    assert (taken[2], set(taken[:2])) == (-1, {0, 16})
    assert [row[0] for row in m.draw(2)] == ["C", "C"]
    m.validate()


# Regions.


def regions(m: Tiny) -> str:
    """Types of the pageblocks."""
    return "".join(row[0] for row in m.draw())


def divided(**switches: object) -> Tiny:
    """128 pages, a quarter of them CMA, divided as Contiguitas does; no reclaim."""
    return Tiny(128, 32, contiguitas=True, nr_swap=0, lmk=False, **switches)


def test_what_cannot_be_moved_has_a_region_of_its_own():
    m = divided()
    m.touch(1, 0, 20)
    for _ in range(3):
        assert m.alloc(3, UNMOVABLE) >= 0
    assert m.alloc(2, MigrateType.RECLAIMABLE) < 32, "of its two types one serves the other"
    assert regions(m) == "UUMMMMCC"
    assert m.mem["zones"]["unmovable_end"][DMA32] == 32
    m.validate()


def test_the_next_pageblock_is_emptied_when_the_region_is_full():
    m = divided()
    assert m.alloc(4, UNMOVABLE) == 0
    m.paint("M aaaaaaaa........", first=1)
    assert 16 <= m.alloc(4, UNMOVABLE) < 32
    assert m.kinds(16, 32) == {"k": 16}
    assert m.kinds(32, 96) == {"a": 8}
    assert regions(m) == "UUMMMMCC"
    m.validate()


def test_a_page_that_refuses_stays_in_the_region():
    m = divided()
    assert m.alloc(4, UNMOVABLE) == 0
    m.paint("M aaAaaaaa........", first=1)
    assert m.alloc(4, UNMOVABLE) == 32
    assert m.kinds(16, 32) == {"a": 1}
    assert regions(m) == "UUUMMMCC"
    m.validate()


def test_the_region_shrinks_when_movable_memory_runs_out():
    m = divided()
    pfn = m.alloc(4, UNMOVABLE)
    m.alloc(4, UNMOVABLE)
    m.do(Do.FREE, 0, 16, 4)
    m.touch(1, 0, 112)
    assert m.kinds() == {"k": 16, "a": 112}
    assert regions(m) == "UMMMMMCC"
    assert m.mem["zones"]["unmovable_end"][DMA32] == 16 + pfn
    m.validate()


def test_the_region_ends_at_the_area():
    m = divided()
    taken = [m.alloc(4, UNMOVABLE) for _ in range(7)]
    assert taken == [0, 16, 32, 48, 64, 80, -1]
    assert regions(m) == "UUUUUUCC"
    m.validate()


def test_an_atomic_request_waits_for_no_pageblock_to_be_emptied():
    m = divided()
    assert m.alloc(4, UNMOVABLE) == 0
    m.paint("M a...............", first=1)
    assert m.alloc(0, UNMOVABLE, 16) == -1
    assert m.events(VmEvent.ATOMIC_FAIL) == 1
    assert m.alloc(0, UNMOVABLE) >= 0


def test_an_unmovable_pageblock_beyond_its_region_is_found():
    m = divided()
    m.mem["pageblock"]["migratetype"][3] = UNMOVABLE
    with pytest.raises(ValidationError, match="FREE_TYPE|PAGEBLOCKS"):
        m.validate()
