"""Arbitrary lives of a machine: Hypothesis chooses the events and checks after each; a soak runs very many."""

from __future__ import annotations

import hypothesis.strategies as st
import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cma_gym.experiments.soak.life import kept_by_cpus
from cma_gym.machine.events import FileFlag, KallocFlag, Op, PinFlag, event_dtype
from cma_gym.mm.check.validate import Violation
from cma_gym.mm.mmzone import Holder, VmEvent
from tests.mm.driver import SHAPE
from tests.mm.tiny import EACH, MS, Do, Tiny

UNJITTED = bool(numba.config.DISABLE_JIT)
TASKS = 5
LAYOUTS = (
    {},
    {"zone_cma": True},
    {"cma_pcp": "own", "cma_ratio": 2},
    {
        "cma_pcp": "none",
        "lending_stops_while_busy": True,
        "shrink_before_cma_alloc": True,
        "reclaim_skips_cma": True,
    },
    {"lend": False},
    {"profile": "v4_6"},
    {"profile": "v4_6", "zone_cma": True, "high_pages": 64},
)
FILES = ((0, 0), (350, FileFlag.SHMEM), (700, FileFlag.BDEV), (700, FileFlag.BDEV | FileFlag.JOURNAL))
tasks = st.integers(1, TASKS)
offsets = st.integers(0, EACH - 48)
lengths = st.integers(1, 48)
fpages = st.integers(0, 300)
answers = st.integers(0, 2)


class Life(RuleBasedStateMachine):
    """A machine of 512 pages, half of them in use most of the time."""

    @initialize(layout=st.sampled_from(LAYOUTS), swap=st.sampled_from((0, 40, 256)))
    def boot(self, layout, swap):
        self.m = Tiny(512, 128, watermarks=True, nr_swap=swap, kernel_pages=20, boost_factor=15000, **layout)
        for task in range(1, TASKS + 1):
            self.m.spawn(task, task % 4)

    @invariant()
    def sound(self):
        if hasattr(self, "m"):
            self.m.validate()

    @rule(task=tasks, start=offsets, nr=lengths, write=st.booleans(), action=answers)
    def touch(self, task, start, nr, write, action):
        self.m.touch(task, start, nr, write=write, action=action)

    @rule(start=st.integers(0, 270), nr=lengths, flags=st.integers(0, 7), kind=st.integers(0, 3), action=answers)
    def use_file(self, start, nr, flags, kind, action):
        area, more = FILES[kind]
        self.m.file(area + start, nr, flags | more, value=50_000, action=action)

    @rule(task=tasks, start=offsets, nr=lengths)
    def unmap(self, task, start, nr):
        self.m.event(Op.UNMAP, task, task * EACH + start, nr)

    @rule(start=fpages, nr=lengths, op=st.sampled_from((Op.SYNC, Op.TRUNCATE)), area=st.sampled_from((0, 350, 700)))
    def change_file(self, start, nr, op, area):
        self.m.event(op, 1, min(start + area, 1024 - nr), nr)

    @rule(task=tasks, start=offsets, nr=st.integers(1, 6), ms=st.integers(1, 300), longterm=st.booleans())
    def pin(self, task, start, nr, ms, longterm):
        self.m.pin(task, start, nr, ms * MS, longterm=longterm)

    @rule(start=fpages, nr=st.integers(1, 6), ms=st.integers(1, 300))
    def pin_file(self, start, nr, ms):
        self.m.event(Op.PIN, 1, start, nr, Holder.BUFFER_HEAD << 4 | PinFlag.FILE, ms * 1000)

    @rule(task=tasks, start=offsets, nr=st.integers(1, 10), lock=st.integers(0, 1))
    def mlock(self, task, start, nr, lock):
        self.m.event(Op.MLOCK, task, task * EACH + start, nr, lock)

    @rule(task=tasks, parent=tasks)
    def fork(self, task, parent):
        if task != parent:
            self.m.event(Op.FORK, task, task * EACH, EACH, 1, parent)

    @rule(task=tasks)
    def exit(self, task):
        self.m.event(Op.EXIT, task)

    @rule(task=tasks, importance=st.integers(0, 3))
    def spawn(self, task, importance):
        self.m.spawn(task, importance)

    @rule(start=st.integers(0, 100), nr=st.integers(1, 20), order=st.integers(0, 4), flags=st.integers(0, 15))
    def kalloc(self, start, nr, order, flags):
        assert flags < 2 * KallocFlag.PAGE_TABLE
        self.m.event(Op.KALLOC, 0, start, nr, order << 4 | flags)

    @rule(start=st.integers(0, 100), nr=st.integers(1, 20))
    def kfree(self, start, nr):
        self.m.event(Op.KFREE, 0, start, nr)

    @rule(
        whole=st.booleans(),
        nr=st.integers(1, 40),
        pieces=st.integers(1, 9),
        align=st.integers(0, 4),
        ms=st.integers(0, 200),
    )
    def demand(self, whole, nr, pieces, align, ms):
        self.m.event(Op.DEMAND, ms, 1, *((128, align, 1) if whole else (nr, align, pieces)))

    @rule(ms=st.integers(1, 400))
    def idle(self, ms):
        self.m.idle(ms * MS)

    @rule(steps=st.integers(1, 4))
    def step_demands(self, steps):
        for _ in range(steps):
            self.m.do(Do.STEP_DEMANDS)
            self.m.validate()

    @rule(order=st.integers(0, 5), zone=st.integers(0, 3))
    def compact(self, order, zone):
        self.m.do(Do.COMPACT, 0, order, 1, zone)

    @rule(which=st.sampled_from((Do.DRAIN, Do.DRAIN_LRU)))
    def drain(self, which):
        self.m.do(which)

    def teardown(self):
        if not hasattr(self, "m"):
            return
        m = self.m
        m.idle(3000 * MS)
        for task in range(1, TASKS + 1):
            m.event(Op.EXIT, task)
        m.event(Op.TRUNCATE, 0, 0, 1024)
        m.event(Op.KFREE, 0, 0, EACH)
        m.idle(3000 * MS)
        m.do(Do.DRAIN_LRU)
        m.validate()
        left = m.kinds()
        held = int(m.mem["cma"]["nr_allocated"]) + len(kept_by_cpus(m.mem))
        assert left.get("k", 0) == 20 and sum(left.values()) == 20 + held, f"pages were lost: {left}"
        assert m.events(VmEvent.PIN_LOST) == 0 or m.mem["nr_pins"] == 0


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=4 if UNJITTED else 400,
    stateful_step_count=8 if UNJITTED else 60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.skipif(UNJITTED, reason="a soak is for compiled code")
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_soak(layout):
    """100,000 random events on each layout, checked every 5,000."""
    m = Tiny(1024, 256, block_order=5, watermarks=True, nr_swap=300, kernel_pages=30, boost_factor=15000, **layout)
    for task in range(1, SHAPE.nr_tasks):
        m.spawn(task, task % 4)
    event = np.zeros(1, event_dtype)
    for _ in range(20):
        found = m.do(Do.SOAK, 5000, 5000, event=event)
        assert found == 0, f"{Violation(found >> 40).name} at {found & ((1 << 40) - 1)}"
    for counter in (VmEvent.PSWPOUT, VmEvent.PGMIGRATE_SUCCESS, VmEvent.CMA_ALLOC_SUCCESS, VmEvent.KSWAPD_WAKE):
        assert m.events(counter) > 0, counter.name
    assert m.events(VmEvent.EVENTS) >= 100_000
