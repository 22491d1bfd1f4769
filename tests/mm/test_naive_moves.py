"""cma_alloc() among movable, pinned and kernel pages against the naive twin; each step is checked."""

from __future__ import annotations

import hypothesis.strategies as st
import numba
import numpy as np
from hypothesis import HealthCheck, assume, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cma_gym.machine.events import Op
from cma_gym.mm.mmzone import Holder, PageKind
from tests.mm.naive_moves import Moves
from tests.mm.tiny import EACH, LONG_NS, MS, Do, Tiny

UNJITTED = bool(numba.config.DISABLE_JIT)
NR_PAGES = 256
AREA = range(192, 256)
KERNELS = (
    {},
    {"cma_pcp": "own"},
    {"cma_pcp": "none"},
    {"cma_ratio": 2},
    {"migrate_into_cma": False},
    {"migrate_into_cma": False, "profile": "v4_6"},
)
"""In 4.6 copies wait in LRU batches; where they may land in the area they hold up the next place, which is not modelled
here."""
offsets = st.integers(0, EACH - 1)


class MovesOfBoth(RuleBasedStateMachine):
    """The machine and the twin; one task, no swap, nothing that reclaim could free."""

    @initialize(kernel=st.sampled_from(KERNELS))
    def boot(self, kernel):
        self.m = Tiny(NR_PAGES, len(AREA), nr_swap=0, lmk=False, **kernel)
        self.into_area = kernel.get("migrate_into_cma", True)
        self.twin = Moves(NR_PAGES, AREA, 16)
        self.handles = 0

    def now(self) -> dict[int, int]:
        entries = self.m.mem["pte"]["entry"][EACH : 2 * EACH]
        return {int(vpn): int(entries[vpn]) for vpn in np.flatnonzero(entries >= 0)}

    @rule(vpn=offsets, nr=st.integers(1, 12), action=st.sampled_from((1, 2, 2)))
    def touch(self, vpn, nr, action):
        for page in range(vpn, min(vpn + nr, EACH)):
            if page in self.twin.anon or len(self.twin.anon) > 70:
                continue
            self.m.touch(1, page, action=action)
            self.twin.fault(page, self.m.entry(1, page))
        if not self.m.mem["kernel"]["lru_cache_disable"]:
            self.m.idle(MS)  # a fault at work would put its page into a batch behind the drain

    @rule(vpn=offsets, nr=st.integers(1, 12))
    def unmap(self, vpn, nr):
        for page in range(vpn, min(vpn + nr, EACH)):
            if self.twin.anon.get(page) in self.twin.pinned:
                continue
            self.m.event(Op.UNMAP, 1, EACH + page, 1)
            self.twin.anon.pop(page, None)
        self.m.idle(MS)  # until then they are gathered, and belong to nobody
        self.m.do(Do.DRAIN_LRU)

    @rule()
    def kalloc(self):
        if self.handles < 20:
            self.m.event(Op.KALLOC, 0, self.handles, 1, 0)
            self.twin.kalloc(int(self.m.mem["pte"]["entry"][self.handles]))
            self.handles += 1

    @rule(index=offsets)
    def pin(self, index):
        """Hold a page, one of the area if there is one."""
        frames = sorted(self.twin.anon.values(), reverse=True)[:30]
        if frames and len(self.twin.pinned) < 4:
            pfn = frames[index % len(frames)]
            if pfn not in self.twin.pinned:
                self.m.do(Do.DRAIN_LRU)
                self.m.hold(pfn, LONG_NS, Holder.DRIVER)
                self.twin.pinned.add(pfn)

    @precondition(lambda self: self.twin.pinned)
    @rule()
    def unpin_all(self):
        self.m.idle(LONG_NS + 1)
        self.twin.pinned.clear()

    @rule(nr=st.one_of(st.just(len(AREA)), st.integers(1, 24)), align=st.integers(0, 4))
    def cma_alloc(self, nr, align):
        assume(not self.twin.may_lack(nr) or nr == len(AREA) and self.twin.nr_free() > 160)
        choice = self.m.do(Do.CMA_ALLOC, nr, align)
        self.twin.cma_alloc(nr, 1 << align, choice, self.now(), self.into_area)

    @rule(index=st.integers(0, 9))
    def cma_release(self, index):
        if self.twin.buffers:
            pfn = sorted(self.twin.buffers)[index % len(self.twin.buffers)]
            self.m.do(Do.CMA_RELEASE, pfn, self.twin.buffers.pop(pfn))

    @rule()
    def release_all(self):
        for _ in range(len(self.twin.buffers)):
            self.cma_release(0)

    @invariant()
    def agree(self):
        if not hasattr(self, "m"):
            return
        self.m.validate()
        m, twin = self.m, self.twin
        assert self.now() == twin.anon
        used = np.flatnonzero(m.page["kind"][:NR_PAGES] != PageKind.FREE)
        assert set(map(int, used)) == twin.used()
        assert {AREA.start + bit for bit in m.bits()} == twin.taken()
        assert m.mem["cma"]["nr_allocated"] == len(twin.taken())


TestMovesOfBoth = MovesOfBoth.TestCase
TestMovesOfBoth.settings = settings(
    max_examples=2 if UNJITTED else 300,
    stateful_step_count=8 if UNJITTED else 50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
