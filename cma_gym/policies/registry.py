"""Systems: placement rules with the kernel they run on, found by scanning this package.

A system is one file: a docstring that says who did it, when, where it is written down and what is assumed, and one
function under the decorator:

    @system("cma_first", kernel={"cma_pcp": "shared"})
    def decide(view: Integers, params: Integers) -> int:
        return Action.CMA_FIRST
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numba.core.errors import NumbaError
from numba.extending import is_jitted
from pydantic import ValidationError

import cma_gym.policies.systems
from cma_gym.machine.decision import decision
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import Result, Stream, run
from cma_gym.machine.spec import MachineSpec
from cma_gym.support import jit  # noqa: F401  (names the compiler's cache folder before a rule is compiled)
from cma_gym.support.packages import modules_of

Integers = np.ndarray
"""What a rule is given: int64[NR_VIEW] (see `cma_gym.machine.view`), and int64[any] for its constants."""
Rule = Callable[[Integers, Integers], int]
"""`rule(view, params) -> Action`; compiled, so integers only and no state."""
Foresight = Callable[[MachineSpec, KernelConfig, Stream, int], Integers]
"""`foresee(spec, kernel, workload, seed)`: what a clairvoyant system's rule is given in place of its constants."""

LABELS = ("Who", "Source", "Assumed")
"""What the docstring of every system's file says, each as a paragraph that starts with this word and a colon."""

_ROW = re.compile(r"(S\d{1,2})?")
LISTED = 40
"""Names that an error lists where it can already name the nearest."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_FILE_SIZE_LIMIT = 1 << 20


class PolicyError(ValueError):
    """A system that cannot be used; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class System:
    """A placement rule and the kernel it runs on."""

    name: str
    summary: str
    """One line."""
    kernel: dict[str, Any]
    """Overrides of the profile's `KernelConfig`."""
    decide: Rule
    """Compiled rule; see `cma_gym.machine.decision`."""
    params: tuple[int, ...] = ()
    """The rule's constants, its second argument."""
    source: str = ""
    """Where the rule is written down."""
    param_names: tuple[str, ...] = ()
    """Names of `params`, where they have any."""
    row: str = ""
    """Row of the feature table ("S9") that it is or varies; empty: none."""
    doc: str = field(default="", repr=False)
    """The docstring of its file."""
    foresee: Foresight | None = None
    """Only of a clairvoyant system, a bound that no kernel can have: it sees the whole workload before it runs."""

    def run(self, spec: MachineSpec, kernel: KernelConfig, workload: Stream, seed: int = 0) -> Result:
        """Boot a machine and run a whole workload on it under this system's rule.

        Args:
            spec: memory of the machine.
            kernel: configuration of its kernel, this system's switches included.
            workload: the stream.
            seed: of the boot.
        """
        if self.foresee is None:
            return run(spec, kernel, workload, self.decide, self.params, seed)
        params = self.foresee(spec, kernel, workload, seed)
        return run(spec, kernel, workload, self.decide, params, seed, hindsight=True)

    def param_array(self) -> np.ndarray:
        """`params` as the rule takes them: int64[any]."""
        return np.array(self.params, dtype=np.int64)


_SYSTEMS: dict[str, System] = {}
_FROM_FILE: dict[Path, tuple[str, ...]] = {}
"""Names registered by files outside the package."""


def system(
    name: str,
    *,
    kernel: dict[str, Any] | None = None,
    params: dict[str, int] | Iterable[int] = (),
    summary: str = "",
    source: str = "",
    row: str = "",
    foresee: Foresight | None = None,
) -> Callable[[Rule], Rule]:
    """Register the decorated rule as a system, and compile it.

    Args:
        name: lower-case letters, digits and underscores.
        kernel: switches of `KernelConfig` that differ from the profile.
        params: constants the rule reads, in order; a dict names them.
        summary: one line; the first line of the file's docstring if not given.
        source: where the rule is written down; the docstring's "Source:" paragraph if not given.
        row: row of the feature table (S0 .. S22, docs/facts.md) that it is or varies.
        foresee: makes the system clairvoyant (`System.foresee`); a function of a module, so that it can be sent to
            another process.

    Raises:
        PolicyError: the name is taken or malformed, a kernel switch is unknown, or the rule does not compile.
    """

    def register(rule: Rule) -> Rule:
        if not _NAME.fullmatch(name):
            raise PolicyError(f"system {name!r}: a name is lower-case letters, digits and underscores; rename it")
        if not _ROW.fullmatch(row):
            raise PolicyError(
                f"system {name!r}: row {row!r} is no row of the feature table; write S0 to S22, or nothing"
            )
        if name in _SYSTEMS:
            raise PolicyError(f"system {name!r} exists already ({_file_of(_SYSTEMS[name])}); choose another name")
        check_kernel(kernel or {}, f"system {name!r}")
        doc = inspect.cleandoc(getattr(rule, "py_func", rule).__globals__.get("__doc__") or "")
        _SYSTEMS[name] = System(
            name=name,
            summary=summary or doc.partition("\n")[0],
            kernel=dict(kernel or {}),
            decide=_compiled(rule, name),
            params=tuple(int(value) for value in (params.values() if isinstance(params, dict) else params)),
            source=source or labelled(doc).get("Source", ""),
            param_names=tuple(params) if isinstance(params, dict) else (),
            row=row,
            doc=doc,
            foresee=foresee,
        )
        return _SYSTEMS[name].decide

    return register


def systems() -> dict[str, System]:
    """All systems by name, in alphabetical order: those of this package, and those loaded from files."""
    modules_of(cma_gym.policies.systems)
    return dict(sorted(_SYSTEMS.items()))


def get_system(name: str) -> System:
    """The system of this name.

    Raises:
        PolicyError: there is none; the message names the nearest and all known ones.
    """
    known = systems()
    if name not in known:
        raise PolicyError(f"there is no system {name!r}; {nearest(name, known)}")
    return known[name]


def load_system_file(path: str | os.PathLike[str]) -> tuple[System, ...]:
    """Run a Python file outside the package and register the systems it defines.

    The file is code and is run: load only what you would import. Loading the same file again replaces its systems, so
    that one can edit and reload.

    Returns:
        The systems the file defines, in its order.

    Raises:
        PolicyError: no such file, it fails, or it defines no system; nothing is registered then.
    """
    systems()  # a clash with the package's own names must show here, not at some later scan
    file = Path(path).resolve()
    before = dict(_SYSTEMS)
    for name in _FROM_FILE.get(file, ()):
        _SYSTEMS.pop(name, None)
    kept = set(_SYSTEMS)
    try:
        _run_file(file)
        added = tuple(entry for name, entry in _SYSTEMS.items() if name not in kept)
        if not added:
            raise PolicyError(f"{file}: it defines no system; put @system(NAME) over its decide(view, params)")
    except BaseException:
        _SYSTEMS.clear()
        _SYSTEMS.update(before)
        raise
    _FROM_FILE[file] = tuple(entry.name for entry in added)
    return added


def describe(entry: System) -> dict[str, Any]:
    """JSON-plain description of a system for listings and generated pages.

    Returns:
        `name`, `row`, `summary`, `who`, `source`, `assumed`, `kernel`, `params` (by name, or by position), `file`.
    """
    said = labelled(entry.doc)
    names = entry.param_names or tuple(str(i) for i in range(len(entry.params)))
    return {
        "name": entry.name,
        "row": entry.row,
        "summary": entry.summary,
        "who": said.get("Who", ""),
        "source": entry.source,
        "assumed": said.get("Assumed", ""),
        "kernel": dict(entry.kernel),
        "params": dict(zip(names, entry.params, strict=True)),
        "file": Path(_file_of(entry)).name,
    }


def check_kernel(kernel: dict[str, Any], where: str) -> None:
    """Refuse overrides that no kernel profile has.

    Raises:
        PolicyError: naming the switch and the nearest known one.
    """
    for key in kernel:
        if key not in KernelConfig.model_fields:
            raise PolicyError(
                f"{where}: the kernel has no switch {key!r}; {nearest(str(key), KernelConfig.model_fields)}"
            )
    try:
        KernelConfig.for_profile("v6_12", **kernel)
    except ValidationError as error:
        first = error.errors()[0]
        switch = ".".join(str(part) for part in first["loc"])
        raise PolicyError(f"{where}: kernel switch {switch!r}: {first['msg']}; see KernelConfig") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error's sentence: what the user may have meant, and what there is, unless that is a long list."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close and len(names) > LISTED:
        return f"did you mean {close[0]!r}?"
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known are {', '.join(names)}"


def labelled(doc: str) -> dict[str, str]:
    """The labelled paragraphs of a system's docstring: {"Who": ..., "Source": ..., "Assumed": ...}."""
    found = {}
    for paragraph in doc.split("\n\n"):
        label, colon, text = paragraph.strip().partition(":")
        if colon and label in LABELS:
            found[label] = " ".join(text.split())
    return found


def _compiled(rule: Rule, name: str) -> Rule:
    if is_jitted(rule):
        return rule
    try:
        compiled: Rule = decision(rule)
    except NumbaError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = said[1] if said[0].startswith("Failed in") and len(said) > 1 else said[0]
        raise PolicyError(
            f"system {name!r} ({rule.__code__.co_filename}) does not compile: {reason}; "
            "a rule reads integers of view and params and returns an Action, nothing else"
        ) from error
    return compiled


def _file_of(entry: System) -> str:
    rule = getattr(entry.decide, "py_func", entry.decide)
    return str(rule.__code__.co_filename)


def _run_file(file: Path) -> None:
    # Not importlib: its byte-code cache would miss an edit within one second, and would litter the user's folder.
    try:
        if file.stat().st_size > _FILE_SIZE_LIMIT:
            raise PolicyError(f"{file}: larger than 1 MiB, so not a file with a placement rule; check the path")
        source = file.read_text(encoding="utf-8")
        code = compile(source, str(file), "exec")
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, PolicyError):
            raise
        raise PolicyError(f"{file}: cannot be read as Python ({error}); check the path and the file") from None
    module = ModuleType(f"cma_gym_system_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)
    except PolicyError:
        raise
    except Exception as error:
        raise PolicyError(f"{file}: it failed with {type(error).__name__}: {error}; correct the file") from error
