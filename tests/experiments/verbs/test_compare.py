"""compare, validate and report: the same rows whatever the number of processes, and rows that can be run again."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cma_gym.experiments.cli import main
from cma_gym.experiments.rows.case import Row, Unit, sharing
from cma_gym.experiments.rows.results import read_results, reusable, unit_of, write_results
from cma_gym.machine.events import Op, event_dtype
from cma_gym.machine.result import METRICS
from cma_gym.policies.tables.export import write_table
from cma_gym.policies.tables.table import DecisionTable
from cma_gym.workloads.workload import Workload, save
from tests.experiments.small_comparison import SETTINGS, compare_words

ROOT = Path(__file__).resolve().parents[3]


def test_rows_are_the_same_whatever_the_number_of_processes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert main(compare_words(tmp_path, "--json", str(one))) == 0
    assert main(compare_words(tmp_path, "--json", str(two), "--jobs", "2")) == 0
    first, second = json.loads(one.read_text()), json.loads(two.read_text())
    assert first["rows"] == second["rows"]
    assert first["complete"] and first["baseline"] == "mainline_fallback"
    keys = [(row["system"], row["workload"], row["seed"]) for row in first["rows"]]
    systems = ("cma_first", "mainline_fallback")
    assert sorted(keys) == sorted((system, "short", seed) for system in systems for seed in (0, 1))
    assert set(METRICS) <= set(first["rows"][0])
    assert first["rows"][0]["whole_demands"] + first["rows"][0]["pieces_demands"] == 2


def test_rows_can_be_run_again_and_an_edit_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.csv"
    assert main(compare_words(tmp_path, "--csv", str(path))) == 0
    assert main(["validate", str(path), "--rows", "3"]) == 0
    rows = read_results(path)
    rows[0]["events"] = rows[0]["events"] + 1
    write_results(path, rows)
    capsys.readouterr()
    assert main(["validate", str(path), "--rows", "0"]) == 1
    said = capsys.readouterr().out
    assert "4 of 4 rows run again, 1 figures differ" in said
    assert "seed 0: events is" in said


def test_tables_take_part_and_their_paths_move_with_the_file(tmp_path: Path) -> None:
    table = write_table(DecisionTable.constant("always_first", action=2), tmp_path / "mine.json")
    path = tmp_path / "deep" / "results.csv"
    words = compare_words(tmp_path, "--csv", str(path), "--json", str(tmp_path / "x.json"))
    words[words.index("--systems") + 1] = f"cma_first,{table}"
    assert main(words) == 0
    rows = read_results(path)
    assert {row["system"] for row in rows} == {"cma_first", "mine"}
    ours = [row for row in rows if row["system"] == "mine"]
    assert ours[0]["policy"] == "../mine.json"
    assert unit_of(ours[0], path).policy == str(table)
    assert len(reusable(path, [unit_of(row, path) for row in rows])) == len(rows)
    write_table(DecisionTable.constant("always_first", action=1), table)
    kept = reusable(path, [unit_of(row, path) for row in rows])
    assert {row["system"] for row in kept.values()} == {"cma_first"}


def contributed() -> str:
    """The file that CONTRIBUTING.md shows."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.split("## Add a system")[1].split("```python\n")[1].split("```")[0]


def test_adding_a_system_takes_one_file_and_nothing_else(tmp_path: Path) -> None:
    """The example of CONTRIBUTING.md, from a temporary file to the rows of a comparison, in other processes too."""
    rule = tmp_path / "draft.py"
    rule.write_text(contributed())
    code = contributed().split('"""')[2]
    assert sum(1 for text in code.splitlines() if text.strip()) <= 10
    words = compare_words(tmp_path, "--csv", str(tmp_path / "results.csv"), "--jobs", "2")
    words[words.index("--systems") + 1] = f"{rule},mainline_fallback"
    assert main(words) == 0
    rows = read_results(tmp_path / "results.csv")
    assert [(row["system"], row["seed"]) for row in rows] == [
        (name, seed) for seed in (0, 1) for name in ("my_rule", "mainline_fallback")
    ]
    ours, theirs = rows[:2]
    assert ours["events"] == theirs["events"]
    assert ours["decisions"] > 0 and ours["demand_ms_p50"] != theirs["demand_ms_p50"]
    assert main(["validate", str(tmp_path / "results.csv"), "--rows", "0"]) == 0


def trace(path: Path) -> Path:
    """A recording's form: a workload that knows the machine it was made on."""
    events = np.zeros(4, event_dtype)
    events[0] = (0, Op.SPAWN, 1, 0, 64, 0, 0)
    events[1] = (1_000, Op.TOUCH, 1, 0, 64, 1, 0)
    events[2] = (2_000_000, Op.DEMAND, 10, 0, 2048, 0, 1)
    events[3] = (3_000_000_000, Op.TICK, 0, 0, 0, 0, 0)
    meta = {"ram_mb_at_least": 62, "largest_demand_pages": 2048}
    save(Workload("trace", events, 64, 0, 2, meta), path)
    return path


def test_a_trace_runs_on_the_machine_it_was_made_on(tmp_path: Path) -> None:
    path, figures = trace(tmp_path / "trace.npz"), tmp_path / "x.json"
    words = ["compare", "--workload", str(path), "--systems", "cma_first", "--seeds", "0:2", "--json", str(figures)]
    assert main(words) == 0
    rows = json.loads(figures.read_text())["rows"]
    machine = json.loads(rows[0]["machine"])
    assert (machine["ram_mb"], machine["cma_mb"]) == (64, 8)
    assert [(row["workload"], row["seed"], row["whole_demands"]) for row in rows] == [("trace", 0, 1), ("trace", 1, 1)]


def test_a_trace_runs_in_a_process_that_saw_no_other_workload(tmp_path: Path) -> None:
    """Arrays from a file have lost the alignment of their type, which compiled code insists on."""
    words = ["compare", "--workload", str(trace(tmp_path / "trace.npz")), "--systems", "cma_first", "--seeds", "0"]
    asked = [sys.executable, "-m", "cma_gym", *words]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:500]


def test_a_trace_of_another_machine_can_be_run_on_ours(tmp_path: Path) -> None:
    path, figures = trace(tmp_path / "trace.npz"), tmp_path / "x.json"
    words = ["compare", "--workload", str(path), "--systems", "cma_first", "--seeds", "0", "--json", str(figures)]
    assert main([*words, *SETTINGS]) == 0
    machine = json.loads(json.loads(figures.read_text())["rows"][0]["machine"])
    assert (machine["ram_mb"], machine["cma_mb"]) == (16, 4)


def test_a_report_has_its_plots(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    assert main(compare_words(tmp_path, "--csv", str(path))) == 0
    assert main(["report", str(path), "--json", str(tmp_path / "r.json")]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "| 1 " in text and "Paired differences to mainline_fallback" in text
    for name in ("ranking.png", "cost.png", "idle.png"):
        assert f"({name})" in text
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "r.json").read_text())["ranking"][0]["runs"] == 2


def test_results_keep_every_value(tmp_path: Path) -> None:
    row: Row = {"system": "a", "workload": "w", "seed": 3, "stall_ms": 0.1 + 0.2, "demand_ms_p50": math.nan}
    unit = Unit("a", "cma_first", "w", '{"scenario":{"family":"phone"}}', '{"ram_mb":64}', 3)
    row |= {"policy": unit.policy, "machine": unit.machine, "source": unit.source}
    write_results(tmp_path / "r.csv", [row])
    (again,) = read_results(tmp_path / "r.csv")
    assert again["stall_ms"] == 0.1 + 0.2 and math.isnan(again["demand_ms_p50"])
    assert unit_of(again, tmp_path / "r.csv") == unit


def test_one_process_takes_the_rows_that_share_a_workload_but_not_the_first_nor_all():
    units = [Unit(name, name, "w", "{}", "{}", seed) for seed in (0, 1) for name in "abcde"]
    assert sharing(units, 3) == [[0], [1, 2, 3], [4], [5, 6, 7], [8, 9]]
    assert sharing(units, 1) == [[index] for index in range(10)]
    assert sharing([(1, 2), (1, 2), (1, 2)], 3) == [[0], [1], [2]], "what is no Unit names no workload"
