"""Who held demands up: the `held_up` cells of rows, merged by system."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

SUMS = ("pages", "tries_failed", "delay_ms")
MEDIANS = ("age_ms", "held_ms", "left_ms")


def held_up_by_system(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Means per run of `pages`, `tries_failed` and `delay_ms` by kind of page and holder, the costliest first.

    `age_ms`, `held_ms` and `left_ms` are medians of the runs' medians, each run counting with its pages. A system that
    nobody held up has no lines.
    """
    own: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        own.setdefault(str(row["system"]), []).append(row)
    return {system: _merged(mine) for system, mine in own.items()}


def _merged(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        for entry in json.loads(row.get("held_up") or "[]"):
            groups.setdefault((entry["kind"], entry["holder"]), []).append(entry)
    merged = [
        {
            "kind": kind,
            "holder": holder,
            "owner": _most([(entry.get("owner", ""), entry["pages"]) for entry in entries]),
            **{name: sum(entry[name] for entry in entries) / len(rows) for name in SUMS},
            **{name: _median([(e[name], e["pages"]) for e in entries if name in e]) for name in MEDIANS},
        }
        for (kind, holder), entries in groups.items()
    ]
    return sorted(merged, key=lambda entry: (-entry["delay_ms"], -entry["pages"], entry["kind"], entry["holder"]))


def _most(weighted: Sequence[tuple[str, float]]) -> str:
    """The name with the largest weight in all."""
    sums: dict[str, float] = {}
    for name, weight in weighted:
        sums[name] = sums.get(name, 0.0) + weight
    return max(sorted(sums), key=sums.__getitem__)


def _median(weighted: Sequence[tuple[float, float]]) -> float:
    """Weighted median; nan of nothing."""
    ordered = sorted(weighted)
    half = sum(weight for _, weight in ordered) / 2
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= half:
            return float(value)
    return math.nan
