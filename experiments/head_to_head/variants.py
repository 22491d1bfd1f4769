"""Known systems with one switch turned: which list freed CMA pages wait on, or whether lending stops during a request.

Who: nobody; they answer two questions of the discussion. Chen Feng (HiSilicon) wanted freed CMA pages to skip the
per-CPU lists, HiSilicon's and Android's kernels give them a list of their own, mainline keeps them on the movable one.
Qualcomm's kernels and CMA_AGGRESSIVE lend nothing while cma_alloc() runs.

Source: FACTS sections A1 (thread of ZONE_CMA v3, June 2016), A4, A5 and A6.

Assumed: nothing but the switch differs from the system that a variant is made of.
"""

from typing import Any

from cma_gym.policies.registry import get_system, system

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "page_cache_own_list": ("page_cache_only", {"cma_pcp": "own"}),
    "page_cache_shared_list": ("page_cache_only", {"cma_pcp": "shared"}),
    "anonymous_own_list": ("anonymous_only", {"cma_pcp": "own"}),
    "anonymous_shared_list": ("anonymous_only", {"cma_pcp": "shared"}),
    "page_cache_stops": ("page_cache_only", {"lending_stops_while_busy": True}),
    "gfp_cma_stops": ("gfp_cma", {"lending_stops_while_busy": True}),
    "cma_first_stops": ("cma_first", {"lending_stops_while_busy": True}),
}

for name, (base, switch) in VARIANTS.items():
    known = get_system(base)
    words = f"{base} with {', '.join(f'{key}={value}' for key, value in switch.items())}"
    system(name, kernel={**known.kernel, **switch}, params=known.params, summary=words)(known.decide)
