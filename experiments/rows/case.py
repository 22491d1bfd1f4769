"""Rows of a comparison: one run of one system over one workload with one seed, in this process or in several.

A row holds what is needed to run it again: the system (a name, or the path of a decision table), the machine, and where
the workload comes from. Rows do not depend on the number of processes, nor on the order they were run in.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cma_gym.experiments.config import ConfigError, checked, named_config, override

if TYPE_CHECKING:
    import numpy as np

    from cma_gym.machine.spec import MachineSpec
    from cma_gym.policies.registry import System
    from cma_gym.workloads.workload import Workload

TABLE_SUFFIX = ".json"
TRACE_SUFFIX = ".npz"
RULE_SUFFIX = ".py"
OF_FILE = "::"

Row = dict[str, Any]
Work = TypeVar("Work")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Unit:
    """One run, as plain strings and numbers that can be sent to another process."""

    system: str
    """Label of the row."""
    policy: str
    """Name of a system, or path of a decision table."""
    workload: str
    """Label of the row."""
    source: str
    """JSON: {"scenario": {...}} or {"trace": path}; with "kernel": {...} on a kernel that differs in these switches."""
    machine: str
    """JSON of a MachineSpec."""
    seed: int


def compact(content: Any) -> str:
    """JSON in its shortest form, keys sorted."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def table_digest(path: str | Path) -> str:
    """First 16 hex digits of the SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


# ---- what the command line names -------------------------------------------------------------------------------------


def system_names(text: str) -> list[tuple[str, str]]:
    """(label, policy) for a comma list of systems (or `all`), decision tables (.json), files with rules (.py).

    Raises:
        ConfigError, or the registry's error: an unknown name.
    """
    from cma_gym.policies.registry import get_system, systems

    found: dict[str, str] = {}
    for word in (part.strip() for part in text.split(",")):
        if word == "all":
            found.update({name: name for name in systems()})
        elif word.endswith(TABLE_SUFFIX):
            resolve(word)
            found[_free_label(table_label(word), found)] = word
        elif word.endswith(RULE_SUFFIX):
            found.update({name: f"{word}{OF_FILE}{name}" for name in _rules(word)})
        elif word:
            get_system(word)
            found[word] = word
    if not found:
        raise ConfigError("--systems: names no system; write all, or names from the verb list")
    return list(found.items())


def table_label(path: str) -> str:
    """What a table's rows are called: its file name, or for a run folder's table.json the folder's name."""
    given = Path(path)
    return given.parent.name if given.stem == "table" and given.parent.name else given.stem


def _free_label(label: str, taken: Mapping[str, str]) -> str:
    number = 2
    free = label
    while free in taken:
        free, number = f"{label}-{number}", number + 1
    return free


@functools.cache
def _rules(path: str) -> dict[str, System]:
    from cma_gym.policies.registry import load_system_file

    return {entry.name: entry for entry in load_system_file(path)}


def resolve(policy: str) -> System:
    """The system of a name, of a decision table's path, or of FILE.py::NAME."""
    path_of_rule, separator, rule = policy.partition(OF_FILE)
    if separator:
        return _rules(path_of_rule)[rule]
    if not policy.endswith(TABLE_SUFFIX):
        from cma_gym.policies.registry import get_system

        return get_system(policy)
    from cma_gym.policies.tables.export import load_table

    return load_table(policy).system()


def machine_spec(name: str | None, settings: Sequence[str] = ()) -> MachineSpec:
    """The machine of a configuration's name or path (None: the default), with `machine.key=value` settings applied."""
    from cma_gym.machine.spec import MachineSpec

    path, content = named_config("machine", name) if name else (Path("--machine"), {})
    wrong = [text for text in settings if not text.startswith("machine.")]
    if wrong:
        raise ConfigError(f"--set {wrong[0]}: only machine.KEY=VALUE can be set here")
    where = f"{path} with --set" if settings else str(path)
    return checked(MachineSpec, override(content, [text.removeprefix("machine.") for text in settings]), where)


def workload_sources(text: str) -> list[tuple[str, dict[str, Any]]]:
    """(label, source) for a comma list of families, YAML files, names in configs/workloads, and imported traces."""
    found = [(_label(word), _source(word)) for word in (part.strip() for part in text.split(",")) if word]
    if not found:
        raise ConfigError("--workload: names no workload; see the verb list")
    return found


def _label(word: str) -> str:
    return Path(word).stem if word.endswith((".yaml", ".yml", TRACE_SUFFIX)) else word


def _source(word: str) -> dict[str, Any]:
    from cma_gym.workloads.registry import families

    if word.endswith(TRACE_SUFFIX):
        return {"trace": word}
    if word in families():
        return {"scenario": {"family": word}}
    return {"scenario": named_config("workloads", word)[1]}


@functools.lru_cache(maxsize=2)
def _trace(path: str) -> Workload:
    from cma_gym.workloads.workload import load

    return load(path)


def trace_machine(path: str) -> dict[str, Any]:
    """Sizes of the machine a trace was recorded on, as far as its import could tell.

    The span of the page frames that were handed out gives the RAM; the largest demand is taken to be the whole area.
    """
    meta = _trace(path).meta
    sizes = {}
    if meta.get("ram_mb_at_least"):
        step = 64 if meta["ram_mb_at_least"] <= 1024 else 512
        sizes["ram_mb"] = -(-int(meta["ram_mb_at_least"]) // step) * step
    if meta.get("largest_demand_pages"):
        sizes["cma_mb"] = -(-int(meta["largest_demand_pages"]) // (256 * 4)) * 4
    return sizes


@functools.lru_cache(maxsize=2)
def workload_of(source: str, machine: str, seed: int) -> Workload:
    """The events of a unit; the same for all systems."""
    from cma_gym.machine.spec import MachineSpec
    from cma_gym.workloads.registry import generate

    origin = json.loads(source)
    if "trace" in origin:
        return _trace(origin["trace"])
    return generate(origin["scenario"], MachineSpec.model_validate_json(machine), seed)


# ---- running ---------------------------------------------------------------------------------------------------------

TOGETHER = 8
"""Most rows that one process takes at a time, so that progress is seen and processes end together."""


def run_unit(unit: Unit) -> Row:
    """Run one row from boot to the last event."""
    from cma_gym.machine.kernel import KernelConfig
    from cma_gym.machine.spec import MachineSpec

    system = resolve(unit.policy)
    spec = MachineSpec.model_validate_json(unit.machine)
    workload = workload_of(unit.source, unit.machine, unit.seed)
    origin = json.loads(unit.source)
    # What makes a system that system wins over what a suite varies for all of them.
    switches = {**origin.get("kernel", {}), **system.kernel, **workload.meta.get("kernel", {})}
    kernel = KernelConfig.for_profile(spec.profile, **switches)
    # A synthetic seed chooses the workload and nothing else; a recording leaves it only the boot to choose.
    boot_seed = unit.seed if "trace" in origin else 0
    result = system.run(spec, kernel, workload, boot_seed)
    return {
        "system": unit.system,
        "workload": unit.workload,
        "seed": unit.seed,
        **result.metrics,
        **blame_by_kind(result.demand_table),
        "held_up": held_up_text(result.held_up),
        "policy": unit.policy,
        "machine": unit.machine,
        "source": unit.source,
    }


def held_up_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """Who held demands up in a run, as a cell of a table (JSON); what is not known is left out."""
    return compact([{name: value for name, value in entry.items() if value == value} for entry in entries])


def blame_by_kind(demands: np.ndarray) -> dict[str, float]:
    """Pages that held up demands, counted by kind at each try, from a machine's demand table."""
    from cma_gym.mm.mmzone import PageKind

    kinds = [kind for kind in PageKind if kind not in (PageKind.FREE, PageKind.CMA, PageKind.RESERVED)]
    counts = demands["blamed"].sum(axis=(0, 2))
    return {f"blame_{kind.name.lower()}": float(counts[kind]) for kind in kinds}


def run_units(
    units: Sequence[Work],
    jobs: int,
    done: Callable[[int, Row], None] = lambda index, row: None,
    work: Callable[[Any], Row] = run_unit,
) -> list[Row]:
    """Run all units.

    Args:
        units: what to run.
        jobs: processes; 1 runs everything in this one.
        done: called with (position, row) as rows are finished, in any order.
        work: what turns a unit into a row; a function of a module, so that other processes find it.

    Returns:
        The rows, in the order of `units`.
    """
    rows: list[Row | None] = [None] * len(units)
    groups = sharing(units, TOGETHER if jobs > 1 else 1)
    parts = [[units[index] for index in group] for group in groups]
    with closing(finished(functools.partial(_run_group, work), parts, jobs)) as runs:
        for number, found in runs:
            for index, row in zip(groups[number], found, strict=True):
                rows[index] = row
                done(index, row)
    return [row for row in rows if row is not None]


def sharing(units: Sequence[Any], most: int) -> list[list[int]]:
    """Positions of units that follow each other and have one workload, which whoever runs them generates once.

    Args:
        units: what to run.
        most: units of a group; the first one is alone, because it has to fill the compiler's cache for all others.
    """
    groups: list[list[int]] = []
    for index, unit in enumerate(units):
        known = isinstance(unit, Unit) and index > 1 and len(groups[-1]) < most
        if known and _workload_key(units[index - 1]) == _workload_key(unit):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _workload_key(unit: Unit) -> tuple[str, str, int]:
    return unit.source, unit.machine, unit.seed


def _run_group(work: Callable[[Any], Row], units: Sequence[Any]) -> list[Row]:
    return [work(unit) for unit in units]


def finished(work: Callable[[Work], Done], units: Sequence[Work], jobs: int) -> Generator[tuple[int, Done], None, None]:
    """Results of `work` on each unit as (position, result), in any order; `jobs`: processes.

    The first one always runs here: it fills the compiler's cache, which the other processes then only read. They start
    meanwhile.
    """
    others = min(jobs, len(units) - 1)
    if jobs <= 1 or others < 1:
        for index, unit in enumerate(units):
            yield index, work(unit)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(others, mp_context=context, initializer=_follow_parent)
    try:
        for _ in range(others):
            pool.submit(os.getpid)
        yield 0, work(units[0])
        waiting: dict[Future[Done], int] = {pool.submit(work, units[i]): i for i in range(1, len(units))}
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()  # a row may take minutes; nobody waits for it after Ctrl-C
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it: a killed one (kill -9) would leave its processes waiting forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
