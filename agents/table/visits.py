"""A table rule that counts how often each cell is asked.

The counters lie behind the cells in `params`, so that the rule keeps the one signature of all rules and needs no state
of its own. Cells stand one to a word here, not packed: a search changes them all the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cma_gym.machine.decision import decision
from cma_gym.policies.tables.table import DecisionTable

_HEAD = 2
"""Words before the steps: where the cells start, where the counters start."""


@decision
def decide_and_count(view: Any, params: Any) -> int:
    """What `table_decide` answers, with one more visit counted for the cell.

    Args:
        view: int64[NR_VIEW].
        params: made by `CountingParams`: start of the cells, start of the counters; for each edge the feature's index
            in the view, the edge and its stride; the cells; the counters.

    Returns:
        The cell's action.
    """
    cells = params[0]
    cell = 0
    for at in range(2, cells, 3):
        if view[params[at]] >= params[at + 1]:
            cell += params[at + 2]
    params[params[1] + cell] += 1
    return params[cells + cell]  # type: ignore[no-any-return]


class CountingParams:
    """Params for `decide_and_count`, made for one layout and filled for one table after the other."""

    def __init__(self, template: DecisionTable) -> None:
        """Lay out head, steps, cells and counters.

        Args:
            template: gives the features; its cells do not matter.
        """
        steps = template.steps()
        self._cells = slice(_HEAD + len(steps), _HEAD + len(steps) + template.nr_cells)
        self._counts = slice(self._cells.stop, self._cells.stop + template.nr_cells)
        self.params = np.zeros(self._counts.stop, np.int64)
        """int64[any]"""
        self.params[: self._cells.start] = [self._cells.start, self._counts.start, *steps]

    def fill(self, cells: np.ndarray) -> np.ndarray:
        """Put in a table, uint8[nr_cells] of Action, with all counters zero; returns `params`."""
        self.params[self._cells] = cells
        self.params[self._counts] = 0
        return self.params

    def visits(self) -> np.ndarray:
        """Questions counted for each cell since `fill`, int64[nr_cells]."""
        return self.params[self._counts].copy()
