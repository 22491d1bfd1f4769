"""The buddy allocator and cma_alloc() against the naive twin, on random traces."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from cma_gym.mm.mmzone import MigrateType, PageKind
from cma_gym.mm.page_alloc import ALLOC_CMA, ALLOC_CMA_FIRST, ALLOC_NO_STEAL
from tests.mm.naive import Naive
from tests.mm.tiny import DMA32, Do, Tiny

STEPS = 60 if numba.config.DISABLE_JIT else 600


def lists(m: Tiny) -> dict[int, tuple[int, int]]:
    """(migratetype of the list, order) by free block of the machine."""
    found = {}
    for order, area in enumerate(m.mem["zones"]["free_area"][DMA32]):
        for kind, head in enumerate(area["free_list"]):
            pfn = int(m.page["next"][head])
            while pfn != head:
                found[pfn] = (kind, order)
                pfn = int(m.page["next"][pfn])
    return found


class Trace:
    """Random operations on both."""

    def __init__(self, seed: int, ratio: int, profile: str = "v6_12") -> None:
        self.rng = np.random.default_rng(seed)
        self.m = Tiny(256, 64, cma_pcp="none", cma_ratio=ratio, profile=profile)
        self.twin = Naive(256, 64, 4, ratio, profile == "v4_6")
        self.blocks: list[tuple[int, int]] = []
        self.buffers: list[tuple[int, int]] = []

    def alloc(self) -> None:
        order = int(self.rng.choice(6, p=(0.5, 0.2, 0.1, 0.1, 0.05, 0.05)))
        kind = MigrateType(int(self.rng.choice(3, p=(0.2, 0.7, 0.1))))
        flags = int(self.rng.choice((0, ALLOC_CMA, ALLOC_CMA | ALLOC_CMA_FIRST))) if kind == MigrateType.MOVABLE else 0
        flags |= ALLOC_NO_STEAL if self.rng.random() < 0.1 else 0
        pfn = self.m.do(Do.RMQUEUE_BUDDY, DMA32, order, kind, flags, PageKind.KERNEL)
        self.twin.take(order, kind, flags, pfn)
        if pfn >= 0:
            self.blocks.append((pfn, order))

    def free(self) -> None:
        if self.blocks:
            pfn, order = self.blocks.pop(int(self.rng.integers(len(self.blocks))))
            self.m.do(Do.FREE_BUDDY, pfn, order)
            self.twin.give(pfn, order)

    def cma_alloc(self) -> None:
        nr_pages, align = int(self.rng.integers(1, 24)), int(self.rng.integers(0, 4))
        pfn = self.m.do(Do.CMA_ALLOC, nr_pages, align)
        assert pfn == self.twin.cma_alloc(nr_pages, align)
        if pfn >= 0:
            self.buffers.append((pfn, nr_pages))

    def cma_release(self) -> None:
        if self.buffers:
            pfn, nr_pages = self.buffers.pop(int(self.rng.integers(len(self.buffers))))
            self.m.do(Do.CMA_RELEASE, pfn, nr_pages)
            self.twin.cma_release(pfn, nr_pages)

    def compare(self) -> None:
        assert lists(self.m) == self.twin.lists()
        assert self.m.free() == self.twin.free_pages()
        assert self.m.free_cma() == self.twin.free_pages(MigrateType.CMA)
        assert list(self.m.mem["pageblock"]["migratetype"][:16]) == self.twin.types


@pytest.mark.parametrize("profile", ["v6_12", "v4_6"])
@pytest.mark.parametrize("seed", range(6))
def test_the_naive_twin_agrees(seed, profile):
    trace = Trace(seed, (0, 2)[seed % 2], profile)
    for step in range(STEPS):
        growing = step // 100 % 2 == 0
        weights = (0.55, 0.33, 0.07, 0.05) if growing else (0.38, 0.5, 0.05, 0.07)
        (trace.alloc, trace.free, trace.cma_alloc, trace.cma_release)[int(trace.rng.choice(4, p=weights))]()
        trace.compare()
    trace.m.validate()
    while trace.blocks or trace.buffers:
        trace.free()
        trace.cma_release()
    trace.compare()
    assert trace.m.free() == 256


def short_trace() -> None:
    """What a broken core is shown to (mutations.py)."""
    for seed in range(6):
        trace = Trace(seed, (2, 0)[seed % 2], "v4_6" if seed > 3 else "v6_12")
        for _ in range(150):
            choice = int(trace.rng.choice(4, p=(0.62, 0.22, 0.1, 0.06)))
            (trace.alloc, trace.free, trace.cma_alloc, trace.cma_release)[choice]()
            trace.compare()
