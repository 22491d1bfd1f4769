"""A table rule that counts how often each cell is asked.

The counters lie behind the table in `params`, so that the rule keeps the one signature of all rules and needs no state
of its own. The lookup stands here in full: the compiler's cache notices an edit of this file only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cma_gym.machine.decision import decision
from cma_gym.policies.table import CELL_BITS, CELLS_PER_WORD, DecisionTable


@decision
def decide_and_count(view: Any, params: Any) -> Any:
    """The answer of `table_decide`, with one more visit counted for the cell.

    Args:
        view: int64[NR_VIEW].
        params: `counting_params()`: position of the counters, the table's own params, one counter per cell.
    """
    cell = 0
    at = 2
    for _ in range(params[1]):
        value = view[params[at]]
        nr_edges = params[at + 1]
        at += 2
        which = 0
        for edge in range(at, at + nr_edges):
            which += value >= params[edge]
        cell = cell * (nr_edges + 1) + which
        at += nr_edges
    params[params[0] + cell] += 1
    return (params[at + cell // CELLS_PER_WORD] >> (cell % CELLS_PER_WORD * CELL_BITS)) & 3


def counting_params(table: DecisionTable) -> np.ndarray:
    """Params for `decide_and_count`, all counters zero: int64[any]."""
    own = table.params()
    return np.concatenate([[len(own) + 1], own, np.zeros(table.nr_cells, np.int64)]).astype(np.int64)


def counts_of(params: np.ndarray) -> np.ndarray:
    """Visits of each cell, int64[nr_cells], from params that a rollout has used."""
    return params[int(params[0]) :].copy()
