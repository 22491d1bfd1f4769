"""The steps of a training run on its folder: train, compare (distil: learned_table.py). What is done is not redone."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cma_gym.experiments import terminal
from cma_gym.experiments.config import ConfigError, checked
from cma_gym.experiments.rows.case import Row, Unit, compact, run_units, system_names, trace_machine
from cma_gym.experiments.rows.results import reusable, write_results
from cma_gym.experiments.run_folder import RunFolder
from cma_gym.experiments.training.settings import TrainConfig, load_train_config

if TYPE_CHECKING:
    from cma_gym.envs.batch import Batch

LEARNED = "learned"
"""What a run calls its own table among the systems."""
_SAVE_SECONDS = 5.0
"""Rows are written down at least this often while a comparison runs."""


def open_run(args: argparse.Namespace) -> tuple[RunFolder, TrainConfig]:
    """The run folder that the arguments of `train` and `run` ask for, and its configuration.

    Raises:
        ConfigError: nothing to resume, or another configuration than the one that began the run.
    """
    config = load_train_config(args.config, args.set)
    name = args.name or config.name
    if args.resume is None:
        return RunFolder.create(name, config.plain()), config
    folder = RunFolder.open(args.resume) if args.resume else RunFolder.latest(name)
    if folder is None:
        raise ConfigError(f"--resume: there is no run called {name!r} in runs/; start it without --resume")
    if run_config(folder) != config:
        begun = f"{folder.path} was begun with another configuration than {args.config}"
        raise ConfigError(f"--resume: {begun}; see its config.yaml, or start a new run")
    terminal.note(f"continuing {folder.path}")
    return folder, config


def run_config(folder: RunFolder) -> TrainConfig:
    """The configuration a run folder was begun with."""
    return load_train_config(folder / "config.yaml")


def batch_factory(config: TrainConfig) -> Callable[[str, int], Batch]:
    """Makes batches of machines for a range of seeds; what `agents.ppo` asks for."""
    from cma_gym.envs.batch import Batch
    from cma_gym.envs.setup import make_setup

    def make(split: str, num_envs: int) -> Batch:
        setup = make_setup(
            machine=config.machine.model_dump(),
            kernel=config.kernel,
            scenario=[dict(scenario) for scenario in config.workloads.values()],
            weights=config.weights.model_dump(),
            split=split,
            pool=max(getattr(config.episodes, split), len(config.workloads)),
        )
        return Batch(setup, num_envs)

    return make


# ---- train -----------------------------------------------------------------------------------------------------------


def train_step(folder: RunFolder, config: TrainConfig, quiet: bool = False) -> dict[str, Any]:
    """Train the network, or go on with it; returns the figures of the last iteration."""
    if folder.finished("train"):
        return dict(folder.facts["steps"]["train"])
    from cma_gym.agents.network.ppo import PpoProgress, train

    last: list[PpoProgress] = []
    started = time.perf_counter()
    with terminal.progress("training", config.ppo.timesteps if not quiet else math.inf) as task:

        def show(row: PpoProgress, total: int) -> None:
            last[:] = [row]
            terminal.interrupt.check()
            if not quiet:
                task.total = total
                task.update(min(row.timesteps, config.ppo.timesteps), f"return {row.episode_return:,.0f}")

        train(config.ppo, batch_factory(config), folder.path, on_progress=show, resume=True)
    figures: dict[str, Any] = {"wall_s": time.perf_counter() - started}
    if last:
        row = last[0]
        figures |= {
            "timesteps": row.timesteps,
            "episodes": row.episodes,
            "episode_return": row.episode_return,
            "best_return": row.best_return,
            "decisions_per_s": row.timesteps / row.seconds if row.seconds else float("nan"),
        }
    folder.finish("train", **figures)
    return figures


# ---- compare ---------------------------------------------------------------------------------------------------------


def test_units(config: TrainConfig, systems: Sequence[tuple[str, str]]) -> list[Unit]:
    """One unit per workload, test seed and system."""
    from cma_gym.envs.seeds import split_seeds

    machine = compact(config.machine.model_dump())
    return [
        Unit(label, policy, workload, compact({"scenario": scenario}), machine, seed)
        for workload, scenario in config.workloads.items()
        for seed in split_seeds("test", config.episodes.test)
        for label, policy in systems
    ]


def recording_units(recording: Path, systems: Sequence[tuple[str, str]]) -> list[Unit]:
    """One unit per system on an imported recording."""
    from cma_gym.machine.spec import MachineSpec

    machine = compact(checked(MachineSpec, trace_machine(str(recording)), str(recording)).model_dump())
    source = compact({"trace": str(recording)})
    return [Unit(label, policy, "recording", source, machine, 0) for label, policy in systems]


def systems_of(config: TrainConfig, folder: RunFolder | None = None) -> list[tuple[str, str]]:
    """(label, policy) of the systems to compare, with the folder's table behind them if it has one."""
    found = system_names(config.compare.systems)
    if folder is not None and (folder / "table.json").is_file():
        found.append((LEARNED, str(folder / "table.json")))
    return found


def compare_step(folder: RunFolder, units: Sequence[Unit], jobs: int, title: str) -> list[Row]:
    """Run the units whose rows results.csv does not have yet; returns the rows of `units`.

    results.csv keeps its other rows. It is written every few seconds, and when Ctrl-C comes.
    """
    path = folder / "results.csv"
    known = reusable(path, units)
    others = _other_rows(path, units)
    missing = [index for index in range(len(units)) if index not in known]
    saved = time.monotonic()

    def save() -> None:
        write_results(path, [*others, *(known[index] for index in sorted(known))])

    with terminal.progress(title, len(units)) as task:
        task.advance(len(known))

        def done(place: int, row: Row) -> None:
            nonlocal saved
            known[missing[place]] = row
            task.advance(1, f"{row['system']} {row['workload']}")
            if time.monotonic() - saved > _SAVE_SECONDS:
                saved = time.monotonic()
                save()

        try:
            run_units([units[index] for index in missing], jobs, done)
        finally:
            if known:
                save()
    return [known[index] for index in range(len(units))]


def _other_rows(path: Path, units: Sequence[Unit]) -> list[Row]:
    from cma_gym.experiments.rows.results import at_home, read_results

    if not path.is_file():
        return []
    ours = {(unit.system, unit.workload, unit.seed) for unit in units}
    rows = [row for row in read_results(path) if (row["system"], row["workload"], row["seed"]) not in ours]
    return [at_home(row, path) for row in rows]
