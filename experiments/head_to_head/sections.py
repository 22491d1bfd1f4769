"""The sections of the head-to-head page, each a list of lines built from rows; one without rows is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from cma_gym.experiments.config import ROOT
from cma_gym.experiments.head_to_head.contrast import (
    COST,
    KEY_MEASURES,
    USE,
    WHOLE,
    Direction,
    Finding,
    Pool,
    finding,
    findings,
)
from cma_gym.experiments.head_to_head.questions import Contrast, Question
from cma_gym.experiments.head_to_head.sensitivity import Sensitivity
from cma_gym.experiments.head_to_head.tables import contrast_table, held_up_sentence, order, where_table
from cma_gym.experiments.head_to_head.words import answer, brief, capital, code, confirmation, listed, sentence
from cma_gym.experiments.suites.suite import load_suite
from cma_gym.experiments.verbs.report import markdown

VARIANTS = "experiments/head_to_head/variants.py"
"""Systems of the questions that are no system of the package."""
SUITE = "product"
"""The suite whose machines and twins are set beside each other."""
TABLE_SUFFIX = ".json"
"""What the policy of a learned table ends with."""


@dataclass(frozen=True)
class Page:
    """What the page is made of."""

    main: Pool
    """What the answers rest on: the twins, of which there are more runs; else what there is."""
    other: Pool | None
    """Machines of full size, where there are both."""
    sensitivity: Sensitivity | None
    command: str

    @cached_property
    def systems(self) -> list[str]:
        """All systems of the rows, best first."""
        return order(self.main.rows)

    @cached_property
    def learned(self) -> list[str]:
        """Those of them that are decision tables."""
        return [name for name in self.systems if any(_is_table(row, name) for row in self.main.rows)]

    def pool_of(self, contrast: Contrast) -> Pool | None:
        """The runs that answer a contrast: the main ones, else those of the sensitivity study, else none."""
        pools = [self.main] + ([self.sensitivity.unvaried] if self.sensitivity else [])
        wanted = {contrast.ours, contrast.theirs}
        return next((entry for entry in pools if wanted <= {row["system"] for row in entry.rows}), None)


def _is_table(row: Mapping[str, Any], system: str) -> bool:
    return row["system"] == system and str(row["policy"]).endswith(TABLE_SUFFIX)


# ---- one question ----------------------------------------------------------------------------------------------------


def question_section(page: Page, question: Question) -> list[str]:
    """A question: each contrast with its answer and its figures."""
    lines = [f"## {question.text}", "", question.background]
    missing = [contrast for contrast in question.contrasts if page.pool_of(contrast) is None]
    for contrast in question.contrasts:
        given = page.pool_of(contrast)
        lines += ["", *_contrast(page, question, contrast, given.only(question.families))] if given else []
    if missing:
        names = listed([f"{code(entry.ours)} against {code(entry.theirs)}" for entry in missing])
        lines += ["", f"Left out, because the rows lack a system: {names}."]
    return lines


def short_answer(page: Page, question: Question) -> str:
    """The answers of a question's contrasts in a few words; of the first one, what it costs, too."""
    told: list[str] = []
    for contrast in question.contrasts:
        given = page.pool_of(contrast)
        if given is None:
            continue
        rows = given.only(question.families).rows
        entry = finding(rows, contrast, WHOLE)
        text = f"**{capital(answer(entry))}**: {brief(entry)} ({_both(contrast)}"
        if not told:
            text += "; " + "; ".join(_price(finding(rows, contrast, measure)) for measure in (COST, USE))
        told.append(text + ").")
    return " ".join(told) if told else "**Not measured**: the rows lack the systems that would answer it."


def _both(contrast: Contrast) -> str:
    return f"{code(contrast.ours)} minus {code(contrast.theirs)}"


def _price(entry: Finding) -> str:
    """What a contrast does to a measure, as a clause."""
    told = "" if entry.direction in (Direction.AHEAD, Direction.BEHIND, Direction.EQUAL) else ", not told from none"
    return f"{entry.measure.title} {brief(entry)}{told}"


def _contrast(page: Page, question: Question, contrast: Contrast, given: Pool) -> list[str]:
    main = findings(given, contrast)
    lines = [f"### {code(contrast.ours)} against {code(contrast.theirs)}", ""]
    lines.append(f"**{capital(answer(main[0]))}.** {sentence(main[0])}")
    beside = _beside(page, contrast, given)
    if beside:
        lines[-1] += " " + confirmation(*beside)
    if given is not page.main and given.name != page.main.name:
        lines[-1] += f" (From the {given.name}.)"
    shown = main if contrast is question.contrasts[0] else [entry for entry in main if entry.measure in KEY_MEASURES]
    lines += ["", *markdown(*contrast_table(shown))]
    lines += ["", "Where, whole-area demands:", "", *markdown(*where_table(given.rows, contrast))]
    lines += ["", " ".join(held_up_sentence(given.rows, name) for name in (contrast.ours, contrast.theirs))]
    also = other_differences(contrast)
    lines += ["", also] if also else []
    kept = page.sensitivity.kept(question, contrast) if page.sensitivity else ""
    return [*lines, "", kept] if kept else lines


def _beside(page: Page, contrast: Contrast, given: Pool) -> tuple[Finding, Finding, int] | None:
    """A contrast on twins and on full size, over the scenarios that both play, and how many these are."""
    if page.other is None or given.name != page.main.name:
        return None
    played = ({str(row["workload"]) for row in found.rows} for found in (given, page.other))
    twins, full = (set(names) for names in played)
    pairs = [pair for pair in _twin_labels() if pair[0] in full and pair[1] in twins]
    there, here = (
        finding([row for row in rows if row["workload"] in {pair[side] for pair in pairs}], contrast, WHOLE)
        for side, rows in enumerate((page.other.rows, given.rows))
    )
    return None if Direction.MISSING in (here.direction, there.direction) else (here, there, len(pairs))


@cache
def _twin_labels() -> list[tuple[str, str]]:
    return [(full.label, twin.label) for full, twin in load_suite(SUITE).twin_pairs()]


def other_differences(contrast: Contrast) -> str:
    """What else two systems differ in, from their switches: a contrast is only as clean as that."""
    from cma_gym.policies.registry import load_system_file, systems

    load_system_file(ROOT / VARIANTS)
    known = systems()
    if contrast.ours not in known or contrast.theirs not in known:
        return ""
    ours, theirs = (_switches(known[name].kernel) for name in (contrast.ours, contrast.theirs))
    parts = [f"`{name}` ({ours[name]} / {theirs[name]})" for name in ours if ours[name] != theirs[name]]
    return f"Switches of the kernel that differ between the two: {', '.join(parts)}." if parts else ""


def _switches(kernel: dict[str, object]) -> dict[str, object]:
    from cma_gym.machine.kernel import KernelConfig

    return KernelConfig.for_profile("v6_12", **kernel).model_dump()
