"""Boots a machine from a recording's start state, replays its demand for memory, and sets both machines side by side.

TRACE is ftrace text (plain or packed); what the kernel said lies beside it as NAME.kernel.txt. The rule is the one that
was in force (BOOT line, policy=N). Times are those of a slow, emulated machine on both sides: compare proportions.

--json writes: `recording` (name, policy, workload, seed, ram_mb, cma_pages, duration_s), `system`, `kernel`, `demands`
(tag; `recorded` and `simulated`: whole, pieces, got, ok, first_ok, tries, latency_ms, blamed by kind, holders),
`occupancy` (tag, kind, recorded, simulated, difference [percentage points]), `moments` (tag; free_pages, free_cma,
occupancy and counters of both), `totals` (name: recorded, simulated, ratio), `verdicts` (aim, value, met, text).
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from experiments import output
from experiments.config import ConfigError

if TYPE_CHECKING:
    from experiments.replay_run import Side

SUMMARY = "replay a recording of a real kernel from its start state, simulated beside recorded"

_MB = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("trace", metavar="TRACE", help="the recording (NAME.ftrace, .xz, .gz or .zst)")
    parser.add_argument("--kernel-text", metavar="FILE", help="what the kernel said (default: NAME.kernel.txt)")
    parser.add_argument("--system", metavar="S", help="placement rule (default: the recorded policy's)")
    parser.add_argument("--kernel", metavar="JSON", default="{}", help='kernel switches, as {"swappiness": 60}')
    parser.add_argument("--json", metavar="FILE", help="write everything for programs")


def run(args: argparse.Namespace) -> int:
    """Import, replay, compare, print."""
    import os

    from cma_gym.policies.registry import check_kernel, get_system
    from cma_gym.workloads.ftrace import import_trace, prepare
    from cma_gym.workloads.kernel_text import read_kernel_text, text_beside
    from experiments.replay_report import report
    from experiments.replay_run import kernel_of, play, recorded, rule_for

    text = read_kernel_text(args.kernel_text or text_beside(args.trace))
    more = _switches(args.kernel)
    check_kernel(more, "--kernel")
    system = get_system(args.system) if args.system else rule_for(text.policy)
    seconds = prepare()
    if seconds > 1:
        output.note(f"compiled the trace reader in {seconds:.0f} s (kept for the next time)")
    size = os.path.getsize(args.trace) if os.path.isfile(args.trace) else 0
    with output.progress(f"importing {os.path.basename(args.trace)} [MB]", round(size / _MB, 1)) as bar:
        workload, imported = import_trace(
            args.trace, progress=lambda done, total: bar.update(round(done / _MB, 1)), text=text
        )
    output.note(f"replaying {len(workload.events):,} events under {system.name}")
    kernel = kernel_of(system, workload, more)
    simulated = play(text, workload, system, kernel)
    wakes = imported.events_by_name.get("mm_vmscan_kswapd_wake", 0)
    told = recorded(text, workload.meta["recording_start_ns"] / 1e9, wakes)
    found = report(told, simulated)
    facts = {
        "recording": {
            "name": workload.name,
            "policy": text.policy,
            "workload": text.boot.options.get("wl", ""),
            "seed": text.boot.number("seed", 0),
            "ram_mb": workload.start.nr_pages // 256 if workload.start else 0,
            "cma_pages": workload.start.cma_pages if workload.start else 0,
            "duration_s": imported.duration_s,
        },
        "system": system.name,
        "kernel": kernel.model_dump(),
    }
    show(facts, told, simulated)
    if args.json:
        output.write_json(args.json, facts | found)
    return 0


def _switches(text: str) -> dict[str, Any]:
    try:
        switches = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--kernel {text!r}: not JSON ({error}); write it as {{\"swappiness\": 60}}") from None
    if not isinstance(switches, dict):
        raise ConfigError(f"--kernel {text!r}: not an object; write it as {{\"swappiness\": 60}}")
    return switches


def show(facts: dict[str, Any], told: Side, simulated: Side) -> None:
    """Print the comparison."""
    from experiments.replay_report import verdicts

    recording = facts["recording"]
    output.console.print(
        f"{recording['name']}: {recording['duration_s']:.1f} s of {recording['workload'] or 'a recording'} on "
        f"{recording['ram_mb']} MB, {recording['cma_pages'] // 256} MB of it CMA, policy {recording['policy']}; "
        f"replayed under {facts['system']}",
        markup=False,
    )
    _demands(told, simulated)
    _occupancy(told, simulated)
    _moments(told, simulated)
    _totals(told, simulated)
    rows = [[v.aim, "met" if v.met else "MISSED", v.text] for v in verdicts(told, simulated)]
    output.table("", ["aim", "verdict", "simulated against recorded"], rows, text=(0, 1, 2))


def _demands(told: Side, simulated: Side) -> None:
    from experiments.replay_report import pairs

    columns = ["demand", "", "outcome", "first try", "tries", "pieces", "ms", "refused by"]
    rows = []
    for both in pairs(told, simulated):
        for name, outcome in zip(("recorded", "simulated"), both, strict=True):
            if outcome is None:
                rows.append([both[0].tag, name, "-", "-", "-", "-", "-", "no such demand"])
                continue
            blamed = sorted(outcome.blamed.items(), key=lambda item: -item[1])
            rows.append(
                [
                    outcome.tag if name == "recorded" else "",
                    name,
                    "ok" if outcome.ok else "failed",
                    "ok" if outcome.first_ok else "failed",
                    str(outcome.tries),
                    f"{outcome.got}/{outcome.pieces}",
                    f"{outcome.latency_ms:,.0f}",
                    ", ".join(f"{kind} {count}" for kind, count in blamed) or "-",
                ]
            )
    output.table("", columns, rows, text=(0, 1, 2, 3, 7))


def _occupancy(told: Side, simulated: Side) -> None:
    from experiments.replay_report import occupancy_rows
    from experiments.replay_run import OCCUPANCY

    rows: dict[str, dict[str, str]] = {}
    for row in occupancy_rows(told, simulated):
        cells = rows.setdefault(row["tag"], {})
        cells[row["kind"]] = f"{row['recorded']:.1f} / {row['simulated']:.1f}"
    columns = ["CMA area before, recorded / simulated [%]", *OCCUPANCY]
    output.table("", columns, [[tag, *(cells[kind] for kind in OCCUPANCY)] for tag, cells in rows.items()])


def _moments(told: Side, simulated: Side) -> None:
    found = {look.tag: look for look in simulated.looks}
    columns = ["before", "at s", "free pages", "free CMA", "pswpout", "pswpin", "pgsteal", "refaults file"]
    rows = []
    for look in told.looks:
        other = found.get(look.tag)
        if other is None:
            continue
        cells = [(look.free_pages, other.free_pages), (look.free_cma, other.free_cma)]
        for name in ("pswpout", "pswpin", "pgsteal", "workingset_refault_file"):
            cells.append((look.counters.get(name, 0), other.counters.get(name, 0)))
        rows.append([look.tag, f"{look.time_s:.1f}", *(f"{a:,} / {b:,}" for a, b in cells)])
    output.table("", columns, rows)


def _totals(told: Side, simulated: Side) -> None:
    from experiments.replay_report import TOTALS, ratio

    rows = []
    for name in TOTALS:
        a, b = told.totals.get(name, 0), simulated.totals.get(name, 0)
        rows.append([name, f"{a:,}", f"{b:,}", f"{ratio(b, a):.2f}"])
    output.table("", ["total", "recorded", "simulated", "ratio"], rows)
