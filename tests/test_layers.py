"""The architecture's rules, read from the sources: who imports whom, how long things are, what they are called."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cma_gym", "agents", "experiments", "benchmarks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

OURS = {
    "cma_gym.support": set(),
    "cma_gym.mm": {"cma_gym.support"},
    "cma_gym.machine": {"cma_gym.support", "cma_gym.mm"},
    "cma_gym.workloads": {"cma_gym.support", "cma_gym.mm", "cma_gym.machine"},
    "cma_gym.recording": {"cma_gym.support", "cma_gym.mm", "cma_gym.machine", "cma_gym.workloads"},
    "cma_gym.policies": {"cma_gym.support", "cma_gym.mm", "cma_gym.machine"},
    "cma_gym.envs": {"cma_gym.support", "cma_gym.mm", "cma_gym.machine", "cma_gym.workloads"},
}
OURS["cma_gym.agents"] = {*OURS}
OURS["cma_gym.experiments"] = {*OURS}
OURS["benchmarks"] = {*OURS}
"""What each layer may import of ours, besides itself."""

ONLY_AGENTS = {"torch", "stable_baselines3", "sb3_contrib", "sklearn", "cma"}
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 500


def layer_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] in ("agents", "experiments"):  # cma_gym/agents and cma_gym/experiments are links to them
        return f"cma_gym.{parts[0]}"
    return ".".join(parts[:2]) if parts[0] == "cma_gym" and len(parts) > 2 else parts[0]


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of everything a file imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write the whole name"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_there_are_sources() -> None:
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    layer = layer_of(path)
    if layer not in OURS:  # cma_gym/__init__.py registers the environments
        return
    allowed = OURS[layer] | {layer}
    for line, module in imports(path):
        if within(module, {*PACKAGES, "tests"}) and module != "cma_gym":
            assert within(module, allowed), f"{path}:{line}: {layer} may not import {module}"
        if within(module, ONLY_AGENTS):
            assert layer in ("cma_gym.agents", "benchmarks"), f"{path}:{line}: only agents may import {module}"
        if within(module, {"matplotlib"}):
            assert layer in ("cma_gym.experiments", "cma_gym.envs"), f"{path}:{line}: {layer} may not draw"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE_LINES, f"{path} has {text.count(chr(10))} lines; split it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{path}:{node.lineno}: {node.name} has {lines} lines; split it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_names_the_builders_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("/wo" + "rk/", "/tm" + "p/", "sha" + "red/"):
        assert word not in text, f"{path} names {word}"


def test_no_module_is_called_utils() -> None:
    bad = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert not [path for path in SOURCES if path.name in bad]


def nested_names(dtype: np.dtype) -> set[str]:
    if dtype.subdtype is not None:
        return nested_names(dtype.subdtype[0])
    names = set(dtype.names or ())
    for name in dtype.names or ():
        names |= nested_names(dtype.fields[name][0])
    return names


def test_no_field_hides_an_attribute_of_numpy_records() -> None:
    """Unjitted code reads `mem.field`: a field called `flags` or `base` would silently be NumPy's own."""
    from cma_gym.machine.events import event_dtype
    from cma_gym.mm import mm_types

    shape = mm_types.Shape(*(64 for _ in mm_types.Shape._fields))
    names = nested_names(mm_types.memory_dtype(shape)) | nested_names(event_dtype)
    assert "free_area" in names
    assert not names & set(dir(np.record))
