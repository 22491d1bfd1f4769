"""Two systems beside each other: levels and paired differences of each measure, and who is ahead."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cma_gym.experiments.figures.ranking import with_sums
from cma_gym.experiments.figures.statistics import Paired, against, bootstrap, mean
from cma_gym.experiments.head_to_head.questions import Contrast

Rows = Sequence[Mapping[str, Any]]

HUGE_PAGEBLOCK = 9
"""Pageblock order of a full-size machine; twins have smaller ones (MachineSpec.pageblock_order)."""


@dataclass(frozen=True)
class Measure:
    """One column of the rows, and how one speaks of it."""

    metric: str
    title: str
    says: str
    """Verb phrase with a hole for the value."""
    scale: float
    unit: str
    points: str
    """Unit of a difference."""
    higher_is_better: bool
    better: str
    """What the better one is."""
    digits: int = 1


WHOLE = Measure("whole_success", "whole area", "serves {} of whole-area demands", 100, " %", " points", True, "ahead")
FIRST = Measure(
    "whole_first", "whole area, first try", "serves {} of them at the first try", 100, " %", " points", True, "ahead"
)
PIECES = Measure("pieces_success", "9 pieces", "serves {} of the 9-piece demands", 100, " %", " points", True, "ahead")
BLOCKS = Measure(
    "blocks_success", "scattered blocks", "serves {} of the scattered blocks", 100, " %", " points", True, "ahead"
)
COST = Measure("cost_ms", "cost", "costs {} a run", 0.001, " s", " s", False, "cheaper", 2)
USE = Measure("cma_use", "CMA used", "keeps {} of the area in use", 100, " %", " points", True, "fuller")
KILLS = Measure("kills", "kills", "kills {} tasks a run", 1, "", "", False, "gentler")
STALL = Measure("stall_ms", "stall", "stalls {} a run", 1, " ms", " ms", False, "faster")
SWAP = Measure("swap_ms", "swap-in", "swaps in for {} a run", 1, " ms", " ms", False, "faster")
REFAULT = Measure("refault_ms", "refault", "reads again for {} a run", 1, " ms", " ms", False, "faster")
P50 = Measure("demand_ms_p50", "demand p50", "takes {} for a demand", 1, " ms", " ms", False, "faster")
P99 = Measure("demand_ms_p99", "demand p99", "takes {} for the slowest demands", 1, " ms", " ms", False, "faster")
FAIR_COST = Measure(
    "fair_cost_ms", "cost, pairs served alike", "costs {} a run", 0.001, " s", " s", False, "cheaper", 2
)
"""Of pairs of runs in which both served as many demands: who fails a demand is spared what serving it costs."""
MEASURES = (WHOLE, FIRST, PIECES, BLOCKS, COST, FAIR_COST, KILLS, STALL, SWAP, REFAULT, P50, P99, USE)
KEY_MEASURES = (WHOLE, PIECES, BLOCKS, COST, FAIR_COST, USE)
"""Those that a page shows of every contrast."""


class Direction(Enum):
    """What an interval says about a difference."""

    AHEAD = "ahead"
    BEHIND = "behind"
    TIE = "tie"
    """The interval contains 0."""
    EQUAL = "equal"
    """No pair differs at all."""
    MISSING = "missing"


@dataclass(frozen=True)
class Level:
    """One system's mean over runs, with its interval."""

    mean: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True)
class Finding:
    """One measure of one contrast."""

    contrast: Contrast
    measure: Measure
    ours: Level
    theirs: Level
    paired: Paired

    @property
    def direction(self) -> Direction:
        """Who is ahead, told from the interval alone."""
        return direction(self.paired, self.measure.higher_is_better)


def direction(entry: Paired, higher_is_better: bool) -> Direction:
    """What a paired difference says; one pair says nothing, as it has no interval."""
    if entry.pairs == 0:
        return Direction.MISSING
    if entry.wins == entry.losses == 0:
        return Direction.EQUAL
    if math.isnan(entry.low) or entry.low <= 0 <= entry.high:
        return Direction.TIE
    return Direction.AHEAD if (entry.low > 0) == higher_is_better else Direction.BEHIND


def level(values: Iterable[float | None], share: bool = False) -> Level:
    """Mean and bootstrap interval.

    A share that is 0 or 1 in every run has no spread to resample; the other end of its interval is then 3 / runs away
    (the rule of three).
    """
    present = [float(value) for value in values if value is not None and not math.isnan(value)]
    low, high = bootstrap(present)
    centre = mean(present)
    if share and low == high and centre in (0.0, 1.0):
        reach = min(1.0, 3 / len(present))
        low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return Level(centre, low, high, len(present))


def finding(rows: Rows, contrast: Contrast, measure: Measure) -> Finding:
    """One measure of a contrast: each system's mean, and the difference over the pairs that both have."""
    ours: Rows = [row for row in rows if row["system"] == contrast.ours]
    theirs: Rows = [row for row in rows if row["system"] == contrast.theirs]
    if measure is FAIR_COST:
        ours, theirs = _served_alike(ours, theirs)
    share = measure.points == " points"
    levels = [level((row.get(measure.metric) for row in mine), share) for mine in (ours, theirs)]
    paired = against([*ours, *theirs], measure.metric, contrast.theirs, measure.higher_is_better)
    nan = float("nan")
    nothing = Paired(0, nan, nan, nan, nan, 0, 0, 0)
    return Finding(contrast, measure, levels[0], levels[1], paired.get(contrast.ours, nothing))


def _served_alike(ours: Rows, theirs: Rows) -> tuple[Rows, Rows]:
    """The pairs of rows in which both systems served the same share of demands, with their cost."""
    beside = {(row["workload"], row["seed"]): row for row in theirs}
    pairs = [(row, beside[key]) for row in ours if (key := (row["workload"], row["seed"])) in beside]
    kept = [pair for pair in pairs if _served(pair[0]) == _served(pair[1])]
    first, second = ([{**pair[side], FAIR_COST.metric: pair[side]["cost_ms"]} for pair in kept] for side in (0, 1))
    return first, second


def _served(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row["whole_success"], row["pieces_success"]


def findings(given: Pool, contrast: Contrast) -> list[Finding]:
    """Every measure that the rows have of a contrast."""
    found = (finding(given.of(measure), contrast, measure) for measure in MEASURES)
    return [entry for entry in found if entry.direction is not Direction.MISSING]


# ---- which rows ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """Rows of machines of one kind."""

    name: str
    rows: Rows
    """Runs that ask for the whole area and for 9 pieces."""
    blocks: Rows = ()
    """Runs that ask for scattered blocks, of which they have `blocks_success`."""

    def of(self, measure: Measure) -> Rows:
        """The rows that a measure is taken from."""
        return self.blocks if measure is BLOCKS else self.rows

    def only(self, families: Collection[str]) -> Pool:
        """The part of it that plays these families of workloads; all of it if none is named."""
        if not families:
            return self
        kept = ([row for row in rows if family(row) in families] for rows in (self.rows, self.blocks))
        return Pool(self.name, *kept)


def pool(name: str, rows: Rows) -> Pool:
    """Synthetic rows with their sums, each workload on each machine under a label of its own."""
    synthetic = [with_sums(row) for row in rows if "trace" not in _parsed(row["source"])]
    machines: dict[str, set[str]] = {}
    for row in synthetic:
        machines.setdefault(row["workload"], set()).add(row["machine"])
    for row in synthetic:
        if len(machines[row["workload"]]) > 1:
            row["workload"] = f"{row['workload']} {machine_name(row)}"
    blocks = [{**row, "blocks_success": row["pieces_success"]} for row in synthetic if asks_for_blocks(row)]
    return Pool(name, [row for row in synthetic if not asks_for_blocks(row)], blocks)


def asks_for_blocks(row: Mapping[str, Any]) -> bool:
    """Whether the pieces of a row are scattered blocks."""
    tests = scenario(row).get("camera", {}).get("tests", ())
    return "blocks" in tests


@functools.cache
def _parsed(text: str) -> Any:
    return json.loads(text)


def scenario(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scenario of a row."""
    found: Mapping[str, Any] = _parsed(row["source"])["scenario"]
    return found


def family(row: Mapping[str, Any]) -> str:
    """The family of a row's workload."""
    return str(scenario(row)["family"])


def machine_name(row: Mapping[str, Any]) -> str:
    """A row's machine by its sizes."""
    machine = _parsed(row["machine"])
    return f"{machine['ram_mb']}/{machine['cma_mb']} MB"


def is_twin(row: Mapping[str, Any]) -> bool:
    """Whether a row was run on a scaled-down machine."""
    return int(_parsed(row["machine"])["pageblock_order"]) < HUGE_PAGEBLOCK
