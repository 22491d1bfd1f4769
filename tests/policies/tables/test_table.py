"""Decision tables: three ways to look a view up agree, and nothing malformed is let in."""

import numpy as np
import pytest
from hypothesis import given, settings

from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.tables.table import (
    DEFAULT_FEATURES,
    LEARNED_KERNEL,
    MAX_CELLS,
    DecisionTable,
    TableError,
    table_decide,
)
from tests.policies.tables.random_tables import random_views, tables, view_with, views_at_edges

SMALL = (("kind", (4, 5)), ("free_cma", (100, 200)))
"""kind: 0-3 | FILE | BDEV and above; free CMA: 0-99 | 100-199 | 200 and above."""


def small(cells=(0, 0, 0, 0, 1, 2, 0, 0, 0), **changes):
    return DecisionTable("small", SMALL, np.array(cells), **changes)


@settings(max_examples=60, deadline=None)
@given(table=tables())
def test_compiled_and_plain_lookups_agree(table):
    params = table.params()
    views = np.concatenate([views_at_edges(table), random_views(5, 50)])
    cells = table.cell_indices(views)
    plain = getattr(table_decide, "py_func", table_decide)
    for view, cell in zip(views, cells, strict=True):
        assert table.cell_index(view) == cell
        assert table_decide(view, params) == plain(view, params) == table.lookup(view) == table.cells[cell]


@settings(max_examples=60, deadline=None)
@given(table=tables())
def test_every_cell_has_a_view_that_falls_into_it(table):
    views = np.array([table.view_of(cell) for cell in range(table.nr_cells)])
    np.testing.assert_array_equal(table.cell_indices(views), np.arange(table.nr_cells))
    params = table.params()
    assert [table_decide(view, params) for view in views] == table.cells.tolist()


@pytest.mark.parametrize(
    ("kind", "free_cma", "action"),
    [
        # kind 0-3 | FILE | BDEV+      free CMA 0-99 | 100-199 | 200+
        (RequestKind.FILE, 99, Action.NORMAL_ONLY),
        (RequestKind.FILE, 100, Action.NORMAL_FIRST),
        (RequestKind.FILE, 199, Action.NORMAL_FIRST),
        (RequestKind.FILE, 200, Action.CMA_FIRST),
        (RequestKind.FILE, 1 << 24, Action.CMA_FIRST),
        (RequestKind.SHMEM, 200, Action.NORMAL_ONLY),
        (RequestKind.BDEV, 200, Action.NORMAL_ONLY),
    ],
)
def test_an_edge_belongs_to_the_bin_above_it(kind, free_cma, action):
    view = view_with(kind=kind, free_cma=free_cma)
    assert small().lookup(view) == action
    assert table_decide(view, small().params()) == action


def test_bounds_bins_and_grid():
    table = small()
    assert table.shape == (3, 3)
    assert table.nr_bytes == 3
    assert table.bins_of(5) == (1, 2)
    assert table.bounds_of(5) == ((4, 4), (200, 1 << 24))
    assert table.bounds_of(0) == ((0, 3), (0, 99))
    assert table.cells.reshape(table.shape)[1].tolist() == [0, 1, 2]


def test_default_features_fit():
    table = DecisionTable.constant("blank")
    assert table.nr_cells == 2560 <= MAX_CELLS
    assert table.nr_bytes <= 1024
    assert set(table.cells) == {Action.NORMAL_FIRST}
    assert table.features == DEFAULT_FEATURES
    assert table.kernel == LEARNED_KERNEL


def test_the_largest_table_fits_into_a_kibibyte():
    features = [(name, tuple(range(1, 16))) for name in ("run_pages", "cma_free_64ths", "normal_free_16ths")]
    table = DecisionTable.constant("big", features)
    assert (table.nr_cells, table.nr_bytes) == (4096, 1024)
    with pytest.raises(TableError, match="more than 4096 cells at feature 'kind'"):
        DecisionTable.constant("bigger", [*features, ("kind", (1,))])


def test_replace_copies_and_tables_cannot_be_changed_in_place():
    table = small()
    other = table.replace(np.full(9, 2))
    assert other != table
    assert set(other.cells) == {2}
    assert other.replace(table.cells) == table
    with pytest.raises(ValueError, match="read-only"):
        table.cells[0] = 1


def test_a_source_array_changed_later_does_not_change_the_table():
    cells = np.zeros(9, dtype=np.uint8)
    table = DecisionTable("small", SMALL, cells)
    cells[:] = 2
    assert set(table.cells) == {0}


def test_a_table_is_a_system():
    table = small(kernel={"cma_pcp": "none"}, provenance={"seeds": (1, 2), "score": np.float64("nan")})
    rule = table.system("learned")
    assert (rule.name, rule.kernel, rule.decide) == ("learned", {"cma_pcp": "none"}, table_decide)
    np.testing.assert_array_equal(rule.param_array(), table.params())
    assert table.system().name == "small"
    assert table.provenance == {"seeds": [1, 2], "score": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "no spaces"}, "rename it"),
        ({"features": ()}, "no features"),
        ({"features": (("kinds", (1,)),)}, "no feature 'kinds'; did you mean 'kind'"),
        ({"features": (*SMALL, ("kind", (1,)))}, "'kind' stands twice"),
        ({"features": (("kind", ()),)}, "'kind' has no list of edges"),
        ({"features": (("kind", 3),)}, "'kind' has no list of edges"),
        ({"features": (("kind", (1, True)),)}, "edge True is not an integer"),
        ({"features": (("kind", (1, 2.5)),)}, "edge 2.5 is not an integer"),
        ({"features": (("kind", (4, 4)),)}, "edge 4 after 4 is not ascending"),
        ({"features": (("kind", (5, 4)),)}, "edge 4 after 5 is not ascending"),
        ({"features": (("kind", (0, 4)),)}, r"edge 0 is outside its range 1\.\.7"),
        ({"features": (("kind", (4, 8)),)}, r"edge 8 is outside its range 1\.\.7"),
        ({"cells": np.zeros(8, dtype=int)}, "cells has 8 entries where the features' bins make 9"),
        ({"cells": np.zeros((3, 3), dtype=int)}, "cells has 9 entries"),
        ({"cells": np.array([0] * 8 + [3])}, r"cells: entry 8 is 3, outside 0\.\.2"),
        ({"cells": np.array([-1] + [0] * 8)}, "cells: entry 0 is -1"),
        ({"cells": np.zeros(9)}, "something else than integers"),
        ({"cells": None}, "without cells"),
        ({"dont_care": np.zeros(3, dtype=bool)}, "dont_care has 3 entries"),
        ({"visits": np.full(9, -1)}, "visits: entry 0 is -1"),
        ({"kernel": {"cma_pcpp": 1}}, "no switch 'cma_pcpp'; did you mean 'cma_pcp'"),
        ({"kernel": {"cma_ratio": -1}}, "kernel switch 'cma_ratio'"),
        ({"kernel": None}, "kernel a map"),
        ({"provenance": {"x": object()}}, "provenance is not plain JSON"),
    ],
)
def test_a_malformed_table_is_refused(changes, message):
    sane = {"name": "small", "features": SMALL, "cells": np.zeros(9, dtype=np.uint8)}
    with pytest.raises(TableError, match=message) as caught:
        DecisionTable(**(sane | changes))
    assert "\n" not in str(caught.value)
