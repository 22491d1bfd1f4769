"""References that devices held: a stock trace has no event for them, but the kernel counts those of FOLL_PIN.

Pages pinned at a moment are those acquired and not yet released (nr_foll_pin_* of START, SNAPs and STOP); how long a
pin lasts on average follows from that and from the rate of new ones (Little's law). Assumptions: between two counts the
number changes evenly; pins lie on buffers of up to BUFFER_PAGES neighbouring pages, on any task's anonymous memory
alike; all pins of an interval last equally long. Long-term pins, which are moved out of the area, are counted with
the others.
"""

from __future__ import annotations

import numpy as np

from cma_gym.machine.events import PIN_HOLDER_SHIFT, Op, event_dtype
from cma_gym.mm.mmzone import Holder
from cma_gym.workloads.ftrace_kinds import KERNEL_TASK, NOBODY_TASK
from cma_gym.workloads.ftrace_layout import Layout
from cma_gym.workloads.kernel_text import KernelText

BUFFER_PAGES = 512
"""Largest buffer that is pinned at once. Assumption: 2 MB."""
FEWEST_PAGES = 32
"""Fewer pinned pages are a system call caught in the act, of a microsecond's length."""
_SHORTEST_NS = 1_000_000
_SPREAD = 0x9E3779B1
"""Multiplying by it (2**32 divided by the golden ratio) spreads consecutive numbers evenly."""


def pin_counts(text: KernelText, start_ns: int, end_ns: int) -> list[tuple[int, int, int]]:
    """(time from the start of the recording [ns], pages pinned so far, released so far) wherever the kernel told."""
    states = [(0, text.start.vmstat)]
    states += [(int(snap.time_s * 1e9) - start_ns, snap.vmstat) for snap in text.snaps()]
    states += [(end_ns, text.stop.vmstat)]
    names = ("nr_foll_pin_acquired", "nr_foll_pin_released")
    return [
        (min(max(time, 0), end_ns), vmstat[names[0]], vmstat.get(names[1], 0))
        for time, vmstat in states
        if names[0] in vmstat
    ]


def with_pins(text: KernelText, layout: Layout, start_ns: int, end_ns: int) -> np.ndarray:
    """The events of a workload, and the pins that the kernel counted."""
    lives = _lives(layout, end_ns)
    counts = pin_counts(text, start_ns, end_ns)
    pins: list[tuple[int, ...]] = []
    for before, after in zip(counts, counts[1:], strict=False):
        held = before[1] - before[2], after[1] - after[2]
        acquired, span = after[1] - before[1], after[0] - before[0]
        if max(held) < FEWEST_PAGES or acquired <= 0 or span <= 0:
            continue
        hold = min(max(span * sum(held) // (2 * acquired), _SHORTEST_NS), span)
        for time in range(before[0], after[0], hold):
            wanted = held[0] + (held[1] - held[0]) * (time - before[0]) // span
            pins += _pins(lives, time, wanted, hold, len(pins))
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
