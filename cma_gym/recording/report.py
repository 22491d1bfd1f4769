"""What a trace import tells: what was read, what was recognised, what was left out and why."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cma_gym.machine.events import KALLOC_ORDER_SHIFT, Op
from cma_gym.recording.areas.cma import Demand
from cma_gym.recording.pages.books import Books, Count
from cma_gym.recording.text.format import KNOWN_EVENTS, UNKNOWN_CHARS, Skip
from cma_gym.recording.text.kinds import KIND_NAMES, Kind, Mark
from cma_gym.recording.text.source import TraceSource

ASSUMPTIONS = (
    "a task that swaps in walks through its memory in the order of addresses, and uses what it passes in memory",
    "zero-filled pages and copies are written, swap-ins and read-ahead are read; other use has no event",
    "each pid is a task of its own, unless the recording has the column of thread group ids",
    "tasks that started during the recording are background applications, the others belong to the system",
    "block-device pages read within 5 s of a write are held by the journal, at most 5 s, and no longer than until the "
    "recorded kernel reclaimed or moved them; references have no event",
    "pages older than the recording appear at its begin if their end is in it; frames freed by a task are its own",
    "attempts of one size by one task within 500 ms are one demand; a failed one wanted as much as its largest equal",
    "page cache that a request may not move (raw block-device reads) lives as long as it did in the recording",
)
_NEEDED_EVENTS = ("mm_page_free", "mm_filemap_add_to_page_cache", "mm_filemap_delete_from_page_cache")
_LISTED_DEMANDS = 10_000


def peak_rss_mb() -> float:
    """Largest resident size that this process has had [MB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


@dataclass
class TraceReport:
    """The report of one import. `as_dict` is its stable form for programs."""

    lines: int
    """All lines of the file, headers included."""
    header_lines: int
    events_by_name: dict[str, int]
    unknown_events: dict[str, int]
    """Lines of events that are not known, by name; part of `skipped`."""
    skipped: dict[str, int]
    """Lines not used, by reason."""
    first_skipped: dict[str, int]
    """Number of the first such line, by reason."""
    lost_events: int
    """Events that the recording itself reports as lost (lines that say so without a number count one)."""
    first_lost_line: int
    pages_allocated_by_kind: dict[str, int]
    """Pages that allocations obtained, migration targets not included."""
    counts: dict[str, int]
    """What identity met on its way; keys are the names of `Count`."""
    cma_demands: list[Demand]
    duration_s: float
    tasks: int
    notes: list[str] = field(default_factory=list)
    workload_events: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0

    @property
    def lines_per_s(self) -> int:
        """Lines by wall time of the whole import, unpacking included, compilation of the reader not."""
        return round(self.lines / self.wall_s) if self.wall_s > 0 else 0

    def facts(self) -> dict[str, Any]:
        """JSON-plain; the same for the same file, wherever and however fast it was read."""
        listed = [demand.as_dict() for demand in self.cma_demands[:_LISTED_DEMANDS]]
        return {
            "lines": self.lines,
            "header_lines": self.header_lines,
            "events_by_name": self.events_by_name,
            "unknown_events": self.unknown_events,
            "skipped": self.skipped,
            "first_skipped_line": self.first_skipped,
            "lost_events": self.lost_events,
            "first_lost_line": self.first_lost_line,
            "pages_allocated_by_kind": self.pages_allocated_by_kind,
            "frees_without_allocation": self.counts["unknown_frees"],
            "identity": self.counts,
            "cma_demands": len(self.cma_demands),
            "cma_demand_list": listed,
            "duration_s": self.duration_s,
            "tasks": self.tasks,
            "workload_events": self.workload_events,
            "notes": self.notes,
            "assumptions": list(ASSUMPTIONS),
        }

    def as_dict(self) -> dict[str, Any]:
        """`facts` with the figures of this run: `lines_per_s`, `wall_s`, `peak_rss_mb`."""
        measured = {"lines_per_s": self.lines_per_s, "wall_s": round(self.wall_s, 3), "peak_rss_mb": peak_rss_mb()}
        return self.facts() | measured


def make_report(source: TraceSource, parser: np.record, books: Books, demands: list[Demand]) -> TraceReport:
    """The report of what was read so far; events of the workload and the wall time are added by the importer."""
    events = {name: int(parser["event_count"][i]) for i, (name, _) in enumerate(KNOWN_EVENTS)}
    events = {name: count for name, count in events.items() if count}
    skipped = {reason.name.lower(): int(parser["skip_count"][reason]) for reason in Skip}
    first = {reason.name.lower(): int(parser["skip_line"][reason]) for reason in Skip if parser["skip_count"][reason]}
    if source.unfinished:
        skipped["unfinished"], first["unfinished"] = 1, source.lines + 1
    state = books.state[0]
    counts = {count.name.lower(): int(state["counts"][count]) for count in Count}
    counts["migration_targets"] = _targets(books)
    return TraceReport(
        lines=source.lines + source.unfinished,
        header_lines=int(parser["headers"]),
        events_by_name=events,
        unknown_events=_unknown(parser),
        skipped=skipped,
        first_skipped=first,
        lost_events=int(parser["lost_events"]),
        first_lost_line=int(parser["lost_line"]),
        pages_allocated_by_kind=pages_by_kind(books),
        counts=counts,
        cma_demands=demands,
        duration_s=int(state["time"]) / 1e9,
        tasks=int(np.count_nonzero(books.task["pid"][: int(state["nr_tasks"])])),
        notes=_notes(parser, events),
    )


def _unknown(parser: np.record) -> dict[str, int]:
    found: dict[str, int] = {}
    for slot in range(int(parser["unknown_used"])):
        text = bytes(parser["unknown_text"][slot]).split(b"\0")[0].decode("ascii", "replace")
        name = "".join(char if char.isprintable() else "?" for char in text)
        name += "..." if len(text) == UNKNOWN_CHARS else ""
        found[name] = found.get(name, 0) + int(parser["unknown_count"][slot])
    if parser["unknown_more"]:
        found["(others)"] = int(parser["unknown_more"])
    return found


def _allocated(books: Books) -> tuple[np.ndarray, np.ndarray]:
    """Kind and pages of every allocation that the recording shows."""
    life = books.life[: int(books.state[0]["nr_lives"])]
    life = life[(life["mark"] & Mark.SEEN) != 0]
    order = np.where(life["mark"] & Mark.MOVABLE, 0, life["arg"] >> KALLOC_ORDER_SHIFT)
    return life["kind"], np.int64(1) << order.astype(np.int64)


def pages_by_kind(books: Books) -> dict[str, int]:
    """Pages allocated, by what they turned out to be."""
    kind, pages = _allocated(books)
    weights = np.bincount(kind, weights=pages, minlength=len(Kind)).astype(np.int64)
    counts = dict.fromkeys(("anon", "file", "bdev", "shmem", "zsmalloc", "kernel"), 0)
    for member, name in KIND_NAMES.items():
        counts[name] += int(weights[member])
    return counts


def _targets(books: Books) -> int:
    kind, pages = _allocated(books)
    return int(pages[kind == Kind.TARGET].sum())


def _notes(parser: np.record, events: dict[str, int]) -> list[str]:
    """What the reader of the report should know about the recording."""
    notes = [
        f"no {name} event in the recording; enable it and record again for a complete workload"
        for name in _NEEDED_EVENTS
        if name not in events
    ]
    if parser["lost_lines"]:
        notes.append(
            f"events were lost, first at line {int(parser['lost_line'])}: pages may be followed wrongly from there on; "
            "record with a larger buffer (buffer_size_kb)"
        )
    if "cma_alloc" in events and "cma_alloc_start" not in events:
        notes.append("this kernel does not report the start of cma_alloc(): migration targets are guessed by gfp flags")
    return notes


def count_events(events: np.ndarray) -> dict[str, int]:
    """Events of a workload by op."""
    counts = np.bincount(events["op"], minlength=len(Op))
    return {op.name: int(counts[op]) for op in Op if counts[op]}
