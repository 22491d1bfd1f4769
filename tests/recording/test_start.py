"""A machine booted from a recorded state, and what the recording tells about its pages later."""

from pathlib import Path

import numpy as np
import pytest

from cma_gym.machine.boot_state import boot_from, free_blocks, free_pages_of
from cma_gym.machine.events import FileFlag, Op
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import new_machines
from cma_gym.mm.check.validate import validate
from cma_gym.mm.mmzone import NO_ENTRY, Lru, PageFlag, PageKind, ZoneType
from cma_gym.recording.importer import import_trace
from cma_gym.recording.report import TraceReport
from cma_gym.recording.text.kernel import KernelTextError, read_kernel_text
from cma_gym.workloads.workload import Workload, load, save
from tests.recording.drawn_kernel import AREA, AREA_PAGES, BLOCK, PAGES, USED, buddies, kernel_text, page_map
from tests.recording.drawn_trace import BDEV, COPY, GETBLK, WRITE, Drawing, events_of, told

INODE = 0xFE00000


def imported(folder: Path, drawing: Drawing, text: str = "") -> tuple[Workload, TraceReport]:
    (folder / "drawn.ftrace").write_text(drawing.text())
    (folder / "drawn.kernel.txt").write_text(text or kernel_text())
    return import_trace(folder / "drawn.ftrace", text=read_kernel_text(folder / "drawn.kernel.txt"))


def booted(workload: Workload, kernel: KernelConfig | None = None) -> np.recarray:
    start = workload.start
    assert start is not None
    kernel = kernel or KernelConfig()
    start = start.with_own_zone() if kernel.zone_cma else start
    mems = new_machines(1, start.spec(2), workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
    boot_from(mems, 0, start, 2, kernel)
    validate(mems)
    return mems


def test_every_page_lies_where_the_map_says(tmp_path: Path) -> None:
    workload, report = imported(tmp_path, Drawing().alloc(0x400))
    mem = booted(workload)[0]
    kinds = mem["page"]["kind"][:PAGES]
    assert list(kinds[600:604]) == [PageKind.ANON] * 4
    assert list(kinds[610:612]) == [PageKind.FILE] * 2
    assert list(kinds[620:622]) == [PageKind.SHMEM] * 2
    assert (kinds[20], kinds[30], kinds[32], kinds[0]) == (
        PageKind.SLAB,
        PageKind.PAGE_TABLE,
        PageKind.KERNEL,
        PageKind.RESERVED,
    )
    # Expect block-device cache to be movable where its pageblock is, and kernel memory in an unmovable one.
    assert (kinds[3500], kinds[40]) == (PageKind.BDEV, PageKind.KERNEL)
    assert report.counts["placed_pages"] == 19


def test_free_lists_watermarks_and_pageblocks_are_the_recorded_ones(tmp_path: Path) -> None:
    workload, _ = imported(tmp_path, Drawing().alloc(0x400))
    mem = booted(workload)[0]
    zone = mem["zones"][ZoneType.DMA32]
    assert free_blocks(mem) == {0: buddies(page_map(USED))}
    assert list(zone["watermark"]) == [60, 70, 80]
    assert zone["lowmem_reserve"][ZoneType.MOVABLE] == 3
    # Expect one free page outside the lists on a CPU's list, as counted, and the other one to be kernel memory.
    assert list(zone["pcp"]["nr"][:2]) == [1, 0]
    assert zone["pcp"]["batch"][0] == 7
    assert (mem["cma"]["base_pfn"], mem["cma"]["nr_pages"]) == (AREA, AREA_PAGES)
    assert free_pages_of(mem)[1] == AREA_PAGES - 1  # the page in use at 3500
    assert list(mem["pageblock"]["migratetype"][:8]) == [0, 1, 1, 1, 1, 4, 4, 1]
    assert mem["node"]["nr_swap_total"] == 2048


def test_lists_are_as_long_as_counted(tmp_path: Path) -> None:
    workload, _ = imported(tmp_path, Drawing().alloc(0x400))
    mem = booted(workload)[0]
    nr = mem["lruvec"]["nr"][0]
    assert nr[Lru.UNEVICTABLE] == 1
    assert nr[Lru.ACTIVE_ANON] == 2
    assert nr[Lru.INACTIVE_ANON] == 3
    assert mem["page"]["flag"][620] & PageFlag.MLOCKED  # mapped shmem first


def test_a_free_tells_whose_a_page_was(tmp_path: Path) -> None:
    workload, report = imported(tmp_path, Drawing().alloc(0x400).wait(5).free(601))
    assert report.counts["owned_places"] == 1
    (unmap,) = events_of(workload, Op.UNMAP)
    mem = booted(workload)[0]
    assert mem["pte"]["entry"][unmap["start"]] == 601
    spawns = {int(event["task"]): int(event["start"]) for event in events_of(workload, Op.SPAWN)}
    assert unmap["start"] >= spawns[int(unmap["task"])]
    assert workload.start is not None
    others = workload.start.page["task"][[600, 602, 603]]
    assert len(set(others)) == 1
    assert others[0] != unmap["task"]


def test_a_removal_tells_the_name_of_a_page(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x400).wait(5).reclaim().remove(610, 3).free(610).reclaimed().wait(5).read(0x500, 3)
    workload, report = imported(tmp_path, drawing)
    assert report.counts["named_places"] == 1
    (read,) = events_of(workload, Op.FILE)
    mem = booted(workload)[0]
    assert mem["filemap"]["entry"][read["start"]] == 610
    assert mem["filemap"]["entry"][workload.nr_fpages - 1] != NO_ENTRY  # pages that nobody reads have names, too


def test_kernel_memory_goes_by_its_free(tmp_path: Path) -> None:
    workload, _ = imported(tmp_path, Drawing().alloc(0x400).wait(5).free(20, order=1))
    (kfree,) = events_of(workload, Op.KFREE)
    mem = booted(workload)[0]
    assert sorted(mem["pte"]["entry"][kfree["start"] : kfree["start"] + 2]) == [20, 21]


def test_what_the_first_events_allocate_was_free_at_the_start(tmp_path: Path) -> None:
    workload, report = imported(tmp_path, Drawing().alloc(602).wait(5).free(602))
    assert report.counts["void_places"] == 1
    mem = booted(workload)[0]
    assert mem["page"]["kind"][602] == PageKind.FREE
    assert told(workload, Op.SPAWN, Op.DEMAND) == [("TOUCH", 2, 3, 1), ("UNMAP", 2, 3, 1)]


def test_pages_in_swap_find_an_owner(tmp_path: Path) -> None:
    text = kernel_text({**USED, 640: "mm"}).replace("SwapFree:          8192", "SwapFree:          8172")
    workload, _ = imported(tmp_path, Drawing().alloc(0x400).wait(5).alloc(0x401, COPY), text)
    mem = booted(workload)[0]
    assert mem["node"]["nr_zspages"] == 2
    assert mem["node"]["nr_swap_total"] - mem["node"]["nr_swap_free"] == 5
    # Expect one of them to be given up for the copy, whose owner it turns out to have been.
    assert len(events_of(workload, Op.UNMAP)) == 1


def readers() -> Drawing:
    """Task 100 fills memory and reads a file; task 200 only reads; and task 100 writes, too."""
    drawing = Drawing()
    for page in range(4):
        drawing.alloc(0x400 + page).read(0x480 + page, page).wait(5)
    for page in range(8):
        drawing.read(0x4A0 + page, page, pid=200, ino=0xF).wait(5)
    return drawing.alloc(0x4C0, WRITE).add(0x4C0, 0, ino=0x10)


def test_a_task_with_memory_of_its_own_maps_the_files_it_reads(tmp_path: Path) -> None:
    mapping = kernel_text().replace("VMSTAT", "VMSTAT nr_mapped=90 nr_file_pages=100")
    workload, _ = imported(tmp_path, readers(), mapping)
    args = [int(event["arg"]) for event in events_of(workload, Op.FILE)]
    assert args == [FileFlag.MAPPED] * 4 + [0] * 8 + [FileFlag.WRITE]


def test_where_hardly_anything_is_mapped_nobody_maps_files(tmp_path: Path) -> None:
    text = kernel_text().replace("VMSTAT", "VMSTAT nr_mapped=1 nr_file_pages=100")
    workload, _ = imported(tmp_path, readers(), text)
    assert not (events_of(workload, Op.FILE)["arg"] & FileFlag.MAPPED).any()


def metadata() -> Drawing:
    """A written file, and thirty pages of metadata, of which a contiguous allocation drops nine."""
    drawing = Drawing().alloc(0x4C0, WRITE).add(0x4C0, 0)
    for page in range(30):
        drawing.alloc(0xA00 + page, GETBLK).add(0xA00 + page, page, dev=BDEV, ino=INODE)
    drawing.wait(100).cma_start(AREA_PAGES)
    for page in range(9):
        drawing.remove(0xA00 + page, page, pid=50, dev=BDEV, ino=INODE).free(0xA00 + page, pid=50)
    return drawing.cma_finish(0, AREA_PAGES, error=-16)


def test_the_journal_holds_the_share_that_contiguous_allocation_met(tmp_path: Path) -> None:
    attempt = "FAIL W0 # stage=M err=-16 total=1 kept=1\n"
    refused = "".join(f"FAIL W0 {pfn} bdev m refs=3\n" for pfn in (2580, 2581, 2582, 2582))
    workload, report = imported(tmp_path, metadata(), kernel_text().replace(attempt, attempt + refused))
    assert report.counts["bdev_passed"] == 9
    held = events_of(workload, Op.FILE)["arg"][1:] & FileFlag.JOURNAL != 0
    seen = [20, 21, 22]
    assert held[seen].all()
    assert np.count_nonzero(np.delete(held, seen)) == pytest.approx(30 * 3 / 12 - 3, abs=1)
    census = kernel_text().replace(attempt, attempt + refused).replace("dirty=3", "bdev=15 dirty=3")
    workload, _ = imported(tmp_path, metadata(), census)  # two demands went through the area, past 15 pages each
    held = events_of(workload, Op.FILE)["arg"][1:] & FileFlag.JOURNAL != 0
    assert np.count_nonzero(np.delete(held, seen)) == 0


def test_where_nothing_refused_the_journal_may_hold_everything(tmp_path: Path) -> None:
    workload, _ = imported(tmp_path, metadata())
    assert np.count_nonzero(events_of(workload, Op.FILE)["arg"] & FileFlag.JOURNAL) == 30


def test_demands_are_those_of_the_text(tmp_path: Path) -> None:
    workload, _ = imported(tmp_path, Drawing().alloc(0x400).wait(4000).alloc(0x401))
    demands = events_of(workload, Op.DEMAND)
    assert list(demands["nr"]) == [AREA_PAGES, 256]
    assert list(demands["value"]) == [1, 2]
    assert list(demands["start"]) == [0, 1]
    assert demands["time"][0] == pytest.approx(0.99999e9)


def test_the_area_can_be_a_zone_of_its_own(tmp_path: Path) -> None:
    workload, _ = imported(tmp_path, Drawing().alloc(0x400))
    mem = booted(workload, KernelConfig(zone_cma=True))[0]
    zones = mem["zones"]
    assert zones[ZoneType.CMA]["start_pfn"] == AREA
    assert zones[ZoneType.DMA32]["end_pfn"] == AREA
    managed = zones[ZoneType.CMA]["managed_pages"] + zones[ZoneType.DMA32]["managed_pages"]
    assert managed == PAGES - page_map(USED).count("R")
    assert not (mem["pageblock"]["migratetype"][:8] == 4).any()


def test_an_area_recorded_as_a_zone_within_another(tmp_path: Path) -> None:
    text = kernel_text().replace(f"\n{AREA} DMA32", f"\n{AREA} Movable")
    text = text.replace(f"\n{AREA + BLOCK} DMA32", f"\n{AREA + BLOCK} Movable")
    workload, _ = imported(tmp_path, Drawing().alloc(0x400), text)
    mem = booted(workload, KernelConfig(zone_cma=True))[0]
    zones = mem["zones"]
    assert (zones[ZoneType.CMA]["start_pfn"], zones[ZoneType.CMA]["end_pfn"]) == (AREA, PAGES)
    assert zones[ZoneType.DMA32]["end_pfn"] == AREA
    assert zones[ZoneType.DMA32]["lowmem_reserve"][ZoneType.CMA] == 3
    assert mem["cma"]["nr_pages"] == AREA_PAGES


def test_a_start_state_is_stored_with_its_workload(tmp_path: Path) -> None:
    workload, _ = imported(tmp_path, Drawing().alloc(0x400))
    save(workload, tmp_path / "drawn.npz")
    again = load(tmp_path / "drawn.npz")
    assert again.start is not None and workload.start is not None
    assert again.start.numbers() == workload.start.numbers()
    for name in ("page", "block", "zone", "swap"):
        assert getattr(again.start, name).tobytes() == getattr(workload.start, name).tobytes()


def test_the_area_must_be_known(tmp_path: Path) -> None:
    text = kernel_text().replace("SCAN base", "SCANNED base")
    workload, _ = imported(tmp_path, Drawing().alloc(0x400), text)
    assert workload.start is not None and workload.start.cma_base == AREA
    blocks = [line for line in text.splitlines() if line.startswith((f"{AREA} ", f"{AREA + BLOCK} "))]
    for line in blocks:
        text = text.replace(line, line.replace("DMA32 4", "DMA32 1"))
    with pytest.raises(KernelTextError, match="where the CMA area lies"):
        imported(tmp_path, Drawing().alloc(0x400), text)
