"""The model's side of the measured ranking: the demands of one run of the mirrored guest under one measured policy."""

from __future__ import annotations

from typing import Any, NamedTuple

from cma_gym.experiments.fidelity.measured.demands import GUEST_KERNEL, SYSTEMS, Demand, machine, scenario

Row = dict[str, Any]


class RankUnit(NamedTuple):
    """One run."""

    policy: int
    workload: str
    ram_mb: int
    cma_mb: int
    seed: int


def run_rank_unit(unit: RankUnit) -> Row:
    """Run the mirrored workload once.

    Returns:
        The unit's fields, `kills`, `blame` (pages by "kind held by holder" over all tries), and `demands`: one list per
        demand with whole, first, ok, latency_ms, cma_free, and the run's vm_* counts.
    """
    from cma_gym.machine.kernel import KernelConfig
    from cma_gym.machine.machine import run
    from cma_gym.machine.spec import MachineSpec
    from cma_gym.policies.registry import get_system
    from cma_gym.workloads.registry import generate

    system = get_system(SYSTEMS[unit.policy])
    spec = MachineSpec(**machine(unit.ram_mb, unit.cma_mb))
    kernel = KernelConfig.for_profile(spec.profile, **{**GUEST_KERNEL, **system.kernel})
    workload = generate(scenario(unit.workload, unit.ram_mb), spec, unit.seed)
    result = run(spec, kernel, workload, system.decide, params=system.params)
    table = result.demand_table
    return {
        **unit._asdict(),
        "kills": int(result.metrics["kills"]),
        "blame": _blame(table),
        "counts": _counts(result.mems[0]),
        "demands": [
            {
                "whole": int(demand["whole"]),
                "first": int(demand["first_ok"]),
                "ok": int(demand["ok"]),
                "latency_ms": float(demand["latency_ns"]) / 1e6,
                "cma_free": int(demand["free_before"]),
            }
            for demand in table
        ],
    }


def demands_of(row: Row) -> list[Demand]:
    """The demands of a run, in the form of the measured ones."""
    return [
        Demand(
            policy=row["policy"],
            workload=row["workload"],
            seed=row["seed"],
            ram_mb=row["ram_mb"],
            cma_mb=row["cma_mb"],
            whole=demand["whole"] == 1,
            first=demand["first"] == 1,
            ok=demand["ok"] == 1,
            latency_ms=demand["latency_ms"],
            counts={**row["counts"], "cma_free": float(demand["cma_free"])},
        )
        for demand in row["demands"]
    ]


def _blame(table: Any) -> dict[str, int]:
    from cma_gym.mm.mmzone import Holder, PageKind

    blamed = table["blamed"].sum(axis=0)
    return {
        f"{kind.name.lower()} held by {holder.name.lower()}": int(blamed[kind, holder])
        for kind in PageKind
        for holder in Holder
        if blamed[kind, holder]
    }


def _counts(mem: Any) -> dict[str, float]:
    """Counters of the whole run under their /proc/vmstat names."""
    from cma_gym.mm.mmzone import VmEvent

    names = ("PSWPIN", "PSWPOUT", "WORKINGSET_REFAULT_ANON", "WORKINGSET_REFAULT_FILE", "PGSTEAL_KSWAPD")
    return {f"vm_{name.lower()}": float(mem["vm_event"][VmEvent[name]]) for name in (*names, "PGSTEAL_DIRECT")}
