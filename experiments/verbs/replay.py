"""Boots a machine from a recording's start state, replays its demand for memory, and sets both machines side by side.

TRACE is ftrace text (plain or packed); what the kernel said lies beside it as NAME.kernel.txt. The rule is the one that
was in force (BOOT line, policy=N). Times are those of a slow, emulated machine on both sides: compare proportions.

Of several TRACEs, a table sums up all. --markdown writes the section of docs/fidelity.md.

--json writes, for one TRACE (for several a list of that, `recordings`, and `first_try`, their pooled share of demands
whose first try ends alike): `recording` (name, policy, workload, seed, ram_mb, cma_pages, duration_s), `system`,
`kernel`, `demands` (tag; `recorded` and `simulated`: whole, pieces, got, ok, first_ok, tries, latency_ms, blamed by
kind, holders), `occupancy` (tag, kind, recorded, simulated, difference [percentage points]), `moments` (tag;
free_pages, free_cma, occupancy and counters of both), `totals` (name: recorded, simulated, ratio), `verdicts` (aim,
value, met, text).
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError

if TYPE_CHECKING:
    from cma_gym.experiments.fidelity.recorded.section import Replay
    from cma_gym.experiments.fidelity.recorded.sides import Side
    from cma_gym.policies.registry import System

SUMMARY = "replay a recording of a real kernel from its start state, simulated beside recorded"

_MB = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("trace", metavar="TRACE", nargs="+", help="a recording (NAME.ftrace, .xz, .gz or .zst)")
    parser.add_argument("--kernel-text", metavar="FILE", help="what the kernel said (default: NAME.kernel.txt)")
    parser.add_argument("--system", metavar="S", help="placement rule (default: the recorded policy's)")
    parser.add_argument("--kernel", metavar="JSON", default="{}", help='kernel switches, as {"swappiness": 60}')
    parser.add_argument(
        "--refusals", action="store_true", help="let the journal hold the pages that refused the recorded demands"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything for programs")
    parser.add_argument("--markdown", metavar="FILE", help="write the section of docs/fidelity.md")


def run(args: argparse.Namespace) -> int:
    """Import, replay, compare, print."""
    from cma_gym.experiments.fidelity.published.section import write_section
    from cma_gym.experiments.fidelity.recorded.section import COMMAND, SUMMARY_COLUMNS, pooled, section, summary_rows
    from cma_gym.experiments.fidelity.recorded.verdicts import report
    from cma_gym.policies.registry import check_kernel, get_system
    from cma_gym.recording.importer import prepare

    if args.kernel_text and len(args.trace) > 1:
        raise ConfigError(
            f"--kernel-text names one file, for {len(args.trace)} recordings; put NAME.kernel.txt beside each of them"
        )
    more = _switches(args.kernel)
    check_kernel(more, "--kernel")
    system = get_system(args.system) if args.system else None
    seconds = prepare()
    if seconds > 1:
        terminal.note(f"compiled the trace reader in {seconds:.0f} s (kept for the next time)")
    replays = []
    if args.refusals:
        terminal.note(
            "which block-device pages the journal holds is taken from the pages that refused the recorded demands, "
            "and so from their outcome"
        )
    for trace in args.trace:
        replays.append(replay(trace, args.kernel_text, system, more, args.refusals))
        show(replays[-1].facts, replays[-1].told, replays[-1].simulated)
    if len(replays) > 1:
        terminal.table("All recordings", SUMMARY_COLUMNS, summary_rows(replays))
    if args.json:
        found = [one.facts | report(one.told, one.simulated) for one in replays]
        all_of_them = {"recordings": found, "first_try": pooled(replays)}
        files.write_json(args.json, found[0] if len(found) == 1 else all_of_them)
    if args.markdown:
        write_section(args.markdown, "replay", COMMAND, section(replays))
    return 0


def replay(
    trace: str, kernel_text: str | None, system: System | None, more: dict[str, Any], refusals: bool = False
) -> Replay:
    """Import one recording and play it."""
    import os

    from cma_gym.experiments.fidelity.recorded.section import Replay
    from cma_gym.experiments.fidelity.recorded.sides import check_times, kernel_of, play, recorded, rule_for
    from cma_gym.recording.importer import import_trace
    from cma_gym.recording.start import text_beside
    from cma_gym.recording.text.kernel import read_kernel_text

    text = read_kernel_text(kernel_text or text_beside(trace))
    system = system or rule_for(text.policy)
    size = os.path.getsize(trace) if os.path.isfile(trace) else 0
    seen = text if refusals else text.without_refusals()
    with terminal.progress(f"importing {os.path.basename(trace)} [MB]", round(size / _MB, 1)) as bar:
        workload, imported = import_trace(trace, progress=lambda done, _: bar.update(round(done / _MB, 1)), text=seen)
    check_times(text, workload)
    terminal.note(f"replaying {len(workload.events):,} events under {system.name}")
    kernel = kernel_of(system, workload, more)
    simulated = play(text, workload, system, kernel)
    wakes = imported.events_by_name.get("mm_vmscan_kswapd_wake", 0)
    told = recorded(text, workload.meta["recording_start_ns"] / 1e9, wakes)
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
        "refusals": refusals,
        "kernel": kernel.model_dump(),
    }
    return Replay(facts, told, simulated)


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
    from cma_gym.experiments.fidelity.recorded.verdicts import verdicts

    recording = facts["recording"]
    terminal.console.print(
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
    terminal.table("", ["aim", "verdict", "simulated against recorded"], rows, text=(0, 1, 2))


def _demands(told: Side, simulated: Side) -> None:
    from cma_gym.experiments.fidelity.recorded.verdicts import pairs

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
    terminal.table("", columns, rows, text=(0, 1, 2, 3, 7))


def _occupancy(told: Side, simulated: Side) -> None:
    from cma_gym.experiments.fidelity.recorded.sides import OCCUPANCY
    from cma_gym.experiments.fidelity.recorded.verdicts import occupancy_rows

    rows: dict[str, dict[str, str]] = {}
    for row in occupancy_rows(told, simulated):
        cells = rows.setdefault(row["tag"], {})
        cells[row["kind"]] = f"{row['recorded']:.1f} / {row['simulated']:.1f}"
    columns = ["CMA area before, recorded / simulated [%]", *OCCUPANCY]
    terminal.table("", columns, [[tag, *(cells[kind] for kind in OCCUPANCY)] for tag, cells in rows.items()])


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
    terminal.table("", columns, rows)


def _totals(told: Side, simulated: Side) -> None:
    from cma_gym.experiments.fidelity.recorded.verdicts import TOTALS, ratio

    rows = []
    for name in TOTALS:
        a, b = told.totals.get(name, 0), simulated.totals.get(name, 0)
        rows.append([name, f"{a:,}", f"{b:,}", f"{ratio(b, a):.2f}"])
    terminal.table("", ["total", "recorded", "simulated", "ratio"], rows)
