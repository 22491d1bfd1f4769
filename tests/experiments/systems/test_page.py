"""docs/systems.md is what its command writes; what it says about borrowing is found by asking the rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cma_gym.experiments.cli import main
from cma_gym.experiments.systems.page import page
from cma_gym.experiments.systems.probe import MARKS, MB, Terms, probe
from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import System, get_system, systems

PAGE = Path(__file__).resolve().parents[3] / "docs" / "systems.md"


def line(entry: System) -> list[str]:
    """Its line of the table, by cells."""
    (found,) = [text for text in page([entry]).splitlines() if f"[{entry.name}]" in text]
    return [cell.strip() for cell in found.split(" | ")]


def ruled(decide, **more) -> System:
    return System(name="ours", summary="A test's own.", kernel=more, decide=decide)


def test_the_committed_page_is_what_the_command_writes(tmp_path: Path) -> None:
    """If this fails: cma-gym list systems --markdown docs/systems.md."""
    assert main(["list", "systems", "--markdown", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == PAGE.read_text()


def test_every_system_has_a_line_and_a_section() -> None:
    text = PAGE.read_text()
    for entry in systems().values():
        assert f"| {entry.row or '-'} | [{entry.name}](#{entry.name}) |" in text
        assert f"\n## {entry.name}\n" in text


def test_thresholds_are_found_to_the_page() -> None:
    edge = 48 * MB + MARKS["totalreserve"]
    found = probe(get_system("gfp_page_cache"))
    assert found.may_use == (RequestKind.FILE,)
    window = Terms(f"ordinary free <= {edge} pages and free CMA >= 48 MB", "not at all")
    assert found.idle == found.busy == {RequestKind.FILE: window}
    assert set(found.looks_at) == {"kind", "ordinary free", "free_cma"}


def test_a_rule_that_minds_the_allocation_says_so() -> None:
    assert line(get_system("cma_aggressive"))[3:7] == [
        "all movable",
        "free CMA >= 502 pages, else fallback",
        "fallback",
        "cma_busy, free_cma",
    ]


def test_kernel_switches_are_taken_into_account() -> None:
    never, always = (ruled(lambda view, params, action=action: int(action)) for action in (0, 2))
    assert line(never)[3:6] == ["nobody", "never", "never"]
    assert line(always)[3:6] == ["all movable", "always", "the same"]
    assert line(replace(always, kernel={"lend": False}))[3:6] == ["nobody", "never", "never"]
    assert line(replace(always, kernel={"lending_stops_while_busy": True}))[5] == "nobody borrows"
    assert line(replace(always, kernel={"lend": False, "gcma": True}))[3] == "nobody; copies that can be dropped"
    gated = line(replace(always, kernel={"lend_at_night": True}))
    assert gated[4] == "always; while the kernel lends at all: `lend_at_night`"
    assert line(get_system("half_and_half"))[4] == "fallback; the kernel, page by page: free CMA > free / 2"
    assert line(get_system("half_and_half"))[7].strip("| ") == "`cma_ratio=2`"


def test_a_feature_that_opens_the_area_is_named() -> None:
    def rule(view, params):
        return Action.CMA_FIRST if view[View.REFAULT_RATE] >= 1000 else Action.NORMAL_ONLY

    found = probe(ruled(rule))
    assert set(found.idle.values()) == {Terms("with refault_rate 1000", "not at all")}
    assert found.looks_at == ("refault_rate",)


def test_a_clairvoyant_system_is_not_asked() -> None:
    def rule(view, params):
        raise AssertionError("it would need to see the workload")

    seer = ruled(rule)
    object.__setattr__(seer, "foresee", lambda *args: None)
    assert line(seer)[3:7] == ["as foreseen", "as foreseen", "as foreseen", "the whole workload"]


def test_the_page_is_of_systems_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--markdown", "x.md"]) == 2
    assert "write: list systems --markdown FILE" in capsys.readouterr().err
