"""PNG plots of comparison rows. matplotlib is imported when the first plot is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cma_gym.experiments.figures.ranking import ranking, with_sums
from cma_gym.experiments.figures.statistics import mean
from cma_gym.support.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

BLAME = "blame_"
_WHOLE, _PIECES, _COST, _IDLE = "#33658a", "#86bbd8", "#f26419", "#9aa5b1"
_KINDS = ("#33658a", "#2f9e77", "#f6ae2d", "#f26419", "#758e4f", "#86bbd8", "#8d5a97", "#b56576", "#555555", "#c9ada7")


def draw_all(rows: Rows, folder: Path) -> list[tuple[str, str]]:
    """Draw every plot that the rows have figures for.

    Returns:
        (file name, caption) of each.
    """
    plots = (
        ("ranking.png", "Success by system, mean over all runs", _ranking),
        ("cost.png", "Success against cost (stall + swap-in + refault + 1 s a kill); the best are top left", _cost),
        ("idle.png", "Share of the CMA area that lay idle, mean over time and runs", _idle),
        ("blame.png", "Pages that held up demands, by kind, mean per run", _blame),
    )
    drawn = []
    for name, caption, draw in plots:
        figure, axes = new_figure()
        if draw(axes, rows):
            save_png(figure, folder / name)
            drawn.append((name, caption))
    return drawn


def draw_progress(progress: Rows, path: Path) -> bool:
    """Draw the training curve: mean return of episodes and of the select seeds, over decisions."""
    figure, axes = new_figure()
    for column, label, colour in (("episode_return", "train seeds", _PIECES), ("select_return", "select seeds", _COST)):
        points = [(row["timesteps"], row[column]) for row in progress if row.get(column) == row.get(column)]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, color=colour, marker="o" if len(points) < 40 else None)
    if not axes.lines:
        return False
    axes.set_xlabel("decisions")
    axes.set_ylabel("mean episode return [- ms of user-visible cost]")
    axes.legend(frameon=False)
    save_png(figure, path)
    return True


def new_figure(width: float = 8, height: float = 4.5) -> tuple[Figure, Axes]:
    """An empty plot of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_png(figure: Figure, path: Path) -> None:
    """Write a plot, completely or not at all; the same plot gives the same bytes."""
    with whole_file(path, "wb") as out:
        figure.savefig(out, format="png", metadata={"Software": None})


def _bars(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)


def _ranking(axes: Axes, rows: Rows) -> bool:
    entries = ranking(rows)
    places = range(len(entries))
    whole, pieces = ([100 * entry[name] for entry in entries] for name in ("whole_success", "pieces_success"))
    axes.barh([y - 0.2 for y in places], whole, 0.4, color=_WHOLE, label="whole area")
    axes.barh([y + 0.2 for y in places], pieces, 0.4, color=_PIECES, label="pieces")
    _bars(axes, [e["system"] for e in entries])
    axes.set_xlim(0, 100)
    axes.set_xlabel("demands served [%]")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return bool(entries)


def _cost(axes: Axes, rows: Rows) -> bool:
    entries = [e for e in ranking(rows) if e["whole_success"] == e["whole_success"] and e["cost_ms"] == e["cost_ms"]]
    for entry in entries:
        x, y = entry["cost_ms"] / 1000, 100 * entry["whole_success"]
        axes.scatter([x], [y], color=_COST, zorder=3)
        axes.annotate(entry["system"], (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("cost per run [s]")
    axes.set_ylabel("whole-area demands served [%]")
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    return bool(entries)


def _idle(axes: Axes, rows: Rows) -> bool:
    entries = ranking(rows)
    axes.barh(range(len(entries)), [100 * e["cma_idle"] for e in entries], 0.6, color=_IDLE)
    _bars(axes, [e["system"] for e in entries])
    axes.set_xlim(0, 100)
    axes.set_xlabel("idle [%]")
    return bool(entries)


def _blame(axes: Axes, rows: Rows) -> bool:
    kinds = [name for name in rows[0] if name.startswith(BLAME) and any(row.get(name) for row in rows)]
    systems = [entry["system"] for entry in ranking(rows)]
    left = [0.0] * len(systems)
    for number, kind in enumerate(kinds):
        values = [mean(with_sums(row)[kind] for row in rows if row["system"] == system) for system in systems]
        colour = _KINDS[number % len(_KINDS)]
        axes.barh(range(len(systems)), values, 0.6, left=left, color=colour, label=kind.removeprefix(BLAME))
        left = [start + value for start, value in zip(left, values, strict=True)]
    _bars(axes, systems)
    axes.set_xlabel("pages that refused, per run")
    if kinds:
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=min(len(kinds), 6))
    return bool(kinds)
