"""Contiguitas, software half: what cannot be moved has a region of its own, with a boundary that moves.

Who: Kaiyang Zhao and others, CMU and Meta, ISCA 2023; IEEE Micro 2024.

Source: FACTS row S22 and section A9.m.

Assumed: the region begins where the zone does, and grows by the pageblock next to its boundary, which whoever needs it
empties in its own time; it shrinks when a movable request finds nothing and the last pageblocks are free
(`contiguitas`, mm/rmqueue.py, mm/contiguitas.py). Everything beyond is movable, the CMA area included, which is used
like ordinary movable pageblocks. Left out: the hardware mover, so that a page that refuses to move stays in the region
until it is freed; resizing ahead of need, so that atomic requests, which may not wait for a pageblock to be emptied,
fail more often; and moving pages away before they are pinned for other than long pins.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "contiguitas",
    row="S22",
    kernel={
        "contiguitas": True,
        "cma_ratio": 0,
        "cma_pcp": "shared",
        "compact_into_cma": True,
        "migrate_into_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """The area is open to every movable request; the kernel makes no difference."""
    return Action.NORMAL_FIRST
