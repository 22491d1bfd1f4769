"""References that devices and slow readers held: a stock trace has no event for them, but the kernel counts them.

How many anonymous pages are held at a moment follows from the census before a demand: those of the area with more
references than mappings, as there are more of all anonymous pages than lie in the area; where the area has next to no
anonymous memory, or there was no census, those of FOLL_PIN acquired and not yet released (nr_foll_pin_*; long-term
pins, which are moved out of the area, are counted with the others). Assumptions: between two counts the number changes
evenly; held pages are buffers of up to BUFFER_PAGES neighbouring pages, on any task's anonymous memory alike; each is
held for HOLD_NS, TURNS of them in turn.
"""

from __future__ import annotations

import numpy as np

from cma_gym.machine.events import PIN_HOLDER_SHIFT, Op, event_dtype
from cma_gym.mm.mmzone import Holder
from cma_gym.recording.layout import Layout
from cma_gym.recording.text.kernel import KernelText, Snap
from cma_gym.recording.text.kinds import KERNEL_TASK, NOBODY_TASK

BUFFER_PAGES = 512
"""Largest buffer that is pinned at once. Assumption: 2 MB."""
HOLD_NS = 500_000_000
"""How long a buffer is held. Assumption: drivers of the recorded guest hold pages for 50-950 ms, its slow readers for
0.2-1.7 s (the recordings' description). The rate of FOLL_PIN tells no more than a lower bound: direct I/O that holds
pages for moments only is counted with the others."""
TURNS = 4
"""Buffers that are held at a time, at least."""
LRU_BATCH = 31
"""Pages that a CPU's LRU batch refers to: so many extra references mean nothing. Linux: PAGEVEC_SIZE, 6.10 and later"""
_CENSUS_PERCENT = 5
"""Share of the area that must be anonymous for its census to tell of all anonymous memory [%]."""
_SPREAD = 0x9E3779B1
"""Multiplying by it (2**32 divided by the golden ratio) spreads consecutive numbers evenly."""


def held_pages(text: KernelText, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """(time from the start of the recording [ns], anonymous pages held) wherever the kernel told."""
    fewest = LRU_BATCH * text.boot.number("ncpu", 2)
    found = [(0, _pinned(text.start.vmstat))]
    for snap in text.snaps():
        held = _census(snap, fewest)
        found.append((int(snap.time_s * 1e9) - start_ns, _pinned(snap.vmstat) if held < 0 else held))
    found.append((end_ns, _pinned(text.stop.vmstat)))
    return [(min(max(time, 0), end_ns), held if held > fewest else 0) for time, held in found]


def _pinned(vmstat: dict[str, int]) -> int:
    return vmstat.get("nr_foll_pin_acquired", 0) - vmstat.get("nr_foll_pin_released", 0)


def _census(snap: Snap, fewest: int) -> int:
    """Held anonymous pages by the census of the area; -1 if it does not tell. The journal's pages are block device."""
    scan = snap.scan
    anon = scan.get("anon", 0)
    if "extra" not in scan or 100 * anon < _CENSUS_PERCENT * scan.get("count", 0):
        return -1
    extra = max(0, scan["extra"] - scan.get("bdev", 0))
    if extra <= fewest:
        return 0
    return extra * max(snap.vmstat.get("nr_anon_pages", anon), anon) // anon


def with_pins(text: KernelText, layout: Layout, start_ns: int, end_ns: int) -> np.ndarray:
    """The events of a workload, and the pins that the kernel counted."""
    lives = _lives(layout, end_ns)
    counts = held_pages(text, start_ns, end_ns)
    pins: list[tuple[int, ...]] = []
    for (begin, before), (end, after) in zip(counts, counts[1:], strict=False):
        for time in range(begin, end, HOLD_NS // TURNS):
            wanted = before + (after - before) * (time - begin) // (end - begin)
            pins += _pins(lives, time, wanted // TURNS, min(HOLD_NS, end_ns - time), len(pins))
    events = np.concatenate([layout.events, np.array(pins, event_dtype)])
    return events[np.argsort(events["time"], kind="stable")]


def _lives(layout: Layout, end_ns: int) -> list[tuple[int, int, int, int, int]]:
    """(begin, end, task, first virtual page, pages) of each task that has anonymous memory of its own."""
    lives, running = [], {}
    nobody = (KERNEL_TASK, int(layout.ids[NOBODY_TASK]))
    for event in layout.events[np.isin(layout.events["op"], (Op.SPAWN, Op.EXIT))]:
        task = int(event["task"])
        if event["op"] == Op.SPAWN and task not in nobody and event["nr"] > 0:
            running[task] = (int(event["time"]), int(event["start"]), int(event["nr"]))
        elif event["op"] == Op.EXIT and task in running:
            begin, first, nr = running.pop(task)
            lives.append((begin, int(event["time"]), task, first, nr))
    lives += [(begin, end_ns, task, first, nr) for task, (begin, first, nr) in running.items()]
    return sorted(lives)


def _pins(
    lives: list[tuple[int, int, int, int, int]], time: int, wanted: int, hold: int, serial: int
) -> list[tuple[int, ...]]:
    """PIN events at a moment, for `wanted` pages of the tasks that live then."""
    alive = [life for life in lives if life[0] < time < life[1]]
    total = sum(life[4] for life in alive)
    found: list[tuple[int, ...]] = []
    left = min(wanted, total)
    while left > 0:
        serial += 1
        place = serial * _SPREAD % (1 << 32) * total >> 32
        at = 0
        while at + 1 < len(alive) and place >= alive[at][4]:
            place -= alive[at][4]
            at += 1
        task, first, nr = alive[at][2:]
        pages = min(left, nr, BUFFER_PAGES)
        start = first + min(place, nr - pages)
        found.append((time, Op.PIN, task, start, pages, Holder.DIRECT_IO << PIN_HOLDER_SHIFT, hold // 1000))
        left -= pages
    return found
