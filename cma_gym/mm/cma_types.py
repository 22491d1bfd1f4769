"""The parts of the state that belong to contiguous allocation: demands, the attempt that runs, and blame.

The rules of the layout are those of mm/mm_types.py.
"""

from __future__ import annotations

import numpy as np

from cma_gym.mm.mmzone import (
    COMPACT_CLUSTER_MAX,
    CONTIG_SKIPPED,
    NR_BLAME_STAGES,
    NR_HOLDERS,
    NR_IMPORTANCES,
    NR_MS_BUCKETS,
    NR_PAGE_KINDS,
    NR_PIECES,
)

demand = np.dtype(
    [
        ("state", "i4"),  # DemandState
        ("id", "i4"),
        ("nr_pages", "i4"),  # of one piece
        ("pieces", "i4"),
        ("align_order", "i4"),
        ("got", "i4"),
        ("tries", "i4"),
        ("first_ok", "i4"),
        ("start_ns", "i8"),
        ("next_try_ns", "i8"),
        ("release_ns", "i8"),
        ("hold_ns", "i8"),
        ("work_ns", "i8"),
        ("free_before", "i8"),
        ("nr_blamed", "i8"),
        ("blamed", "i4", (NR_PAGE_KINDS, NR_HOLDERS)),
        ("piece_pfn", "i4", (NR_PIECES,)),
        ("try_ns", "i8"),  # when this try began
        ("queue_ns", "i8"),  # since when, or from when on, it waits for its turn
        ("search", "i8"),  # where in the area the search for a place goes on
        ("busy_places", "i8"),  # places found busy in this search
        ("sleeps", "i8"),  # searches begun again after a sleep (cma_alloc_retries)
        ("shrink_left", "i8"),  # pages still to be reclaimed before this try
        ("lost_ns", "i8"),  # spent in vain in this try: attempts that failed, sleeps
        ("delay_ns", "i8"),  # the same over all tries, waits between them included
        ("writeback_ns", "i8"),  # waited for the device
        ("reclaim_ns", "i8"),  # direct reclaim for migration targets, and shrinking before the try
        ("moved", "i8"),
        ("dropped", "i8"),
        ("blamed_try", "i4", (NR_PAGE_KINDS, NR_HOLDERS)),  # refusals in this try
        ("refused", "i4", (NR_BLAME_STAGES, NR_PAGE_KINDS)),  # refusals over all tries, by stage
        ("piece_tries", "i4"),  # tries so far of the piece in turn, or of the demand (demand_tries_per_piece)
        ("missed", "i4"),  # pieces given up
    ],
    align=True,
)
"""Model: one CMA buffer that somebody wants or holds."""


demand_record = np.dtype(
    [
        ("start_ns", "i8"),
        ("latency_ns", "i8"),  # start of the first try to the end of the last, waits between tries included
        ("work_ns", "i8"),  # spent inside cma_alloc()
        ("id", "i4"),
        ("nr_pages", "i4"),
        ("pieces", "i4"),
        ("got", "i4"),
        ("tries", "i4"),
        ("ok", "i4"),
        ("first_ok", "i4"),
        ("nr_blamed", "i4"),
        ("free_before", "i4"),  # free pages of the area before the first try
        ("whole", "i4"),  # asked for the whole area in one piece
        ("blamed", "i4", (NR_PAGE_KINDS, NR_HOLDERS)),  # refusals over all tries
        ("refused", "i4", (NR_BLAME_STAGES, NR_PAGE_KINDS)),  # the same by stage
        ("delay_ns", "i8"),  # in attempts that failed, sleeps, and waits for the next try
        ("writeback_ns", "i8"),
        ("reclaim_ns", "i8"),
        ("moved", "i8"),
        ("dropped", "i8"),
    ],
    align=True,
)
"""Model: the outcome of one demand."""

blame = np.dtype(
    [
        ("time_ns", "i8"),
        ("demand_id", "i4"),
        ("pfn", "i4"),
        ("kind", "i4"),
        ("holder", "i4"),
        ("task", "i4"),
        ("importance", "i4"),
        ("age_ms", "i4"),
        ("stage", "i4"),  # BlameStage
        ("held_ms", "i4"),  # how long its longest reference had lasted; -1: not known
        ("left_ms", "i4"),  # until that reference ends; -1: not known
    ],
    align=True,
)
"""Model: one page that held up a demand."""

blame_sum = np.dtype(
    [
        ("pages", "i8"),
        ("tries_failed", "i8"),
        ("delay_ns", "i8"),
        ("owner", "i4", (NR_IMPORTANCES,)),  # pages by the class of their task
        ("age", "i4", (NR_MS_BUCKETS,)),  # logged pages by octave of age_ms
        ("held", "i4", (NR_MS_BUCKETS,)),
        ("left", "i4", (NR_MS_BUCKETS,)),
    ],
    align=True,
)
"""Model: what all pages of a kind, held by one holder, have cost the demands since boot."""

contig = np.dtype(
    [
        ("slot", "i8"),  # demand that is being served, or -1
        ("phase", "i8"),  # ContigPhase
        ("ready_ns", "i8"),  # when the work of the latest step is done
        ("wake_ns", "i8"),  # set by a step that must wait: until when
        ("stepping", "i8"),  # a step runs now, in no time; its work is charged to the demand
        ("begun_ns", "i8"),  # when this attempt began
        ("start_pfn", "i8"),
        ("end_pfn", "i8"),
        ("cursor_pfn", "i8"),  # where the scan goes on
        ("fast", "i8"),  # one round that waits for nothing
        ("drain", "i8"),  # lists and batches are emptied first
        ("error", "i8"),
        ("nr_cluster", "i8"),  # pages in hand
        ("nr_pass", "i8"),  # passes over them so far
        ("index", "i8"),  # where in the cluster this pass is
        ("refused", "i8"),  # pages that refused in this pass
        ("nr_skipped", "i8"),
        ("nr_logged", "i8"),  # pages of this attempt in the blame log
        ("cluster", "i4", (COMPACT_CLUSTER_MAX,)),
        ("skipped_pfn", "i4", (CONTIG_SKIPPED,)),  # pages the scan passed over, in order
        ("skipped_holder", "i4", (CONTIG_SKIPPED,)),  # who held them then
    ],
    align=True,
)
"""Model: the one contiguous allocation that runs, as `cma_mutex` has it up to 6.14; between steps it is all here.

Linux: the locals of cma_alloc(), alloc_contig_range() and struct compact_control
"""
