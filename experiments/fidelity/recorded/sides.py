"""Playing a recording on the machine of its start state, and looking at it at the moments when the kernel told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cma_gym.experiments.fidelity.measured.demands import GUEST_KERNEL, SYSTEMS
from cma_gym.machine.boot_state import boot_from, free_pages_of
from cma_gym.machine.events import Op
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import new_machines
from cma_gym.machine.result import demand_table
from cma_gym.machine.step import load, rollout
from cma_gym.machine.view import NR_VIEW
from cma_gym.mm.mmzone import Holder, PageKind, VmEvent
from cma_gym.policies.registry import PolicyError, System, get_system
from cma_gym.recording.text.kernel import KernelText, KernelTextError
from cma_gym.workloads.workload import Workload

OCCUPANCY = ("free", "anon", "file", "bdev", "shmem", "zsmalloc", "held", "other")
"""Kinds of the census of the CMA area."""
_SCANNED = {
    "free": ("free", "freeish"),
    "anon": ("anon", "anonswap", "anonthp"),
    "file": ("file",),
    "bdev": ("bdev",),
    "shmem": ("shmem",),
    "zsmalloc": ("movops",),
    "held": ("cma_held",),
    "other": ("slab", "pgtable", "reserved", "other"),
}
_SIMULATED = {
    "free": (PageKind.FREE,),
    "anon": (PageKind.ANON,),
    "file": (PageKind.FILE,),
    "bdev": (PageKind.BDEV,),
    "shmem": (PageKind.SHMEM,),
    "zsmalloc": (PageKind.ZSMALLOC,),
    "held": (PageKind.CMA,),
}
_APART_S = 1.0
"""Trace and text of one recording are not further apart."""


@dataclass
class Look:
    """The machine, recorded or simulated, at one moment."""

    tag: str
    time_s: float
    free_pages: int
    free_cma: int
    occupancy: dict[str, float]
    """Share of the area by kind [%]."""
    counters: dict[str, int]
    """vmstat counters since the start."""


@dataclass
class Outcome:
    """One demand, recorded or simulated."""

    tag: str
    whole: bool
    pieces: int
    got: int
    ok: bool
    first_ok: bool
    tries: int
    latency_ms: float
    blamed: dict[str, int] = field(default_factory=dict)
    """Refusals by kind of page."""
    holders: dict[str, int] = field(default_factory=dict)
    """Refusals by kind and holder (simulated), or by stage, kind and flags (recorded)."""


@dataclass
class Side:
    """What one of the two machines did."""

    looks: list[Look]
    outcomes: list[Outcome]
    totals: dict[str, int]


def rule_for(policy: int) -> System:
    """The system that stands for a recorded policy number.

    Raises:
        PolicyError: there is none.
    """
    if policy not in SYSTEMS:
        known = ", ".join(str(number) for number in SYSTEMS)
        raise PolicyError(f"the recording was made under policy {policy}; known are {known} (name a system: --system)")
    return get_system(SYSTEMS[policy])


def check_times(text: KernelText, workload: Workload) -> None:
    """Refuse a trace that does not cover what the text tells of.

    Raises:
        KernelTextError: a demand was made before the trace's first event or after its last one.
    """
    start_s = workload.meta["recording_start_ns"] / 1e9
    end_s = start_s + int(workload.events[-1]["time"]) / 1e9
    for demand in text.demands:
        at = demand.attempts[0].start_s if demand.attempts else start_s
        if start_s - _APART_S <= at <= end_s + _APART_S:
            continue
        early, late = f"{start_s - at:.1f} s before the trace's first", f"{at - end_s:.1f} s after the trace's last"
        side = early if at < start_s else late
        raise KernelTextError(
            f"{text.path}: demand {demand.tag} was made {side} event; the trace was cut off or belongs to another "
            "recording: copy both files again"
        )


def kernel_of(system: System, workload: Workload, more: dict[str, Any]) -> KernelConfig:
    """The kernel that a recording is replayed on: the recorded guest's, with what the rule needs.

    A recording's kills are in its events, so that the guest's own killer must not act again.
    """
    base = {**GUEST_KERNEL, **workload.meta.get("kernel", {})}
    return KernelConfig.for_profile("v6_12", **{**base, **system.kernel, **more})


def play(text: KernelText, workload: Workload, system: System, kernel: KernelConfig) -> Side:
    """Boot from the start state and run the whole recording, looking at the machine before each demand and at the end.

    Raises:
        KernelTextError: the workload has no start state.
    """
    start = workload.start
    if start is None:
        raise KernelTextError(f"{text.path}: workload {workload.name} was imported without it; import it again")
    if kernel.zone_cma:
        start = start.with_own_zone()
    nr_cpus = text.boot.number("ncpu", 2)
    mems = new_machines(1, start.spec(nr_cpus), workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
    boot_from(mems, 0, start, nr_cpus, kernel)
    events = workload.events.view(np.recarray)
    asked = [int(index) for index in np.flatnonzero(workload.events["op"] == Op.DEMAND)]
    looks, done = [], 0
    for index in [*asked, len(events)]:
        load(mems, 0, done, index)
        rollout(mems, 0, events, system.decide, system.param_array(), np.zeros(NR_VIEW, np.int64))
        tag = text.demands[int(events[index]["start"])].tag if index < len(events) else "end"
        looks.append(_look(mems[0], tag))
        done = index
    return Side(looks, _outcomes(mems[0], text), _counters(mems[0]))


def _counters(mem: Any) -> dict[str, int]:
    counters = {event.name.lower(): int(mem["vm_event"][event]) for event in VmEvent}
    for name in ("pgscan", "pgsteal"):
        counters[name] = counters[f"{name}_kswapd"] + counters[f"{name}_direct"]
    counters["kswapd_wakes"] = counters["kswapd_wake"]
    return counters


def _look(mem: Any, tag: str) -> Look:
    census = mem["cma"]["occupancy"]
    total = max(1, int(mem["cma"]["nr_pages"]))
    shares = {name: 100 * sum(int(census[kind]) for kind in kinds) / total for name, kinds in _SIMULATED.items()}
    shares["other"] = 100 - sum(shares.values())
    free, free_cma = free_pages_of(mem)
    return Look(tag, int(mem["clock"]) / 1e9, free, free_cma, shares, _counters(mem))


def _outcomes(mem: Any, text: KernelText) -> list[Outcome]:
    outcomes = []
    for record in demand_table(mem):
        asked = text.demands[int(record["id"])]
        blamed = {kind.name.lower(): int(record["blamed"][kind].sum()) for kind in PageKind}
        holders = {
            f"{kind.name.lower()}:{holder.name.lower()}": int(record["blamed"][kind, holder])
            for kind in PageKind
            for holder in Holder
        }
        outcomes.append(
            Outcome(
                tag=asked.tag,
                whole=asked.whole,
                pieces=int(record["pieces"]),
                got=int(record["got"]),
                ok=bool(record["ok"]),
                first_ok=bool(record["first_ok"]),
                tries=int(record["tries"]),
                latency_ms=float(record["latency_ns"]) / 1e6,
                blamed={name: count for name, count in blamed.items() if count},
                holders={name: count for name, count in holders.items() if count},
            )
        )
    order = {demand.tag: index for index, demand in enumerate(text.demands)}
    return sorted(outcomes, key=lambda outcome: order[outcome.tag])


def recorded(text: KernelText, start_s: float, wakes: int) -> Side:
    """What the recorded machine did, in the same form.

    Args:
        text: what the kernel said.
        start_s: time of the recording's first event [s], from which times count.
        wakes: how often the trace shows kswapd woken up.
    """
    looks = [_recorded_look(text, index, start_s) for index in range(len(text.snaps()))]
    outcomes = []
    for demand in text.demands:
        if not demand.attempts:
            continue
        told = demand.blamed()
        blamed: dict[str, int] = {}
        for key, count in told.items():
            kind = key.partition(":")[2].partition("+")[0]
            blamed[kind] = blamed.get(kind, 0) + count
        outcomes.append(
            Outcome(
                tag=demand.tag,
                whole=demand.whole,
                pieces=demand.pieces,
                got=demand.got,
                ok=demand.ok,
                first_ok=demand.first_ok,
                tries=demand.tries,
                latency_ms=demand.latency_ms,
                blamed=blamed,
                holders=told,
            )
        )
    totals = _since(text.stop.vmstat, text) if text.stop.vmstat else dict(looks[-1].counters) if looks else {}
    return Side(looks, outcomes, totals | {"kswapd_wakes": wakes})


def _since(vmstat: dict[str, int], text: KernelText) -> dict[str, int]:
    """Counters since the start; those of all zones under one name too."""
    before = text.start.vmstat
    counters = {name: vmstat.get(name, 0) - before.get(name, 0) for name in before.keys() | vmstat.keys()}
    counters["allocstall"] = sum(count for name, count in counters.items() if name.startswith("allocstall_"))
    for name in ("pgscan", "pgsteal"):
        counters[name] = counters.get(f"{name}_kswapd", 0) + counters.get(f"{name}_direct", 0)
    return counters


def _recorded_look(text: KernelText, index: int, start_s: float) -> Look:
    snap = text.snaps()[index]
    total = max(1, snap.scan.get("count", 1))
    shares = {name: 100 * sum(snap.scan.get(kind, 0) for kind in kinds) / total for name, kinds in _SCANNED.items()}
    return Look(
        tag=snap.tag,
        time_s=snap.time_s - start_s,
        free_pages=snap.vmstat.get("nr_free_pages", 0),
        free_cma=snap.vmstat.get("nr_free_cma", 0),
        occupancy=shares,
        counters=_since(snap.vmstat, text),
    )
