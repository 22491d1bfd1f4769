"""The steps of a training run, each on a run folder: train, distil, compare. What is done already is not done again."""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import output
from experiments.comparison import Row, Unit, compact, run_units, system_names
from experiments.config import ConfigError
from experiments.results import reusable, write_results
from experiments.runs import RunFolder, git_revision, versions
from experiments.settings import TrainConfig, load_train_config

if TYPE_CHECKING:
    from agents.distill import Fidelity
    from agents.search import SearchResult
    from cma_gym.envs.batch import Batch
    from cma_gym.policies.table import DecisionTable
    from cma_gym.workloads.workload import Workload

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
    output.note(f"continuing {folder.path}")
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
    from agents.ppo import PpoProgress, train

    last: list[PpoProgress] = []
    started = time.perf_counter()
    with output.progress("training", config.ppo.timesteps if not quiet else math.inf) as task:

        def show(row: PpoProgress, total: int) -> None:
            last[:] = [row]
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


# ---- distil ----------------------------------------------------------------------------------------------------------


def distill_step(folder: RunFolder, config: TrainConfig, jobs: int) -> dict[str, Any]:
    """Vote the network into a table, search around it, choose on the select seeds, write all forms of the result."""
    if folder.finished("distill"):
        return dict(folder.facts["steps"]["distill"])
    from agents.distill import NeuralTeacher, distill, fidelity
    from agents.neural import load_policy
    from cma_gym.policies.export import write_all
    from cma_gym.policies.table import DecisionTable

    make = batch_factory(config)
    teacher = NeuralTeacher(load_policy(folder / "model.zip"), config.ppo.maskable)
    template = DecisionTable.constant(_table_name(config.name)).replace(kernel=dict(config.kernel))
    with output.progress("distilling", config.distill.decisions) as task:
        table, votes = distill(
            teacher,
            make("train", config.distill.num_envs),
            template,
            config.distill,
            on_progress=lambda done, total: task.update(min(done, total)),
        )
    held_out = make("select", min(config.distill.num_envs, config.episodes.select))
    faith = fidelity(teacher, table, votes, held_out, config.distill.held_out_decisions)
    result, chosen, keys = _search(config, table, votes.share, jobs)
    cells = {"searched": result.cells, "distilled": table.cells}[chosen]
    figures = _distill_figures(faith, result, chosen, keys)
    final = table.replace(cells=cells, visits=result.visits, provenance=_provenance(config, figures))
    write_all(final, folder.path, "table")
    figures |= {"cells": final.nr_cells, "bytes": final.nr_bytes}
    folder.finish("distill", **figures)
    return figures


def _search(
    config: TrainConfig, table: DecisionTable, hint: Any, jobs: int
) -> tuple[SearchResult, str, Mapping[str, tuple[float, ...]]]:
    from agents.objective import Evaluator
    from agents.search import SearchProgress, choose, search
    from agents.starts import known_tables

    starts = {"distilled": table.cells, **known_tables(table)}
    with output.progress("searching", config.search.evaluations) as task:

        def show(now: SearchProgress) -> None:
            task.update(min(now.evaluations, now.budget), f"{now.accepted} of {now.tried} tables better")

        workloads = _workloads(config, "train", config.episodes.search)
        with Evaluator(config.machine, table, workloads, workers=jobs) as evaluator:
            result = search(evaluator, starts, config.search, config.objective, hint=hint, on_progress=show)
    with Evaluator(config.machine, table, _workloads(config, "select", config.episodes.select), workers=jobs) as judge:
        chosen, keys = choose(judge, {"searched": result.cells, "distilled": table.cells}, config.objective)
    return result, chosen, keys


def _workloads(config: TrainConfig, split: str, count: int) -> list[Workload]:
    """`count` workloads of a range of seeds, the scenarios taking turns."""
    from cma_gym.envs.seeds import split_seeds
    from cma_gym.workloads.registry import generate

    scenarios = list(config.workloads.values())
    seeds = split_seeds(split, max(count, len(scenarios)))
    return [generate(scenarios[i % len(scenarios)], config.machine, seed) for i, seed in enumerate(seeds)]


def _distill_figures(
    faith: Fidelity, result: SearchResult, chosen: str, keys: Mapping[str, tuple[float, ...]]
) -> dict[str, Any]:
    return {
        "fidelity": faith.agreement,
        "weighted_fidelity": faith.weighted_agreement,
        "start": result.start,
        "start_key": list(result.start_key),
        "train_key": list(result.key),
        "rollouts": result.evaluations,
        "tables_tried": result.tried,
        "tables_accepted": result.accepted,
        "stopped_by": result.stopped_by,
        "chosen": chosen,
        "select_keys": {name: list(key) for name, key in keys.items()},
    }


def _provenance(config: TrainConfig, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": f"python -m experiments run, configuration {config.name}",
        "git_revision": git_revision(),
        "config_hash": hashlib.sha256(compact(config.plain()).encode()).hexdigest()[:16],
        "episodes": config.episodes.model_dump(),
        "scores": output.plain(figures),
        "versions": versions(),
    }


def _table_name(name: str) -> str:
    return name.replace("-", "_")


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


def recording_units(recording: Path, config: TrainConfig, systems: Sequence[tuple[str, str]]) -> list[Unit]:
    """One unit per system on an imported recording."""
    from cma_gym.workloads.workload import load

    machine = load(recording).meta.get("machine") or config.machine.model_dump()
    source = compact({"trace": str(recording)})
    return [Unit(label, policy, "recording", source, compact(machine), 0) for label, policy in systems]


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

    with output.progress(title, len(units)) as task:
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
    from experiments.results import at_home, read_results

    if not path.is_file():
        return []
    ours = {(unit.system, unit.workload, unit.seed) for unit in units}
    rows = [row for row in read_results(path) if (row["system"], row["workload"], row["seed"]) not in ours]
    return [at_home(row, path) for row in rows]
