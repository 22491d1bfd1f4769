"""The main job, which `make run` starts: import a recording and replay it under every rule, train a network, distil it
into a decision table, compare the table with all systems on held-out seeds, and write a report.

Everything goes into runs/NAME. Ctrl-C keeps what is finished; --resume goes on from there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.verbs.train import add_run_arguments

if TYPE_CHECKING:
    from cma_gym.experiments.rows.case import Row
    from cma_gym.experiments.run_folder import RunFolder
    from cma_gym.experiments.training.settings import TrainConfig

SUMMARY = "the whole way: import, train, distil, compare, report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_arguments(parser)
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes; results do not depend on it (2)")
    parser.add_argument("--json", metavar="FILE", help="write the figures of all steps for programs")


def run(args: argparse.Namespace) -> int:
    """Go the whole way."""
    from cma_gym.experiments.training.steps import open_run

    started = time.perf_counter()
    folder, config = open_run(args)
    terminal.headline(f"Run folder {folder.path} (at the first run the simulator is compiled, which takes a minute)")
    try:
        figures = _steps(folder, config, args.jobs)
    except KeyboardInterrupt:
        print(f"\ncontinue with: cma-gym run {args.config} --resume {folder.path}", file=sys.stderr)
        raise
    figures["wall_s"] = time.perf_counter() - started
    if args.json:
        files.write_json(args.json, figures)
    _farewell(folder, figures["wall_s"])
    return 0


def _steps(folder: RunFolder, config: TrainConfig, jobs: int) -> dict[str, Any]:
    from cma_gym.experiments.figures.ranking import choose_baseline, show, summary
    from cma_gym.experiments.rows.results import read_results
    from cma_gym.experiments.training.learned_table import distill_step
    from cma_gym.experiments.training.steps import compare_step, systems_of, test_units, train_step
    from cma_gym.experiments.verbs.report import write_report

    figures: dict[str, Any] = {"run": str(folder.path)}
    recording: Path | None = None
    if config.compare.recording:
        recording, figures["import"] = _import(folder, config)
        rows = _on_recording(folder, config, recording, jobs)
        show(rows, "", f"The recording under {len(rows)} rules")
    terminal.headline(f"Training a network on {', '.join(config.workloads)} ({config.machine.ram_mb} MB)")
    figures["train"] = train_step(folder, config)
    terminal.headline("Distilling it into a decision table")
    figures["distill"] = distill_step(folder, config, jobs)
    systems = systems_of(config, folder)
    baseline = choose_baseline(config.compare.baseline, [label for label, _ in systems])
    terminal.headline(f"Comparing {len(systems)} systems on held-out seeds")
    rows = compare_step(folder, test_units(config, systems), jobs, "comparing")
    if recording is not None:
        on_recording = _on_recording(folder, config, recording, jobs)
        terminal.table("On the recording", *_ranking(on_recording))
        figures["recording"] = summary(on_recording, baseline)
    terminal.console.print()
    show(rows, baseline, f"Ranking: {len(rows)} runs on held-out seeds")
    write_report(read_results(folder / "results.csv"), folder.path, folder.path, baseline)
    figures |= {"rows": rows, **summary(rows, baseline)}
    folder.finish("compare", rows=len(rows))
    return figures


def _import(folder: RunFolder, config: TrainConfig) -> tuple[Path, dict[str, Any]]:
    """Import the recording of the configuration into the run folder."""
    from cma_gym.recording.importer import import_trace
    from cma_gym.workloads.workload import save

    source = Path(str(config.compare.recording))
    target = folder / "recording.npz"
    terminal.headline(f"Importing {source.name}, recorded on a real kernel")
    if folder.finished("import"):
        return target, dict(folder.facts["steps"]["import"])
    if not source.is_file():
        raise ConfigError(f"compare.recording: there is no file {source}; start from the checkout, or leave it out")
    with terminal.progress("reading", source.stat().st_size) as task:
        workload, report = import_trace(source, progress=lambda done, total: task.update(done))
    save(workload, target)
    figures: dict[str, Any] = report.as_dict()
    pages = ", ".join(f"{count:,} {kind}" for kind, count in figures["pages_allocated_by_kind"].items())
    terminal.note(f"{figures['lines']:,} lines, {len(workload.events):,} events, {figures['cma_demands']} CMA demands")
    terminal.note(f"pages allocated: {pages}")
    folder.finish("import", **figures)
    return target, figures


def _on_recording(folder: RunFolder, config: TrainConfig, recording: Path, jobs: int) -> list[Row]:
    from cma_gym.experiments.training.steps import compare_step, recording_units, systems_of

    units = recording_units(recording, systems_of(config, folder))
    return compare_step(folder, units, jobs, "replaying")


def _ranking(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    from cma_gym.experiments.figures.ranking import ranking_table

    return ranking_table(rows)


def _farewell(folder: RunFolder, seconds: float) -> None:
    say = terminal.console.print
    say()
    say(f"Done in {seconds:.0f} s. Everything is in {folder.path}/:")
    say("  report.md     the comparison with plots")
    say("  tree.md       the learned rule in words; table.md all of it; table.h for a kernel; table.json, table.csv")
    say("  results.csv   every run, which can be repeated; model.zip, progress.csv, config.yaml, run.json")
    say()
    say("Next, try the learned table on a workload it has not seen:")
    words = f"--workload build --systems all,{folder.path}/table.json --machine twin_64m --seeds 0:5 --jobs 2"
    say(f"  .venv/bin/cma-gym compare {words}")
