"""Who held demands up: merged over runs, and shown."""

from __future__ import annotations

import json
import math
from typing import Any

from cma_gym.experiments.figures.blame import held_up_by_system
from cma_gym.experiments.figures.ranking import held_up_table, slow_table
from cma_gym.experiments.rows.case import held_up_text


def cell(kind: str, holder: str, pages: int, delay_ms: float, **more: Any) -> dict[str, Any]:
    counts = {"pages": pages, "tries_failed": 1, "delay_ms": delay_ms}
    times = {"age_ms": 10.0, "held_ms": 5.0, "left_ms": math.nan}
    return {"kind": kind, "holder": holder, "owner": "", **counts, **times, **more}


def row(system: str, *cells: dict[str, Any]) -> dict[str, Any]:
    return {"system": system, "workload": "w", "seed": 0, "held_up": held_up_text(cells), "demand_lost_ms": 7.0}


ROWS = [
    row("a", cell("bdev", "journal", 3, 100.0), cell("anon", "pipe", 9, 20.0, owner="visible", age_ms=40.0)),
    row("a", cell("anon", "pipe", 1, 300.0, owner="background", age_ms=2.0)),
    row("b"),
]


def test_what_is_not_known_is_left_out_of_a_cell() -> None:
    assert json.loads(ROWS[0]["held_up"])[0] == {
        "kind": "bdev", "holder": "journal", "owner": "", "pages": 3, "tries_failed": 1, "delay_ms": 100.0,
        "age_ms": 10.0, "held_ms": 5.0,
    }  # fmt: skip


def test_runs_are_merged_to_means_and_weighted_medians() -> None:
    found = held_up_by_system(ROWS)
    assert [(e["kind"], e["holder"], e["pages"], e["delay_ms"]) for e in found["a"]] == [
        ("anon", "pipe", 5.0, 160.0),
        ("bdev", "journal", 1.5, 50.0),
    ]
    assert found["a"][0]["age_ms"] == 40.0 and found["a"][0]["owner"] == "visible"
    assert math.isnan(found["a"][0]["left_ms"])
    assert found["b"] == []


def test_tables_name_a_system_once() -> None:
    titles, cells = held_up_table(ROWS)
    assert [line[:4] for line in cells] == [["a", "anon", "pipe", "visible"], ["", "bdev", "journal", "-"]]
    assert all(len(line) == len(titles) for line in cells)
    assert [line[:2] for line in slow_table(ROWS)[1]] == [["a", "7.0"], ["b", "7.0"]]


def test_rows_of_older_files_have_no_such_cells() -> None:
    assert held_up_table([{"system": "a", "workload": "w", "seed": 0}])[1] == []
    assert slow_table([{"system": "a", "workload": "w", "seed": 0}])[1] == []
