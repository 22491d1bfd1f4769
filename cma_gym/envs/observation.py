"""The observation: numbers in [0, 1] made of the view, generated from the one list `view.FEATURES`.

`OBS` names every entry, `PLAN` tells the compiled scaler (compiled.py) how to make it, `observation_table()` prints it:
three readings of one list, so that an index can never mean two things.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cma_gym.machine.view import FEATURES, Feature, Scale
from cma_gym.mm.mmzone import Importance, RequestKind


class Entry(NamedTuple):
    """One number of the observation."""

    position: int
    name: str
    feature: str
    """The view feature it is made of."""
    formula: str
    """How it is made of that feature's value v."""
    doc: str
    source: str
    """The kernel counter or field the feature comes from."""


_ENUMS = {"RequestKind": RequestKind, "Importance": Importance}


def _formula(feature: Feature) -> str:
    return {
        Scale.RANGE: "v" if feature.high == 1 else f"v / {feature.high}",
        Scale.OF_MEMORY: "v / managed_pages",
        Scale.OF_CMA: "v / cma_pages",
        Scale.LOG: f"log2(1 + v) / log2(1 + {feature.high})",
    }[feature.scale]


def _entries() -> tuple[Entry, ...]:
    entries: list[Entry] = []
    for feature in FEATURES:
        if feature.scale == Scale.ONE_HOT:
            for member in _ENUMS[feature.unit]:
                name = f"{feature.name}_{member.name.lower()}"
                row = Entry(
                    len(entries), name, feature.name, f"1 if v = {member.value} else 0", feature.doc, feature.source
                )
                entries.append(row)
        else:
            row = Entry(len(entries), feature.name, feature.name, _formula(feature), feature.doc, feature.source)
            entries.append(row)
    return tuple(entries)


OBS = _entries()
OBS_SIZE = len(OBS)
OBS_NAMES = tuple(entry.name for entry in OBS)


def _plan() -> np.ndarray:
    rows = []
    offset = 0
    for feature in FEATURES:
        rows.append((int(feature.scale), feature.high, offset))
        offset += feature.high + 1 if feature.scale == Scale.ONE_HOT else 1
    if offset != OBS_SIZE:
        raise AssertionError("a one-hot feature's `high` is not the largest value of its enum in mm/mmzone.py")
    return np.array(rows, dtype=np.int64)


PLAN = _plan()
"""int64[NR_VIEW, 3]: Scale, high, first observation index of each view feature."""


def observation_table() -> str:
    """The list as a Markdown table, for the documentation."""
    head = ("index", "name", "made of", "meaning", "kernel source")
    rows = [(str(e.position), e.name, e.formula, e.doc, f"`{e.source}`") for e in OBS]
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, *rows)
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
