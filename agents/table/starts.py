"""Tables that express known rules; a search starts from the best of them, and must beat them all.

They are rules of thumb on binned features, not the systems themselves, which may look at exact page counts. What a
layout cannot tell apart (it has no `kind`, say) falls together, and equal tables are given once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cma_gym.machine.view import NR_VIEW, View
from cma_gym.mm.mmzone import Action, Importance, RequestKind
from cma_gym.policies.tables.table import DecisionTable

_ANON = (RequestKind.ANON, RequestKind.COW, RequestKind.SWAPIN)
_PAGE_CACHE = (RequestKind.FILE,)
_SAFE = (*_ANON, RequestKind.SHMEM, RequestKind.FILE)


def _fallback(view: Any) -> int:
    return Action.NORMAL_FIRST


def _cma_first(view: Any) -> int:
    return Action.CMA_FIRST


def _never(view: Any) -> int:
    return Action.NORMAL_ONLY


def _file_only(view: Any) -> int:
    return Action.CMA_FIRST if view[View.KIND] in _PAGE_CACHE else Action.NORMAL_ONLY


def _anon_only(view: Any) -> int:
    return Action.CMA_FIRST if view[View.KIND] in _ANON else Action.NORMAL_ONLY


def _file_when_short(view: Any) -> int:
    """GFP_PAGE_CACHE's shape: the area helps out when ordinary memory is short."""
    return Action.NORMAL_FIRST if view[View.KIND] in _PAGE_CACHE else Action.NORMAL_ONLY


def _likely_to_move(view: Any) -> int:
    """Borrow for what can be moved or dropped again; nothing that is pinned, being written or a driver's."""
    if view[View.KIND] not in _SAFE or view[View.OWNER_PINNED] or view[View.WRITABLE]:
        return Action.NORMAL_ONLY
    return Action.CMA_FIRST


def _likely_to_move_when_short(view: Any) -> int:
    return min(_likely_to_move(view), Action.NORMAL_FIRST)


def _for_the_user(view: Any) -> int:
    """The same, but anonymous memory only of tasks that the user sees; services take pins before anybody can know."""
    if view[View.KIND] in _ANON and view[View.IMPORTANCE] >= Importance.BACKGROUND:
        return Action.NORMAL_ONLY
    return _likely_to_move(view)


def _for_the_user_file_when_short(view: Any) -> int:
    """Page cache leaves the area to anonymous memory, which nobody can drop, as long as there is room elsewhere."""
    action = _for_the_user(view)
    return min(action, Action.NORMAL_FIRST) if view[View.KIND] in _PAGE_CACHE else action


def _likely_to_move_unless_busy(view: Any) -> int:
    return Action.NORMAL_ONLY if view[View.CMA_BUSY] else _likely_to_move(view)


RULES: dict[str, Callable[[Any], int]] = {
    "fallback": _fallback,
    "cma_first": _cma_first,
    "never": _never,
    "file_only": _file_only,
    "anon_only": _anon_only,
    "file_when_short": _file_when_short,
    "likely_to_move": _likely_to_move,
    "likely_to_move_when_short": _likely_to_move_when_short,
    "likely_to_move_unless_busy": _likely_to_move_unless_busy,
    "for_the_user": _for_the_user,
    "for_the_user_file_when_short": _for_the_user_file_when_short,
}
"""Known rules by name, as functions of a view."""


def known_tables(template: DecisionTable) -> dict[str, np.ndarray]:
    """The known rules in a table's layout: uint8[nr_cells] by name, each map once, in the order of `RULES`."""
    views = _views(template)
    tables: dict[str, np.ndarray] = {}
    for name, rule in RULES.items():
        cells = np.array([rule(view) for view in views], np.uint8)
        if not any(np.array_equal(cells, known) for known in tables.values()):
            tables[name] = cells
    return tables


def safe_cells(template: DecisionTable) -> np.ndarray:
    """The safe default of each cell, uint8[nr_cells], for questions that nobody has an answer to.

    NORMAL_ONLY for block-device cache, driver pages and owners that pin pages: those are what fails a demand.
    NORMAL_FIRST for the rest.
    """
    return np.array([_safe(view) for view in _views(template)], np.uint8)


def _safe(view: Any) -> int:
    stuck = view[View.KIND] in (RequestKind.BDEV, RequestKind.DRIVER) or view[View.OWNER_PINNED]
    return Action.NORMAL_ONLY if stuck else Action.NORMAL_FIRST


def _views(template: DecisionTable) -> np.ndarray:
    """A view for each cell, int64 [nr_cells, NR_VIEW]: what `DecisionTable.view_of` gives, for all at once."""
    views = np.zeros((template.nr_cells, NR_VIEW), np.int64)
    bins = np.unravel_index(np.arange(template.nr_cells), template.shape)
    for feature, which in zip(template.features, bins, strict=True):
        lows = np.array([feature.bounds(k)[0] for k in range(feature.nr_bins)])
        views[:, feature.view_index] = lows[which]
    return views
