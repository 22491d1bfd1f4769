"""A recording replayed beside itself: the arithmetic of the report, and the verb as a user meets it."""

import json
import math
from pathlib import Path

import pytest

from cma_gym.experiments.cli import main
from cma_gym.experiments.fidelity.recorded.sides import OCCUPANCY, Look, Outcome, Side, recorded, rule_for
from cma_gym.experiments.fidelity.recorded.verdicts import AIMED_TOTALS, TOTALS, ratio, report, verdicts
from cma_gym.machine.kernel import KernelConfig
from cma_gym.policies.registry import PolicyError
from cma_gym.recording.text.kernel import read_kernel_text
from tests.recording.drawn_kernel import AREA_PAGES, kernel_text
from tests.recording.drawn_trace import COPY, Drawing


def side(first_ok: list[bool], anon: float, totals: dict[str, int]) -> Side:
    looks = [
        Look(f"W{i}", float(i), 100, 50, {kind: 0.0 for kind in OCCUPANCY} | {"anon": anon, "free": 100 - anon}, {})
        for i in range(len(first_ok))
    ]
    outcomes = [Outcome(f"W{i}", True, 1, 1, True, first, 1, 5.0) for i, first in enumerate(first_ok)]
    return Side(looks, outcomes, totals)


def test_verdicts() -> None:
    told = side([True, True, False, True, False], 60.0, dict.fromkeys(AIMED_TOTALS, 1000))
    same = side([True, True, False, True, True], 74.0, dict.fromkeys(AIMED_TOTALS, 501))
    assert [verdict.met for verdict in verdicts(told, same)] == [True] * 6
    worse = side([True, True, False, False, True], 76.0, dict.fromkeys(AIMED_TOTALS, 2001))
    found = verdicts(told, worse)
    assert [verdict.met for verdict in found] == [False] * 6
    assert found[0].value == pytest.approx(0.6)
    assert found[1].value == pytest.approx(16.0)


def test_a_demand_that_was_not_made_is_not_alike() -> None:
    told, simulated = side([True, True], 60.0, {}), side([True], 60.0, {})
    assert verdicts(told, simulated)[0].value == pytest.approx(0.5)


def test_ratios_of_next_to_nothing() -> None:
    assert ratio(3, 0) == 1.0
    assert ratio(1000, 0) == math.inf
    assert ratio(50, 100) == 0.5


def test_the_recorded_side(tmp_path: Path) -> None:
    (tmp_path / "a.kernel.txt").write_text(kernel_text())
    told = recorded(read_kernel_text(tmp_path / "a.kernel.txt"), 5.0, wakes=7)
    assert [look.tag for look in told.looks] == ["W0", "P1", "end"]
    assert told.looks[1].occupancy["free"] == pytest.approx(100 * 600 / AREA_PAGES)
    assert told.looks[1].time_s == pytest.approx(2.0)
    assert told.looks[2].counters["pswpout"] == 40
    assert told.outcomes[0].blamed == {"bdev": 2, "anon": 1}
    assert (told.totals["pgscan"], told.totals["allocstall"], told.totals["kswapd_wakes"]) == (600, 5, 7)


def test_every_measured_policy_has_a_rule() -> None:
    for policy in range(9):
        leaks = policy in (0, 1, 2, 7)
        assert KernelConfig(**rule_for(policy).kernel).compact_into_cma == leaks
    with pytest.raises(PolicyError, match="under policy 42"):
        rule_for(42)


def drawn() -> Drawing:
    drawing = Drawing()
    for pfn in range(0x400, 0x480):
        drawing.alloc(pfn)
    drawing.wait(5).reclaim().swap_out(0x400).free(0x400).reclaimed().wait(5).alloc(0x500, COPY)
    return drawing.wait(3000).alloc(0x501)


@pytest.mark.parametrize("policy", [0, 7])
def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: int) -> None:
    trace, out = tmp_path / "phone.ftrace", tmp_path / "phone.json"
    trace.write_text(drawn().text())
    (tmp_path / "phone.kernel.txt").write_text(kernel_text(boot=f"policy={policy} wl=drawn seed=3 ncpu=2"))
    assert main(["replay", str(trace), "--json", str(out)]) == 0
    facts = json.loads(out.read_text())
    assert facts["recording"]["policy"] == policy
    assert facts["kernel"]["cost_profile"] == "emulated"
    assert [demand["tag"] for demand in facts["demands"]] == ["W0", "P1"]
    assert facts["demands"][0]["simulated"]["ok"]
    assert set(facts["totals"]) == set(TOTALS)
    assert [verdict["aim"] for verdict in facts["verdicts"]] == ["first_try", "occupancy", *AIMED_TOTALS]
    assert [moment["tag"] for moment in facts["moments"]] == ["W0", "P1", "end"]
    shown = capsys.readouterr().out
    assert "first_try" in shown
    assert f"policy {policy}" in shown


def test_several_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traces = []
    for name, policy in (("one", 0), ("two", 6)):
        traces.append(str(tmp_path / f"{name}.ftrace"))
        (tmp_path / f"{name}.ftrace").write_text(drawn().text())
        (tmp_path / f"{name}.kernel.txt").write_text(kernel_text(boot=f"policy={policy} ncpu=2"))
    out, page = tmp_path / "both.json", tmp_path / "fidelity.md"
    assert main(["replay", *traces, "--json", str(out), "--markdown", str(page)]) == 0
    facts = json.loads(out.read_text())
    assert [one["recording"]["name"] for one in facts["recordings"]] == ["one", "two"]
    alike = [one["verdicts"][0]["value"] for one in facts["recordings"]]
    assert facts["first_try"] == pytest.approx(sum(alike) / 2)  # both have two demands
    assert "All recordings" in capsys.readouterr().out
    written = page.read_text()
    assert "## Recordings" in written
    assert written.count("### ") == 2
    assert f"{2 * sum(alike):.0f} of 4" in written
    assert main(["replay", *traces, "--kernel-text", "x"]) == 2
    assert "--kernel-text names one file" in capsys.readouterr().err


def test_a_trace_that_ends_before_a_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "phone.ftrace"
    (tmp_path / "phone.kernel.txt").write_text(kernel_text())
    trace.write_text(Drawing().alloc(0x400).alloc(0x401).text())
    assert main(["replay", str(trace)]) == 2
    assert "demand P1 was made" in capsys.readouterr().err
    trace.write_text(Drawing().wait(9000).alloc(0x400).alloc(0x401).text())
    assert main(["replay", str(trace)]) == 2
    assert "before the trace's first event" in capsys.readouterr().err


def test_what_is_missing_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "phone.ftrace"
    trace.write_text(drawn().text())
    assert main(["replay", str(trace)]) == 2
    assert "there is no phone.kernel.txt beside it" in capsys.readouterr().err
    (tmp_path / "phone.kernel.txt").write_text(kernel_text().replace("MAP-BEGIN", ""))
    assert main(["replay", str(trace)]) == 2
    sentences = [line for line in capsys.readouterr().err.splitlines() if line.startswith("replay: ")]
    assert len(sentences) == 1 and "no section MAP" in sentences[0]
    (tmp_path / "phone.kernel.txt").write_text(kernel_text())
    assert main(["replay", str(trace), "--kernel", "{"]) == 2
    assert "not JSON" in capsys.readouterr().err
    assert main(["replay", str(trace), "--kernel", '{"swapiness": 1}']) == 2
    assert "swappiness" in capsys.readouterr().err


def test_the_report_is_json_plain() -> None:
    told = side([True], 60.0, {"pswpin": 10})
    assert json.dumps(report(told, told))
