"""A naive twin of the buddy allocator and of cma_alloc(): dictionaries, no linked lists, no counters.

It does not predict which of several equal blocks is taken; it checks that the machine's choice was a legal one, and
follows it.
"""

from __future__ import annotations

from cma_gym.mm.mmzone import MigrateType
from cma_gym.mm.page_alloc import ALLOC_CMA, ALLOC_CMA_FIRST, ALLOC_NO_STEAL

UNMOVABLE, MOVABLE, RECLAIMABLE, _, CMA, _ = MigrateType
FALLBACKS = {
    UNMOVABLE: (RECLAIMABLE, MOVABLE),
    MOVABLE: (RECLAIMABLE, UNMOVABLE),
    RECLAIMABLE: (UNMOVABLE, MOVABLE),
}
MAX_ORDER = 10


class Naive:
    """Free blocks by first page, and the type of every pageblock."""

    def __init__(
        self, nr_pages: int, cma_pages: int, block_order: int, cma_ratio: int, old_rules: bool = False
    ) -> None:
        self.nr_pages = nr_pages
        self.area = range(nr_pages - cma_pages, nr_pages)
        self.block_order = block_order
        self.cma_ratio = cma_ratio
        self.old_rules = old_rules
        """Those of 4.6: the largest block is borrowed, and what is left of it goes to the borrower's lists."""
        self.types = [MOVABLE] * (nr_pages >> block_order)
        self.free: dict[int, int] = {}
        self.listed: dict[int, MigrateType] = {}
        """Whose list a free block is on: its pageblock's type, in 4.6 also that of who borrowed from it."""
        self.taken: set[int] = set()
        """Bits of the CMA area's bitmap."""
        for pfn in self.area:
            self.types[pfn >> block_order] = CMA
        for pfn in range(nr_pages):
            self.give(pfn, 0)

    def type_of(self, pfn: int) -> MigrateType:
        return self.types[pfn >> self.block_order]

    def set_types(self, pfn: int, order: int, kind: MigrateType) -> None:
        for page in range(pfn, pfn + (1 << order)):
            self.types[page >> self.block_order] = kind

    def free_pages(self, kind: MigrateType | None = None) -> int:
        return sum(1 << order for pfn, order in self.free.items() if kind is None or self.type_of(pfn) == kind)

    def lists(self) -> dict[int, tuple[int, int]]:
        """(migratetype of the list, order) by free block."""
        return {pfn: (int(self.listed[pfn]), order) for pfn, order in self.free.items()}

    def give(self, pfn: int, order: int) -> None:
        """Free a block and merge it with its buddies; across pageblocks only with its like, or claimable types."""
        kind = self.type_of(pfn)
        while order < MAX_ORDER:
            buddy = pfn ^ (1 << order)
            if self.free.get(buddy) != order:
                break
            mine, other = self.type_of(pfn), self.type_of(buddy)
            if mine != other:
                if CMA in (mine, other):
                    break
                self.set_types(buddy, order, mine)
            self.take_off(buddy)
            pfn, order = min(pfn, buddy), order + 1
        self.put_on(pfn, order, kind)

    def put_on(self, pfn: int, order: int, kind: MigrateType) -> None:
        self.free[pfn], self.listed[pfn] = order, kind

    def take_off(self, pfn: int) -> int:
        del self.listed[pfn]
        return self.free.pop(pfn)

    def split(self, pfn: int, order: int, kind: MigrateType) -> None:
        """Take the first 2**order pages of the free block at `pfn`; the rest stays free, on the lists of `kind`."""
        have = self.take_off(pfn)
        while have > order:
            have -= 1
            self.put_on(pfn + (1 << have), have, kind)

    def relist(self, block: int, kind: MigrateType) -> int:
        """Move the free pages of a pageblock to the lists of `kind`; how many."""
        heads = [pfn for pfn in self.free if pfn >> self.block_order == block]
        self.listed |= dict.fromkeys(heads, kind)
        return sum(1 << self.free[pfn] for pfn in heads)

    def smallest(self, kind: MigrateType, order: int) -> set[int]:
        """Free blocks on a type's lists that fit, of the smallest such order."""
        fits = {pfn: have for pfn, have in self.free.items() if have >= order and self.listed[pfn] == kind}
        return {pfn for pfn, have in fits.items() if have == min(fits.values())}

    def take(self, order: int, kind: MigrateType, flags: int, choice: int) -> None:
        """Follow an allocation of the machine; `choice` is its answer, -1 if it found nothing."""
        cma = flags & ALLOC_CMA and self.free_pages(CMA) > 0
        wish = flags & ALLOC_CMA_FIRST or (self.cma_ratio and self.free_pages(CMA) * self.cma_ratio > self.free_pages())
        for allowed, source in ((cma and wish, CMA), (True, kind), (cma, CMA)):
            legal = self.smallest(source, order) if allowed else set()
            if legal:
                assert choice in legal, f"{choice} is not one of {sorted(legal)}"
                self.split(choice, order, source)
                return
        if flags & ALLOC_NO_STEAL:
            assert choice == -1
        elif self.old_rules:
            self.borrow_largest(order, kind, choice)
        else:
            self.borrow(order, kind, choice)

    def borrow_largest(self, order: int, kind: MigrateType, choice: int) -> None:
        """As 4.6: the largest foreign block; free pages around it come along, the pageblock if half of it was free."""
        for have in range(MAX_ORDER, order - 1, -1):
            foreign = self.foreign(kind, have)
            if not foreign:
                continue
            assert choice in foreign, f"{choice} is not one of {sorted(foreign)}"
            block = choice >> self.block_order
            if have >= self.block_order:
                self.set_types(choice, have, kind)
            elif kind != MOVABLE or have >= self.block_order // 2:
                if 2 * self.relist(block, kind) >= 1 << self.block_order:
                    self.types[block] = kind
            self.split(choice, order, kind)
            return
        assert choice == -1

    def borrow(self, order: int, kind: MigrateType, choice: int) -> None:
        """Claim a pageblock of another type, trying large free blocks first; or steal the smallest block."""
        for have in range(MAX_ORDER, order - 1, -1):
            if kind == MOVABLE and have < self.block_order // 2:
                break
            foreign = self.foreign(kind, have)
            claimed = [pfn for pfn in foreign if self.can_claim(pfn, kind)]
            if not foreign:
                continue
            if choice == -1:
                raise AssertionError(f"there was a block of order {have} to borrow")
            block = choice >> self.block_order
            if have >= self.block_order:
                assert choice in foreign
                self.set_types(choice, have, kind)
                self.split(choice, order, kind)
                return
            mine = [pfn for pfn in claimed if pfn >> self.block_order == block]
            if mine:
                self.types[block] = kind
                self.relist(block, kind)
                assert choice in self.smallest(kind, order)
                self.split(choice, order, kind)
                return
            # The machine looks at one block of each order only; it may have met one that cannot be claimed.
            assert len(claimed) < len(foreign)
        for have in range(order, MAX_ORDER + 1):
            foreign = self.foreign(kind, have)
            if foreign:
                assert choice in foreign, f"{choice} is not one of {sorted(foreign)}"
                self.split(choice, order, self.type_of(choice))
                return
        assert choice == -1

    def foreign(self, kind: MigrateType, order: int) -> set[int]:
        """Free blocks of exactly this order of the first type in the fallback table that has one."""
        for other in FALLBACKS[kind]:
            found = {pfn for pfn, have in self.free.items() if have == order and self.listed[pfn] == other}
            if found:
                return found
        return set()

    def can_claim(self, pfn: int, kind: MigrateType) -> bool:
        """Half of the block is free or alike, where all used pages are kernel memory."""
        start = pfn >> self.block_order << self.block_order
        size = 1 << self.block_order
        nr_free = sum(1 << order for head, order in self.free.items() if start <= head < start + size)
        alike = size - nr_free if kind != MOVABLE and self.type_of(pfn) == MOVABLE else 0
        return 2 * (nr_free + alike) >= size

    def is_free(self, pages: range) -> bool:
        owned = {page for pfn, order in self.free.items() for page in range(pfn, pfn + (1 << order))}
        return set(pages) <= owned

    def cma_alloc(self, nr_pages: int, align_order: int) -> int:
        """First aligned place whose bits are clear and whose pages are free; none of the used ones can be moved."""
        for pfn in self.area:
            pages = range(pfn, pfn + nr_pages)
            if pfn % (1 << align_order) or pages.stop > self.area.stop or self.taken & set(pages):
                continue
            if self.is_free(pages):
                self.taken |= set(pages)
                for page in pages:
                    head = max(p for p in self.free if p <= page)
                    order = self.take_off(head)
                    for other in range(head, head + (1 << order)):
                        if other != page:
                            self.give(other, 0)
                return pfn
        return -1

    def cma_release(self, pfn: int, nr_pages: int) -> None:
        self.taken -= set(range(pfn, pfn + nr_pages))
        for page in range(pfn, pfn + nr_pages):
            self.give(page, 0)
