"""The step from a trained network to a decision table: vote, search, choose, mark what does not matter, write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.rows.case import compact
from cma_gym.experiments.run_folder import RunFolder, git_revision, versions
from cma_gym.experiments.training.settings import TrainConfig
from cma_gym.experiments.training.steps import batch_factory

if TYPE_CHECKING:
    from cma_gym.agents.table.distill import NeuralTeacher, Votes
    from cma_gym.agents.table.objective import Evaluator
    from cma_gym.agents.table.search import SearchResult
    from cma_gym.agents.table.search_state import SearchState
    from cma_gym.machine.spec import MachineSpec
    from cma_gym.policies.tables.table import DecisionTable
    from cma_gym.workloads.workload import Workload

Figures = dict[str, Any]
SEARCH_STATE = "search.json"


def distill_step(folder: RunFolder, config: TrainConfig, jobs: int) -> Figures:
    """Make the table of a run folder and write it in all forms, with the tree that says it in words."""
    if folder.finished("distill"):
        return dict(folder.facts["steps"]["distill"])
    from cma_gym.agents.network.neural import load_policy
    from cma_gym.agents.table.distill import NeuralTeacher
    from cma_gym.agents.table.tree import fit_tree
    from cma_gym.policies.tables.export import write_all

    teacher = NeuralTeacher(load_policy(folder / "model.zip"), config.ppo.maskable)
    table, votes, figures = _vote(config, teacher)
    table, found = _improve(folder, config, table, votes, jobs)
    figures |= found
    tree = fit_tree(table, config.tree)
    figures |= {"cells": table.nr_cells, "bytes": table.nr_bytes, "tree_leaves": tree.root.leaves}
    figures |= {"tree_depth": tree.root.depth, "tree_cells_compared": tree.care, "tree_cells_wrong": tree.wrong}
    write_all(table.replace(provenance=_provenance(config, figures)), folder.path, "table")
    files.write_text(folder / "tree.md", tree.to_markdown(f"The rule `{table.name}` as a tree"))
    folder.finish("distill", **figures)
    return figures


def _vote(config: TrainConfig, teacher: NeuralTeacher) -> tuple[DecisionTable, Votes, Figures]:
    """The teacher's answers in cells, and how faithful they are on the select seeds."""
    from cma_gym.agents.table.distill import distill, fidelity
    from cma_gym.policies.tables.table import DecisionTable

    make = batch_factory(config)
    template = DecisionTable.constant(config.name).replace(kernel=dict(config.kernel))
    with terminal.progress("distilling", config.distill.decisions) as task:
        batch = make("train", config.distill.num_envs)
        table, votes = distill(
            teacher, batch, template, config.distill, lambda done, total: task.update(min(done, int(task.total)))
        )
    held_out = make("select", min(config.distill.num_envs, config.episodes.select))
    faith = fidelity(teacher, table, votes, held_out, config.distill.held_out_decisions)
    gap = _return_gap(config, teacher, table)
    return table, votes, {"fidelity": faith.agreement, "weighted_fidelity": faith.weighted_agreement, **gap}


def _return_gap(config: TrainConfig, teacher: NeuralTeacher, table: DecisionTable) -> Figures:
    """Return of the table less that of its teacher, episode by episode on the select seeds, with its interval."""
    from cma_gym.agents.network.play import episode_returns
    from cma_gym.experiments.figures.statistics import bootstrap

    batch = batch_factory(config)("select", config.episodes.select)
    episodes = range(config.episodes.select)
    ours = episode_returns(lambda now: table.cells[table.cell_indices(now.views)], batch, episodes)
    theirs = episode_returns(lambda now: teacher.teach(now)[0], batch, episodes)
    low, high = bootstrap(ours - theirs)
    return {"return_gap": float((ours - theirs).mean()), "return_gap_low": low, "return_gap_high": high}


def _improve(
    folder: RunFolder, config: TrainConfig, table: DecisionTable, votes: Votes, jobs: int
) -> tuple[DecisionTable, Figures]:
    """Search around the table on train seeds, take what is better on select seeds, mark cells that do not matter."""
    from cma_gym.agents.table.objective import Evaluator
    from cma_gym.agents.table.search import choose
    from cma_gym.agents.table.starts import known_tables
    from cma_gym.agents.table.ties import find_ties

    specs, workloads = played_workloads(config, "train", config.episodes.search)
    with Evaluator(specs, table, workloads, jobs) as evaluator:
        result = _search(folder, config, evaluator, table, votes)
        candidates = {"searched": result.cells, "distilled": table.cells, **known_tables(table)}
        specs, workloads = played_workloads(config, "select", config.episodes.select)
        with Evaluator(specs, table, workloads, jobs) as judge:
            chosen, keys = choose(judge, candidates, config.objective)
        cells = candidates[chosen]
        with terminal.progress("testing cells", config.ties.evaluations) as task:
            ties = find_ties(
                evaluator, cells, config.ties, config.objective, lambda done, total: task.update(min(done, total))
            )
    figures = _search_figures(result, chosen, keys)
    figures |= {"cells_unvisited": ties.unvisited, "cells_tied": ties.tied, "cells_tested": ties.tested}
    return table.replace(cells=cells, visits=result.visits, dont_care=ties.dont_care), figures


def _search(
    folder: RunFolder, config: TrainConfig, evaluator: Evaluator, table: DecisionTable, votes: Votes
) -> SearchResult:
    """The search; its state is kept in the run folder, so that an interrupted one goes on from there."""
    from cma_gym.agents.table.search import SearchProgress, search
    from cma_gym.agents.table.starts import known_tables

    kept = folder / SEARCH_STATE
    with terminal.progress("searching", config.search.evaluations) as task:

        def show(now: SearchProgress) -> None:
            task.update(min(now.evaluations, now.budget), f"{now.accepted} of {now.tried} tables better")

        starts = {"distilled": table.cells, **known_tables(table)}
        return search(
            evaluator,
            starts,
            config.search,
            config.objective,
            hint=votes.share,
            state=_kept_state(kept),
            on_progress=show,
            on_state=lambda state: files.write_json(kept, state.to_json()),
        )


def _kept_state(path: Path) -> SearchState | None:
    from cma_gym.agents.table.search_state import SearchError, SearchState

    if not path.exists():
        return None
    try:
        return SearchState.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise SearchError(f"{path}: {error}") from None


def played_workloads(config: TrainConfig, split: str, count: int) -> tuple[list[MachineSpec], list[Workload]]:
    """`count` workloads of a range of seeds and the machine of each; scenarios take turns, and after them machines."""
    from cma_gym.envs.seeds import split_seeds
    from cma_gym.workloads.registry import generate

    machines = list(config.search_machines.values()) or [config.machine]
    turns = [(machine, scenario) for machine in machines for scenario in config.workloads.values()]
    seeds = split_seeds(split, max(count, len(turns)))
    turn = [turns[i % len(turns)] for i in range(len(seeds))]
    made = [generate(scenario, machine, seed) for (machine, scenario), seed in zip(turn, seeds, strict=True)]
    return [machine for machine, _ in turn], made


def _search_figures(result: SearchResult, chosen: str, keys: Mapping[str, tuple[float, ...]]) -> Figures:
    return {
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
        "source": f"learned by cma-gym, configuration {config.name}",
        "git_revision": git_revision(),
        "config_hash": hashlib.sha256(compact(config.plain()).encode()).hexdigest()[:16],
        "episodes": config.episodes.model_dump(),
        "scores": files.plain(figures),
        "versions": versions(),
    }
