"""Import a recording of a real kernel: ftrace text to a workload that every placement rule can be run against.

Three passes, the first two while the file streams by: lines to records (`ftrace_text`), records to identities
(`ftrace_identity`), identities to a demand (`ftrace_demand`, `ftrace_cma`). Memory grows with pages allocated, some 60
bytes each, not with the length of the text.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cma_gym.machine.boot_state import StartState
from cma_gym.machine.events import Op, event_dtype
from cma_gym.recording.areas.cma import DemandFinder, demand_events, demand_events_of
from cma_gym.recording.areas.demand import build
from cma_gym.recording.areas.pins import with_pins
from cma_gym.recording.layout import Layout, lay_out
from cma_gym.recording.pages.books import Books, new_books, rehash_files, rehash_pages
from cma_gym.recording.pages.identity import follow
from cma_gym.recording.pages.plan import Told
from cma_gym.recording.report import TraceReport, count_events, make_report
from cma_gym.recording.start import Seed, seed, start_state, told
from cma_gym.recording.text.format import Skip, new_parser, record_dtype
from cma_gym.recording.text.kernel import KernelText
from cma_gym.recording.text.lines import parse
from cma_gym.recording.text.source import TraceError, TraceSource
from cma_gym.workloads.workload import Workload

Progress = Callable[[int, int], None]
"""Called with the bytes of the file read so far and the size of the file."""

_LINES_AT_ONCE = 1 << 14
_PAGES_PER_MB = 256
_GARBAGE = (Skip.NOT_FTRACE, Skip.BAD_TIME, Skip.MISSING_FIELD, Skip.BAD_NUMBER)


def prepare() -> float:
    """Compile the reader, or load it from the cache; returns the seconds it took."""
    began = time.perf_counter()
    records = np.zeros(1, record_dtype).view(np.recarray)
    books = new_books()
    parse(new_parser(), np.zeros(0, np.uint8), 0, np.zeros(0, np.int64), records)
    books = follow(books, records)
    rehash_pages(books.page_slot, books.page_slot[:0])
    rehash_files(books.file_slot, books.file_slot[:0])
    lay_out(build(books, Told()), np.zeros(0, event_dtype))
    return time.perf_counter() - began


def import_trace(
    path: str | os.PathLike[str],
    name: str | None = None,
    progress: Progress | None = None,
    text: KernelText | None = None,
) -> tuple[Workload, TraceReport]:
    """Read a recording and turn it into a workload.

    Args:
        path: ftrace text as `cat /sys/kernel/tracing/trace` or `trace-cmd report` print it; plain, .gz, .xz or .zst.
        name: name of the workload; without one, the file's up to its first dot.
        progress: called after each chunk.
        text: what the kernel said beside the recording; the workload then has a start state, and demands as they were
            made rather than as attempts suggest.

    Returns:
        The workload, checked, and the report of the import.

    Raises:
        TraceError: the file cannot be read to its end, or has no allocations in it; the message says at which line and
            what to do.
    """
    prepare()
    began = time.perf_counter()
    parser, books, finder = new_parser(), new_books(), DemandFinder()
    seeded = None
    if text is not None:
        books, seeded = seed(books, text)
    with TraceSource(path) as source:
        books = _read(source, parser, books, finder, progress)
        finder.close()
        _refuse_useless(source, parser[0])
        report = make_report(source, parser[0], books, finder.demands)
    end_ns = int(books.state[0]["time"])
    memory_mb = _memory_mb(books)
    start_ns = int(books.state[0]["start"])
    layout, start, nr_fpages = _demand(books, seeded, text, finder, start_ns, end_ns)
    del books
    report.workload_events = count_events(layout.events)
    file_name = Path(path).name
    meta = {
        "family": "ftrace",
        "source": file_name,
        "recording_start_ns": start_ns,
        "ram_mb_at_least": memory_mb,
        "largest_demand_pages": max((demand.nr_pages for demand in finder.demands), default=0),
        "kernel": {"lmk": False},  # whom the recorded system killed is in the events already
        "report": report.facts(),
    }
    label = name or file_name.split(".")[0]
    workload = Workload(label, layout.events, layout.nr_vpages, nr_fpages, layout.nr_tasks, meta, start).check()
    report.wall_s = time.perf_counter() - began
    return workload, report


def _demand(
    books: Books, seeded: Seed | None, text: KernelText | None, finder: DemandFinder, start_ns: int, end_ns: int
) -> tuple[Layout, StartState | None, int]:
    """The events; with the kernel's text, the start state; the number of file pages."""
    wanted = demand_events(finder.demands, end_ns)
    if text is not None:
        wanted = demand_events_of(text, finder.demands, start_ns, end_ns)
    more = np.concatenate([wanted, np.zeros(1, event_dtype)])
    more[-1]["time"], more[-1]["op"] = end_ns, Op.TICK
    plan = build(books, Told() if text is None or seeded is None else told(text, seeded, books, start_ns))
    layout = lay_out(plan, more)
    if text is None or seeded is None:
        return layout, None, layout.nr_fpages
    start, nr_fpages = start_state(text, seeded, books, plan, layout)
    return layout._replace(events=with_pins(text, layout, start_ns, end_ns)), start, nr_fpages


def _read(
    source: TraceSource, parser: np.recarray, books: Books, finder: DemandFinder, progress: Progress | None
) -> Books:
    records = np.zeros(_LINES_AT_ONCE, record_dtype).view(np.recarray)
    for text, ends in source.chunks():
        begin = 0
        for first in range(0, len(ends), _LINES_AT_ONCE):
            some = ends[first : first + _LINES_AT_ONCE]
            used = parse(parser, text, begin, some, records)
            books = follow(books, records[:used])
            finder.take(records[:used], int(books.state[0]["start"]))
            begin = int(some[-1]) + 1
        if progress is not None:
            progress(source.read_bytes, source.size_bytes)
    return books


def _refuse_useless(source: TraceSource, parser: np.record) -> None:
    """Refuse what is no recording of page allocations, naming the first line that was not understood."""
    garbage = {reason: int(parser["skip_count"][reason]) for reason in _GARBAGE if parser["skip_count"][reason]}
    where = f"{source.path}: "
    if garbage and 2 * sum(garbage.values()) > source.lines - int(parser["headers"]):
        worst = max(garbage, key=lambda reason: garbage[reason])
        line = int(parser["skip_line"][worst])
        raise TraceError(
            f"{where}{sum(garbage.values())} of {source.lines} lines are not ftrace text (first at line {line}: "
            f"{worst.name.lower()}); import what `cat /sys/kernel/tracing/trace` or `trace-cmd report` prints"
        )
    if not parser["event_count"][0]:
        raise TraceError(
            f"{where}no mm_page_alloc event in its {source.lines} lines; "
            "enable events/kmem/mm_page_alloc (and its neighbours) and record again"
        )


def _memory_mb(books: Books) -> int:
    """Span of the page frames that were handed out: the recorded machine had at least this much memory [MB]."""
    state = books.state[0]
    return max(0, int(state["high_pfn"]) + 1 - int(state["low_pfn"])) // _PAGES_PER_MB
