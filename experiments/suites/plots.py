"""PNG plots of a suite, from its figures; success is shown by scenario and never averaged over scenarios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cma_gym.experiments.reports.run_plots import new_figure, save_png
from cma_gym.experiments.suites.figures import COSTS, GROUPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Figures = Mapping[str, Any]

NAMES = {
    "whole_success": "whole area served [%]",
    "pieces_success": "pieces served [%]",
    "cost_ms": "cost per run [s]",
    "cma_idle": "idle share of the area [%]",
}
_SCALES = {"cost_ms": 0.001}
_LINE_IN = 0.26
"""Height of a line of a plot [inch]."""
_FRONT, _POINT, _BAR = "#f26419", "#86bbd8", "#33658a"


def draw_suite(figures: Figures, folder: Path) -> list[tuple[str, str]]:
    """Draw every plot that there are figures for.

    Returns:
        (file name, caption) of each.
    """
    drawn = []
    for group in figures["groups"]:
        for measure in ("whole_success", "pieces_success"):
            caption = f"{_title(measure)}, by system and scenario: {GROUPS[group]}"
            drawn += _drawn(folder, f"{measure}_{group}.png", caption, _heat(figures, group, measure))
        caption = f"Difference to {figures['baseline']}, with 95 % intervals: {GROUPS[group]}"
        drawn += _drawn(folder, f"paired_{group}.png", caption, _paired(figures, group))
    for label, scenario in figures["scenarios"].items():
        for cost in COSTS:
            measure = scenario["measures"][0]
            caption = f"{label}: {_title(measure)} against {NAMES[cost]}; orange: on the front; hollow: a bound"
            drawn += _drawn(
                folder, f"front_{cost}_{_plain(label)}.png", caption, _front(scenario, measure, cost, figures["bounds"])
            )
    for measure in ("whole_success", "pieces_success"):
        caption = f"{_title(measure)}: each system at full size and on the twin"
        drawn += _drawn(folder, f"agreement_{measure}.png", caption, _agreement(figures, measure))
    return drawn


Draw = tuple[Callable[["Axes"], None], float, float]
"""What draws, and the size of the plot [inch]."""


def _drawn(folder: Path, name: str, caption: str, draw: Draw | None) -> list[tuple[str, str]]:
    if draw is None:
        return []
    work, width, height = draw
    figure, axes = new_figure(width, height)
    work(axes)
    save_png(figure, folder / name)
    return [(name, caption)]


def _title(metric: str) -> str:
    return NAMES[metric][:1].upper() + NAMES[metric][1:]


def _plain(label: str) -> str:
    """A label as a part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in label)


def _scaled(metric: str, value: float) -> float:
    return _SCALES.get(metric, 100.0) * value


def _of_group(figures: Figures, group: str, measure: str) -> dict[str, dict[str, float]]:
    """A measure's means by scenario and system."""
    labels = figures["groups"][group]["scenarios"]
    members = {label: figures["scenarios"][label] for label in labels}
    return {
        label: {entry["system"]: _scaled(measure, entry[measure]) for entry in scenario["ranking"]}
        for label, scenario in members.items()
        if measure in scenario["measures"]
    }


def _heat(figures: Figures, group: str, measure: str) -> Draw | None:
    values = _of_group(figures, group, measure)
    if not values:
        return None
    table = {system: [own.get(system, np.nan) for own in values.values()] for system in figures["systems"]}
    systems = sorted(table, key=lambda system: (-float(np.nansum(table[system])), system))
    cells = np.array([table[system] for system in systems])

    def draw(axes: Axes) -> None:
        axes.imshow(cells, aspect="auto", cmap="RdYlGn", vmin=0, vmax=100)
        axes.set_xticks(range(len(values)), list(values), rotation=60, ha="right", fontsize=8)
        axes.set_yticks(range(len(systems)), systems, fontsize=8)
        for (line, column), value in np.ndenumerate(cells):
            axes.annotate(f"{value:.0f}", (column, line), ha="center", va="center", fontsize=7)

    return draw, 3.5 + 0.5 * len(values), 2 + _LINE_IN * len(systems)


def _paired(figures: Figures, group: str) -> Draw | None:
    own = figures["groups"][group]["paired"]
    measure = "whole_success" if any(entry["pairs"] for entry in own["whole_success"].values()) else "pieces_success"
    kept = [(system, entry) for system, entry in own[measure].items() if entry["pairs"]]
    kept.sort(key=lambda pair: (-pair[1]["mean"], pair[0]))
    if not kept:
        return None

    def draw(axes: Axes) -> None:
        for line, (_, entry) in enumerate(kept):
            mean, low, high = (100 * entry[name] for name in ("mean", "low", "high"))
            axes.plot([low, high], [line, line], color=_BAR)
            axes.scatter([mean], [line], color=_BAR, s=18, zorder=3)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(kept)), [system for system, _ in kept], fontsize=8)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel(f"{NAMES[measure].removesuffix(' [%]')}, difference to {figures['baseline']} [points]")

    return draw, 8, 1.5 + _LINE_IN * len(kept)


def _front(scenario: Figures, measure: str, cost: str, bounds: Sequence[str]) -> Draw | None:
    front = scenario["fronts"][measure][cost]
    points = [(e["system"], _scaled(cost, e[cost]), _scaled(measure, e[measure])) for e in scenario["ranking"]]
    points = [point for point in points if point[1] + point[2] == point[1] + point[2]]
    if not front:
        return None

    def draw(axes: Axes) -> None:
        for system, x, y in points:
            colour = _FRONT if system in front else _POINT
            axes.scatter([x], [y], edgecolors=colour, c="none" if system in bounds else colour, zorder=3, s=24)
        steps = sorted((x, y) for system, x, y in points if system in front)
        axes.step(*zip(*steps, strict=True), where="post", color=_FRONT, alpha=0.5)
        _name_points(axes, [point for point in points if point[0] in (*front, *bounds)])
        axes.set_xlabel(NAMES[cost])
        axes.set_ylabel(NAMES[measure])
        axes.margins(0.12)
        axes.grid(alpha=0.3)

    return draw, 8, 4.5


def _name_points(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Name the points; those that lie on one another share a line of names."""
    places: dict[tuple[float, float], list[str]] = {}
    for system, x, y in points:
        places.setdefault((x, y), []).append(system)
    for place, names in places.items():
        text = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        axes.annotate(text, place, xytext=(5, 4), textcoords="offset points", fontsize=8)


def _agreement(figures: Figures, measure: str) -> Draw | None:
    pairs = [(entry["full"], entry["twin"]) for entry in figures["agreement"] if entry["measure"] == measure]
    if not pairs:
        return None

    def draw(axes: Axes) -> None:
        for full, twin in pairs:
            sides = [
                {entry["system"]: _scaled(measure, entry[measure]) for entry in figures["scenarios"][label]["ranking"]}
                for label in (twin, full)
            ]
            common = [system for system in sides[0] if system in sides[1]]
            x, y = ([side[system] for system in common] for side in sides)
            axes.scatter(x, y, s=20, alpha=0.7, label=full)
        axes.plot([0, 100], [0, 100], color="black", linewidth=0.6)
        axes.set_xlabel(f"twin: {NAMES[measure]}")
        axes.set_ylabel(f"full size: {NAMES[measure]}")
        axes.legend(frameon=False, fontsize=8)
        axes.grid(alpha=0.3)

    return draw, 6.5, 5.5
