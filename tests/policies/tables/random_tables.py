"""Views and tables for the tests of this folder."""

import numpy as np
from hypothesis import strategies as st

from cma_gym.machine.view import FEATURES, NR_VIEW, View
from cma_gym.policies.tables.table import MAX_CELLS, DecisionTable


def view_with(**features):
    """A view of zeros, but for the features named."""
    view = np.zeros(NR_VIEW, dtype=np.int64)
    for name, value in features.items():
        view[View[name.upper()]] = value
    return view


def random_views(seed, count):
    """int64[count, NR_VIEW]: each feature anywhere in its range; half of the values small, where edges are."""
    rng = np.random.default_rng(seed)
    high = np.array([feature.high for feature in FEATURES])
    wide = rng.integers(0, high + 1, (count, NR_VIEW))
    return np.where(rng.random((count, NR_VIEW)) < 0.5, wide, rng.integers(0, np.minimum(high, 64) + 1))


@st.composite
def feature_sets(draw):
    """A few features of the view with ascending edges, 4096 cells at most."""
    chosen = draw(st.lists(st.sampled_from(FEATURES), min_size=1, max_size=6, unique_by=lambda feature: feature.name))
    features, nr_cells = [], 1
    for feature in chosen:
        room = min(MAX_CELLS // nr_cells - 1, feature.high, 9)
        if room < 1:
            break
        edges = draw(st.lists(st.integers(1, feature.high), min_size=1, max_size=room, unique=True))
        features.append((feature.name, tuple(sorted(edges))))
        nr_cells *= len(edges) + 1
    return tuple(features)


@st.composite
def tables(draw):
    """Any well-formed table."""
    blank = DecisionTable.constant("t", draw(feature_sets()))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    cells = rng.integers(0, 3, blank.nr_cells, dtype=np.uint8)
    dont_care = rng.random(blank.nr_cells) < 0.2 if draw(st.booleans()) else None
    visits = rng.integers(0, 1 << 40, blank.nr_cells) if draw(st.booleans()) else None
    provenance = draw(st.dictionaries(st.text(max_size=9), st.none() | st.floats() | st.text(max_size=30), max_size=3))
    return blank.replace(cells, dont_care=dont_care, visits=visits, provenance=provenance, summary=draw(st.text()))


def views_at_edges(table):
    """Views with every feature of a table on either side of every edge, the others at random."""
    views = []
    for feature in table.features:
        for edge in feature.edges:
            for view in random_views(edge, 2):
                view[feature.view_index] = edge - len(views) % 2
                views.append(view)
    return np.array(views)
