"""The golden counters: exact integers of two short workloads under every system.

`python -m tests.machine.regenerate_golden` writes golden.json anew. Do so only for a change that is meant to change
results, and say so in the CHANGELOG.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import Result
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mmzone import VmEvent
from cma_gym.policies.registry import System, systems
from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.registry import generate, parse
from cma_gym.workloads.workload import Workload

PATH = Path(__file__).with_name("golden.json")
SPEC = MachineSpec(ram_mb=16, cma_mb=4, pageblock_order=6)
CAMERA = {"warmup_s": 4, "count": 3, "gap_s": 4}
"""16 simulated seconds with three demands."""
REQUESTS = {"first_s": 4, "every_s": 4, "count": 3, "sizes_pages": (64, 256), "length_s": 16}
"""As many, where buffers are asked for as in published tables."""
SEEDS = {"phone": 11, "pinning": 12}


def workload(family: str, seed: int) -> Workload:
    """A short workload of a family for the smallest machine."""
    asks = CAMERA if isinstance(parse({"family": family}).camera, Camera) else REQUESTS
    return generate({"family": family, "camera": asks}, SPEC, seed)


def run_system(system: System, stream: Workload, profile: str = "v6_12") -> Result:
    """A system's run on the smallest machine."""
    spec = SPEC.model_copy(update={"profile": profile})
    kernel = KernelConfig.for_profile(profile, **system.kernel)
    return system.run(spec, kernel, stream)


def counters(result: Result) -> dict[str, Any]:
    """All event counters and metrics of a run; nan as null."""
    events = {event.name: int(result.mems[0]["vm_event"][event]) for event in VmEvent}
    metrics = {name: None if math.isnan(value) else value for name, value in result.metrics.items()}
    return {"vm_event": events, "metrics": metrics}


def golden_counters() -> dict[str, Any]:
    """Counters by workload and system."""
    streams = {family: workload(family, seed) for family, seed in SEEDS.items()}
    return {
        family: {name: counters(run_system(system, stream)) for name, system in systems().items()}
        for family, stream in streams.items()
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden_counters(), indent=1) + "\n")
    print(f"wrote {PATH}")
