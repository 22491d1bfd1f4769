"""Oracle: a clairvoyant bound; lends everything but the pages that are known to be stuck when a device asks.

Who: nobody; no kernel can know what will be pinned. It is what the other systems are measured against.

Source: this project's own idea. The whole stream is rehearsed before it is run. At every demand, each page that would
refuse to leave is noted by what it is, a virtual page of a task or a page of a file, wherever it lies: pages with
references when the demand begins or that get one during its first try, pages that drivers cannot migrate, and whatever
refused an attempt. The rule keeps such a page out of the area from the last time before that demand that the stream
freed it or a demand emptied the area; everything else goes to CMA first. As another placement changes what is
reclaimed, killed and held when, the rehearsal is repeated under the plan it gave, until every demand is served by its
first try.

Assumed: the bound is on success alone. A demand that still fails after PATIENCE rehearsals, or of which nothing more
can be learnt, has its window closed: nothing is lent from the whole-area demand before it on, so that the area is empty
when it comes. In this sense no placement rule serves more: a demand is given up only if it fails though nothing was
lent. Of the plans rehearsed, the one is taken that serves most demands, then most of them by their first try, then
leaves least of the area idle over time. It is no bound on anything else. Use of the area is the highest that this
search met, not a proven maximum: one answer covers up to 32 pages, so that neighbours of a stuck page stay out with it;
a page that is stuck while several pieces are asked for stays out, though they might have found room beside it; and
lending less at one time could allow more at another. Cost (stalls, swapping, kills) is not weighed: a rule that lends
less can be cheaper. A rehearsal costs one run; there are at most REHEARSALS. Switches: CMA pages have a per-CPU list of
their own, and neither compaction nor a demand moves anything into the area, since then a page that was kept out could
enter all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cma_gym.machine.events import Op
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import Stream, boot, new_machines
from cma_gym.machine.result import demand_table
from cma_gym.machine.spec import MachineSpec
from cma_gym.machine.step import load, rollout
from cma_gym.machine.view import FILE_PAGES, NR_VIEW, NR_VIEW_AND_SUBJECT, Subject
from cma_gym.mm.mmzone import BLAME_LOG, NO_PAGE, TICK_SHIFT, Action, DemandState, Holder, PageKind
from cma_gym.policies.registry import Integers, system

REHEARSALS = 24
"""Most runs that one plan may cost."""
PATIENCE = 6
"""Rehearsals that learn page by page before windows are closed."""
HEAD = 2
"""Of the plan as integers: how many closed windows, how many stuck pages; then the first and last event of each window;
then the pages in order, and for each of them the first, and then the last, event that may not place it in the area."""
FREES = (Op.SPAWN, Op.FORK, Op.EXIT, Op.UNMAP, Op.TRUNCATE)
"""Events that free pages; a task's new life ends its old one."""

_Stuck = tuple[int, int]
"""A page, and the first event from which on it has to stay out."""
_Pages = dict[int, int]
"""Pages, and when they were allocated [ns]."""


@dataclass
class Plan:
    """What is kept out of the area, and when; grows from rehearsal to rehearsal."""

    stuck: dict[_Stuck, int] = field(default_factory=dict)
    """Last event for which it holds."""
    closed: set[tuple[int, int]] = field(default_factory=set)
    """First and last event of times in which nothing is lent."""

    def add(self, found: dict[_Stuck, int]) -> bool:
        """Take in what a rehearsal found; whether anything of it is new."""
        news = {key: last for key, last in found.items() if self.stuck.get(key, -1) < last}
        self.stuck.update(news)
        return bool(news)

    def params(self) -> Integers:
        """The plan as the rule reads it."""
        windows = [event for window in sorted(self.closed) for event in window]
        pages = sorted(self.stuck)
        firsts = [first for _, first in pages]
        lasts = [self.stuck[key] for key in pages]
        head = [len(self.closed), len(pages)]
        return np.array([*head, *windows, *(page for page, _ in pages), *firsts, *lasts], np.int64)


@dataclass
class _Rehearsal:
    """One run under a plan, and what it taught."""

    params: Integers
    stuck: dict[_Stuck, int]
    failed: list[int]
    """Events of the demands that were not served."""
    score: tuple[int, int, int]
    """Demands served, demands served by their first try, idle time of the area (negative)."""
    perfect: bool


def whole_demands(events: np.ndarray, cma_pages: int) -> np.ndarray:
    """Events that ask for the whole area in one piece, and so empty it."""
    asks = (events["op"] == Op.DEMAND) & (events["nr"] == cma_pages) & (events["value"] == 1)
    return np.flatnonzero(asks)


def last_before(ordered: np.ndarray, event: int) -> int:
    """The last of these events that comes before one; -1 if there is none."""
    place = int(np.searchsorted(ordered, event))
    return int(ordered[place - 1]) if place > 0 else -1


class _Witness:
    """Watches one run from demand to demand, and notes which pages would not leave."""

    def __init__(self, mem: Any, events: np.ndarray, cma_pages: int, sizes: tuple[int, int]) -> None:
        self.mem, self.events = mem, events
        self.stuck: dict[_Stuck, int] = {}
        asks = np.flatnonzero(events["op"] == Op.DEMAND)
        self.event_of = {int(events["start"][at]): int(at) for at in asks}
        self._whole = whole_demands(events, cma_pages)
        nr_vpages, nr_fpages = sizes
        self._freed = {0: np.full((2, nr_vpages), -1, np.int64), FILE_PAGES: np.full((2, nr_fpages), -1, np.int64)}
        """Last event that freed a page, and the one before, by space."""
        self._left = np.full((2, len(mem["page"])), NO_PAGE, np.int64)
        """What a page frame held that was freed, and its age: a page that somebody still holds has no name any more."""
        self._ranges: dict[int, tuple[int, int]] = {}
        self._nr_blames = 0
        self._clock = -1

    def asking(self) -> bool:
        """Whether a demand waits to be served."""
        state = self.mem["demand"]["state"]
        return bool(((state == DemandState.WAITING) | (state == DemandState.TRYING)).any())

    def expect(self, event: int) -> None:
        """Note what the event that comes next is going to free."""
        op, task, start, nr = (int(self.events[event][name]) for name in ("op", "task", "start", "nr"))
        if op == Op.TRUNCATE:
            self._note_freed(event, FILE_PAGES, start, start + nr)
        elif op == Op.UNMAP:
            self._note_freed(event, 0, start, start + nr)
        elif op in FREES and (op != Op.SPAWN or self.events[event]["value"] == 0):
            self._note_freed(event, 0, *self._ranges.get(task, (0, 0)))
        if op in (Op.SPAWN, Op.FORK):
            self._ranges[task] = (start, start + nr)

    def _note_freed(self, event: int, space: int, start: int, end: int) -> None:
        freed = self._freed[space]
        freed[1, start:end] = freed[0, start:end]
        freed[0, start:end] = event
        self._note_holders("filemap" if space else "pte", space, start, end)

    def _note_holders(self, table: str, space: int, start: int, end: int) -> None:
        """Write down which frames these pages have, in case that they lose them."""
        frames = self.mem[table]["entry"][start:end]
        present = np.flatnonzero(frames >= 0)
        self._left[0, frames[present]] = space + start + present
        self._left[1, frames[present]] = self.mem["page"]["stamp"][frames[present]]

    def look(self, event: int) -> None:
        """Note what is stuck now that this event is over."""
        demands = self.mem["demand"]
        for slot in np.flatnonzero((demands["state"] == DemandState.TRYING) & (demands["tries"] == 0)):
            asked = self.event_of[int(demands["id"][slot])]
            self._note(self._referenced(-1 if asked == event else self._clock), asked, event)
            if asked == event:
                self._note(self._of_drivers(), asked, event)
                # A task that is killed to make room frees pages without an event of the stream.
                self._note_holders("pte", 0, 0, self._freed[0].shape[1])
        self._note_blamed(event)
        self._clock = int(self.mem["clock"])

    def _note(self, pages: _Pages, asked: int, event: int) -> None:
        """Keep pages out for the demand of event `asked` from when they were freed, or the area was emptied, before."""
        emptied = last_before(self._whole, asked)
        for page, born_ns in pages.items():
            key = (page, max(emptied, self._last_freed(page, born_ns)) + 1)
            self.stuck[key] = max(self.stuck.get(key, -1), event)

    def _last_freed(self, page: int, born_ns: int) -> int:
        """The last event that freed what bore this name before; -1 if there was none, or too many since to tell."""
        space = FILE_PAGES if page >= FILE_PAGES else 0
        for at in self._freed[space][:, page - space]:
            if at < 0 or self.events["time"][at] <= born_ns:
                return int(at)
        return -1

    def _names(self, pfn: int) -> _Pages:
        """What a page frame holds, by all names under which it may have been asked for."""
        page = self.mem["page"][pfn]
        kind, index, born_ns = int(page["kind"]), int(page["index"]), int(page["stamp"]) << TICK_SHIFT
        if kind in (PageKind.SHMEM, PageKind.FILE, PageKind.BDEV) and index != NO_PAGE:
            return {FILE_PAGES + index: born_ns}
        names = {}
        while kind in (PageKind.ANON, PageKind.DRIVER) and index != NO_PAGE:
            names[index] = born_ns
            index = int(self.mem["pte"][index]["next"])
        if not names and self._left[1, pfn] == page["stamp"]:
            names[int(self._left[0, pfn])] = born_ns
        return names

    def _referenced(self, since: int) -> _Pages:
        """Pages with references that began after a time [ns]."""
        held = self.mem["pin"][: int(self.mem["nr_pins"])]
        pages: _Pages = {}
        for pfn in held["pfn"][held["since"] > since]:
            pages |= self._names(int(pfn))
        return pages

    def _of_drivers(self) -> _Pages:
        pages: _Pages = {}
        for pfn in np.flatnonzero(self.mem["page"]["kind"] == PageKind.DRIVER):
            pages |= self._names(int(pfn))
        return pages

    def _note_blamed(self, event: int) -> None:
        """Note the pages that have refused an attempt since the last look."""
        written = int(self.mem["nr_blames_logged"])
        for number in range(max(self._nr_blames, written - BLAME_LOG), written):
            entry = self.mem["blame_log"][number % BLAME_LOG]
            if entry["holder"] != Holder.NO_TARGET:
                self._note(self._names(int(entry["pfn"])), self.event_of[int(entry["demand_id"])], event)
        self._nr_blames = written


def _rehearse(spec: MachineSpec, kernel: KernelConfig, workload: Stream, seed: int, params: Integers) -> _Rehearsal:
    """Run the whole stream under a plan; stop where pages are about to be freed, and all along while a demand waits."""
    mems = new_machines(1, spec, workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
    boot(mems, 0, spec, kernel, seed)
    events = workload.events.view(np.recarray)
    load(mems, 0, 0, len(events))
    mem = mems[0]
    witness = _Witness(mem, workload.events, spec.cma_pages, (workload.nr_vpages, workload.nr_fpages))
    view = np.zeros(NR_VIEW_AND_SUBJECT, np.int64)
    op = workload.events["op"]
    stops = np.union1d(np.flatnonzero(np.isin(op, FREES)), np.flatnonzero(op == Op.DEMAND) + 1)
    done = 0
    while done < len(events):
        witness.expect(done)
        place = int(np.searchsorted(stops, done, "right"))
        following = int(stops[place]) if place < len(stops) else len(events)
        stop = done + 1 if witness.asking() else following
        rollout(mems, 0, events, decide, params, view, stop)
        done = stop
        witness.look(done - 1)
    metrics = mem["metrics"]
    tried, served, first = (int(metrics[f"whole_{name}"] + metrics[f"pieces_{name}"]) for name in _COUNTS)
    table = demand_table(mem)
    failed = [witness.event_of[int(ident)] for ident in table["id"][table["ok"] == 0]]
    score = (served, first, -int(metrics["cma_idle_ns"]))
    return _Rehearsal(params, witness.stuck, failed, score, first == tried)


_COUNTS = ("tried", "ok", "first_ok")


def foresee(spec: MachineSpec, kernel: KernelConfig, workload: Stream, seed: int) -> Integers:
    """The best plan found for a workload, as the rule's constants.

    The first rehearsal lends everything: the final run lends nearly everything, too, so that what it reclaims and whom
    it kills is nearest to that.
    """
    whole = whole_demands(workload.events, spec.cma_pages)
    plan = Plan()
    best = None
    for number in range(1, REHEARSALS + 1):
        rehearsal = _rehearse(spec, kernel, workload, seed, plan.params())
        if best is None or rehearsal.score > best.score:
            best = rehearsal
        if rehearsal.perfect:
            break
        learnt = plan.add(rehearsal.stuck)
        if number >= PATIENCE or not learnt:
            if not rehearsal.failed and not learnt:
                break
            plan.closed |= {(last_before(whole, event) + 1, event) for event in rehearsal.failed}
    assert best is not None
    return best.params


@system(
    "oracle",
    kernel={"cma_pcp": "own", "compact_into_cma": False, "migrate_into_cma": False},
    foresee=foresee,
)
def decide(view: Integers, params: Integers) -> int:
    """Out with what will be stuck, in with everything else; without a plan nothing is lent."""
    if len(view) <= NR_VIEW or len(params) < HEAD:
        return Action.NORMAL_ONLY
    event = view[Subject.EVENT]
    pages = HEAD + 2 * params[0]
    for window in range(HEAD, pages, 2):
        if params[window] <= event <= params[window + 1]:
            return Action.NORMAL_ONLY
    nr = params[1]
    low, high = 0, nr
    while low < high:
        middle = (low + high) // 2
        if params[pages + middle] < view[Subject.FIRST]:
            low = middle + 1
        else:
            high = middle
    while low < nr and params[pages + low] <= view[Subject.LAST]:
        if params[pages + nr + low] <= event <= params[pages + 2 * nr + low]:
            return Action.NORMAL_ONLY
        low += 1
    return Action.CMA_FIRST
