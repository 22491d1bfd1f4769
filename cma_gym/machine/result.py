"""Reading a machine: metrics, demands, blame. Nothing here changes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cma_gym.mm.mmzone import BLAME_LOG, DEMAND_LOG, Holder, Importance, PageKind, VmEvent

METRICS = (
    "whole_success",
    "whole_first",
    "pieces_success",
    "pieces_first",
    "whole_demands",
    "pieces_demands",
    "demand_ms_p50",
    "demand_ms_p99",
    "stall_ms",
    "swap_ms",
    "refault_ms",
    "kills",
    "cma_idle",
    "atomic_fails",
    "alloc_fails",
    "decisions",
    "events",
    "pswpin",
    "pswpout",
    "refault_anon",
    "refault_file",
    "pgmigrate_success",
    "pgmigrate_fail",
    "demand_lost_ms",
    "demand_writeback_ms",
    "demand_reclaim_ms",
)
"""Names of the metrics, in the order of every table."""

NS_PER_MS = 1e6


def _share(ok: int, tried: int) -> float:
    return ok / tried if tried else float("nan")


def _logged(log: np.ndarray, written: int, capacity: int) -> np.ndarray:
    """The entries of a ring, oldest first."""
    if written <= capacity:
        return log[:written].copy()
    return np.roll(log, -(written % capacity), axis=0)


def demand_table(mem: Any) -> np.ndarray:
    """Ended demands, oldest first: array of mm_types.demand_record (the latest 256)."""
    return _logged(np.asarray(mem["demand_log"]), int(mem["nr_demands_logged"]), DEMAND_LOG)


def blame_table(mem: Any) -> np.ndarray:
    """Pages that held up demands, oldest first: array of mm_types.blame (the latest 512)."""
    return _logged(np.asarray(mem["blame_log"]), int(mem["nr_blames_logged"]), BLAME_LOG)


def held_up(mem: Any) -> list[dict[str, Any]]:
    """Who held demands up since boot, by kind of page and holder, the costliest first.

    `pages` and `tries_failed` count refusals and the failed tries they took part in; `delay_ms` is their share of the
    time those tries lost, the wait for the next one included. `owner` is the class whose pages they mostly were ("" for
    page cache). Medians from histograms of octaves, over the first 32 pages of each attempt: `age_ms` since allocation,
    `held_ms` since the page's longest reference was taken, `left_ms` until it ends (nan: not known).
    """
    sums = np.asarray(mem["blame_sum"])
    found = [
        {
            "kind": PageKind(kind).name.lower(),
            "holder": Holder(holder).name.lower(),
            "owner": Importance(int(entry["owner"].argmax())).name.lower() if entry["owner"].any() else "",
            "pages": int(entry["pages"]),
            "tries_failed": int(entry["tries_failed"]),
            "delay_ms": float(entry["delay_ns"] / NS_PER_MS),
            **{f"{name}_ms": _octave_median(entry[name]) for name in ("age", "held", "left")},
        }
        for kind, holder in np.argwhere(sums["pages"]).tolist()
        for entry in (sums[kind, holder],)
    ]
    return sorted(found, key=lambda entry: (-entry["delay_ms"], -entry["pages"], entry["kind"], entry["holder"]))


def _octave_median(counts: np.ndarray) -> float:
    """Median of a histogram whose bucket b > 0 holds 2**(b-1) .. 2**b - 1, spread evenly within the bucket."""
    total = int(counts.sum())
    if total == 0:
        return float("nan")
    reached = np.cumsum(counts)
    bucket = int(np.searchsorted(reached, total / 2))
    if bucket == 0:
        return 0.0
    low = 2.0 ** (bucket - 1)
    return float(low + (low - 1) * (total / 2 - reached[bucket - 1]) / counts[bucket])


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")


def metrics(mem: Any) -> dict[str, float]:
    """What a user of the machine felt, by the names in METRICS.

    Times are milliseconds; `demand_ms_*` are latencies of successful demands from the first try on, waits between tries
    included; `cma_idle` is the free share of the area, averaged over time; shares are nan where nothing was tried.
    Why demands were slow, summed over them: `demand_lost_ms` went into attempts that failed and the waits after them,
    `demand_writeback_ms` into waiting for the device, `demand_reclaim_ms` into reclaiming room for what was moved.
    """
    m, events = mem["metrics"], mem["vm_event"]
    demands = demand_table(mem)
    latency = demands["latency_ns"][demands["ok"] == 1] / NS_PER_MS
    values: dict[str, float] = {
        "whole_success": _share(m["whole_ok"], m["whole_tried"]),
        "whole_first": _share(m["whole_first_ok"], m["whole_tried"]),
        "pieces_success": _share(m["pieces_ok"], m["pieces_tried"]),
        "pieces_first": _share(m["pieces_first_ok"], m["pieces_tried"]),
        "whole_demands": m["whole_tried"],
        "pieces_demands": m["pieces_tried"],
        "demand_ms_p50": _percentile(latency, 50),
        "demand_ms_p99": _percentile(latency, 99),
        "stall_ms": m["stall_ns"] / NS_PER_MS,
        "swap_ms": m["swap_ns"] / NS_PER_MS,
        "refault_ms": m["refault_ns"] / NS_PER_MS,
        "kills": m["kills"],
        "cma_idle": m["cma_idle_ns"] / m["time_ns"] if m["time_ns"] else float("nan"),
        "atomic_fails": events[VmEvent.ATOMIC_FAIL],
        "alloc_fails": events[VmEvent.ALLOC_FAIL],
        "decisions": events[VmEvent.DECISIONS],
        "events": events[VmEvent.EVENTS],
        "pswpin": events[VmEvent.PSWPIN],
        "pswpout": events[VmEvent.PSWPOUT],
        "refault_anon": events[VmEvent.WORKINGSET_REFAULT_ANON],
        "refault_file": events[VmEvent.WORKINGSET_REFAULT_FILE],
        "pgmigrate_success": events[VmEvent.PGMIGRATE_SUCCESS],
        "pgmigrate_fail": events[VmEvent.PGMIGRATE_FAIL],
        "demand_lost_ms": demands["delay_ns"].sum() / NS_PER_MS,
        "demand_writeback_ms": demands["writeback_ns"].sum() / NS_PER_MS,
        "demand_reclaim_ms": demands["reclaim_ns"].sum() / NS_PER_MS,
    }
    return {name: float(values[name]) for name in METRICS}
