"""What `validate()` can find.

Model: the kernel says VM_BUG_ON_PAGE().
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from cma_gym.support.jit import jit


class Violation(IntEnum):
    """What can be wrong; the number beside it in an error is a pfn, slot or index."""

    NONE = 0
    LIST_LINKS = 1
    FREE_BLOCK = 2
    FREE_TYPE = 3
    NR_FREE = 4
    PCP_PAGE = 5
    PCP_COUNT = 6
    FREE_PAGES = 7
    FREE_CMA = 8
    PAGE_STATE = 9
    LRU_PAGE = 10
    LRU_COUNT = 11
    LRU_BATCH = 12
    RMAP = 13
    FILEMAP = 14
    SWAP_SLOT = 15
    SWAP_COUNT = 16
    ZSPAGE = 17
    DIRTY_COUNT = 18
    WRITEBACK_COUNT = 19
    PIN_COUNT = 20
    PIN_HEAP = 21
    OCCUPANCY = 22
    BITMAP = 23
    LEAK = 24
    UNMERGED = 25
    PAGEBLOCKS = 26
    """Isolated or reserved pageblocks of a zone are not as many as it says."""
    CONTIG = 27
    """A contiguous allocation in progress has not in hand what it says, or nobody is served though the area is busy."""
    HAND = 28
    """A page in a reclaimer's hand is on an LRU list, or marked and in no hand."""
    HIGHATOMIC = 29
    """Free pages of the HIGHATOMIC reserve are not as many as the zone says."""
    PCP_BOUNDS = 30
    """A CPU's lists may grow outside their bounds."""
    CLEANCACHE = 31
    """A copy in the cleancache that its file page does not know, or on no list."""


class ValidationError(AssertionError):
    """A machine whose state contradicts itself."""


@jit
def violation(code, where):
    """Pack a finding into one number."""
    return np.int64(code) << 40 | np.int64(where)
