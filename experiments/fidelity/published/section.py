"""docs/fidelity.md: how near the model comes to what is published. Other verbs add sections of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from cma_gym.experiments import files
from cma_gym.experiments.fidelity.published.target import Figure, Target
from cma_gym.experiments.verbs.report import markdown

TITLE = """# Fidelity

What the model gives beside what was published or measured. Every section is written by the command it names. Each
kind of machine has one table of costs for all its rows (`cma_gym/machine/costs.py`); what was fitted is named among the
assumptions.
"""
BEGIN = "<!-- section {name}: written by `{command}` -->"
END = "<!-- end of {name} -->"


def number(value: float | str) -> str:
    """A figure with three digits, or as many as it has before the point."""
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "inf"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"


def verdict(figure: Figure) -> str:
    """pass, MISS, or nothing where there is no band."""
    if figure.passed is None:
        return ""
    return "pass" if figure.passed else "MISS"


COLUMNS = ("figure", "published", "simulated", "ratio", "band", "")


def line(figure: Figure) -> list[str]:
    """One row of a table."""
    ratio = number(figure.ratio) if figure.check != "sign" else ""
    unit = f" [{figure.unit}]" if figure.unit else ""
    return [figure.name + unit, number(figure.published), number(figure.simulated), ratio, figure.band, verdict(figure)]


def misses(target: Target, figures: Sequence[Figure]) -> list[str]:
    """For each figure that misses its aim, the reason found."""
    missed = [figure for figure in figures if figure.passed is False]
    return [f"{figure.name}: {target.reasons.get(figure.name, 'no reason found yet')}" for figure in missed]


def target_section(target: Target, figures: Sequence[Figure]) -> str:
    """One target's part of the page."""
    judged = [figure for figure in figures if figure.check != "shown"]
    plain = [figure for figure in figures if figure.check == "shown"]
    lines = [
        f"### {target.name}. {target.title}",
        "",
        f"Source: {target.source}.",
        "",
        *markdown(COLUMNS, list(map(line, judged))),
    ]
    if plain:
        cells = [cells[:4] for cells in map(line, plain)]
        lines += ["", "Absolute figures, of another machine and so without a band:", "", *markdown(COLUMNS[:4], cells)]
    lines += ["", "Assumptions:", "", *(f"- {text}" for text in target.assumptions)]
    reasons = misses(target, figures)
    if reasons:
        lines += ["", "Misses:", "", *(f"- {text}" for text in reasons)]
    return "\n".join(lines)


def calibration_section(found: Mapping[str, tuple[Target, Sequence[Figure]]]) -> str:
    """The published tables' part of the page."""
    judged = [figure for _, figures in found.values() for figure in figures if figure.passed is not None]
    passed = sum(figure.passed is True for figure in judged)
    head = f"## Published tables\n\n{passed} of {len(judged)} figures are within their band."
    return "\n\n".join([head, *(target_section(target, figures) for target, figures in found.values())])


def write_section(path: str, name: str, command: str, text: str) -> None:
    """Put a section into the page, in the place of its older form or at the end; the other sections stay as they are.

    For every verb that has `--markdown FILE`, as docs/fidelity.md.

    Args:
        path: the page; it is begun with TITLE if there is none.
        name: of the section, one word, by which it is found again; the verb's own.
        command: what the reader types to get it.
        text: Markdown, beginning with its own "## " heading.
    """
    begin, end = BEGIN.format(name=name, command=command), END.format(name=name)
    given = Path(path)
    page = given.read_text(encoding="utf-8") if given.is_file() else TITLE
    block = f"{begin}\n\n{text.strip()}\n\n{end}\n"
    start = page.find(BEGIN.format(name=name, command="").partition("`")[0])
    stop = page.find(end)
    if 0 <= start < stop:
        page = page[:start] + block + page[stop + len(end) :].lstrip("\n")
    else:
        page = f"{page.rstrip()}\n\n{block}"
    files.write_text(path, page)
