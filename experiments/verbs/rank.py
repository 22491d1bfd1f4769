"""Sets the model beside measurements of a real kernel: a CSV with one row per CMA demand (see experiments/measured.py).

For every workload, size and policy in the file the model runs the scenario of configs/workloads/measured that mirrors
it. Of all pairs of policies whose measured whole-area success differs (Fisher's exact test, p < 0.1; by workload and
over all, at the first try and within three), it counts those that the model puts in the same order; a tie is wrong.

--json keys: cells (workload, policy, system, and by whole/pieces and first/three the measured and the model's ok and
tried), pairs (workload, measure, better, worse, p, measured, model, agrees), agreement (same, of, share), trade_off
(name, statement, measured, model, holds_measured, holds_model), rank_correlation (by workload and measure), runs (the
model's, with their demands and blame), provenance.

Examples:
  cma-gym rank --measured measured.csv --jobs 2
  cma-gym rank --measured measured.csv --seeds 1:4 --json rank.json
  cma-gym rank --measured measured.csv --markdown docs/fidelity.md
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError, parse_seeds
from cma_gym.experiments.fidelity.measured.demands import SYSTEMS, Demand, read_measured, scenario
from cma_gym.experiments.fidelity.measured.model import RankUnit, Row, demands_of, run_rank_unit
from cma_gym.experiments.fidelity.measured.order import (
    MEASURES,
    Pair,
    distinct_pairs,
    labels,
    rank_correlation,
    select,
    share,
)
from cma_gym.experiments.fidelity.measured.section import AIM, section, verdicts
from cma_gym.experiments.fidelity.measured.tables import (
    KINDS,
    blame_table,
    pair_table,
    policies,
    sign_table,
    success_table,
    volume_table,
)
from cma_gym.experiments.fidelity.measured.tradeoff import Sign, trade_off
from cma_gym.experiments.fidelity.published.section import write_section
from cma_gym.experiments.rows.case import run_units

SUMMARY = "set the model's ranking of rules beside measurements of a real kernel"
COMMAND = "cma-gym rank --measured FILE.csv --markdown docs/fidelity.md"
SEEDS = "1:25"
"""Runs for each workload and policy: with four whole-area demands each, a share is known to 3 points at 90 %, so that
the order hardly depends on the seeds, and two policies that both nearly always succeed are seldom at a tie."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--measured", required=True, metavar="FILE.csv", help="measurements, one row per demand")
    parser.add_argument("--seeds", default=SEEDS, metavar="A:B", help=f"of the model's runs: 1:7 is 1 to 6 ({SEEDS})")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes; results do not depend on it (2)")
    parser.add_argument("--json", metavar="FILE", help="write all figures for programs")
    parser.add_argument("--markdown", metavar="FILE", help="write the section 'Measured ranking' of this page")


def run(args: argparse.Namespace) -> int:
    """Run the model, compare, print."""
    measured = read_measured(args.measured)
    units = units_for(measured, parse_seeds(args.seeds))
    if args.jobs < 1:
        raise ConfigError(f"--jobs {args.jobs}: write how many processes, at least 1")
    with terminal.progress("running the model", len(units)) as task:
        rows = run_units(units, args.jobs, lambda index, row: task.advance(), work=run_rank_unit)
    model = [demand for row in rows for demand in demands_of(row)]
    pairs, signs = distinct_pairs(measured, model), trade_off(measured, model)
    show(measured, model, rows, pairs, signs)
    if args.markdown:
        text = section(measured, model, pairs, signs)
        write_section(args.markdown, "rank", COMMAND, text)
        terminal.note(f"page: {args.markdown}")
    if args.json:
        from cma_gym.experiments.run_folder import provenance

        files.write_json(args.json, {**figures(measured, model, rows, pairs, signs), "provenance": provenance()})
    return 0


def units_for(measured: Sequence[Demand], seeds: Sequence[int]) -> list[RankUnit]:
    """One run per workload, size, policy and seed; every scenario file is looked up before anything runs."""
    cells = dict.fromkeys((demand.policy, demand.workload, demand.ram_mb, demand.cma_mb) for demand in measured)
    for _, workload, ram_mb, _ in cells:
        scenario(workload, ram_mb)
    return [RankUnit(*cell, seed) for cell in cells for seed in seeds]


# ---- figures ---------------------------------------------------------------------------------------------------------


def figures(
    measured: Sequence[Demand],
    model: Sequence[Demand],
    rows: Sequence[Row],
    pairs: Sequence[Pair],
    signs: Sequence[Sign],
) -> dict[str, Any]:
    """Everything that is printed, for programs."""
    numbers = policies(measured)
    return {
        "cells": [_cell(measured, model, workload, policy) for workload in labels(measured) for policy in numbers],
        "pairs": [_pair(pair) for pair in pairs],
        "agreement": agreement(pairs),
        "trade_off": [vars(sign) for sign in signs],
        "rank_correlation": correlations(measured, model),
        "runs": list(rows),
    }


def _cell(measured: Sequence[Demand], model: Sequence[Demand], workload: str, policy: int) -> dict[str, Any]:
    cell: dict[str, Any] = {"workload": workload, "policy": policy, "system": SYSTEMS[policy]}
    for kind, whole in KINDS.items():
        cell[kind] = {
            measure: {
                "measured": vars(share(select(measured, policy, workload, whole), measure)),
                "model": vars(share(select(model, policy, workload, whole), measure)),
            }
            for measure in MEASURES
        }
    return cell


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "workload": pair.workload,
        "measure": pair.measure,
        "better": pair.better,
        "worse": pair.worse,
        "p": pair.p,
        "measured": [pair.measured_better.rate, pair.measured_worse.rate],
        "model": [pair.model_better.rate, pair.model_worse.rate],
        "agrees": pair.agrees,
    }


def agreement(pairs: Sequence[Pair]) -> dict[str, Any]:
    """How many of the pairs the model orders the same way."""
    same = sum(pair.agrees for pair in pairs)
    return {"same": same, "of": len(pairs), "share": same / len(pairs) if pairs else math.nan, "aim": AIM}


def correlations(measured: Sequence[Demand], model: Sequence[Demand]) -> dict[str, dict[str, float]]:
    """Spearman's correlation of the policies' whole-area success, by workload and measure."""
    found: dict[str, dict[str, float]] = {}
    for workload in labels(measured):
        for measure in MEASURES:
            rates = [
                [share(select(side, policy, workload, True), measure).rate for policy in policies(measured)]
                for side in (measured, model)
            ]
            found.setdefault(workload, {})[measure] = rank_correlation(*rates)
    return found


# ---- what is printed -------------------------------------------------------------------------------------------------


def show(
    measured: Sequence[Demand],
    model: Sequence[Demand],
    rows: Sequence[Row],
    pairs: Sequence[Pair],
    signs: Sequence[Sign],
) -> None:
    """Print the shares, the pairs that differ, the trade-off."""
    for kind in KINDS:
        terminal.table(f"Success, {kind} [% measured / % model]", *success_table(measured, model, kind))
        terminal.console.print()
    wrong = [pair for pair in pairs if not pair.agrees]
    if wrong:
        terminal.table("Pairs that the model puts in another order", *pair_table(wrong), text=(0, 1, 2, 3))
        terminal.console.print()
    terminal.table("Trade-off (kernel fact 16)", *sign_table(signs))
    terminal.console.print()
    terminal.table("Volumes of a run [measured / model]", *volume_table(measured, model))
    terminal.console.print()
    terminal.table("Who blocked, pages over all tries of the model", *blame_table(rows), text=(0, 1, 2))
    terminal.console.print()
    for text in verdicts(pairs, signs):
        terminal.console.print(text, markup=False)
