"""Runs the rows of a suite that are not in the cache, long ones first, each workload generated once.

A batch is one scenario and seed under all systems: whoever takes it generates the events once. Rows go into the cache
one by one, so that after a kill only what was in progress is lost. The order of the rows, and every byte of them, is
the suite's, whatever was cached and however many processes took part.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from cma_gym.experiments import terminal
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.rows.cache import RowCache, key_of
from cma_gym.experiments.rows.case import Row, Unit, finished, run_unit
from cma_gym.experiments.suites.suite import Suite, duration_s

BATCH = 40
"""Most rows of a batch: two or three minutes of the largest machine, so that the processes end together."""


@dataclass(frozen=True)
class Batch:
    """Units that share a workload, by their position in the suite's order, and where their rows are kept."""

    units: tuple[tuple[int, Unit, str], ...]
    """(position, unit, key)."""
    cache: str
    weight: float
    """Expected work, in runs of a mean length."""


def run_suite(suite: Suite, systems: Sequence[tuple[str, str]], jobs: int, cache: RowCache) -> list[Row]:
    """The rows of a suite in its order; what the cache lacks is run.

    Args:
        suite: what to run.
        systems: (label, policy) as `comparison.system_names` gives them.
        jobs: processes.
        cache: rows of earlier runs.
    """
    units = suite.units(systems)
    rows: dict[int, Row] = {}
    missing: list[tuple[int, Unit, str]] = []
    for index, unit in enumerate(units):
        key = key_of(unit)
        row = cache.find(unit, key)
        if row is None:
            missing.append((index, unit, key))
        else:
            rows[index] = row
    terminal.note(f"{len(units)} runs: {len(rows)} from {cache.folder}, {len(missing)} to do")
    batches = plan(suite, missing, cache)
    with terminal.progress("comparing", len(missing)) as task, closing(finished(run_batch, batches, jobs)) as done:
        for number, found in done:
            rows.update(found)
            task.advance(batches[number].weight, batches[number].units[0][1].workload)
    return [rows[index] for index in range(len(units))]


def plan(suite: Suite, missing: Sequence[tuple[int, Unit, str]], cache: RowCache) -> list[Batch]:
    """Batches of the units that are missing: the first one a single run, then the longest first.

    The first batch runs alone, to fill the compiler's cache, so it is as short as can be. How long a run takes is
    taken to grow with memory and with simulated time.
    """
    lengths = {entry.label: duration_s(entry) * _megabytes(entry.machine) for entry in suite.scenarios}
    whole = sum(lengths[unit.workload] for _, unit, _ in missing)
    grouped = itertools.groupby(missing, key=lambda entry: (entry[1].workload, entry[1].seed))
    pieces = []
    for (label, _), members in grouped:
        group = tuple(members)
        pieces += [(label, group[start : start + BATCH]) for start in range(0, len(group), BATCH)]
    pieces.sort(key=lambda piece: -lengths[piece[0]])
    if pieces and len(pieces[0][1]) > 1:
        label, units = pieces[0]
        pieces[:1] = [(label, units[:1]), (label, units[1:])]
    folder = str(cache.folder)
    return [Batch(units, folder, lengths[label] * len(units) * len(missing) / whole) for label, units in pieces]


def _megabytes(machine: str) -> int:
    from cma_gym.machine.spec import MachineSpec

    return MachineSpec.model_validate_json(machine).ram_mb


def run_batch(batch: Batch) -> dict[int, Row]:
    """Run one batch, keeping every row as it comes.

    Raises:
        ConfigError: the sources are not those that the keys were made from.
    """
    _, first, expected = batch.units[0]
    if key_of(first) != expected:
        raise ConfigError(f"{first.system} on {first.workload}: sources changed while the suite ran; start it again")
    cache = RowCache(batch.cache)
    rows = {}
    for index, unit, key in batch.units:
        rows[index] = run_unit(unit)
        cache.keep(rows[index], key)
    return rows
