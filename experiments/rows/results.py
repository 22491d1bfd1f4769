"""results.csv: one line per (system, workload, seed), with everything needed to run it again.

Columns: system, workload, seed, the machine's METRICS, blame_KIND (pages of that kind that held up a demand), held_up
(JSON: who held demands up, by kind of page and holder, see cma_gym/machine/result.py), then policy (a system's name, or
a decision table's path), policy_digest (of the table file), core (digest of the compiled core's sources), machine and
source (JSON). Paths of tables and traces are seen from the file's folder. An empty cell means: not tried, no value.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.files import write_csv
from cma_gym.experiments.rows.case import OF_FILE, TABLE_SUFFIX, Row, Unit, compact, table_digest

_KEYS = ("system", "workload", "seed")
_ORIGIN = ("policy", "policy_digest", "core", "machine", "source")
_TEXT = ("held_up",)


def figure_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of rows that hold figures."""
    return [name for name in rows[0] if name not in (*_KEYS, *_TEXT, *_ORIGIN)] if rows else []


def write_results(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows, completely or not at all; paths of tables are noted relative to the file."""
    from cma_gym.support.jit import core_digest

    folder, core = Path(path).parent, core_digest()
    texts = [name for name in _TEXT if rows and name in rows[0]]
    columns = [*_KEYS, *figure_columns(rows), *texts, *_ORIGIN]
    write_csv(path, columns, [_origin(row, folder, core) for row in rows])


def _origin(row: Row, folder: Path, core: str) -> Row:
    """A row with what is noted about its origin; what a row that was read from a file says of itself stays."""
    noted = {"core": core, **_policy(str(row["policy"]), folder), **row}
    return {**noted, "policy": _policy(str(row["policy"]), folder)["policy"], "source": _moved(row["source"], folder)}


def _moved(source: str, folder: Path, back: bool = False) -> str:
    """The JSON of a workload's source with a trace's path seen from `folder`, or turned back."""
    origin = json.loads(source)
    if "trace" not in origin:
        return source
    trace = origin["trace"]
    return compact({"trace": os.path.normpath(folder / trace) if back else os.path.relpath(trace, folder)})


def _policy(policy: str, folder: Path) -> dict[str, str]:
    if not policy.endswith(TABLE_SUFFIX) or not Path(policy).is_file():
        return {"policy": policy, "policy_digest": ""}
    return {"policy": os.path.relpath(policy, folder), "policy_digest": table_digest(policy)}


def read_results(path: str | Path) -> list[Row]:
    """The rows of a results.csv; figures are numbers, nan where a cell is empty.

    Raises:
        ConfigError: no such file, or not one of ours.
    """
    try:
        with open(path, encoding="utf-8", newline="") as source:
            lines = list(csv.DictReader(source))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({reason}); check the path") from None
    if not lines:
        raise ConfigError(f"{path}: has no rows; write it with compare --csv")
    missing = [name for name in (*_KEYS, *_ORIGIN) if name not in lines[0]]
    if missing:
        raise ConfigError(f"{path}: has no column {missing[0]!r}; it is not a results file of compare or run")
    return [_typed(line, number, path) for number, line in enumerate(lines, 2)]


def _typed(line: Mapping[str, str], number: int, path: str | Path) -> Row:
    row: Row = {}
    for name, text in line.items():
        try:
            if name in (*_ORIGIN, *_TEXT, "system", "workload"):
                row[name] = str(text)
            elif name == "seed":
                row[name] = int(text)
            else:
                row[name] = float("nan") if text == "" else float(text)
        except (TypeError, ValueError):
            raise ConfigError(f"{path}, line {number}: {name} is {text!r}, not a number; the file was edited") from None
    return row


def unit_of(row: Row, path: str | Path) -> Unit:
    """What to run to get this row again.

    Args:
        row: a row that `read_results` returned.
        path: its file; tables are looked up from there.
    """
    policy = str(row["policy"])
    if policy.endswith(TABLE_SUFFIX):
        policy = os.path.normpath(Path(path).parent / policy)
    return Unit(
        system=str(row["system"]),
        policy=policy,
        workload=str(row["workload"]),
        source=_moved(str(row["source"]), Path(path).parent, back=True),
        machine=str(row["machine"]),
        seed=int(row["seed"]),
    )


def at_home(row: Row, path: str | Path) -> Row:
    """A row that `read_results` returned, its paths seen from here again."""
    unit = unit_of(row, path)
    return {**row, "policy": unit.policy, "source": unit.source}


def _normal(unit: Unit) -> Unit:
    policy = os.path.normpath(unit.policy) if unit.policy.endswith(TABLE_SUFFIX) else unit.policy
    return replace(unit, policy=policy, source=_moved(unit.source, Path("."), back=True))


def reusable(path: str | Path, units: Sequence[Unit]) -> dict[int, Row]:
    """Rows of an earlier, unfinished run that need not be run again, by position in `units`.

    A row counts if the core and, for a decision table, the table are still the same; a rule in a file of the user's own
    is always run again.
    """
    from cma_gym.support.jit import core_digest

    if not Path(path).is_file():
        return {}
    core, folder = core_digest(), Path(path).parent
    known: dict[Unit, Row] = {}
    for row in read_results(path):
        unit = unit_of(row, path)
        same_table = row["policy_digest"] == _policy(unit.policy, folder)["policy_digest"]
        if row["core"] == core and same_table and OF_FILE not in unit.policy:
            known[unit] = at_home(row, path)
    wanted = {_normal(unit): index for index, unit in enumerate(units)}
    return {wanted[unit]: row for unit, row in known.items() if unit in wanted}
