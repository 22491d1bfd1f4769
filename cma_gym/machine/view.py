"""The view: what a placement rule may look at, as integers that a kernel could read in O(1) at the same place.

One list defines it. The compiled filler writes a view in this order, observations are scaled from it, tables name their
features by it and the documentation is printed from it, so that an index can never mean two things.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from cma_gym.mm.mmzone import NR_REQUEST_KINDS


class Scale(IntEnum):
    """How an observation in [0, 1] is made of an integer."""

    ONE_HOT = 0
    """One entry for each value 0 .. high."""
    RANGE = 1
    """value / high, clipped."""
    OF_MEMORY = 2
    """pages / managed pages."""
    OF_CMA = 3
    """pages / pages of the CMA area."""
    LOG = 4
    """log2(1 + value) / log2(1 + high), clipped."""


class Feature(NamedTuple):
    """One integer of the view."""

    name: str
    unit: str
    high: int
    """Largest value; the lowest is always 0."""
    scale: Scale
    doc: str
    source: str
    """The kernel counter or field it comes from."""


_PAGES = 1 << 24

FEATURES = (
    Feature("kind", "RequestKind", NR_REQUEST_KINDS - 1, Scale.ONE_HOT, "what is asked for", "gfp flags and call site"),
    Feature("order", "order", 10, Scale.RANGE, "order of the request", "order"),
    Feature("run_pages", "pages", 32, Scale.RANGE, "pages the answer covers", "read-ahead window, fault-around"),
    Feature("importance", "Importance", 3, Scale.ONE_HOT, "class of the asking task", "signal->oom_score_adj"),
    Feature("owner_pinned", "flag", 1, Scale.RANGE, "the task has pinned pages before", "mm->flags MMF_HAS_PINNED"),
    Feature("writable", "flag", 1, Scale.RANGE, "the mapping is open for writing", "mapping_writably_mapped()"),
    Feature("free_pages", "pages", _PAGES, Scale.OF_MEMORY, "all free pages", "NR_FREE_PAGES"),
    Feature("free_cma", "pages", _PAGES, Scale.OF_CMA, "free pages of the CMA area", "NR_FREE_CMA_PAGES"),
    Feature("watermark_low", "pages", _PAGES, Scale.OF_MEMORY, "summed low watermarks", "zone->_watermark[WMARK_LOW]"),
    Feature("watermark_high", "pages", _PAGES, Scale.OF_MEMORY, "summed high marks", "zone->_watermark[WMARK_HIGH]"),
    Feature("totalreserve", "pages", _PAGES, Scale.OF_MEMORY, "pages kept from user allocations", "totalreserve_pages"),
    Feature("managed_pages", "pages", _PAGES, Scale.LOG, "pages of the machine", "zone->managed_pages"),
    Feature("cma_pages", "pages", _PAGES, Scale.OF_MEMORY, "pages of the CMA area", "totalcma_pages"),
    Feature("active_anon", "pages", _PAGES, Scale.OF_MEMORY, "active anonymous list", "NR_ACTIVE_ANON"),
    Feature("inactive_anon", "pages", _PAGES, Scale.OF_MEMORY, "inactive anonymous list", "NR_INACTIVE_ANON"),
    Feature("active_file", "pages", _PAGES, Scale.OF_MEMORY, "active file list", "NR_ACTIVE_FILE"),
    Feature("inactive_file", "pages", _PAGES, Scale.OF_MEMORY, "inactive file list", "NR_INACTIVE_FILE"),
    Feature("dirty", "pages", _PAGES, Scale.OF_MEMORY, "dirty file pages", "NR_FILE_DIRTY"),
    Feature("writeback", "pages", _PAGES, Scale.OF_MEMORY, "pages under writeback", "NR_WRITEBACK"),
    Feature("swap_free", "slots", _PAGES, Scale.OF_MEMORY, "free swap slots", "nr_swap_pages"),
    Feature("kswapd_awake", "flag", 1, Scale.RANGE, "kswapd runs", "waitqueue_active(&pgdat->kswapd_wait)"),
    Feature("refault_rate", "pages/s", _PAGES, Scale.LOG, "refaults in the last whole second", "WORKINGSET_REFAULT_*"),
    Feature("cma_busy", "flag", 1, Scale.RANGE, "a contiguous allocation runs", "a counter raised by cma_alloc()"),
    Feature("demand_ms", "ms", 1 << 20, Scale.LOG, "time since the last demand ended", "jiffies kept by cma_alloc()"),
    Feature("demand_failed", "flag", 1, Scale.RANGE, "the last demand failed", "kept by cma_alloc()"),
    Feature("cma_anon", "pages", _PAGES, Scale.OF_CMA, "anonymous pages in the area", "a per-area counter"),
    Feature("cma_file", "pages", _PAGES, Scale.OF_CMA, "regular page cache in the area", "a per-area counter"),
    Feature("cma_bdev", "pages", _PAGES, Scale.OF_CMA, "block-device cache in the area", "a per-area counter"),
    Feature("cma_shmem", "pages", _PAGES, Scale.OF_CMA, "shmem in the area", "a per-area counter"),
    Feature("cma_zsmalloc", "pages", _PAGES, Scale.OF_CMA, "zsmalloc pages in the area", "a per-area counter"),
    Feature("cma_free_64ths", "1/64", 64, Scale.RANGE, "free_cma * 64 / cma_pages", "derived"),
    Feature("normal_free_16ths", "1/16", 255, Scale.RANGE, "(free_pages - free_cma) * 16 / watermark_high", "derived"),
)
NR_VIEW = len(FEATURES)


def _indices() -> Any:
    return IntEnum("View", [(feature.name.upper(), index) for index, feature in enumerate(FEATURES)])


View = _indices()
"""Index of each feature; `View.FREE_CMA` works in compiled code."""


class Subject(IntEnum):
    """What a clairvoyant rule is told behind the features, and nobody else: which pages its answer covers.

    Only a run with `hindsight` (`machine.run`) has room for it; no kernel knows the event, and no table, observation or
    ordinary rule ever sees it.
    """

    EVENT = NR_VIEW
    """Position in the stream of the event that asks."""
    FIRST = NR_VIEW + 1
    """The page asked for: a virtual page, or FILE_PAGES + a file page; NO_PAGE for zsmalloc's, which have no name."""
    LAST = NR_VIEW + 2
    """The last page that this answer can cover."""


NR_VIEW_AND_SUBJECT = NR_VIEW + len(Subject)
FILE_PAGES = 1 << 32
"""Added to file pages, to tell them from virtual ones."""
