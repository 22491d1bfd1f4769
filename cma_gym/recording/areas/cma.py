"""Contiguous allocations of a recording as demands: what was wanted, whatever the recorded kernel made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from statistics import median_low
from typing import Any

import numpy as np

from cma_gym.machine.events import Op, event_dtype
from cma_gym.recording.text.format import TraceEvent
from cma_gym.recording.text.kernel import KernelText

RETRY_GAP_NS = 500_000_000
"""Attempts of one size by one task that follow each other this closely are one demand (assumption). Callers retry after
some 100 ms; a slow, emulated CPU stretches that to 450 ms in recordings, while demands lie a second or more apart."""
DEFAULT_HOLD_MS = 300
"""How long a buffer is held where no release was recorded for any (assumption)."""
_MAX_HOLD_MS = (1 << 31) - 1

attempt_events = (TraceEvent.CMA_START, TraceEvent.CMA_FINISH, TraceEvent.CMA_ALLOC, TraceEvent.CMA_RELEASE)


@dataclass
class Demand:
    """Attempts that want the same thing. Times in ns from the start of the recording."""

    pid: int
    nr_pages: int
    """Of one piece."""
    align_order: int
    first_ns: int
    last_ns: int
    tries: int = 0
    got: int = 0
    last_failed: bool = False
    done: bool = False
    """A piece was given back: what comes next is another demand."""
    release_ns: int = -1
    held: set[int] = field(default_factory=set, repr=False)
    first_failed: bool = False

    @property
    def pieces(self) -> int:
        """Pieces wanted, as far as the attempts show: those obtained, and the one that failed last."""
        return self.got + self.last_failed

    def as_dict(self) -> dict[str, Any]:
        """JSON-plain facts; no frame numbers."""
        facts = asdict(self)
        del facts["held"], facts["done"]
        return facts | {"pieces": self.pieces, "served": not self.last_failed}


class DemandFinder:
    """Groups attempts into demands while records stream by."""

    def __init__(self) -> None:
        self.demands: list[Demand] = []
        self.unfinished = 0
        """Attempts without an end in the recording."""
        self._started: dict[int, np.record] = {}
        self._latest: dict[tuple[int, int, int], Demand] = {}

    def take(self, records: np.ndarray, start_ns: int) -> None:
        """Look at records in the order of the recording.

        Args:
            records: array of `ftrace_format.record_dtype`.
            start_ns: time of the recording's first event [ns].
        """
        chosen = (records["event"] >= min(attempt_events)) & (records["event"] <= max(attempt_events))
        for record in records[chosen].copy():
            event, pid = int(record["event"]), int(record["pid"])
            time = max(int(record["time"]) - start_ns, 0)
            if event == TraceEvent.CMA_START:
                self.unfinished += pid in self._started
                self._started[pid] = record
                self._demand(record, time)
            elif event == TraceEvent.CMA_RELEASE:
                self._release(int(record["pfn"]), time)
            else:
                started = self._started.pop(pid, record)
                self._finish(started, record, time)

    def close(self) -> None:
        """The recording is over; demands of which no attempt ended are dropped."""
        self.unfinished += len(self._started)
        self.demands = [demand for demand in self.demands if demand.tries]

    def _demand(self, record: np.record, time: int) -> Demand:
        key = (int(record["pid"]), int(record["count"]), int(record["align"]))
        demand = self._latest.get(key)
        if demand is None or demand.done or time - demand.last_ns > RETRY_GAP_NS:
            demand = Demand(pid=key[0], nr_pages=key[1], align_order=key[2], first_ns=time, last_ns=time)
            self._latest[key] = demand
            self.demands.append(demand)
        return demand

    def _finish(self, started: np.record, record: np.record, time: int) -> None:
        key = (int(started["pid"]), int(started["count"]), int(started["align"]))
        # An attempt may take seconds; it belongs where it started.
        demand = self._latest[key] if key in self._latest and started is not record else self._demand(started, time)
        demand.tries += 1
        demand.last_ns = time
        demand.last_failed = bool(record["failed"]) or int(record["pfn"]) <= 0
        if demand.last_failed:
            demand.first_failed |= demand.tries == 1
        else:
            demand.got += 1
            demand.held.add(int(record["pfn"]))

    def _release(self, pfn: int, time: int) -> None:
        for demand in reversed(self.demands):
            if pfn in demand.held:
                demand.held.remove(pfn)
                demand.done = True
                demand.release_ns = time if demand.release_ns < 0 else demand.release_ns
                return


def usual_hold_ms(demands: Iterable[Demand]) -> int:
    """How long a buffer was held, as the median of those that were obtained and released."""
    ended = [demand for demand in demands if demand.release_ns >= 0 and not demand.last_failed]
    holds = [(demand.release_ns - demand.last_ns) // 1_000_000 for demand in ended]
    return min(max(median_low(holds), 0), _MAX_HOLD_MS) if holds else DEFAULT_HOLD_MS


def demand_events_of(text: KernelText, found: Iterable[Demand], start_ns: int, end_ns: int) -> np.ndarray:
    """DEMAND events for the demands that the kernel's text lists, in its order, with its index as their id.

    The trace gives what the text lacks: the alignment, and how long buffers are held. A demand whose last pieces were
    never asked for wanted as many as the largest of its size (assumption).

    Args:
        text: what the kernel said.
        found: the demands that the attempts in the trace suggest.
        start_ns: time of the recording's first event, on the clock of the text's times [ns].
        end_ns: length of the recording [ns].
    """
    found = list(found)
    aligns = {demand.nr_pages: demand.align_order for demand in found}
    most: dict[int, int] = {}
    made = [(ident, demand) for ident, demand in enumerate(text.demands) if demand.attempts]
    for _, demand in made:
        size = demand.attempts[0].nr_pages
        most[size] = max(most.get(size, 1), demand.pieces)
    events = np.zeros(len(made), event_dtype)
    hold = usual_hold_ms(found)
    for event, (ident, demand) in zip(events, made, strict=True):
        size = demand.attempts[0].nr_pages
        at = min(max(int(demand.attempts[0].start_s * 1e9) - start_ns, 0), end_ns)
        pieces = demand.pieces if demand.ok else most[size]
        event["time"], event["op"], event["task"], event["start"] = at, Op.DEMAND, hold, ident
        event["nr"], event["arg"], event["value"] = size, aligns.get(size, 0), pieces
    return events


def demand_events(demands: Iterable[Demand], end_ns: int) -> np.ndarray:
    """DEMAND events, one for each demand.

    A demand that ended in failure shows fewer pieces than were wanted; it is taken to have wanted as many as the
    largest demand of the same size (assumption). Buffers that were never released, or never obtained, are held as long
    as the median of the others (assumption).
    """
    demands = list(demands)
    most: dict[tuple[int, int], int] = {}
    for demand in demands:
        key = (demand.nr_pages, demand.align_order)
        most[key] = max(most.get(key, 1), demand.pieces)
    usual = usual_hold_ms(demands)
    events = np.zeros(len(demands), event_dtype)
    for ident, demand in enumerate(demands):
        held = (demand.release_ns - demand.last_ns) // 1_000_000
        if demand.release_ns < 0 or demand.last_failed:
            held = usual
        pieces = most[(demand.nr_pages, demand.align_order)] if demand.last_failed else demand.pieces
        hold, start = min(max(held, 0), _MAX_HOLD_MS), min(demand.first_ns, end_ns)
        events[ident] = (start, Op.DEMAND, hold, ident, demand.nr_pages, demand.align_order, pieces)
    return events
