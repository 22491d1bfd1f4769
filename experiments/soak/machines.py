"""The machines a soak runs: named layouts, and kernels whose switches are drawn.

All have 16 MB, the smallest capacity class: the core is compiled once, and a machine stays in the processor's caches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import numpy as np
from pydantic import ValidationError

from cma_gym.experiments.config import ConfigError
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.spec import MachineSpec

RAM_MB = 16
CMA_MB = 4
DRAWN = "drawn"
"""Name of the layout whose sizes and switches all come from the seed."""

_SMALL = {"ram_mb": RAM_MB, "cma_mb": CMA_MB, "pageblock_order": 6}
LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mainline": ({}, {"cma_ratio": 2}),
    "v4_6": ({"profile": "v4_6"}, {}),
    "zone_cma": ({}, {"zone_cma": True}),
    "zone_cma_v4_6": ({"profile": "v4_6", "highmem_mb": 4}, {"zone_cma": True}),
    "highmem": ({"highmem_mb": 8}, {"cma_ratio": 2}),
    "own_pcp": ({"nr_cpus": 4}, {"cma_pcp": "own", "compact_into_cma": False, "migrate_into_cma": False}),
    "no_pcp": ({}, {"cma_pcp": "none", "lending_stops_while_busy": True, "shrink_before_cma_alloc": True}),
    "never_lent": ({}, {"lend": False}),
    "eight_cpus": ({"nr_cpus": 8}, {"cma_ratio": 2}),
    "one_cpu": ({"nr_cpus": 1}, {"cma_ratio": 4}),
    "tiny_blocks": ({"pageblock_order": 4}, {"cma_ratio": 2}),
    "large_blocks": ({"pageblock_order": 10}, {"cma_ratio": 2}),
    "no_swap": ({"zram_percent": 0}, {"cma_ratio": 2}),
    "swap_disk": ({}, {"swap_backend": "disk", "cma_ratio": 2}),
    "two_zones": ({"dma32_mb": 8}, {"cma_ratio": 2}),
    "movable_zone": ({"movable_mb": 4}, {"cma_ratio": 2}),
    "gcma": ({}, {"gcma": True, "lend": False}),
    "balance": ({}, {"cma_balance": True, "cma_first_limit": 50}),
}
"""What differs from a small machine under the defaults of its profile: in the machine, in the kernel."""

_NUMBERS: dict[str, tuple[int | None, ...]] = {
    "cma_ratio": (0, 2, 4),
    "boost_factor": (0, 15000),
    "migrate_passes": (1, 3, 10),
    "lru_batch": (1, 14, 31),
    "swappiness": (0, 60, 100, 200),
    "demand_tries": (1, 3, 5),
    "demand_retry_ms": (0, 10, 100),
    "cma_alloc_retries": (0, 10),
    "cma_alloc_retry_ms": (1, 100),
    "cma_first_limit": (-1, 0, 50, 100),
    "dirty_expire_ms": (10, 30_000),
    "pcp_scale_max": (0, 5),
    "compaction_proactiveness": (0, 20, 100),
    "cpu_contention_percent": (0, 300),
    "catch_up_ms": (None, 10),
    "lmk_available_permille": (0, 60),
    "lmk_swap_free_permille": (0, 100),
}
"""Numbers of a kernel that are drawn; its yes-or-no switches and choices all are."""
_SIZES: dict[str, tuple[Any, ...]] = {
    "pageblock_order": (4, 5, 6, 7, 8, 9, 10),
    "nr_cpus": (1, 2, 4, 8),
    "zram_percent": (0, 5, 50, 100),
    "kernel_percent": (1, 4, 10),
    "highmem_mb": (0, 0, 4, 8),
    "dma32_mb": (4096, 4096, 8),
    "movable_mb": (0, 0, 4),
    "profile": ("v4_6", "v6_12"),
}


@dataclass(frozen=True)
class Machine:
    """What one life runs on."""

    layout: str
    spec: MachineSpec
    kernel: KernelConfig
    switches: dict[str, Any]
    """What was chosen, for a report."""


def machine_for(layout: str, rng: np.random.Generator) -> Machine:
    """The machine of a layout; `rng` decides where it is `DRAWN`.

    Raises:
        ConfigError: there is no such layout.
    """
    if layout == DRAWN:
        return _drawn(rng)
    if layout not in LAYOUTS:
        raise ConfigError(f"--machine {layout}: there is no such layout; choose from {', '.join(layout_names())}")
    sizes, switches = LAYOUTS[layout]
    return _made(layout, sizes, switches)


def layout_names() -> list[str]:
    """Every layout, the drawn one last."""
    return [*LAYOUTS, DRAWN]


def layout_of(life: int) -> str:
    """Layout of the `life`-th life where none was asked for: the named ones in turn, a drawn one after each."""
    return DRAWN if life % 2 else list(LAYOUTS)[life // 2 % len(LAYOUTS)]


def _made(layout: str, sizes: dict[str, Any], switches: dict[str, Any]) -> Machine:
    spec = MachineSpec.model_validate({**_SMALL, **sizes})
    kernel = KernelConfig.for_profile(spec.profile, **switches)
    return Machine(layout, spec, kernel, {**sizes, **switches})


def _drawn(rng: np.random.Generator) -> Machine:
    """Draw until machine and kernel accept the combination."""
    while True:
        sizes = {name: _pick(rng, values) for name, values in _SIZES.items()}
        try:
            return _made(DRAWN, sizes, _drawn_switches(rng))
        except ValidationError:
            continue


def _drawn_switches(rng: np.random.Generator) -> dict[str, Any]:
    """A value for every switch the kernel has; new ones are drawn without being named here."""
    drawn: dict[str, Any] = {}
    for name, field in KernelConfig.model_fields.items():
        if field.annotation is bool:
            drawn[name] = bool(rng.random() < 0.5)
        elif get_origin(field.annotation) is Literal:
            drawn[name] = _pick(rng, get_args(field.annotation))
        elif name in _NUMBERS:
            drawn[name] = _pick(rng, _NUMBERS[name])
    drawn["lend"] = bool(rng.random() < 0.9)
    return drawn


def _pick(rng: np.random.Generator, values: tuple[Any, ...]) -> Any:
    return values[int(rng.integers(len(values)))]
