"""The page says what the rows say: directions, sentences, and the same bytes from the same rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cma_gym.experiments.cli import main
from cma_gym.experiments.config import ROOT
from cma_gym.experiments.head_to_head.contrast import BLOCKS, COST, FAIR_COST, PIECES, WHOLE, Direction, finding, pool
from cma_gym.experiments.head_to_head.page import SENSITIVITY_SYSTEMS
from cma_gym.experiments.head_to_head.questions import Contrast, contrasts
from cma_gym.experiments.head_to_head.sensitivity import Sensitivity
from cma_gym.experiments.head_to_head.words import answer, confirmation, sentence
from cma_gym.experiments.rows.case import compact, system_names
from cma_gym.experiments.rows.results import write_results
from cma_gym.experiments.suites.suite import Suite, load_suite

PAIR = Contrast("one", "two", "the first", "the second")
TWIN = {"ram_mb": 64, "cma_mb": 16, "pageblock_order": 6}
FULL = {"ram_mb": 1024, "cma_mb": 256, "pageblock_order": 9}
HELD = {"kind": "anon", "holder": "pipe", "owner": "background", "pages": 5, "tries_failed": 2, "delay_ms": 120.0}
METRICS = dict.fromkeys(
    "stall_ms swap_ms refault_ms kills cma_idle demand_ms_p50 demand_ms_p99 demand_lost_ms atomic_fails".split(), 1.0
)


def row(system: str, seed: int, whole: float, /, workload: str = "phone", **more: Any) -> dict[str, Any]:
    machine = more.pop("machine", TWIN)
    scenario = {"family": "phone", **more.pop("scenario", {})}
    held = [HELD] if whole < 1 else []
    return {
        **{"system": system, "workload": workload, "seed": seed},
        **METRICS,
        **{"whole_success": whole, "whole_first": whole, "pieces_success": 1.0, "cma_idle": 0.5, "events": 7.0},
        **{"held_up": compact(held), "policy": system, "policy_digest": "", "core": "0"},
        **{"machine": compact(machine), "source": compact({"scenario": scenario})},
        **more,
    }


def rows_of(ours: Sequence[float], theirs: Sequence[float], **more: Any) -> list[dict[str, Any]]:
    return [
        row(system, seed, value, **more)
        for system, values in (("one", ours), ("two", theirs))
        for seed, value in enumerate(values)
    ]


CASES: Mapping[Direction, tuple[Sequence[float], Sequence[float]]] = {
    Direction.AHEAD: ([1, 1, 0.75, 1], [0.5, 0.25, 0.5, 0.5]),
    Direction.BEHIND: ([0.5, 0.25, 0.5, 0.5], [1, 1, 0.75, 1]),
    Direction.TIE: ([1, 0, 1, 0.5], [0, 1, 0.5, 1]),
    Direction.EQUAL: ([1, 0.5, 1, 1], [1, 0.5, 1, 1]),
    Direction.MISSING: ([1, 1], []),
}


@pytest.mark.parametrize("expected", Direction)
def test_the_direction_is_the_intervals(expected: Direction) -> None:
    ours, theirs = CASES[expected]
    found = finding(rows_of(ours, theirs), PAIR, WHOLE)
    assert found.direction is expected
    said = {
        Direction.AHEAD: ("`one` is ahead", "the first"),
        Direction.BEHIND: ("`two` is ahead", "the second"),
        Direction.TIE: ("the interval contains 0, so neither", "no difference told between the first and the second"),
        Direction.EQUAL: ("the same in each of 4 pairs", "no difference between the first and the second"),
        Direction.MISSING: ("not in the rows", "not measured"),
    }
    words, short = said[expected]
    assert words in sentence(found)
    assert answer(found) == short
    others = [other for kind, (other, _) in said.items() if kind is not expected]
    assert not any(other in sentence(found) for other in others)


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        (Direction.AHEAD, Direction.AHEAD, "they agree"),
        (Direction.EQUAL, Direction.EQUAL, "they agree"),
        (Direction.AHEAD, Direction.BEHIND, "they say the opposite"),
        (Direction.BEHIND, Direction.TIE, "only the twins tell a direction"),
        (Direction.EQUAL, Direction.AHEAD, "only full size tells a direction"),
        (Direction.TIE, Direction.TIE, "neither tells a direction"),
    ],
)
def test_full_size_confirms_or_does_not(here: Direction, there: Direction, said: str) -> None:
    sides = [finding(rows_of(*CASES[side]), PAIR, WHOLE) for side in (here, there)]
    assert said in confirmation(*sides, 2)


def test_of_costs_less_is_better() -> None:
    rows = [row("one", seed, 1.0, stall_ms=100.0 + seed) for seed in range(4)]
    rows += [row("two", seed, 1.0, stall_ms=4000.0 + 3 * seed) for seed in range(4)]
    found = finding(pool("twins", rows).rows, PAIR, COST)
    assert found.direction is Direction.AHEAD
    assert "costs 1.10 s" in sentence(found) and "`one` is cheaper" in sentence(found)


def test_a_mean_that_favours_one_side_is_no_verdict() -> None:
    found = finding(rows_of([1, 0.5, 0.75], [0, 0.75, 1]), PAIR, WHOLE)
    assert found.paired.mean > 0
    assert found.direction is Direction.TIE


def test_one_pair_tells_nothing() -> None:
    assert finding(rows_of([1], [0]), PAIR, WHOLE).direction is Direction.TIE


def test_a_level_that_never_varied_has_an_interval_by_the_rule_of_three() -> None:
    found = finding(rows_of([1] * 30, [0.5, 1] * 15), PAIR, WHOLE)
    assert (found.ours.mean, found.ours.low, found.ours.high) == (1.0, 0.9, 1.0)
    assert "100.0 % [90.0, 100.0]" in sentence(found)


def test_who_fails_a_demand_is_not_cheaper_for_it() -> None:
    """Over all pairs `two` is cheaper, but only where it served less."""
    rows = [row("one", seed, 1.0, stall_ms=200.0) for seed in range(6)]
    rows += [row("two", seed, 1.0 if seed < 3 else 0.5, stall_ms=300.0 if seed < 3 else 0.0) for seed in range(6)]
    ready = pool("twins", rows).rows
    assert finding(ready, PAIR, COST).paired.mean > 0
    fair = finding(ready, PAIR, FAIR_COST)
    assert fair.paired.pairs == 3
    assert fair.direction is Direction.AHEAD


def test_scattered_blocks_are_not_pieces() -> None:
    blocks = {"scenario": {"camera": {"tests": ["blocks"]}}, "whole_success": math.nan, "pieces_success": 0.25}
    given = pool("twins", [row("one", 0, 1.0), row("one", 1, 1.0, workload="phone-blocks", **blocks)])
    assert [entry["pieces_success"] for entry in given.of(PIECES)] == [1.0]
    assert [entry["blocks_success"] for entry in given.of(BLOCKS)] == [0.25]


def test_one_label_on_two_machines_is_two_workloads() -> None:
    given = pool("twins", [*rows_of([1, 1], [0, 0]), *rows_of([1, 1], [0, 0], machine={**TWIN, "ram_mb": 128})])
    assert finding(given.rows, PAIR, WHOLE).paired.pairs == 4


# ---- the page --------------------------------------------------------------------------------------------------------

SUCCESS = {"page_cache_only": (1.0, 1.0, 1.0), "anonymous_only": (0.5, 0.75, 0.5), "cma_first": (0.25, 0.75, 0.5)}


def results(path: Path, success: Mapping[str, Sequence[float]] = SUCCESS) -> Path:
    rows = [
        row(system, seed, value, f"phone-{at}", machine=machine)
        for at, machine in (("64m", TWIN), ("1g", FULL))
        for system, values in success.items()
        for seed, value in enumerate(values)
    ]
    write_results(path, rows)
    return path


def sensitivity(path: Path) -> Path:
    """Page cache is ahead as assumed, no longer with one change, and behind with another one."""
    shares = {"": (1.0, 0.5), "-calm": (1.0, 1.0), "-wild": (0.25, 0.75)}
    rows = [
        row(system, seed, value - 0.05 * seed, f"phone-64m{vary}")
        for vary, values in shares.items()
        for system, value in zip(("page_cache_only", "anonymous_only"), values, strict=True)
        for seed in range(3)
    ]
    write_results(path, rows)
    return path


def page(folder: Path, rows: Path, *more: str) -> str:
    target = folder / "page.md"
    assert main(["head-to-head", str(rows), "--markdown", str(target), *more]) == 0
    return target.read_text(encoding="utf-8")


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    rows, study = results(tmp_path / "r.csv"), str(sensitivity(tmp_path / "s.csv"))
    first = page(tmp_path, rows, "--sensitivity", study)
    files = {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()}
    assert page(tmp_path, rows, "--sensitivity", study) == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()} == files
    assert all(data.startswith(b"\x89PNG") for data in files.values())
    assert set(files) == {part.partition(")")[0] for part in first.split("](page/")[1:]}


def test_the_page_says_what_the_rows_say(tmp_path: Path) -> None:
    text = page(tmp_path, results(tmp_path / "r.csv"), "--sensitivity", str(sensitivity(tmp_path / "s.csv")))
    assert "*Page cache or anonymous pages in CMA?* **Page cache**: +41.7 points" in text
    assert "| phone-1g | phone-64m | whole_success | 1.00 | 3/0/0 | " in text
    assert "On the 1 scenario that full size plays too" in text and "they agree" in text
    assert "anon pages held by pipe (120.0 ms and 5.0 refusals a run)" in text
    assert "`gfp_page_cache` against `gfp_cma`" in text  # left out, and said so
    assert "Not measured: `oracle` is not among the systems." in text
    assert "stays in 0 of 2 variations; it turns round with wild (`anonymous_only` is ahead); it is no longer" in text


def test_other_rows_turn_the_answer(tmp_path: Path) -> None:
    turned = {"page_cache_only": SUCCESS["anonymous_only"], "anonymous_only": SUCCESS["page_cache_only"]}
    text = page(tmp_path, results(tmp_path / "r.csv", turned))
    assert "*Page cache or anonymous pages in CMA?* **Anonymous pages**: \N{MINUS SIGN}41.7 points" in text


def test_without_rows_both_suites_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def played(suite: Suite, systems: Sequence[tuple[str, str]], jobs: int, cache: object) -> list[dict[str, Any]]:
        asked.append(f"{suite.config.name} {len(systems) > 2} {jobs}")
        return rows_of([1.0, 1.0], [0.5, 0.25])

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("cma_gym.experiments.suites.run.run_suite", played)
    monkeypatch.setattr("cma_gym.experiments.run_folder.RUNS", tmp_path / "runs")
    assert main(["head-to-head", "--markdown", str(tmp_path / "page.md"), "--jobs", "2"]) == 0
    assert asked == ["product True 2", "sensitivity True 2"]
    assert "| 1 `one` | 100.0 [0.0, 100.0] |" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_figures_for_programs(tmp_path: Path) -> None:
    page(tmp_path, results(tmp_path / "r.csv"), "--json", str(tmp_path / "f.json"))
    figures = json.loads((tmp_path / "f.json").read_text())
    told = {(entry["ours"], entry["metric"]): entry["direction"] for entry in figures["questions"]}
    assert told["page_cache_only", "whole_success"] == "ahead"
    assert figures["fronts"]["cost_ms"] == ["page_cache_only"]


# ---- what it asks about ----------------------------------------------------------------------------------------------


def test_the_questions_name_systems_that_exist() -> None:
    known = dict(system_names(f"all,{ROOT / 'experiments/head_to_head/variants.py'}"))
    asked = {name for _, contrast in contrasts() for name in (contrast.ours, contrast.theirs)}
    assert asked <= set(known)


def test_the_sensitivity_suite_varies_what_it_plays_unvaried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    suite = load_suite("sensitivity")
    rows = [row("one", 0, 1.0, label) for label in suite.by_label]
    study = Sensitivity(rows)
    unvaried = [scenario.label for scenario in suite.scenarios if not scenario.vary]
    assert [entry["workload"] for entry in study.base] == unvaried
    assert {variation.name for variation in study.variations} == {scenario.vary for scenario in suite.scenarios} - {""}
    assert "page_cache_own_list" in dict(system_names(SENSITIVITY_SYSTEMS))
