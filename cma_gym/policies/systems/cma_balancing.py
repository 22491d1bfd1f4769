"""CMA balancing: the half rule, and movable pages are moved into CMA in the background when ordinary memory runs short.

Who: Frank van der Linden, Google, "[RFC 00/12] CMA balancing", 15 September 2025.

Source: FACTS row S21 and section A9.k. vm.cma_first_limit is the share of CMA in a zone's free memory above which
movable requests take CMA first: 0 always, 100 never, 50 by default, which is the half rule.

Assumed: the default limit, so that it differs from half_and_half by the balancing alone. The patches balance when a
huge page is given back to hugetlb_cma; here kswapd does before each of its rounds, as Rik van Riel suggested, for any
area. Areas lie at the end of a zone, as the patches place them.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import Integers, system


@system(
    "cma_balancing",
    row="S21",
    kernel={
        "cma_balance": True,
        "cma_first_limit": 50,
        "cma_pcp": "shared",
        "compact_into_cma": True,
        "migrate_into_cma": True,
    },
)
def decide(view: Integers, params: Integers) -> int:
    """The kernel's own per-page limit decides; below it, CMA is the fallback."""
    return Action.NORMAL_FIRST
