"""Plays held-out workloads with what a run folder has learned: its network and its table, beside the baseline.

All figures are the machine's own metrics; no reward weight touches them.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError

if TYPE_CHECKING:
    from cma_gym.experiments.rows.case import Row
    from cma_gym.experiments.run_folder import RunFolder
    from cma_gym.experiments.training.settings import TrainConfig

SUMMARY = "measure the network and the table of a run folder on held-out seeds"

NETWORK = "network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder with model.zip, table.json or both")
    parser.add_argument("--episodes", type=int, metavar="N", help="test seeds per workload (as configured)")
    parser.add_argument("--systems", default="", metavar="S", help="systems beside them (the configured baseline)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes; results do not depend on it (1)")
    parser.add_argument("--json", metavar="FILE", help="write rows, ranking and differences for programs")


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    from cma_gym.experiments.figures.ranking import choose_baseline, show, summary
    from cma_gym.experiments.rows.case import run_units, system_names
    from cma_gym.experiments.run_folder import RunFolder, provenance
    from cma_gym.experiments.training.steps import LEARNED, run_config, test_units

    folder = RunFolder.open(args.run)
    config = run_config(folder)
    if args.episodes is not None:
        if args.episodes < 1:
            raise ConfigError(f"--episodes {args.episodes}: must be at least 1")
        config = config.model_copy(update={"episodes": config.episodes.model_copy(update={"test": args.episodes})})
    systems = system_names(args.systems or config.compare.baseline)
    baseline = choose_baseline(config.compare.baseline, [label for label, _ in systems])
    if (folder / "table.json").is_file():
        systems.append((LEARNED, str(folder / "table.json")))
    units = test_units(config, systems)
    with terminal.progress("evaluating", len(units)) as task:
        rows = run_units(units, args.jobs, lambda index, row: task.advance(1, str(row["system"])))
    if (folder / "model.zip").is_file():
        rows += network_rows(folder, config)
    show(rows, baseline, f"{folder.path.name}: held-out seeds")
    if args.json:
        files.write_json(args.json, {"rows": rows, **summary(rows, baseline), "provenance": provenance()})
    return 0


def network_rows(folder: RunFolder, config: TrainConfig) -> list[Row]:
    """One row per workload and test seed, played by the greedy network."""
    from cma_gym.agents.network.neural import load_policy
    from cma_gym.agents.network.play import episode_returns
    from cma_gym.envs.batch import Batch
    from cma_gym.envs.setup import make_setup
    from cma_gym.experiments.rows.case import held_up_text
    from cma_gym.machine.result import held_up

    policy = load_policy(folder / "model.zip")

    def choose(batch: Batch) -> Any:
        return policy.predict(batch.obs, batch.masks.astype(bool) if config.ppo.maskable else None)

    rows: list[Row] = []
    with terminal.progress("playing the network", len(config.workloads)) as task:
        for label, scenario in config.workloads.items():
            setup = make_setup(
                machine=config.machine.model_dump(),
                kernel=config.kernel,
                scenario=dict(scenario),
                weights=config.weights.model_dump(),
                split="test",
                pool=config.episodes.test,
            )
            batch = Batch(setup, config.episodes.test)
            episode_returns(choose, batch, range(config.episodes.test))
            for row in range(batch.num_envs):
                seed = batch.workload_seed(row)
                blame = {"held_up": held_up_text(held_up(batch.mems[row]))}
                rows.append({"system": NETWORK, "workload": label, "seed": seed, **batch.metrics(row), **blame})
            task.advance(1, label)
    return rows
