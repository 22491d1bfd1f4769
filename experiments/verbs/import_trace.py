"""Reads ftrace text as `cat /sys/kernel/tracing/trace` or `trace-cmd report` print it: plain, .gz, .xz or .zst.

Record at least kmem:mm_page_alloc, kmem:mm_page_free, filemap:mm_filemap_add_to_page_cache,
filemap:mm_filemap_delete_from_page_cache, cma:*, vmscan:mm_vmscan_direct_reclaim_begin/end,
vmscan:mm_vmscan_kswapd_wake/sleep, vmscan:mm_vmscan_write_folio, compaction:mm_compaction_begin/end,
migrate:mm_migrate_pages, sched:sched_process_fork and sched:sched_process_exit.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cma_gym.experiments import files, terminal

if TYPE_CHECKING:
    from cma_gym.recording.report import TraceReport
    from cma_gym.workloads.workload import Workload

SUMMARY = "turn a recording of a real kernel into a workload"

_MB = 1e6
_REASONS = {
    "not_ftrace": "not an ftrace line",
    "bad_time": "no time stamp in seconds",
    "unknown_event": "an event that is not used",
    "missing_field": "a field is missing",
    "bad_number": "a number that cannot be",
    "unfinished": "the file was cut off in it",
}
_IDENTITY = {
    "frees_without_allocation": "frees without a known allocation",
    "old_pages": "pages found to be older than the recording",
    "failed_allocs": "failed allocations (no page, no event)",
    "migration_targets": "pages allocated as migration targets",
    "moved": "pages followed through a migration",
    "lost_moves": "pages that compaction moved out of sight",
    "evicted": "pages taken by the recorded kernel's reclaim",
    "buffer_frees": "pages of released contiguous allocations",
    "reused_frames": "page frames allocated twice without a free",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("trace", metavar="FILE", help="the recording")
    parser.add_argument("-o", "--output", required=True, metavar="NAME.npz", help="the workload to write")
    parser.add_argument("--name", help="name of the workload (default: the recording's file name up to its first dot)")
    parser.add_argument("--json", metavar="FILE", help="write the report for programs")


def run(args: argparse.Namespace) -> int:
    """Import the recording, write the workload, print the report."""
    import os

    from cma_gym.recording.importer import import_trace, prepare
    from cma_gym.workloads.workload import save

    size = os.path.getsize(args.trace) if os.path.isfile(args.trace) else 0
    seconds = prepare()
    if seconds > 1:
        terminal.note(f"compiled the trace reader in {seconds:.0f} s (kept for the next time)")
    with terminal.progress(f"importing {os.path.basename(args.trace)} [MB]", round(size / _MB, 1)) as bar:
        workload, report = import_trace(
            args.trace, args.name, progress=lambda done, total: bar.update(round(done / _MB, 1))
        )
    save(workload, args.output)
    if args.json:
        files.write_json(args.json, report.as_dict() | {"workload": str(args.output)})
    show(workload, report)
    terminal.console.print(f"wrote {args.output}", markup=False)
    return 0


def show(workload: Workload, report: TraceReport) -> None:
    """Print the report of an import."""
    facts = report.as_dict()
    terminal.console.print(
        f"{facts['lines']:,} lines of {facts['duration_s']:.1f} s in {facts['wall_s']:.1f} s: "
        f"{facts['lines_per_s']:,} lines/s, peak memory {facts['peak_rss_mb']:.0f} MB",
        markup=False,
    )
    _figures("events read", facts["events_by_name"])
    _figures("pages allocated", facts["pages_allocated_by_kind"])
    _figures("lines skipped", _skipped(facts))
    counts = facts["identity"] | {"frees_without_allocation": facts["frees_without_allocation"]}
    _figures("following pages", {text: counts[key] for key, text in _IDENTITY.items()})
    _figures("workload events", facts["workload_events"])
    _demands(facts["cma_demand_list"], facts["cma_demands"])
    terminal.console.print(
        f"workload: {len(workload.events):,} events, {workload.nr_tasks} tasks, {workload.nr_vpages:,} virtual pages, "
        f"{workload.nr_fpages:,} file pages; recorded on at least {workload.meta['ram_mb_at_least']} MB",
        markup=False,
    )
    for remark in facts["notes"]:
        terminal.console.print(f"note: {remark}", markup=False)


def _skipped(facts: dict) -> dict[str, int]:  # type: ignore[type-arg]
    """Reasons with their first line, unknown events by name, and what the recording says it lost."""
    rows = {}
    for reason, count in facts["skipped"].items():
        if count and reason != "unknown_event":
            rows[f"{_REASONS[reason]} (first: line {facts['first_skipped_line'][reason]})"] = count
    for name, count in facts["unknown_events"].items():
        rows[f"{_REASONS['unknown_event']}: {name}"] = count
    if facts["lost_events"]:
        rows[f"events lost while recording (first: line {facts['first_lost_line']})"] = facts["lost_events"]
    return rows or {"none": 0}


def _figures(title: str, figures: dict[str, int]) -> None:
    terminal.table("", [title, "count"], [[name, f"{count:,}"] for name, count in figures.items()])


def _demands(listed: list[dict], count: int) -> None:  # type: ignore[type-arg]
    columns = ["CMA demand", "MB", "tries", "pieces obtained", "took ms", "held ms"]
    rows = []
    for number, demand in enumerate(listed[:20]):
        held = (demand["release_ns"] - demand["last_ns"]) / 1e6
        rows.append(
            [
                f"{number}: at {demand['first_ns'] / 1e9:.2f} s",
                f"{demand['nr_pages'] / 256:.0f}",
                str(demand["tries"]),
                f"{demand['got']} of {demand['pieces']}",
                f"{(demand['last_ns'] - demand['first_ns']) / 1e6:.0f}",
                f"{held:.0f}" if demand["release_ns"] >= 0 else "-",
            ]
        )
    if count > len(rows):
        rows.append([f"... {count - len(rows)} more", "", "", "", "", ""])
    terminal.table("", columns, rows or [["none", "", "", "", "", ""]])
