"""Decision tables: a placement rule as a small array of integers.

A table bins some features of the view and looks the action up: at most 4096 cells of 2 bits, 1 KiB, so that it stays
in a kernel's L1 cache. It is what distillation makes, table search improves and users take home (`export.py`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from cma_gym.machine.decision import decision
from cma_gym.machine.view import FEATURES, NR_VIEW
from cma_gym.mm.mmzone import NR_ACTIONS, Action, Importance, RequestKind
from cma_gym.policies.registry import Integers, PolicyError, System, check_kernel, nearest

MAX_CELLS = 4096
CELL_BITS = 2
CELLS_PER_WORD = 32
"""Cells in one int64 of `params`."""

LEARNED_KERNEL: dict[str, Any] = {
    "cma_pcp": "own",
    "compact_into_cma": False,
    "migrate_into_cma": False,
    "lmk_subtract_cma": True,
}
"""Kernel switches a learned table runs with: nothing enters the area but what the table lets in.

Left out: `shrink_before_cma_alloc`, which saves a fifth of the kills on a twin of 64 MB, but on a phone of 1 GB doubles
the time of a demand and saves little.
"""

VALUE_NAMES = {"kind": RequestKind, "importance": Importance}
"""Features whose values have names."""

_FEATURE_INDEX = {feature.name: index for index, feature in enumerate(FEATURES)}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class TableError(ValueError):
    """A table that cannot be used; the message says what is wrong, where, and what to do."""


class TableFeature(NamedTuple):
    """One feature of the view, cut into bins."""

    name: str
    """As in `view.FEATURES`."""
    edges: tuple[int, ...]
    """Ascending; a value's bin is the number of edges that are not above it."""

    @property
    def view_index(self) -> int:
        """Where it stands in the view."""
        return _FEATURE_INDEX[self.name]

    @property
    def nr_bins(self) -> int:
        """One more than there are edges."""
        return len(self.edges) + 1

    @property
    def kernel_source(self) -> str:
        """The kernel counters it is read from; those of its terms, if it is computed from others."""
        known = FEATURES[self.view_index]
        if known.source != "derived":
            return known.source
        words = set(re.findall(r"\w+", known.doc))
        return ", ".join(f"{term.name}: {term.source}" for term in FEATURES if term.name in words)

    def bounds(self, bin_index: int) -> tuple[int, int]:
        """Smallest and largest value in a bin."""
        low = self.edges[bin_index - 1] if bin_index else 0
        high = self.edges[bin_index] - 1 if bin_index < len(self.edges) else FEATURES[self.view_index].high
        return low, high


DEFAULT_FEATURES = (
    TableFeature("kind", (1, 2, 3, 4, 5, 6, 7)),
    TableFeature("owner_pinned", (1,)),
    TableFeature("writable", (1,)),
    TableFeature("cma_busy", (1,)),
    TableFeature("importance", (2,)),
    TableFeature("cma_free_64ths", (1, 12, 32, 48)),
    TableFeature("normal_free_16ths", (13, 16, 32)),
)
"""Proposal for learned tables: 2560 cells, 640 bytes.

All known systems gate by kind of request, by free level and by a running contiguous allocation. The levels of the area:
empty, below GFP_PAGE_CACHE's floor (48/256), below half, below three quarters. Those of ordinary memory: below the low
watermark (about 13/16 of high), below high (kswapd runs), below twice high. `owner_pinned` and `writable` tell pages
that may not move from those that will; importance is cut between what the user sees and what may be killed.
"""


_WORD = np.uint64
"""Unsigned indices spare compiled code the test for negative ones: half the time of a lookup."""


@decision
def table_decide(view: Integers, params: Integers) -> int:
    """Look a view up in a packed table.

    Row-major, the cell is the sum over all edges that a feature has reached of that feature's stride: one flat loop
    whose length does not depend on the view.

    Args:
        view: int64[NR_VIEW].
        params: `DecisionTable.params()`: where the cells start; for each edge the feature's index in the view, the
            edge and the stride; then the cells, 32 to a word, lowest bits first.

    Returns:
        The cell's action.
    """
    cells = _WORD(params[0])
    cell = 0
    at = _WORD(1)
    while at < cells:
        cell += (view[_WORD(params[at])] >= params[at + _WORD(1)]) * params[at + _WORD(2)]
        at += _WORD(3)
    return int((params[cells + _WORD(cell >> 5)] >> ((cell & 31) * 2)) & 3)


@dataclass(frozen=True, eq=False)
class DecisionTable:
    """A map from binned features to actions. Immutable; `replace` makes a changed copy.

    Raises:
        TableError: at construction, if anything about it is malformed.
    """

    name: str
    """A letter, then letters, digits, `_` and `-`."""
    features: tuple[TableFeature, ...]
    cells: np.ndarray
    """uint8[nr_cells] of `Action`, row-major: the last feature changes fastest."""
    dont_care: np.ndarray | None = None
    """bool[nr_cells]: cells whose action was found not to matter."""
    visits: np.ndarray | None = None
    """int64[nr_cells]: how often each cell was asked when the table was made."""
    kernel: dict[str, Any] = field(default_factory=lambda: dict(LEARNED_KERNEL))
    """Switches of `KernelConfig` it runs with."""
    summary: str = "learned decision table"
    """One line."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """JSON-plain facts about its origin: version, git_revision, config_hash, seeds, scores. NaN is kept as null."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise TableError(
                f"table name {self.name!r} is not a letter followed by letters, digits, _ and -; rename it"
            )
        features = _checked_features(self.features)
        nr_cells = math.prod(feature.nr_bins for feature in features)
        cells = _checked_array("cells", self.cells, nr_cells, NR_ACTIONS - 1, np.uint8)
        masks = _checked_array("dont_care", self.dont_care, nr_cells, 1, np.bool_)
        visits = _checked_array("visits", self.visits, nr_cells, (1 << 63) - 1, np.int64)
        if cells is None:
            raise TableError("a table without cells decides nothing; give it one action a cell")
        if not isinstance(self.summary, str) or not isinstance(self.kernel, dict):
            raise TableError("a table's summary must be text and its kernel a map of switches; correct them")
        kernel = _plain(self.kernel, "kernel")
        try:
            check_kernel(kernel, "table")
        except PolicyError as error:
            raise TableError(str(error)) from None
        values = (features, cells, masks, visits, kernel, _plain(self.provenance, "provenance"))
        for key, value in zip(
            ("features", "cells", "dont_care", "visits", "kernel", "provenance"), values, strict=True
        ):
            object.__setattr__(self, key, value)

    @classmethod
    def constant(
        cls, name: str, features: Iterable[Sequence[Any]] = DEFAULT_FEATURES, action: int = Action.NORMAL_FIRST
    ) -> DecisionTable:
        """A table with the same action everywhere; where a search starts."""
        checked = _checked_features(features)
        nr_cells = math.prod(feature.nr_bins for feature in checked)
        return cls(name, checked, np.full(nr_cells, int(action), dtype=np.uint8))

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins of each feature; `cells.reshape(shape)` is the table as a grid."""
        return tuple(feature.nr_bins for feature in self.features)

    @property
    def nr_cells(self) -> int:
        """Product of the bins."""
        return len(self.cells)

    @property
    def nr_bytes(self) -> int:
        """Size of the packed cells [bytes]."""
        return (self.nr_cells * CELL_BITS + 7) // 8

    def steps(self) -> list[int]:
        """The way to a cell: for each edge its view index, the edge, and the cells to go on if the value reaches it."""
        steps: list[int] = []
        stride = self.nr_cells
        for feature in self.features:
            stride //= feature.nr_bins
            for edge in feature.edges:
                steps += (feature.view_index, edge, stride)
        return steps

    def params(self) -> np.ndarray:
        """The table as `table_decide` reads it: int64[any]."""
        steps = self.steps()
        padded = np.zeros(-(-self.nr_cells // CELLS_PER_WORD) * CELLS_PER_WORD, dtype=np.uint64)
        padded[: self.nr_cells] = self.cells
        shifts = np.arange(CELLS_PER_WORD, dtype=np.uint64) * np.uint64(CELL_BITS)
        words = np.bitwise_or.reduce(padded.reshape(-1, CELLS_PER_WORD) << shifts, axis=1)
        return np.concatenate([np.array([len(steps) + 1, *steps], dtype=np.int64), words.view(np.int64)])

    def cell_index(self, view: Sequence[int] | np.ndarray) -> int:
        """The cell a view (int64[NR_VIEW]) falls into."""
        cell = 0
        for feature in self.features:
            cell = cell * feature.nr_bins + sum(view[feature.view_index] >= edge for edge in feature.edges)
        return int(cell)

    def cell_indices(self, views: np.ndarray) -> np.ndarray:
        """The cells of many views: int64[n, NR_VIEW] -> int64[n]."""
        cells = np.zeros(len(views), dtype=np.int64)
        for feature in self.features:
            which = np.searchsorted(np.array(feature.edges, dtype=np.int64), views[:, feature.view_index], side="right")
            cells = cells * feature.nr_bins + which
        return cells

    def lookup(self, view: Sequence[int] | np.ndarray) -> Action:
        """The action for a view; what `table_decide` answers, in plain Python."""
        return Action(int(self.cells[self.cell_index(view)]))

    def bins_of(self, cell: int) -> tuple[int, ...]:
        """The bin of each feature in a cell."""
        return tuple(int(which) for which in np.unravel_index(cell, self.shape))

    def bounds_of(self, cell: int) -> tuple[tuple[int, int], ...]:
        """Smallest and largest value of each feature in a cell."""
        return tuple(feature.bounds(b) for feature, b in zip(self.features, self.bins_of(cell), strict=True))

    def view_of(self, cell: int) -> np.ndarray:
        """A view that falls into a cell: int64[NR_VIEW], each feature at the lower end of its bin, the rest zero."""
        view = np.zeros(NR_VIEW, dtype=np.int64)
        for feature, (low, _) in zip(self.features, self.bounds_of(cell), strict=True):
            view[feature.view_index] = low
        return view

    def replace(self, cells: np.ndarray | None = None, **changes: Any) -> DecisionTable:
        """A copy with other cells, or with any other field changed."""
        if cells is not None:
            changes["cells"] = cells
        return replace(self, **changes)

    def system(self, name: str | None = None) -> System:
        """This table as a system, ready to be compared with all others."""
        params = tuple(int(value) for value in self.params())
        source = str(self.provenance.get("source", "decision table"))
        return System(name or self.name, self.summary, dict(self.kernel), table_decide, params, source)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DecisionTable):
            return NotImplemented
        plain = ("name", "features", "kernel", "summary", "provenance")
        arrays = ("cells", "dont_care", "visits")
        return all(getattr(self, key) == getattr(other, key) for key in plain) and all(
            _same_array(getattr(self, key), getattr(other, key)) for key in arrays
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays and dicts


def _same_array(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))


def _checked_features(features: Iterable[Sequence[Any]]) -> tuple[TableFeature, ...]:
    checked: list[TableFeature] = []
    nr_cells = 1
    for name, edges in features:
        feature = _checked_feature(name, edges)
        if any(name == earlier.name for earlier in checked):
            raise TableError(f"feature {name!r} stands twice in the table; remove one")
        checked.append(feature)
        nr_cells *= feature.nr_bins
        if nr_cells > MAX_CELLS:
            raise TableError(f"the table has more than {MAX_CELLS} cells at feature {name!r}; use fewer bins")
    if not checked:
        raise TableError("the table has no features; name at least one")
    return tuple(checked)


def _checked_feature(name: Any, edges: Iterable[Any]) -> TableFeature:
    if not isinstance(name, str) or name not in _FEATURE_INDEX:
        raise TableError(f"the view has no feature {name!r}; {nearest(str(name), _FEATURE_INDEX)}")
    high = FEATURES[_FEATURE_INDEX[name]].high
    if not isinstance(edges, (list, tuple, np.ndarray)) or len(edges) == 0:
        raise TableError(f"feature {name!r} has no list of edges and so no bins; give it edges or leave it out")
    last = 0
    for edge in edges:
        if isinstance(edge, bool) or not isinstance(edge, (int, np.integer)):
            raise TableError(f"feature {name!r}: edge {edge!r} is not an integer; correct it")
        if not 1 <= edge <= high:
            raise TableError(f"feature {name!r}: edge {edge} is outside its range 1..{high}; move it")
        if edge <= last:
            raise TableError(f"feature {name!r}: edge {edge} after {last} is not ascending; sort the edges")
        last = int(edge)
    return TableFeature(name, tuple(int(edge) for edge in edges))


def _checked_array(name: str, values: Any, nr_cells: int, high: int, dtype: Any) -> np.ndarray | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.dtype.kind not in "biu":
        raise TableError(f"{name} holds something else than integers; correct it")
    if array.ndim != 1 or len(array) != nr_cells:
        raise TableError(f"{name} has {array.size} entries where the features' bins make {nr_cells}; make them agree")
    wrong = (array < 0) | (array > high)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise TableError(f"{name}: entry {at} is {array[at]}, outside 0..{high}; correct it")
    copy = array.astype(dtype)
    copy.flags.writeable = False
    return copy


def _plain(value: Any, where: str) -> Any:
    """JSON-plain copy: tuples become lists, NumPy scalars Python ones, NaN and infinity null."""
    try:
        return json.loads(json.dumps(_finite(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise TableError(
            f"the table's {where} is not plain JSON ({error}); keep numbers, text, lists and maps"
        ) from None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
