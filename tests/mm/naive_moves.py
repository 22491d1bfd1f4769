"""A naive twin of cma_alloc() among pages that can be moved: sets of frames, and one rule.

The rule: a buffer is taken at the first aligned place whose bits are clear and where every used page can be moved;
what can be moved at the places tried before is moved away all the same. Where a page is moved to is the machine's
choice; the twin checks that the frame was free and is allowed, and follows it. Memory must suffice for all copies.
"""

from __future__ import annotations


class Moves:
    """Who has which frame."""

    def __init__(self, nr_pages: int, area: range, block: int) -> None:
        self.nr_pages = nr_pages
        self.area = area
        self.block = block
        self.anon: dict[int, int] = {}
        """Frame of every virtual page."""
        self.pinned: set[int] = set()
        """Frames with an extra reference."""
        self.kernel: set[int] = set()
        self.buffers: dict[int, int] = {}
        """Length by first frame."""

    def taken(self) -> set[int]:
        """Frames of buffers: the bitmap."""
        return {page for pfn, nr in self.buffers.items() for page in range(pfn, pfn + nr)}

    def used(self) -> set[int]:
        return {*self.anon.values(), *self.kernel, *self.taken()}

    def nr_free(self) -> int:
        return self.nr_pages - len(self.used())

    def may_lack(self, nr_pages: int) -> bool:
        """Whether a place of this size could want more copies than there are free pages outside its pageblocks."""
        return self.nr_free() < 2 * (nr_pages + 2 * self.block)

    def fault(self, vpn: int, pfn: int) -> None:
        assert pfn not in self.used(), f"frame {pfn} was in use"
        assert vpn not in self.anon
        self.anon[vpn] = pfn

    def kalloc(self, pfn: int) -> None:
        assert pfn not in self.used() and pfn not in self.area, f"frame {pfn} is not for the kernel"
        self.kernel.add(pfn)

    def places(self, nr_pages: int, align: int) -> list[range]:
        """Aligned places that are clear, in order; after a busy one the search goes on at the next aligned place."""
        bits = self.taken()
        found = [range(pfn, pfn + nr_pages) for pfn in self.area if pfn % align == 0]
        return [place for place in found if place.stop <= self.area.stop and not bits & set(place)]

    def expected(self, nr_pages: int, align: int) -> tuple[int, list[range]]:
        """Where cma_alloc() succeeds (-1: nowhere), and all places it tries."""
        stuck = self.pinned | self.kernel
        tried = []
        for place in self.places(nr_pages, align):
            tried.append(place)
            if not stuck & set(place):
                return place.start, tried
        return -1, tried

    def cma_alloc(self, nr_pages: int, align: int, choice: int, now: dict[int, int], into_area: bool) -> None:
        """Follow the machine; `now`: the frame of every virtual page afterwards."""
        place, tried = self.expected(nr_pages, align)
        assert choice == place, f"the machine took {choice}, the first place that can be emptied is {place}"
        disturbed = {page for one in tried for page in one}
        assert now.keys() == self.anon.keys(), "virtual pages were lost or made"
        assert len(set(now.values())) == len(now), "two virtual pages share a frame"
        before = self.used()
        for vpn, old in self.anon.items():
            new = now[vpn]
            if old not in disturbed or old in self.pinned:
                assert new == old, f"frame {old} had no reason to move to {new}"
                continue
            assert new not in before or new in disturbed, f"frame {old} moved to {new}, which was in use"
            assert into_area or new not in self.area, f"frame {old} moved to {new} in the area"
            if place >= 0:
                assert not place <= new < place + nr_pages, f"frame {new} is in the buffer"
        self.anon = dict(now)
        assert not self.pinned - set(now.values()), "a pinned page has moved"
        if place >= 0:
            self.buffers[place] = nr_pages
