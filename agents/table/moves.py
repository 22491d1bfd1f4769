"""Moves of a table search: setting a whole group of cells to one action.

Groups go from coarse to fine: all cells of one kind of request and owner; the same cut by one more feature; single
cells. A coarse move tests an idea ("no file cache from owners that pin") at the price of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import NR_ACTIONS
from cma_gym.policies.tables.table import DecisionTable

_SLICED_BY = (View.KIND, View.OWNER_PINNED)
_NO_HINT = 0.1
"""Benefit expected of an action that nobody voted for, next to 1 for one that got all votes."""


class Move(NamedTuple):
    """Set all cells of a group to an action."""

    group: int
    """Index into the level's groups."""
    action: int


def levels_of(template: DecisionTable) -> list[list[np.ndarray]]:
    """Groups of cells by level, coarse to fine; each group is an int64 array of cells. A group stands once."""
    bins = np.array(np.unravel_index(np.arange(template.nr_cells), template.shape)).T
    slicing = [k for k, feature in enumerate(template.features) if feature.view_index in _SLICED_BY]
    others = [k for k in range(len(template.features)) if k not in slicing]
    slices = _split(bins, slicing)
    halves = [group for other in others for group in _split(bins, [*slicing, other])]
    cells = [np.array([cell]) for cell in range(template.nr_cells)]
    levels: list[list[np.ndarray]] = []
    seen: set[bytes] = set()
    for groups in (slices, halves, cells):
        fresh = [group for group in groups if group.tobytes() not in seen]
        seen.update(group.tobytes() for group in fresh)
        levels.append(fresh)
    return levels


def ordered_moves(groups: list[np.ndarray], cells: np.ndarray, visits: np.ndarray, hint: np.ndarray) -> list[Move]:
    """Moves worth trying, the most promising first: visits of the cells they change x expected benefit.

    Args:
        groups: of one level.
        cells: the present table.
        visits: int64[nr_cells]: how often it is asked; moves that change no visited cell are left out.
        hint: float64[nr_cells, NR_ACTIONS] in [0, 1], e.g. the shares of a teacher's votes.
    """
    worth: list[tuple[float, Move]] = []
    for number, group in enumerate(groups):
        for action in range(NR_ACTIONS):
            changed = group[(cells[group] != action) & (visits[group] > 0)]
            if len(changed):
                value = float((visits[changed] * (_NO_HINT + hint[changed, action])).sum())
                worth.append((value, Move(number, action)))
    return [move for _, move in sorted(worth, key=lambda entry: (-entry[0], entry[1]))]


def _split(bins: np.ndarray, by: list[int]) -> list[np.ndarray]:
    """Cells grouped by the bins of some features."""
    if not by:
        return [np.arange(len(bins))]
    labels = np.unique(bins[:, by], axis=0, return_inverse=True)[1].ravel()
    return [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
