"""calibrate: the arithmetic of every target on made-up runs, the page, and one tiny run from end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cma_gym.experiments.cli import main
from cma_gym.experiments.fidelity.published import builds, runner
from cma_gym.experiments.fidelity.published.section import calibration_section, number, write_section
from cma_gym.experiments.fidelity.published.target import (
    UNKNOWN,
    Case,
    Figure,
    Runs,
    Target,
    missing,
    over,
    relative,
    shown,
    sign,
)
from cma_gym.experiments.fidelity.published.targets import (
    f1_zone_cma,
    f2_free_memory,
    f3_latency_load,
    f4_latency_size,
    f5_lru_drain,
    f6_phone,
    f7_requests,
    f8_atomic,
)
from cma_gym.mm.mmzone import VmEvent


def made_up(
    elapsed: float = 1.0, free_kb: float = 1.0, demands: Any = (), idle: float = 0.0, **vmstat: int
) -> dict[str, Any]:
    counters = {event.name.lower(): 0 for event in VmEvent}
    return {
        "elapsed_s": elapsed,
        "mean_free_kb": free_kb,
        "order0_share": 0.99,
        "samples": {"pgalloc": list(range(0, 100_000, 1000))},
        "metrics": {"cma_idle": idle},
        "vmstat": {**counters, **vmstat},
        "demands": [
            dict(zip(("nr_pages", "latency_ns", "work_ns", "ok", "tries"), (*d, 0, 1, 1), strict=True)) for d in demands
        ],
    }


def by_name(figures: Any) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def test_a_relative_figure_passes_within_its_band_and_a_sign_only_if_right() -> None:
    assert relative("x", 2.0, 3.0).passed and relative("x", 2.0, 2 / 1.5).passed
    assert not relative("x", 2.0, 3.01).passed and not relative("x", 2.0, math.nan).passed
    assert relative("x", 2.0, 3.0).ratio == 1.5
    assert sign("x", "> 1", "2", True).passed and not sign("x", "> 1", "0", False).passed
    assert shown("x", 1, 2).passed is None
    assert missing("x", 2, "gcma").passed is None and missing("x", 2, "gcma").simulated == UNKNOWN
    assert over(4, 2) == 2 and over(1, 0) == math.inf and math.isnan(over(0, 0))


def test_runs_are_averaged_over_their_seeds() -> None:
    runs = Runs({"a": [made_up(elapsed=1, pswpin=4), made_up(elapsed=3, pswpin=8)]})
    assert runs.mean("a", "elapsed_s") == 2 and runs.mean("a", "vmstat.pswpin") == 6
    assert runs.has("a") and not runs.has("a", "b")


def test_f1_compares_build_times_and_swap() -> None:
    rows = {
        name: [made_up(elapsed, pswpin=pages_in, pswpout=out)]
        for name, (elapsed, pages_in, out) in f1_zone_cma.PUBLISHED.items()
    }
    found = by_name(f1_zone_cma.figures(Runs(rows)))
    assert found["elapsed with 512 MB over 0 MB, before"].ratio == pytest.approx(1, abs=0.01)
    assert found["elapsed with 512 MB over 0 MB, after"].ratio == pytest.approx(1, abs=0.01)
    assert all(figure.passed is not False for figure in found.values())
    rows["before, 512 MB"] = [made_up(100.0)]
    found = by_name(f1_zone_cma.figures(Runs(rows)))
    assert not found["swap-out with 512 MB over all others"].passed


def test_f2_compares_free_memory() -> None:
    rows = {
        name: [made_up(elapsed, free, pswpin=pages_in, pswpout=out)]
        for name, (elapsed, free, pages_in, out) in f2_free_memory.PUBLISHED.items()
    }
    found = by_name(f2_free_memory.figures(Runs(rows)))
    assert all(figure.passed is not False for figure in found.values())
    assert found["free memory, fallback over none"].simulated == pytest.approx(1.87, abs=0.001)


def test_f3_finds_the_sign_change_at_heavy_load() -> None:
    rows = {}
    for when in f3_latency_load.SYSTEMS:
        for index, jobs in enumerate(f3_latency_load.JOBS):
            demand = (2048, int(1000 * f3_latency_load.LATENCY[when][index]))
            retries = round(10 * f3_latency_load.RETRIES[when][index])
            rows[f3_latency_load.row(when, jobs)] = [made_up(demands=[demand], cma_busy_retry=retries)]
    found = by_name(f3_latency_load.figures(Runs(rows)))
    assert all(figure.passed is not False for figure in found.values())
    rows["before -j16"] = rows["before -j1"]
    found = by_name(f3_latency_load.figures(Runs(rows)))
    assert not found["-j16: sign of the difference"].passed
    assert not found["before: rises with the load"].passed


def test_f4_compares_sizes_and_schemes() -> None:
    rows = {
        f4_latency_size.row(name, size): [made_up(demands=[(size, 1000 * us) for us in times])]
        for name, table in (("CMA", f4_latency_size.CMA_US), ("GCMA", f4_latency_size.GCMA_US))
        for size, times in table.items()
    }
    found = by_name(f4_latency_size.figures(Runs(rows)))
    assert found["CMA, 1 pages: least [us]"].simulated == 381
    assert found["GCMA is faster from 1024 pages up"].passed
    rows["GCMA, 8192 pages"] = rows["CMA, 8192 pages"]
    assert not by_name(f4_latency_size.figures(Runs(rows)))["GCMA is faster from 1024 pages up"].passed


def test_f5_counts_refused_and_batched_pages_as_of_500_requests() -> None:
    runs = Runs({"before": [made_up(cma_forced_retry=40, cma_batched=60)], "after": [made_up(cma_forced_retry=7)]})
    found = f5_lru_drain.figures(runs)
    assert all(figure.passed is not False for figure in found)
    assert found[1].simulated == 400
    runs = Runs({"before": [made_up(cma_forced_retry=400)], "after": [made_up()]})
    assert f5_lru_drain.figures(runs)[0].passed is False


def test_f6_takes_shares_of_counters() -> None:
    counters = {"pgfault": 10_000, "pgmajfault": 58, "pgsteal_kswapd": 9950, "pgsteal_direct": 50, "pgsteal_file": 1000}
    run = made_up(workingset_refault_file=600, pgmigrate_success=99_942, pgmigrate_fail=58, **counters)
    assert all(figure.passed is not False for figure in f6_phone.figures(Runs({"phone": [run]})))


def test_f7_finds_the_largest_rate() -> None:
    found = by_name(f7_requests.figures(Runs({"phone": [made_up()]})))
    assert found["largest rate in 1 s [% of RAM]"].simulated == pytest.approx(100 * 10_000 / 2**18)
    assert found["largest burst in 5 s [% of RAM]"].simulated == pytest.approx(100 * 50_000 / 2**18)
    assert found["requests of order 0 [%]"].simulated == 99


def test_f8_wants_failures_only_under_fallback() -> None:
    rows = {f8_atomic.row(load, system): [made_up()] for load in f8_atomic.LOADS for system in f8_atomic.SYSTEMS}
    for load in f8_atomic.LOADS:
        rows[f8_atomic.row(load, "mainline_fallback")] = [made_up(atomic_fail=20)]
    assert all(figure.passed for figure in f8_atomic.figures(Runs(rows)))
    rows[f8_atomic.row("F1", "zone_cma")] = [made_up(atomic_fail=1)]
    assert sum(figure.passed is False for figure in f8_atomic.figures(Runs(rows))) == 1


def test_every_target_has_checked_rows_a_source_and_assumptions() -> None:
    from cma_gym.machine.kernel import KernelConfig
    from cma_gym.machine.spec import MachineSpec
    from cma_gym.policies.registry import get_system
    from cma_gym.workloads.registry import parse

    known = runner.targets()
    assert list(known) == [f"F{n}" for n in range(1, 9)]
    for target in known.values():
        assert target.source and target.assumptions
        for case in target.cases():
            spec = MachineSpec(**case.machine)
            system = get_system(case.system)
            parse(case.scenario)
            if runner.can_run(case):
                KernelConfig.for_profile(spec.profile, **{**system.kernel, **case.kernel})


def test_one_cost_table_serves_all_rows_of_a_kind_of_machine() -> None:
    for target in runner.targets().values():
        for case in target.cases():
            assert "costs_ns" not in case.kernel


def test_an_unknown_target_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "F9"]) == 2
    assert (
        capsys.readouterr().err.strip()
        == "calibrate: there is no target 'F9'; known are F1, F2, F3, F4, F5, F6, F7, F8"
    )


def tiny_target() -> Target:
    machine = {"ram_mb": 16, "cma_mb": 4, "pageblock_order": 6, "profile": "v4_6"}
    make = {"jobs": 2, "compile_s": (0.1, 0.2), "heap_mb": (0.5, 2), "make_mb": 0.5, "program_mb": 1, "headers_mb": 1}
    load = {
        "family": "kernel_build",
        "camera": {"length_s": 1, "first_s": 0.3, "every_s": 0.2, "count": 2, "sizes_pages": (64,)},
        "make": {**make, "sources_mb": 1, "source_mb": (0.01, 0.02), "objects_mb": 2, "object_mb": (0.01, 0.02)},
    }
    kernel = {**builds.kernel(2, 2), "demand_tries": 1}
    cases = [
        Case("row", "mainline_fallback", machine, kernel, load),
        Case("rest", "gfp_cma", machine, {}, load, needs="none"),
    ]
    return Target(
        name="F1",
        title="tiny",
        source="nobody",
        cases=lambda: cases,
        figures=lambda runs: [
            relative("requests", 2, runs.mean("row", "vmstat.cma_alloc_success")),
            sign("slower", "yes", "no", False),
            shown("elapsed", 1, runs.mean("row", "elapsed_s")),
        ],
        assumptions=("small",),
        reasons={"slower": "it is too small"},
    )


def test_a_tiny_target_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "targets", lambda: {"F1": tiny_target()})
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    assert main(["calibrate", "f1", "--json", str(figures), "--markdown", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "assumption: small" in printed and "miss: slower: it is too small" in printed
    (target,) = json.loads(figures.read_text())["targets"]
    assert list(target) == ["target", "title", "source", "assumptions", "figures"]
    first, second, third = target["figures"]
    assert first["passed"] and first["simulated"] == 2 and first["reason"] == ""
    assert list(first) == ["name", "check", "published", "simulated", "ratio", "band", "passed", "reason"]
    assert second["passed"] is False and second["reason"] == "it is too small"
    assert third["passed"] is None and third["simulated"] >= 1
    text = page.read_text()
    assert "1 of 2 figures are within their band" in text and "### F1. tiny" in text


def test_sections_of_the_page_are_replaced_and_the_others_kept(tmp_path: Path) -> None:
    page = str(tmp_path / "page.md")
    write_section(page, "one", "first command", "alpha")
    write_section(page, "two", "second command", "beta")
    write_section(page, "one", "another command", "gamma")
    text = Path(page).read_text()
    assert "alpha" not in text and "gamma" in text and "beta" in text
    assert text.index("gamma") < text.index("beta")
    assert text.count("section one") == 1 and "`another command`" in text


def test_numbers_are_short() -> None:
    assert [number(x) for x in (0.12345, 12.345, 69_839, math.inf, math.nan, "> 1")] == [
        "0.123",
        "12.3",
        "69 839",
        "inf",
        "-",
        "> 1",
    ]
    assert "0 of 0" in calibration_section({})
