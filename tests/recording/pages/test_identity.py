"""What a recording says about pages, drawn small: each test is one thing that a kernel does."""

from pathlib import Path

from cma_gym.machine.events import FileFlag, KallocFlag, Op, TouchFlag
from cma_gym.mm.mmzone import Importance
from cma_gym.recording.pages.plan import COMMIT_NS
from tests.recording.drawn_trace import (
    BDEV,
    CMA_TARGET,
    COPY,
    DISK,
    GETBLK,
    PIN_TARGET,
    READAHEAD,
    SLAB,
    WRITE,
    ZSMALLOC,
    Drawing,
    events_of,
    told,
)


def test_neighbouring_faults_are_one_run(tmp_path: Path) -> None:
    workload, _ = Drawing().alloc(0x100).alloc(0x321).alloc(0x77).imported(tmp_path)
    # Expect frame numbers to be gone, and three pages in a row.
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 3)]
    assert events_of(workload, Op.TOUCH)["arg"][0] == TouchFlag.WRITE


def test_two_cpus_taking_turns_still_make_two_runs(tmp_path: Path) -> None:
    drawing = Drawing()
    for i in range(4):
        drawing.alloc(0x100 + i, pid=100).alloc(0x200 + i, pid=200)
    workload, _ = drawing.imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 4), ("TOUCH", 2, 4, 4)]


def test_a_run_is_at_most_32_pages_and_ends_at_a_pause(tmp_path: Path) -> None:
    drawing = Drawing()
    for i in range(33):
        drawing.alloc(0x100 + i)
    drawing.wait(5).alloc(0x200)
    workload, _ = drawing.imported(tmp_path)
    assert [nr for _, _, _, nr in told(workload, Op.SPAWN)] == [32, 1, 1]


def test_freed_virtual_pages_are_used_again(tmp_path: Path) -> None:
    drawing = Drawing()
    for round_ in range(5):
        drawing.alloc(0x100 + round_).alloc(0x200 + round_).wait(5)
        drawing.free(0x100 + round_).free(0x200 + round_).wait(5)
    workload, _ = drawing.alloc(0x50).imported(tmp_path)
    assert workload.nr_vpages == 2
    assert told(workload, Op.SPAWN)[:3] == [("TOUCH", 1, 0, 2), ("UNMAP", 1, 0, 2), ("TOUCH", 1, 0, 2)]


def test_reclaim_and_swap_in_are_one_page_touched_twice(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x10).alloc(0x11).wait(5)
    drawing.reclaim(pid=7).swap_out(0x10, pid=7).alloc(0x90, ZSMALLOC, pid=7).free(0x10, pid=7).reclaimed(pid=7)
    workload, report = drawing.alloc(0x33, COPY).imported(tmp_path)
    # Expect no UNMAP, the same virtual page again, and nothing of zram's own page.
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 2), ("TOUCH", 1, 0, 1)]
    assert [int(arg) for arg in events_of(workload, Op.TOUCH)["arg"]] == [TouchFlag.WRITE, 0]
    assert report.pages_allocated_by_kind["zsmalloc"] == 1
    assert report.counts["evicted"] == 1


def test_kswapd_reclaims_without_a_window(tmp_path: Path) -> None:
    drawing = Drawing().event("mm_vmscan_kswapd_wake", "nid=0 order=0", pid=32, comm="<...>")
    workload, _ = drawing.alloc(0x10).free(0x10, pid=32).wait(5).alloc(0x44, COPY).imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 1), ("TOUCH", 1, 0, 1)]


def test_a_copy_of_a_task_without_swapped_pages_is_a_new_page(tmp_path: Path) -> None:
    workload, _ = Drawing().alloc(0x10).wait(5).alloc(0x11, COPY).imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 1), ("TOUCH", 1, 1, 1)]


def test_refault_is_the_same_file_page(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5).read(0x10, 0).read(0x11, 1).wait(5)
    drawing.reclaim().remove(0x10, 0).free(0x10).reclaimed().wait(5)
    workload, report = drawing.read(0x20, 0).imported(tmp_path)
    assert told(workload, Op.SPAWN, Op.TOUCH) == [("FILE", 1, 0, 2), ("FILE", 1, 0, 1)]
    assert report.pages_allocated_by_kind["file"] == 3


def test_truncation_is_for_good_and_frees_the_numbers(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5).read(0x10, 0).read(0x11, 1).wait(5)
    drawing.remove(0x10, 0).remove(0x11, 1).free(0x10).free(0x11).wait(5)
    workload, _ = drawing.read(0x20, 0, ino=0xF).read(0x21, 1, ino=0xF).imported(tmp_path)
    assert told(workload, Op.SPAWN, Op.TOUCH) == [("FILE", 1, 0, 2), ("TRUNCATE", 0, 0, 2), ("FILE", 1, 0, 2)]
    assert workload.nr_fpages == 2


def test_a_file_page_read_again_while_its_run_is_open(tmp_path: Path) -> None:
    drawing = Drawing().read(0x10, 0).reclaim().remove(0x10, 0).free(0x10).reclaimed().read(0x11, 0).read(0x12, 1)
    workload, _ = drawing.imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("FILE", 0, 0, 1), ("FILE", 0, 0, 1), ("FILE", 0, 1, 1)]


def test_block_device_cache_read_beside_a_write_is_held_by_the_journal(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x10, GETBLK).add(0x10, 7, dev=BDEV, ino=0xFE00000)
    drawing.wait(4000).alloc(0x11, WRITE).add(0x11, 0)
    workload, report = drawing.imported(tmp_path)
    event, _ = events_of(workload, Op.FILE)
    assert event["arg"] == FileFlag.BDEV | FileFlag.JOURNAL
    assert event["value"] == COMMIT_NS // 1000
    assert report.pages_allocated_by_kind["bdev"] == 1


def test_without_writes_the_journal_holds_nothing(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x10, GETBLK).add(0x10, 7, dev=BDEV, ino=0xFE00000)
    workload, _ = drawing.wait(6000).alloc(0x11, WRITE).add(0x11, 0).imported(tmp_path)
    event, _ = events_of(workload, Op.FILE)
    assert (event["arg"], event["value"]) == (FileFlag.BDEV, 0)


def test_what_reclaim_could_take_was_not_held_any_more(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x11, WRITE).add(0x11, 0).alloc(0x10, GETBLK).add(0x10, 7, dev=BDEV, ino=0xFE00000)
    drawing.wait(700).reclaim().remove(0x10, 7, dev=BDEV, ino=0xFE00000).free(0x10).reclaimed()
    workload, _ = drawing.imported(tmp_path)
    _, event = events_of(workload, Op.FILE)
    assert event["arg"] == FileFlag.BDEV | FileFlag.JOURNAL
    assert 700_000 <= event["value"] <= 700_100


def test_a_task_that_swaps_in_uses_what_it_passes(tmp_path: Path) -> None:
    drawing = Drawing()
    for pfn in range(0x10, 0x16):
        drawing.alloc(pfn)
    drawing.wait(5).reclaim()
    for pfn in (0x12, 0x15):
        drawing.swap_out(pfn).free(pfn)
    drawing.reclaimed().wait(5).alloc(0x20, COPY).wait(5).alloc(0x21, COPY)
    workload, _ = drawing.imported(tmp_path)
    # Expect the first swap-in to be of page 2, past 0 and 1, and the second of page 5, past 3 and 4.
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 6), ("TOUCH", 1, 0, 3), ("TOUCH", 1, 3, 3)]


def test_raw_reads_of_a_block_device_are_unmovable(tmp_path: Path) -> None:
    flags = "GFP_NOFS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_HARDWALL"
    drawing = Drawing().alloc(0x10, flags).add(0x10, 7, dev=BDEV, ino=0xFE00000).wait(5)
    drawing.reclaim().remove(0x10, 7, dev=BDEV, ino=0xFE00000).free(0x10).reclaimed()
    workload, report = drawing.imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("KALLOC", 0, 0, 1), ("KFREE", 0, 0, 1)]
    assert report.pages_allocated_by_kind["bdev"] == 1


def test_overlayfs_is_no_block_device(tmp_path: Path) -> None:
    _, report = Drawing().read(0x10, 0, dev="0:45", ino=0xFE00000).imported(tmp_path)
    assert report.pages_allocated_by_kind["file"] == 1


def test_shmem_shows_when_it_is_removed(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5).wait(5).alloc(0x10, COPY).wait(5).remove(0x10, 3, dev="0:2", ino=0x11A).free(0x10)
    workload, report = drawing.imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 1), ("FILE", 1, 0, 1), ("TRUNCATE", 0, 0, 1)]
    assert events_of(workload, Op.FILE)["arg"][0] & FileFlag.SHMEM
    assert report.pages_allocated_by_kind["shmem"] == 1


def test_migration_by_a_contiguous_allocation_keeps_the_page(tmp_path: Path) -> None:
    #       0x800 anon --> 0x20      0x801 file --> 0x21      then both end where they moved to
    drawing = Drawing().alloc(0x800).read(0x801, 4).wait(5).cma_start(512)
    drawing.alloc(0x20, CMA_TARGET, pid=50).alloc(0x21, CMA_TARGET, pid=50).free(0x800, pid=50).free(0x801, pid=50)
    drawing.cma_finish(0x800, 512).wait(5).remove(0x21, 4).free(0x21).free(0x20)
    workload, report = drawing.imported(tmp_path)
    assert told(workload, Op.SPAWN, Op.DEMAND) == [
        ("TOUCH", 1, 0, 1),
        ("FILE", 1, 0, 1),
        ("TRUNCATE", 0, 0, 1),
        ("UNMAP", 1, 0, 1),
    ]
    assert report.counts["moved"] == 2
    assert report.counts["migration_targets"] == 2
    assert report.counts["unknown_frees"] == 0
    assert sum(report.pages_allocated_by_kind.values()) == 2


def test_a_failed_migration_gives_its_target_back(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x800).alloc(0x801).wait(5).cma_start(512)
    drawing.alloc(0x20, CMA_TARGET, pid=50).alloc(0x21, CMA_TARGET, pid=50)
    drawing.free(0x20, pid=50).free(0x801, pid=50).cma_finish(0x800, 512, error=-16).wait(5).free(0x21)
    workload, report = drawing.imported(tmp_path)
    assert report.counts["undone_moves"] == 1
    assert told(workload, Op.SPAWN, Op.DEMAND) == [("TOUCH", 1, 0, 2), ("UNMAP", 1, 1, 1)]


def test_clean_cache_dropped_for_a_contiguous_allocation_is_no_truncation(tmp_path: Path) -> None:
    drawing = Drawing().read(0x800, 4).wait(5).cma_start(512).remove(0x800, 4, pid=50).free(0x800, pid=50)
    workload, _ = drawing.cma_finish(0x800, 512).wait(5).read(0x10, 4).imported(tmp_path)
    assert told(workload, Op.SPAWN, Op.DEMAND) == [("FILE", 0, 0, 1), ("FILE", 0, 0, 1)]


def test_direct_reclaim_inside_a_contiguous_allocation_is_told_apart(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x300).alloc(0x800).wait(5).cma_start(512).reclaim(pid=50)
    drawing.swap_out(0x300, pid=50).alloc(0x91, ZSMALLOC, pid=50).free(0x300, pid=50).reclaimed(pid=50)
    drawing.alloc(0x20, CMA_TARGET, pid=50).free(0x800, pid=50).cma_finish(0x800, 512).wait(5)
    workload, report = drawing.alloc(0x44, COPY).wait(5).free(0x20).imported(tmp_path)
    assert told(workload, Op.SPAWN, Op.DEMAND) == [("TOUCH", 1, 0, 2), ("TOUCH", 1, 0, 1), ("UNMAP", 1, 1, 1)]
    assert report.counts["moved"] == 1


def test_pages_moved_before_a_long_term_pin_stay_anonymous(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x800).alloc(0x801).wait(5)
    drawing.alloc(0x20, PIN_TARGET).alloc(0x21, PIN_TARGET).free(0x800).free(0x801)
    drawing.event("mm_migrate_pages", "nr_succeeded=2 nr_failed=0 mode=MIGRATE_SYNC reason=longterm_pin").wait(5)
    workload, report = drawing.free(0x20).free(0x21).imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 2), ("UNMAP", 1, 0, 2)]
    assert report.pages_allocated_by_kind["kernel"] == 0
    assert report.counts["migration_targets"] == 2


def test_a_file_page_is_found_again_after_compaction(tmp_path: Path) -> None:
    window = "zone_start=0x1 migrate_pfn=0x1 free_pfn=0x1fe00 zone_end=0x1ffda, mode=sync"
    drawing = Drawing().read(0x30, 4).wait(5).event("mm_compaction_begin", window, pid=28).free(0x30, pid=28)
    drawing.free(0x700, pid=28).event("mm_compaction_end", f"{window} status=success", pid=28).wait(5)
    workload, report = drawing.remove(0x1FD00, 4).free(0x1FD00).imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("FILE", 0, 0, 1), ("TRUNCATE", 0, 0, 1)]
    assert report.counts["lost_moves"] == report.counts["corrected"] == report.counts["returned_frees"] == 1


def test_an_anonymous_page_after_compaction_is_the_one_its_task_frees(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x30).wait(5).event("mm_compaction_begin", "mode=sync", pid=28).free(0x30, pid=28)
    drawing.event("mm_compaction_end", "mode=sync status=success", pid=28).wait(5).free(0x1FD00)
    workload, report = drawing.imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 1), ("UNMAP", 1, 0, 1)]
    assert report.counts["found_frees"] == 1


def test_pages_of_a_released_buffer_have_a_known_allocation(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5).cma_start(4).cma_finish(0x800, 4).wait(300)
    for pfn in range(0x800, 0x804):
        drawing.free(pfn, pid=50)
    _, report = drawing.cma_release(0x800, 4).imported(tmp_path)
    assert report.counts["buffer_frees"] == 4
    assert report.counts["unknown_frees"] == 0


def test_kernel_memory_has_order_and_flags(tmp_path: Path) -> None:
    table = "GFP_KERNEL_ACCOUNT|__GFP_COMP|__GFP_ZERO"
    dentries = "GFP_NOWAIT|__GFP_NORETRY|__GFP_COMP|__GFP_RECLAIMABLE"
    drawing = Drawing().alloc(0x40, SLAB, order=3).alloc(0x60, table).alloc(0x50, dentries, order=1)
    drawing.alloc(0x70, dentries.replace("NOWAIT", "ATOMIC")).wait(5)
    workload, report = drawing.free(0x40, order=3).imported(tmp_path)
    args = [int(arg) for arg in events_of(workload, Op.KALLOC)["arg"]]
    assert args == [
        3 << 4 | KallocFlag.SLAB,
        KallocFlag.PAGE_TABLE,
        1 << 4 | KallocFlag.RECLAIMABLE | KallocFlag.SLAB | KallocFlag.NOWAIT,
        KallocFlag.RECLAIMABLE | KallocFlag.SLAB | KallocFlag.ATOMIC,
    ]
    assert told(workload)[-1] == ("KFREE", 0, 0, 1)
    assert report.pages_allocated_by_kind["kernel"] == 8 + 1 + 2 + 1


def test_a_block_freed_page_by_page_ends_with_its_last_page(tmp_path: Path) -> None:
    workload, _ = Drawing().alloc(0x40, SLAB, order=1).wait(5).free(0x40).wait(5).free(0x41).imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("KALLOC", 0, 0, 1), ("KFREE", 0, 0, 1)]
    assert events_of(workload, Op.KFREE)["time"][0] > 10_000_000


def test_memory_that_reclaim_takes_for_itself_is_no_demand(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5).reclaim().alloc(0x40, "GFP_NOWAIT|__GFP_COMP").reclaimed().wait(5).free(0x40)
    workload, report = drawing.imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 1)]
    assert report.counts["quiet_pages"] == 1


def test_failed_allocations_are_counted(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5)
    drawing.event("mm_page_alloc", "page=0000000000000000 pfn=0x0 order=0 migratetype=0 gfp_flags=GFP_NOWAIT")
    workload, report = drawing.imported(tmp_path)
    assert report.counts["failed_allocs"] == 1
    assert report.pages_allocated_by_kind == dict(anon=1, file=0, bdev=0, shmem=0, zsmalloc=0, kernel=0)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 1)]


def test_an_exit_frees_what_its_task_unmapped_on_the_way_out(tmp_path: Path) -> None:
    drawing = Drawing().fork(100).alloc(0x10).alloc(0x11).wait(50).free(0x11).free(0x10).exit()
    workload, _ = drawing.fork(200).wait(5).alloc(0x10, pid=200).imported(tmp_path)
    # Expect the next task to take the id and the range of the first.
    assert told(workload) == [
        ("SPAWN", 0, 0, 0),
        ("SPAWN", 1, 0, 2),
        ("TOUCH", 1, 0, 2),
        ("EXIT", 1, 0, 0),
        ("SPAWN", 1, 0, 1),
        ("TOUCH", 1, 0, 1),
    ]
    assert workload.nr_vpages == 2
    assert workload.nr_tasks == 2


def test_importance_is_told_by_birth(tmp_path: Path) -> None:
    workload, _ = Drawing().alloc(0x10, pid=1).fork(100).alloc(0x11, pid=100).imported(tmp_path)
    assert [int(arg) for arg in events_of(workload, Op.SPAWN)["arg"]] == [
        Importance.SYSTEM,
        Importance.SYSTEM,
        Importance.BACKGROUND,
    ]


def test_a_pid_used_again_is_another_task(tmp_path: Path) -> None:
    drawing = Drawing().fork(100).alloc(0x10).wait(5).fork(100).alloc(0x20)
    workload, _ = drawing.imported(tmp_path)
    assert [entry[0] for entry in told(workload)] == ["SPAWN", "SPAWN", "TOUCH", "EXIT", "SPAWN", "TOUCH"]


def test_threads_share_a_task_where_the_group_is_recorded(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x10, pid=100).alloc(0x11, pid=101)
    drawing.lines = [line.replace(" [001]", " (  100) [001]") for line in drawing.lines]
    workload, _ = drawing.imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 2)]


def test_a_huge_page_is_512_pages(tmp_path: Path) -> None:
    workload, report = Drawing().alloc(0x200, "GFP_TRANSHUGE", order=9).wait(5).free(0x200, order=9).imported(tmp_path)
    assert sum(nr for op, _, _, nr in told(workload) if op == "TOUCH") == 512
    assert told(workload)[-1] == ("UNMAP", 1, 0, 512)
    assert report.pages_allocated_by_kind["anon"] == 512


def test_pages_older_than_the_recording_are_there_from_the_begin(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x5, pid=9).wait(100).reclaim(pid=9).remove(0x30, 8).free(0x30, pid=9).reclaimed(pid=9)
    drawing.wait(5).remove(0x31, 9, pid=9).free(0x31, pid=9).wait(5).free(0x32, pid=300)
    drawing.wait(5).reclaim(pid=9).swap_out(0x33, pid=9).free(0x33, pid=9).reclaimed(pid=9)
    workload, report = drawing.imported(tmp_path)
    assert report.counts["old_pages"] == 4
    assert report.counts["unknown_frees"] == 4
    begin = workload.events[workload.events["time"] == 0]
    # Expect two file pages, one page of task 300 and one that reclaim took from somebody, besides the first allocation.
    assert sorted(Op(int(op)).name for op in begin["op"] if op != Op.SPAWN) == ["FILE", "TOUCH", "TOUCH", "TOUCH"]
    assert int(begin["nr"][begin["op"] == Op.FILE].sum()) == 2
    assert [entry[0] for entry in told(workload, Op.SPAWN)][-2:] == ["TRUNCATE", "UNMAP"]


def test_read_ahead_that_lost_a_race_leaves_nothing(tmp_path: Path) -> None:
    workload, report = Drawing().alloc(0x5).alloc(0x10, READAHEAD).free(0x10).imported(tmp_path)
    assert told(workload, Op.SPAWN) == [("TOUCH", 1, 0, 1)]
    assert report.pages_allocated_by_kind["file"] == 1


def test_a_write_is_told_by_its_flag(tmp_path: Path) -> None:
    drawing = Drawing().alloc(0x10, "GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_WRITE").add(0x10, 0, dev=DISK)
    workload, _ = drawing.imported(tmp_path)
    assert events_of(workload, Op.FILE)["arg"][0] == FileFlag.WRITE
