"""Formats, packings and damage: what is read, what is counted, what is refused, and in which words."""

import gzip
import lzma
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cma_gym.recording.importer import import_trace
from cma_gym.recording.text.format import GFP_NAMES, KNOWN_EVENTS, Gfp, name_hash
from cma_gym.recording.text.source import CHUNK_BYTES, TraceError, TraceSource
from cma_gym.workloads.workload import WorkloadError
from tests.recording.drawn_trace import ZERO, Drawing, told

ALLOC = (
    "app-100 [001] d..1. 5.000010: mm_page_alloc: page=0000000012ab pfn=0x10 order=0 migratetype=1 gfp_flags=" + ZERO
)


def scene(report: bool = False) -> Drawing:
    """A little of everything."""
    drawing = Drawing(report).fork(100).alloc(0x10).alloc(0x11).read(0x20, 0).read(0x21, 1)
    drawing.cma_start(64, 4).cma_finish(0x800, 64, 4).wait(300).cma_release(0x800, 64)
    return drawing.wait(5).free(0x10).exit()


def imported(folder: Path, text: str | bytes, name: str = "t.ftrace") -> tuple[list, object]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    workload, report = import_trace(path)
    return told(workload), report


def test_both_forms_give_the_same_workload(tmp_path: Path) -> None:
    from_trace, _ = scene().imported(tmp_path)
    from_report, _ = scene(report=True).imported(tmp_path)
    assert np.array_equal(from_trace.events, from_report.events)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" d..1.", ""),  # no irq flags
        lambda text: re.sub(r"-(\d+) +\[", r"-\1 (-------) [", text),  # thread group ids, unknown
        lambda text: re.sub(r"-(\d+) +\[", r"-\1 (  \1) [", text),  # thread group ids
        lambda text: re.sub(r"pfn=0x([0-9a-f]+) order", lambda m: f"pfn={int(m[1], 16)} order", text),  # decimal
        lambda text: re.sub(r" pfn=(\S+) ofs=(\d+) order=0", r" page=00000000ab pfn=\1 ofs=\2", text),  # before folios
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("app-", "Binder: 12 [3]-x:1-"),  # a nasty name
        lambda text: re.sub(r"(\d\.\d{6}):", r"\g<1>000:", text),  # nanoseconds
        lambda text: text.replace("__GFP_ZERO", "GFP_ZERO"),  # Linux 3.x
        lambda text: text.replace("GFP_HIGHUSER_MOVABLE", "GFP_HIGHUSER|0x8"),  # a bit without a name
        lambda text: text.replace("camera-50 ", "   <...>-50 "),
        lambda text: "version = 6\nCPU 0 is empty\n\n" + text,
    ],
)
def test_spellings_of_other_kernels_and_tools(tmp_path: Path, change: Callable[[str], str]) -> None:
    expected, _ = scene().imported(tmp_path)
    assert change(scene().text()) != scene().text()
    events, report = imported(tmp_path, change(scene().text()))
    assert events == told(expected)
    assert not any(report.skipped.values())


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        lzma.compress,
        lambda text: lzma.compress(text[:400]) + lzma.compress(text[400:]),
        zstandard.ZstdCompressor().compress,
        lambda text: zstandard.compress(text[:400]) + zstandard.compress(text[400:]),
    ],
    ids=["gz", "xz", "xz streams", "zst", "zst frames"],
)
def test_packed_files_are_told_by_content(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    expected, _ = scene().imported(tmp_path)
    events, _ = imported(tmp_path, pack(scene().text().encode()), "no-suffix")
    assert events == told(expected)


@pytest.mark.parametrize(
    "pack", [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress], ids=["gz", "xz", "zst"]
)
def test_a_truncated_packed_file_is_refused_with_its_last_line(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    drawing = Drawing()
    for i in range(30_000):
        drawing.alloc(random.Random(i).randrange(1, 1 << 20))
    packed = pack(drawing.text().encode())
    with pytest.raises(TraceError, match=r"after line \d+ the packed data is cut off or damaged .*copy the file again"):
        imported(tmp_path, packed[: len(packed) * 2 // 3])


def test_a_damaged_packed_file_is_refused(tmp_path: Path) -> None:
    packed = bytearray(lzma.compress(scene().text().encode() * 50))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(TraceError, match="cut off or damaged"):
        imported(tmp_path, bytes(packed))


def test_zst_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(TraceError, match="pip install zstandard"):
        imported(tmp_path, b"\x28\xb5\x2f\xfd....")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# tracer: nop\n#\n", "no mm_page_alloc event in its 2 lines"),
        ("app-1 [000] 1.000000: sched_switch: prev_comm=a\n", "no mm_page_alloc event"),
        (b"\x17\x08\x44tracing6\0rest", "trace-cmd report"),
        (b"\x7fELF\x02\x01\0\0", "line 1 is binary data"),
        ("a" * (CHUNK_BYTES + 10), "line 1 is longer than"),
        ("Dear kernel,\nplease trace yourself.\n", "2 of 2 lines are not ftrace text .first at line 1: not_ftrace"),
        (ALLOC + "\n" + "x\n" * 2, "2 of 3 lines are not ftrace text .first at line 2"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_sentence(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(TraceError, match=words) as caught:
        imported(tmp_path, text)
    assert isinstance(caught.value, WorkloadError)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(TraceError, match="cannot be read"):
            import_trace(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("what is this", "not_ftrace"),
        ("\x01\x02\x80 [001] 1.0: x", "not_ftrace"),
        ("app-99999999999999999999 [001] 5.1: mm_page_free: page=0 pfn=0x1 order=0", "not_ftrace"),
        (ALLOC.replace("5.000010", "five"), "bad_time"),
        (ALLOC.replace("5.000010", "5000010"), "bad_time"),
        (ALLOC.replace("pfn=0x10", "pfn=0xzz"), "bad_number"),
        (ALLOC.replace("pfn=0x10", "pfn=0xffffffffffffffffff"), "bad_number"),
        (ALLOC.replace("pfn=0x10", "pfn=0x7fffffffffff"), "bad_number"),
        (ALLOC.replace("order=0", "order=60"), "bad_number"),
        (ALLOC.split(" order")[0], "missing_field"),
        (ALLOC.split(" gfp_flags")[0], "missing_field"),
        ("app-100 [001] 5.1: mm_filemap_add_to_page_cache: dev 254 ino e pfn=0x1 ofs=0", "bad_number"),
        ("app-100 [001] 5.1: cma_alloc_start: name=reserved count=0 align=0", "bad_number"),
        ("app-100 [001] 5.1: sched_process_fork: comm=a pid=1 child_comm=b child_pid=99999999", "bad_number"),
        ("app-100 [001] 5.1: kmalloc: ptr=0", "unknown_event"),
    ],
)
def test_a_bad_line_is_counted_with_reason_and_number(tmp_path: Path, line: str, reason: str) -> None:
    text = "\n".join(["# header", ALLOC, line, ALLOC.replace("0x10", "0x11"), ""])
    events, report = imported(tmp_path, text.encode("latin1"))
    assert {name: count for name, count in report.skipped.items() if count} == {reason: 1}
    assert report.first_skipped == {reason: 3}
    assert events[-1] == ("TOUCH", 1, 0, 2)


def test_unknown_events_are_counted_by_name(tmp_path: Path) -> None:
    lines = [ALLOC] + [f"app-1 [000] 6.0: event_{i % 80}: x=1" for i in range(160)] + ["a-1 [000] 6.0: kmalloc: y", ""]
    _, report = imported(tmp_path, "\n".join(lines))
    assert report.unknown_events["event_3"] == 2
    assert sum(report.unknown_events.values()) == report.skipped["unknown_event"] == 161
    assert "(others)" in report.unknown_events


def test_a_last_line_without_an_end_is_not_believed(tmp_path: Path) -> None:
    _, report = imported(tmp_path, f"{ALLOC}\n{ALLOC[:70]}")
    assert report.skipped["unfinished"] == 1
    assert report.first_skipped == {"unfinished": 2}
    assert report.lines == 2
    assert report.events_by_name == {"mm_page_alloc": 1}


@pytest.mark.parametrize("line", ["CPU:1 [LOST 12 EVENTS]", "CPU:1 [12 EVENTS DROPPED]", "CPU:1 [LOST EVENTS]"])
def test_lost_events_are_reported(tmp_path: Path, line: str) -> None:
    _, report = imported(tmp_path, f"{ALLOC}\n{line}\n")
    assert report.lost_events == (12 if "12" in line else 1)
    assert report.first_lost_line == 2
    assert any("events were lost, first at line 2" in note for note in report.notes)
    assert not any(report.skipped.values())


def test_time_that_runs_back_stands_still(tmp_path: Path) -> None:
    text = f"{ALLOC}\n{ALLOC.replace('5.000010', '4.5').replace('0x10', '0x11')}\n"
    _, report = imported(tmp_path, text)
    assert report.counts["time_backwards"] == 1


def test_chunks_cut_lines_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "long"
    lines = [b"%d %s" % (i, b"x" * (i % 400)) for i in range(20_000)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    read = []
    with TraceSource(path) as source:
        for text, _ in source.chunks():
            read += bytes(text).split(b"\n")[:-1]
    assert read == lines
    assert source.lines == len(lines)


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    path = tmp_path / "t.ftrace"
    path.write_text(scene().text())
    seen: list[tuple[int, int]] = []
    import_trace(path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == path.stat().st_size


def test_uncompiled_code_reads_the_same(tmp_path: Path) -> None:
    workload, _ = scene().imported(tmp_path)
    code = (
        "import sys; from cma_gym.recording.importer import import_trace; "
        "sys.stdout.buffer.write(import_trace(sys.argv[1])[0].events.tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "drawn.ftrace")],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=True,
    )
    assert done.stdout == workload.events.tobytes()


def test_names_have_different_hashes() -> None:
    assert len({name_hash(name) for name, _ in KNOWN_EVENTS}) == len(KNOWN_EVENTS)
    assert len({name_hash(name) for name in GFP_NAMES}) == len(GFP_NAMES)
    assert GFP_NAMES["HIGHUSER_MOVABLE"] & Gfp.MOVABLE


LINES = scene().lines
WORDS = st.sampled_from(re.findall(r"[\w.<>-]+|[=:|\[\] ]", " ".join(LINES)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.lists(WORDS, max_size=30).map("".join), st.text(max_size=60), st.sampled_from(LINES))))
def test_no_line_breaks_the_reader(tmp_path: Path, lines: list[str]) -> None:
    try:
        imported(tmp_path, "\n".join(lines).encode("utf-8", "surrogatepass"))
    except TraceError:
        pass


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_and_damage_of_real_lines_gives_a_sane_workload(tmp_path: Path, data: st.DataObject) -> None:
    drawing = Drawing(step_us=data.draw(st.sampled_from([1, 700, 40_000])))
    for _ in range(data.draw(st.integers(1, 60))):
        step = st.tuples(
            st.integers(0, 13), st.integers(1, 4), st.integers(1, 12), st.integers(0, 2), st.integers(1, 4)
        )
        _draw_step(drawing, *data.draw(step))
    workload, report = drawing.alloc(0x400).imported(tmp_path)
    workload.check()
    _check_semantics(workload.events)
    assert sum(report.pages_allocated_by_kind.values()) >= 1


def _draw_step(drawing: Drawing, kind: int, pid: int, pfn: int, number: int, times: int) -> None:
    """One thing that a kernel may do, a few times, whether or not it makes sense here."""
    steps: list[Callable[[], Drawing]] = [
        lambda: drawing.alloc(pfn, ZERO, pid),
        lambda: drawing.alloc(pfn, "GFP_HIGHUSER_MOVABLE", pid),
        lambda: drawing.free(pfn, pid, number),
        lambda: drawing.read(pfn, number, pid),
        lambda: drawing.remove(pfn, number, pid),
        lambda: drawing.reclaim(pid),
        lambda: drawing.reclaimed(pid),
        lambda: drawing.swap_out(pfn, pid),
        lambda: drawing.cma_start(4, 0, pid),
        lambda: drawing.alloc(pfn, "GFP_USER|__GFP_MOVABLE|__GFP_RETRY_MAYFAIL", pid),
        lambda: drawing.cma_finish(pfn, 4, 0, -16 * (number // 2), pid),
        lambda: drawing.event("mm_compaction_end" if number else "mm_compaction_begin", "mode=sync", pid),
        lambda: drawing.fork(pid).exit(1 + pfn % 4),
        lambda: drawing.alloc(pfn, "GFP_KERNEL", pid, number),
    ]
    for _ in range(times):
        steps[kind]()


def _check_semantics(events: np.ndarray) -> None:
    """Nobody uses another's: ranges of live tasks are disjoint, unmapped pages were touched, freed blocks held."""
    ranges: dict[int, range] = {}
    present: set[int] = set()
    cached: set[int] = set()
    for event in events:
        name = told_name(event)
        task, pages = int(event["task"]), range(int(event["start"]), int(event["start"]) + int(event["nr"]))
        if name == "SPAWN":
            assert task not in ranges
            assert not any(set(pages) & set(other) for other in ranges.values())
            ranges[task] = pages
        elif name == "EXIT":
            present -= set(ranges.pop(task))
        elif name in ("TOUCH", "KALLOC"):
            assert set(pages) <= set(ranges[task])
            assert name == "TOUCH" or not set(pages) & present
            present |= set(pages)
        elif name in ("UNMAP", "KFREE"):
            assert set(pages) <= present
            present -= set(pages)
        elif name == "FILE":
            cached |= set(pages)
        elif name == "TRUNCATE":
            assert set(pages) <= cached
            cached -= set(pages)


def told_name(event: np.void) -> str:
    """Name of an event's op."""
    from cma_gym.machine.events import Op

    return Op(int(event["op"])).name
