"""Decision tables as files: JSON (the source of truth), CSV, Markdown and a C header.

Reading a table executes no code. Every file is written completely or not at all.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import nearest
from cma_gym.policies.tables.export_c import to_c_header
from cma_gym.policies.tables.export_markdown import to_markdown
from cma_gym.policies.tables.table import DecisionTable, TableError
from cma_gym.support.files import whole_file

FORMAT = "cma-gym-table-1"
"""Changes when the schema does, or the meaning of a feature, a kind or an action."""
MAX_BYTES = 1 << 20

ACTIONS = [action.name for action in Action]
KINDS = [kind.name for kind in RequestKind]
_KEYS = (
    "format",
    "name",
    "summary",
    "actions",
    "kinds",
    "features",
    "kernel",
    "provenance",
    "cells",
    "dont_care",
    "visits",
)


def to_json(table: DecisionTable) -> str:
    """The table as JSON text; `from_json` gives the same table back.

    One key a line, always in the same order, so that two versions of a table can be compared as text. `actions` and
    `kinds` are legends: the names of the numbers in `cells`, and of the values of the feature "kind".

    Raises:
        TableError: it would be larger than what `from_json` reads (1 MiB).
    """
    values = {
        "format": FORMAT,
        "name": table.name,
        "summary": table.summary,
        "actions": ACTIONS,
        "kinds": KINDS,
        "features": [{"name": feature.name, "edges": list(feature.edges)} for feature in table.features],
        "kernel": table.kernel,
        "provenance": table.provenance,
        "cells": table.cells.tolist(),
        "dont_care": None if table.dont_care is None else table.dont_care.astype(int).tolist(),
        "visits": None if table.visits is None else table.visits.tolist(),
    }
    lines = [f"{json.dumps(key)}: {json.dumps(values[key], allow_nan=False)}" for key in _KEYS]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if len(text) > MAX_BYTES:
        raise TableError(f"table {table.name} takes {len(text)} bytes as JSON, above 1 MiB; shorten its provenance")
    return text


def from_json(text: str | bytes, where: str = "table") -> DecisionTable:
    """A table from JSON text.

    Args:
        text: what `to_json` wrote.
        where: named in errors; a path, usually.

    Raises:
        TableError: malformed in any way.
    """
    if len(text) > MAX_BYTES:
        raise TableError(f"{where}: larger than 1 MiB, so not a decision table; check the path")
    try:
        values = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
        return _from_values(values)
    except TableError as error:
        raise TableError(f"{where}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise TableError(f"{where}: not valid JSON ({error}), perhaps cut off; export the table again") from None


def _from_values(values: Any) -> DecisionTable:
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise TableError(f"its format is {found!r}, not {FORMAT!r}; export the table again with this version")
    for key in values:
        if key not in _KEYS:
            raise TableError(f"unknown key {key!r}; {nearest(key, _KEYS)}")
    for key in _KEYS:
        if key not in values:
            raise TableError(f"key {key!r} is missing; export the table again")
    for key, legend in (("actions", ACTIONS), ("kinds", KINDS)):
        if values[key] != legend:
            raise TableError(f"its {key} are not {', '.join(legend)}; export the table again with this version")
    if not isinstance(values["features"], list):
        raise TableError("'features' is not a list; export the table again")
    for key in ("summary", "name"):
        if not isinstance(values[key], str):
            raise TableError(f"{key!r} is not text; export the table again")
    for key in ("kernel", "provenance"):
        if not isinstance(values[key], dict):
            raise TableError(f"{key!r} is not a map; export the table again")
    return DecisionTable(
        name=values["name"],
        features=tuple(_feature(entry, at) for at, entry in enumerate(values["features"])),
        cells=_integers(values["cells"], "cells"),
        dont_care=_integers(values["dont_care"], "dont_care", optional=True),
        visits=_integers(values["visits"], "visits", optional=True),
        kernel=values["kernel"],
        summary=values["summary"],
        provenance=values["provenance"],
    )


def _feature(entry: Any, at: int) -> Any:
    if not isinstance(entry, dict) or set(entry) != {"name", "edges"}:
        raise TableError(f"feature {at} is not a map of 'name' and 'edges'; export the table again")
    return entry["name"], entry["edges"]


def _integers(values: Any, key: str, optional: bool = False) -> Any:
    if optional and values is None:
        return None
    if not isinstance(values, list):
        raise TableError(f"{key!r} is not a list of integers; export the table again")
    for at, value in enumerate(values):
        if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
            raise TableError(
                f"{key!r}: entry {at} is {str(value)[:40]!r}, not a 64-bit integer; export the table again"
            )
    return np.array(values, dtype=np.int64)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise TableError(f"key {key!r} stands twice; remove one")
        found[key] = value
    return found


def _no_constants(name: str) -> Any:
    raise TableError(f"it holds {name}, which is not JSON; write null instead")


def to_csv(table: DecisionTable) -> str:
    """The table as CSV text, one row a cell: the range of each feature (both ends included), action, visits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ranges = [f"{feature.name}_{end}" for feature in table.features for end in ("min", "max")]
    writer.writerow(["cell", *ranges, "action", "action_name", "dont_care", "visits"])
    for cell in range(table.nr_cells):
        action = int(table.cells[cell])
        ends = [end for bounds in table.bounds_of(cell) for end in bounds]
        dont_care = "" if table.dont_care is None else int(table.dont_care[cell])
        visits = "" if table.visits is None else int(table.visits[cell])
        writer.writerow([cell, *ends, action, ACTIONS[action], dont_care, visits])
    return out.getvalue()


FORMS: dict[str, Callable[[DecisionTable], str]] = {
    ".json": to_json,
    ".csv": to_csv,
    ".md": to_markdown,
    ".h": to_c_header,
}
"""Forms of a table by the suffix of the file that holds it."""


def write_table(table: DecisionTable, path: str | os.PathLike[str]) -> Path:
    """Write a table in the form that the suffix of `path` names (.json, .csv, .md, .h).

    Raises:
        TableError: another suffix.
    """
    target = Path(path)
    if target.suffix not in FORMS:
        raise TableError(f"{target}: a table cannot be written as {target.suffix!r}; choose from {', '.join(FORMS)}")
    with whole_file(target) as out:
        out.write(FORMS[target.suffix](table))
    return target


def write_all(table: DecisionTable, folder: str | os.PathLike[str], stem: str | None = None) -> list[Path]:
    """Write a table in all forms into a folder, as `stem` (its name, if not given) plus suffix."""
    return [write_table(table, Path(folder) / f"{stem or table.name}{suffix}") for suffix in FORMS]


def load_table(path: str | os.PathLike[str]) -> DecisionTable:
    """Read a table from its JSON file; nothing in the file is executed.

    Raises:
        TableError: no such file, or malformed in any way.
    """
    try:
        with open(path, "rb") as source:
            text = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    return from_json(text, str(path))
