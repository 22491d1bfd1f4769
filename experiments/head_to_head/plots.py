"""The figures of the head-to-head page. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cma_gym.experiments.figures.ranking import COST_WEIGHTS, by_workload, ranking
from cma_gym.experiments.figures.statistics import mean
from cma_gym.experiments.head_to_head.contrast import WHOLE, Direction, Finding, Rows
from cma_gym.experiments.head_to_head.tables import blame_groups, of_system, order
from cma_gym.experiments.reports.run_plots import new_figure, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOT, _FRONT, _TOLD, _TIE = "#f26419", "#33658a", "#33658a", "#9aa5b1"
_STACK = (
    "#33658a",
    "#2f9e77",
    "#f6ae2d",
    "#f26419",
    "#758e4f",
    "#86bbd8",
    "#8d5a97",
    "#b56576",
    "#555555",
    "#c9ada7",
)
_COSTS = {"stall_ms": "stall", "swap_ms": "swap-in", "refault_ms": "refault", "kills": "kills"}


def save(path: Path, draw: Callable[[Axes], None], height: float = 4.5) -> None:
    """One figure in a PNG file."""
    figure, axes = new_figure(9, height)
    draw(axes)
    save_png(figure, path)


def front(rows: Rows, path: Path, metric: str, scale: float, label: str, best: Sequence[str]) -> None:
    """Whole-area success against a price; those on the front are named and joined, the others have their place."""

    def draw(axes: Axes) -> None:
        entries = [entry for entry in ranking(rows) if entry["whole_success"] == entry["whole_success"]]
        points = {entry["system"]: (scale * entry[metric], 100 * entry["whole_success"]) for entry in entries}
        for place, (system, (x, y)) in enumerate(points.items(), 1):
            axes.scatter([x], [y], color=_FRONT if system in best else _DOT, zorder=3, s=22)
            name = system if system in best else str(place)
            axes.annotate(name, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7)
        line = sorted(points[system] for system in best if system in points)
        if line:
            axes.plot(*zip(*line, strict=True), color=_FRONT, alpha=0.5, linewidth=1)
        axes.set_xlabel(label)
        axes.set_ylabel("whole-area demands served [%]")
        axes.margins(0.12)
        axes.grid(alpha=0.3)

    save(path, draw)


def forest(findings: Sequence[Finding], path: Path) -> None:
    """Paired whole-area differences with their intervals, one line a contrast."""

    def draw(axes: Axes) -> None:
        for y, entry in enumerate(findings):
            scale, paired = entry.measure.scale, entry.paired
            colour = _TOLD if entry.direction in (Direction.AHEAD, Direction.BEHIND) else _TIE
            axes.plot([scale * paired.low, scale * paired.high], [y, y], color=colour, linewidth=2)
            axes.scatter([scale * paired.mean], [y], color=colour, zorder=3, s=24)
        axes.axvline(0, color="#555555", linewidth=0.8)
        axes.set_yticks(range(len(findings)), [entry.contrast.name for entry in findings], fontsize=8)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("whole-area demands served, first less second [points], 95 % interval")

    save(path, draw, 1.2 + 0.3 * len(findings))


def stacked(names: Sequence[str], parts: Mapping[str, Sequence[float]], label: str, path: Path) -> None:
    """Stacked bars, one a system."""

    def draw(axes: Axes) -> None:
        left = [0.0] * len(names)
        for number, (part, values) in enumerate(parts.items()):
            axes.barh(range(len(names)), values, 0.65, left=left, color=_STACK[number % len(_STACK)], label=part)
            left = [start + value for start, value in zip(left, values, strict=True)]
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel(label)
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=min(len(parts), 5))

    save(path, draw, 1.6 + 0.22 * len(names))


def blame(rows: Rows, path: Path) -> None:
    """Delay of demands by kind of page and holder."""
    groups, values = blame_groups(rows)
    systems = order(rows)
    parts = {group: [values[system][group] for system in systems] for group in groups}
    stacked(systems, parts, "time that demands lost to pages that refused [ms per run]", path)


def cost(rows: Rows, path: Path) -> None:
    """What the cost of a run is made of."""
    own = of_system(rows)
    systems = order(rows)
    parts = {
        title: [COST_WEIGHTS[name] / 1000 * mean(row.get(name) for row in own[system]) for system in systems]
        for name, title in _COSTS.items()
    }
    stacked(systems, parts, "cost per run [s]; a kill counts as 1 s", path)


def heatmap(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]], path: Path) -> None:
    """Percentages as coloured cells, written into them."""

    def draw(axes: Axes) -> None:
        axes.imshow(values, aspect="auto", cmap="YlGnBu", vmin=0, vmax=100)
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                text = "" if value != value else f"{value:.0f}"
                axes.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if value > 60 else "black")
        axes.set_xticks(range(len(columns)), columns, fontsize=7, rotation=35, ha="right")
        axes.set_yticks(range(len(rows)), rows, fontsize=7)

    save(path, draw, 1.6 + 0.21 * len(rows))


def scenarios(rows: Rows, path: Path) -> None:
    """Whole-area success by system and workload."""
    workloads, values = by_workload(rows, WHOLE.metric)
    shown = [name for name in workloads if any(own[name] == own[name] for own in values.values())]
    heatmap(list(values), shown, [[100 * own[name] for name in shown] for own in values.values()], path)
