"""Trains one run folder per combination of settings, in several processes, and ranks them by the select seeds.

Example:
  python -m experiments sweep configs/train/quick.yaml --grid ppo.learning_rate=1e-4,3e-4 --grid ppo.seed=0,1 --jobs 2
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from experiments import output
from experiments.config import ConfigError, parse_override

SUMMARY = "train a grid of settings and rank them on the select seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("config", metavar="CONFIG", help="YAML file; see configs/train")
    parser.add_argument("--grid", action="append", default=[], metavar="KEY=V1,V2", help="values to try; repeatable")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.SUB=V", help="change one setting for all")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--json", metavar="FILE", help="write settings, folders and scores for programs")


def run(args: argparse.Namespace) -> int:
    """Train the grid."""
    from experiments.settings import load_train_config

    points = grid_points(args.grid)
    for point in points:
        load_train_config(args.config, [*args.set, *point])  # a mistake shows before anything is trained
    results: list[dict[str, Any]] = []
    context = multiprocessing.get_context("spawn")
    with output.progress("training", len(points)) as task, ProcessPoolExecutor(args.jobs, mp_context=context) as pool:
        futures = [pool.submit(_train, args.config, [*args.set, *point], point) for point in points]
        try:
            for future in as_completed(futures):
                results.append(future.result())
                task.advance(1, " ".join(results[-1]["settings"]))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    results.sort(key=lambda entry: (-entry["best_return"], entry["run"]))
    cells = [[" ".join(entry["settings"]) or "-", f"{entry['best_return']:,.1f}", entry["run"]] for entry in results]
    output.table("Mean return on the select seeds", ["settings", "return", "run folder"], cells)
    if args.json:
        output.write_json(args.json, {"runs": results})
    return 0


def grid_points(grid: Sequence[str]) -> list[list[str]]:
    """Every combination of `key=v1,v2` lists, each as a list of `key=value`.

    Raises:
        ConfigError: a part that is not of that form.
    """
    axes = []
    for text in grid:
        path, _ = parse_override(text)
        values = [value.strip() for value in text.partition("=")[2].split(",")]
        if not all(values):
            raise ConfigError(f"--grid {text}: has an empty value; write key=v1,v2")
        axes.append([f"{'.'.join(path)}={value}" for value in values])
    return [list(point) for point in itertools.product(*axes)]


def _train(config_path: str, settings: list[str], point: list[str]) -> dict[str, Any]:
    from experiments.runs import RunFolder
    from experiments.settings import load_train_config
    from experiments.steps import train_step

    config = load_train_config(config_path, settings)
    folder = RunFolder.create(f"sweep_{config.name}", config.plain())
    figures = train_step(folder, config, quiet=True)
    return {"settings": point, "run": str(folder.path), **figures}
