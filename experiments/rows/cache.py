"""Rows kept on disk under a digest of everything that they depend on, so that no run is made twice.

A row is found again if all of these are the same: the sources of the compiled core, of the system and of the family of
workloads, each with all modules of this package that they import; the system's switches and constants, and a decision
table's or a recording's bytes; the scenario, the machine and the seed. Labels are no part of it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cma_gym
from cma_gym.experiments.rows import case
from cma_gym.experiments.rows.case import TABLE_SUFFIX, Row, Unit, compact, resolve, table_digest
from cma_gym.support.files import whole_file

if TYPE_CHECKING:
    from cma_gym.policies.registry import System

FORMAT = 1
PACKAGE = "cma_gym"
_ROOT = Path(cma_gym.__file__).resolve().parent
_WORDS = ("name", "summary", "source", "param_names", "row", "doc")
"""What a system says about itself; it does not change a figure."""


def default_folder() -> Path:
    """Where rows are kept: below CMA_GYM_CACHE_DIR where that is set, else in runs/cache."""
    root = os.environ.get("CMA_GYM_CACHE_DIR")
    return Path(root) / "rows" if root else Path("runs") / "cache"


class RowCache:
    """A folder of rows, one small file each, written completely or not at all; several processes may share it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def find(self, unit: Unit, key: str) -> Row | None:
        """The row that was kept under this key, with the unit's own labels; None if there is none that can be read."""
        try:
            row = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return labelled(row, unit) if isinstance(row, dict) and "held_up" in row else None

    def keep(self, row: Row, key: str) -> None:
        """Remember a row."""
        with whole_file(self._path(key)) as out:
            json.dump(row, out, separators=(",", ":"))

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"


def labelled(row: Mapping[str, Any], unit: Unit) -> Row:
    """A row under the labels, and with the paths, that this unit gives it."""
    names = {"system": unit.system, "workload": unit.workload, "policy": unit.policy}
    return {**row, **names, "machine": unit.machine, "source": unit.source}


# ---- what a row depends on -------------------------------------------------------------------------------------------


def key_of(unit: Unit) -> str:
    """Digest (64 hex digits) of everything that the figures of a unit depend on."""
    origin = json.loads(unit.source)
    if "trace" in origin:
        origin = {**origin, "trace": table_digest(origin["trace"])}
    parts = {
        "format": FORMAT,
        "core": _core(),
        "rows": table_digest(case.__file__),
        "system": system_digest(unit.policy),
        "workload": workload_digest(origin),
        "source": origin,
        "machine": json.loads(unit.machine),
        "seed": unit.seed,
    }
    return hashlib.sha256(compact(parts).encode()).hexdigest()


@functools.cache
def _core() -> str:
    from cma_gym.support.jit import core_digest

    return f"{core_digest()} numpy {np.__version__}"


@functools.cache
def system_digest(policy: str) -> str:
    """Digest of a system: its rule's sources, its switches and constants, or a decision table's bytes."""
    entry = resolve(policy)
    held = {part.name: _plain(getattr(entry, part.name)) for part in fields(entry) if part.name not in _WORDS}
    table = table_digest(policy) if policy.endswith(TABLE_SUFFIX) else ""
    return hashlib.sha256(compact({**held, "table": table, "files": _files_of(entry)}).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A part of a system in JSON's types; of functions, whose file speaks for them, the name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return getattr(value, "__name__", value) if callable(value) else value


def _files_of(entry: System) -> dict[str, str]:
    functions = [value for value in vars(entry).values() if callable(value)]
    files = {getattr(function, "py_func", function).__code__.co_filename for function in functions}
    return {Path(path).name: sources_digest(Path(path).resolve()) for path in sorted(files)}


def workload_digest(origin: Mapping[str, Any]) -> str:
    """Digest of the sources of a scenario's family; of a recording, those of its file's reader."""
    from cma_gym.workloads import workload
    from cma_gym.workloads.registry import parse

    if "scenario" not in origin:
        return sources_digest(Path(workload.__file__))
    return _family_digest(parse(origin["scenario"]).family)


@functools.cache
def _family_digest(name: str) -> str:
    import sys

    from cma_gym.workloads.registry import families

    return sources_digest(Path(str(sys.modules[families()[name].__module__].__file__)))


@functools.cache
def sources_digest(path: Path) -> str:
    """Digest of a source file and of all modules of this package that it imports, directly or not."""
    found: dict[Path, bytes] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file] = file.read_bytes()
            waiting += _imports(found[file])
    digest = hashlib.sha256()
    for file in sorted(found, key=lambda entry: (entry.name, found[entry])):
        digest.update(file.name.encode() + b"\0" + found[file])
    return digest.hexdigest()


def _imports(source: bytes) -> list[Path]:
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    # The package itself registers the environments, which no row depends on.
    parts = [name.split(".")[1:] for name in names if name.startswith(f"{PACKAGE}.")]
    files = [_ROOT.joinpath(*part).with_suffix(".py") for part in parts]
    return [file for file in files if file.is_file()]
