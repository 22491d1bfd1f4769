"""Finding targets, and running their rows, in this process or in several."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import cma_gym.experiments.fidelity.published.targets
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.fidelity.published.target import Case, Runs, Target
from cma_gym.experiments.rows.case import compact, finished
from cma_gym.support.packages import modules_of


def targets() -> dict[str, Target]:
    """All targets by name, in order."""
    found = [module.TARGET for module in modules_of(cma_gym.experiments.fidelity.published.targets)]
    return {target.name: target for target in sorted(found, key=lambda target: target.name)}


def chosen(names: Sequence[str]) -> list[Target]:
    """The targets of these names, in the order of all; all if there are no names.

    Raises:
        ConfigError: an unknown name; the message lists the known ones.
    """
    known = targets()
    wanted = [name.upper() for name in names]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigError(f"there is no target {unknown[0]!r}; known are {', '.join(known)}")
    return [target for name, target in known.items() if not wanted or name in wanted]


@functools.lru_cache(maxsize=2)
def _workload(scenario: str, machine: str, seed: int) -> Any:
    from cma_gym.machine.spec import MachineSpec
    from cma_gym.workloads.registry import generate

    return generate(json.loads(scenario), MachineSpec.model_validate_json(machine), seed)


def run_case(unit: str) -> dict[str, Any]:
    """Run one row with one seed.

    Args:
        unit: JSON of its system, machine, kernel, scenario and seed, as `unit_of` makes it.

    Returns:
        Elapsed time, mean free memory, metrics, vmstat counters, and one entry a demand; JSON-plain.
    """
    from cma_gym.machine.kernel import KernelConfig
    from cma_gym.machine.machine import run
    from cma_gym.machine.spec import MachineSpec
    from cma_gym.mm.mmzone import VmEvent
    from cma_gym.policies.registry import get_system

    asked = json.loads(unit)
    spec = MachineSpec(**asked["machine"])
    system = get_system(asked["system"])
    kernel = KernelConfig.for_profile(spec.profile, **{**system.kernel, **asked["kernel"]})
    workload = _workload(compact(asked["scenario"]), spec.model_dump_json(), asked["seed"])
    if asked["sample_ms"]:
        result, samples = sampled_run(spec, kernel, workload, system, asked["sample_ms"])
    else:
        result, samples = run(spec, kernel, workload, system.decide, params=system.params), {}
    mem = result.mems[0]
    time_ns = int(mem["metrics"]["time_ns"])
    return {
        "elapsed_s": int(mem["clock"]) / 1e9,
        "mean_free_kb": 4 * 1024 * int(mem["metrics"]["free_ns"]) / time_ns,
        "order0_share": order0_share(workload.events, int(mem["vm_event"][VmEvent.PGALLOC])),
        "samples": samples,
        "metrics": dict(result.metrics),
        "vmstat": {event.name.lower(): int(mem["vm_event"][event]) for event in VmEvent},
        "demands": [
            {key: int(entry[key]) for key in ("nr_pages", "latency_ns", "work_ns", "ok", "tries")}
            for entry in result.demand_table
        ],
    }


def sampled_run(spec: Any, kernel: Any, workload: Any, system: Any, every_ms: int) -> tuple[Any, dict[str, list[int]]]:
    """As `machine.run`, with counters read every so often of the stream's time.

    Returns:
        The run's result, and the samples by name.
    """
    import numpy as np

    from cma_gym.machine.machine import Result, boot, new_machines
    from cma_gym.machine.result import blame_table, demand_table, held_up, metrics
    from cma_gym.machine.step import load, rollout
    from cma_gym.machine.view import NR_VIEW
    from cma_gym.mm.mmzone import VmEvent

    mems = new_machines(1, spec, workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
    boot(mems, 0, spec, kernel)
    times = workload.events["time"]
    cuts = np.searchsorted(times, np.arange(0, int(times[-1]) + every_ms * 10**6, every_ms * 10**6), side="right")
    events, view = workload.events.view(np.recarray), np.zeros(NR_VIEW, np.int64)
    samples: dict[str, list[int]] = {"pgalloc": []}
    for first, last in zip([0, *cuts[:-1].tolist()], cuts.tolist(), strict=True):
        load(mems, 0, first, last)
        rollout(mems, 0, events, system.decide, system.param_array(), view)
        samples["pgalloc"].append(int(mems[0]["vm_event"][VmEvent.PGALLOC]))
    tables = demand_table(mems[0]), blame_table(mems[0]), held_up(mems[0])
    return Result(metrics(mems[0]), *tables, mems), samples


def order0_share(events: Any, pages: int) -> float:
    """Share of single pages among all requests, from the kernel's requests in the stream and all pages handed out."""
    from cma_gym.machine.events import KALLOC_ORDER_SHIFT, Op

    orders = events["arg"] >> KALLOC_ORDER_SHIFT
    larger = (events["op"] == Op.KALLOC) & (orders > 0)
    blocks = int(events["nr"][larger].sum())
    in_them = int((events["nr"][larger].astype(int) << orders[larger]).sum())
    return (pages - in_them) / max(pages - in_them + blocks, 1)


def unit_of(case: Case, seed: int) -> str:
    """What `run_case` takes; rows of different targets that ask for the same run share it."""
    return compact(
        {
            "system": case.system,
            "machine": case.machine,
            "kernel": case.kernel,
            "scenario": case.scenario,
            "seed": seed,
            "sample_ms": case.sample_ms,
        }
    )


def can_run(case: Case) -> bool:
    """Whether this kernel has the switch that the row needs."""
    from cma_gym.machine.kernel import KernelConfig

    return not case.needs or case.needs in KernelConfig.model_fields


def run_targets(
    wanted: Sequence[Target], jobs: int, done: Callable[[str], None] = lambda name: None
) -> dict[str, Runs]:
    """Run all rows of these targets, each distinct run once.

    Args:
        wanted: the targets.
        jobs: processes; results do not depend on it.
        done: called with a row's name when one of its runs is finished.

    Returns:
        The runs by target name.
    """
    rows = [(target.name, case) for target in wanted for case in target.cases() if can_run(case)]
    names = {unit_of(case, seed): case.name for _, case in rows for seed in case.seeds}
    units = list(names)
    results: dict[str, Mapping[str, Any]] = {}
    with closing(finished(run_case, units, jobs)) as runs:
        for index, result in runs:
            results[units[index]] = result
            done(names[units[index]])
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {target.name: {} for target in wanted}
    for name, case in rows:
        found[name][case.name] = [results[unit_of(case, seed)] for seed in case.seeds]
    return {name: Runs(cases) for name, cases in found.items()}


def nr_runs(wanted: Sequence[Target]) -> int:
    """Distinct runs of these targets."""
    cases = [case for target in wanted for case in target.cases() if can_run(case)]
    return len({unit_of(case, seed) for case in cases for seed in case.seeds})
