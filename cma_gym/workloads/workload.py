"""A workload: a stream of events and the sizes it needs; saved as one .npz file."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cma_gym.machine.boot_state import StartState, start_page_dtype, start_slot_dtype, start_zone_dtype
from cma_gym.machine.events import KALLOC_ORDER_MASK, KALLOC_ORDER_SHIFT, NR_OPS, PIN_HOLDER_SHIFT, Op, event_dtype
from cma_gym.mm.mmzone import NR_HOLDERS, NR_PAGE_ORDERS, NR_PIECES, Importance
from cma_gym.support.files import whole_file

FORMAT = "cma-gym-workload-2"
_READABLE = (FORMAT, "cma-gym-workload-1")
"""The first format had no start state."""
_START = {"page": start_page_dtype, "block": np.dtype("u1"), "zone": start_zone_dtype, "swap": start_slot_dtype}
_LARGEST_ALIGN_ORDER = 20
_DAMAGE = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)


class WorkloadError(ValueError):
    """A workload, scenario or trace that cannot be used; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Workload:
    """Events of one stream, sorted by time, and what a machine must provide to run them."""

    name: str
    events: np.ndarray
    """Array of `event_dtype`."""
    nr_vpages: int
    """One more than the largest virtual page named."""
    nr_fpages: int
    """One more than the largest file page named."""
    nr_tasks: int
    """One more than the largest task named."""
    meta: dict[str, Any] = field(default_factory=dict)
    """JSON-plain facts about its origin: family, seed, machine sizes, or the report of a trace import."""
    start: StartState | None = None
    """What the machine's memory holds when the events begin; None: what an ordinary boot leaves."""

    def check(self) -> Workload:
        """This workload, if its events are sane.

        Raises:
            WorkloadError: events out of order, unknown ops, or numbers outside the declared sizes.
        """
        events = self.events
        if events.dtype != event_dtype:
            raise WorkloadError(f"workload {self.name}: events are not of the event dtype; import or generate it again")
        if len(events) == 0:
            raise WorkloadError(f"workload {self.name}: it has no events; nothing could be measured with it")
        self._refuse(np.diff(events["time"]) < 0, "goes back in time", first=1)
        self._refuse((events["op"] < 0) | (events["op"] >= NR_OPS), "has an unknown op")
        self._refuse((events["task"] < 0) & (events["op"] != Op.DEMAND), "names a negative task")
        self._refuse(
            (events["op"] != Op.DEMAND) & (events["task"] >= self.nr_tasks), f"names a task beyond {self.nr_tasks}"
        )
        self._refuse((events["start"] < 0) | (events["nr"] < 0), "names a negative page range")
        is_file = self._names_file_pages(events)
        span = events["start"].astype(np.int64) + events["nr"]
        limit = np.where(is_file, self.nr_fpages, self.nr_vpages)
        self._refuse((events["op"] != Op.DEMAND) & (span > limit), "names pages beyond the declared sizes")
        self._check_arguments(events["op"], events["arg"], events["value"])
        return self

    def _check_arguments(self, op: np.ndarray, arg: np.ndarray, value: np.ndarray) -> None:
        starts = (op == Op.SPAWN) | (op == Op.FORK)
        classes = starts | (op == Op.IMPORTANCE)
        self._refuse(classes & ((arg < 0) | (arg >= len(Importance))), "names an unknown importance class")
        self._refuse((op == Op.FORK) & ((value < 0) | (value >= self.nr_tasks)), "forks from an unknown task")
        self._refuse(arg < 0, "has negative flags")
        order = arg >> KALLOC_ORDER_SHIFT & KALLOC_ORDER_MASK
        self._refuse((op == Op.KALLOC) & (order >= NR_PAGE_ORDERS), "asks for an order above 10")
        self._refuse((op == Op.PIN) & (arg >> PIN_HOLDER_SHIFT >= NR_HOLDERS), "names an unknown holder")
        asks = op == Op.DEMAND
        self._refuse(asks & ((value < 1) | (value > NR_PIECES)), f"asks for no piece, or for more than {NR_PIECES}")
        self._refuse(asks & (self.events["nr"] < 1), "asks for pieces without a page")
        self._refuse(asks & (arg > _LARGEST_ALIGN_ORDER), "asks for an alignment above 2**20 pages")

    @staticmethod
    def _names_file_pages(events: np.ndarray) -> np.ndarray:
        op = events["op"]
        named: np.ndarray = np.isin(op, (Op.FILE, Op.SYNC, Op.TRUNCATE)) | ((op == Op.PIN) & (events["arg"] & 1 == 1))
        return named

    def _refuse(self, bad: np.ndarray, what: str, first: int = 0) -> None:
        if bad.any():
            at = int(np.argmax(bad)) + first
            raise WorkloadError(f"workload {self.name}: event {at} {what} ({self.events[at]}); make it again")


def save(workload: Workload, path: str | os.PathLike[str]) -> None:
    """Write a workload, completely or not at all."""
    header = {
        "format": FORMAT,
        "name": workload.name,
        "nr_vpages": workload.nr_vpages,
        "nr_fpages": workload.nr_fpages,
        "nr_tasks": workload.nr_tasks,
        "meta": workload.meta,
        "start": None if workload.start is None else workload.start.numbers(),
    }
    arrays = {} if workload.start is None else {f"start_{name}": getattr(workload.start, name) for name in _START}
    with whole_file(path, "wb") as out:
        np.savez_compressed(out, events=workload.events, header=np.array(json.dumps(header, sort_keys=True)), **arrays)


def load(path: str | os.PathLike[str]) -> Workload:
    """Read a workload written by `save`; no code in the file is ever executed.

    Raises:
        WorkloadError: not such a file, or a damaged one.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            events = archive["events"]
            start = _start(archive, header)
    except FileNotFoundError:
        raise WorkloadError(f"{path}: no such workload file; make one with import-trace") from None
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except _DAMAGE:
        raise WorkloadError(f"{path}: not a workload file, or a damaged one; make it again with import-trace") from None
    if not isinstance(header, dict) or header.get("format") not in _READABLE:
        raise WorkloadError(f"{path}: written in another format than {FORMAT}; make it again with import-trace")
    if events.dtype == event_dtype:
        events = events.view(event_dtype)  # a stored dtype is equal but has lost its alignment flag
    sizes = {key: int(header[key]) for key in ("nr_vpages", "nr_fpages", "nr_tasks")}
    meta = header.get("meta", {})
    return Workload(name=str(header["name"]), events=events, meta=meta, start=start, **sizes).check()


def _start(archive: Any, header: Any) -> StartState | None:
    """The start state of a stored workload, if it has one."""
    numbers = header.get("start") if isinstance(header, dict) else None
    if numbers is None:
        return None
    arrays = {}
    for name, dtype in _START.items():
        stored = archive[f"start_{name}"]
        if stored.dtype != dtype:
            raise ValueError(f"start_{name} has another dtype")
        arrays[name] = stored.view(dtype)
    fields: dict[str, Any] = {**arrays, **{name: int(value) for name, value in numbers.items()}}
    return StartState(**fields)
