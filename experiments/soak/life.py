"""One life of a machine: booted, worked under a rule that answers at random, checked, emptied, checked for leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cma_gym.experiments.soak.events import TASKS, Sizes, first_events, last_events, random_events
from cma_gym.experiments.soak.machines import DRAWN, Machine, layout_of, machine_for
from cma_gym.machine.decision import decision
from cma_gym.machine.events import Op, event_dtype
from cma_gym.machine.machine import boot, new_machines
from cma_gym.machine.step import load, rollout
from cma_gym.machine.view import NR_VIEW
from cma_gym.mm.check.validate import find_violation
from cma_gym.mm.check.violation import Violation
from cma_gym.mm.mmzone import NO_PAGE, NR_ACTIONS, PageKind, VmEvent, ZoneStat

CHUNK = 4096
"""Events drawn at a time."""
PARAMS = np.zeros(1, np.int64)


@decision
def at_random(view: Any, params: Any) -> int:
    """Any action, by a hash of what the rule sees: every placement is legal, so every one is tried."""
    seen = 0
    for value in view:
        seen = (seen * 31 + value) & 0xFFFFFFF
    return (seen ^ seen >> 9) % NR_ACTIONS


@dataclass
class Life:
    """What one life came to."""

    number: int
    machine: Machine
    ops: int = 0
    """Pages allocated and pages freed."""
    events: int = 0
    validations: int = 0
    problem: str = ""
    """What was wrong and where; empty if nothing was."""
    counters: dict[str, int] = field(default_factory=dict)
    """vm_event, by name."""


def live(seed: int, number: int, ops: int, every: int, layout: str, told: Callable[[int], None]) -> Life:
    """Run one life.

    Args:
        seed: of the soak.
        number: of the life; with the seed it decides everything.
        ops: page allocations and frees to last for.
        every: events between two validations.
        layout: of its machine, or "" for the one whose turn it is.
        told: called now and then with the operations done since the last call.
    """
    rng = np.random.default_rng([seed, number])
    machine = machine_for(layout or layout_of(number), rng)
    life = Life(number, machine)
    each = int(rng.integers(150, 600))
    sizes = Sizes(each, int(rng.integers(150, 1200)), machine.spec.cma_pages)
    mems = new_machines(1, machine.spec, sizes.nr_vpages, sizes.nr_fpages, TASKS)
    boot(mems, 0, machine.spec, machine.kernel, number)
    booted = census(mems)
    begun = first_events(sizes, rng.integers(0, 4, TASKS))
    life.problem = _work(life, mems, begun, len(begun))
    while not life.problem and life.ops < ops:
        before = life.ops
        events = random_events(rng, CHUNK, sizes, int(mems["clock"][0]))
        life.problem = _work(life, mems, events, every)
        told(life.ops - before)
    if not life.problem:
        life.problem = _end(life, mems, sizes, booted)
    life.counters = {event.name: int(mems["vm_event"][0, event]) for event in VmEvent}
    return life


def _work(life: Life, mems: np.recarray, events: np.ndarray, every: int) -> str:
    """Run events with a check after each `every` of them; what was found, or an empty string."""
    for first in range(0, len(events), every):
        window = events[first : first + every]
        kept = mems.copy()
        found = _run(mems, window)
        life.validations += 1
        if found:
            return f"{_named(found)} after event {life.events + len(window)}; {_pinpoint(kept, window, life.events)}"
        life.events += len(window)
        counts = mems["vm_event"][0]
        life.ops = int(counts[VmEvent.PGALLOC] + counts[VmEvent.PGFREE])
    return ""


def _run(mems: np.recarray, events: np.ndarray) -> int:
    load(mems, 0, 0, len(events))
    rollout(mems, 0, events.view(np.recarray), at_random, PARAMS, np.zeros(NR_VIEW, np.int64))
    return int(find_violation(mems, 0))


def _named(found: int) -> str:
    return f"{Violation(found >> 40).name} at {found & ((1 << 40) - 1)}"


def _pinpoint(mems: np.recarray, events: np.ndarray, done: int) -> str:
    """The first event that breaks the machine, where running them one by one does so too."""
    for index in range(len(events)):
        found = _run(mems, events[index : index + 1])
        if found:
            event = events[index]
            fields = " ".join(f"{name}={event[name]}" for name in ("task", "start", "nr", "arg", "value"))
            return f"{_named(found)} first after event {done + index}: {Op(event['op']).name} {fields}"
    return f"no single event of the last {len(events)} does it when a demand's retries come before the next event"


def _end(life: Life, mems: np.recarray, sizes: Sizes, booted: dict[str, int]) -> str:
    """Free everything, ask for the whole area once, and compare with the machine as it was booted."""
    clock = int(mems["clock"][0])
    found = _work(life, mems, last_events(sizes, clock), CHUNK)
    if found:
        return found
    demand = np.zeros(2, event_dtype)
    demand["time"] = int(mems["clock"][0])
    demand[0] = (demand[0]["time"], Op.DEMAND, 0, 1, sizes.cma_pages, 0, 1)
    demand[1] = (demand[0]["time"] + 10_000_000_000, Op.TICK, 0, 0, 0, 0, 0)
    stuck = buffers_in_area(mems[0])
    tried, succeeded = (int(mems["metrics"][name][0]) for name in ("whole_tried", "whole_first_ok"))
    found = _work(life, mems, demand, CHUNK)
    if found:
        return found
    metrics = mems["metrics"][0]
    expected = succeeded + (not stuck)
    if metrics["whole_tried"] != tried + 1 or metrics["whole_first_ok"] != expected:
        return "with everything freed, a demand for the whole area did not succeed at its first try"
    left = {name: value - booted[name] for name, value in census(mems).items() if value != booted[name]}
    return f"pages were lost: {left} more than after boot" if left else ""


def census(mems: np.recarray) -> dict[str, int]:
    """What must be the same after a life as after boot: free pages by zone, used ones by kind, everything held."""
    mem = mems[0]
    nr = int(mem["nr_pages"])
    zones = mem["zones"]
    free = zones["vm_stat"][:, ZoneStat.FREE_PAGES] + zones["pcp"]["nr"].sum(axis=1)
    kinds = np.bincount(mem["page"]["kind"][:nr], minlength=len(PageKind))
    kept = kept_by_cpus(mem)
    for pfn in kept:
        free[mem["page"]["zone"][pfn]] += 1
        kinds[PageKind.FREE] += 1
        kinds[mem["page"]["kind"][pfn]] -= 1
    found = {f"free pages of zone {index}": int(pages) for index, pages in enumerate(free)}
    found |= {f"{kind.name} pages": int(kinds[kind]) for kind in PageKind}
    found["references"] = int(mem["nr_pins"])
    found["used swap slots"] = int(mem["node"]["nr_swap_total"] - mem["node"]["nr_swap_free"])
    batched = {int(pfn) for batch in mem["lru_add"] for pfn in batch["pfn"][: batch["nr"]]}
    found["pages on LRU lists"] = int(mem["lruvec"]["nr"].sum()) + len(batched - kept)
    found["dirty pages"] = int(mem["node"]["nr_dirty"] + mem["node"]["nr_writeback"])
    found["pages of buffers"] = int(mem["cma"]["nr_allocated"])
    found["isolated pageblocks"] = int(zones["nr_isolated_pageblocks"].sum())
    return found


def kept_by_cpus(mem: Any) -> set[int]:
    """Pages of nobody any more that only the CPUs' LRU batches and buffer-head LRUs keep from being free.

    They are free when the batch is full or 16 other buffers were looked up; a contiguous allocation drains the batches,
    since 5.12 the buffers too, but for GCMA's, which isolates nothing.
    """
    lists = [entry for name in ("lru_add", "lru_activate", "bh_lru") for entry in mem[name]]
    listed = Counter(int(pfn) for entry in lists for pfn in entry["pfn"][: entry["nr"]])
    buffers = Counter(int(pfn) for entry in mem["bh_lru"] for pfn in entry["pfn"][: entry["nr"]])
    page = mem["page"]
    nobodys = {pfn for pfn in listed if page["index"][pfn] == NO_PAGE and page["mapcount"][pfn] == 0}
    return {pfn for pfn in nobodys if page["pincount"][pfn] == buffers[pfn] and page["kind"][pfn] != PageKind.FREE}


def buffers_in_area(mem: Any) -> set[int]:
    """Pages of the area that a CPU's buffer-head LRU holds; up to 5.11 a contiguous allocation fails at them."""
    if mem["kernel"]["lru_cache_disable"]:
        return set()
    held = {int(pfn) for lru in mem["bh_lru"] for pfn in lru["pfn"][: lru["nr"]]}
    first = int(mem["cma"]["base_pfn"])
    return held & set(range(first, first + int(mem["cma"]["nr_pages"])))


def reproduction(life: Life, seed: int, ops: int, every: int, layout: str) -> str:
    """The command that runs this life alone."""
    named = f" --machine {layout}" if layout else ""
    return f"cma-gym soak --seed {seed} --first {life.number} --ops {ops} --every {every}{named}"


def describe(machine: Machine) -> str:
    """A machine for a reader."""
    if machine.layout != DRAWN:
        return machine.layout
    return f"{DRAWN} ({', '.join(f'{name}={value}' for name, value in machine.switches.items())})"
