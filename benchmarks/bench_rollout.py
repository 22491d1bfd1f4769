"""Decisions a second in compiled rollouts and in the vector environment."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.rows import best_seconds, row

MACHINE = {"ram_mb": 256, "cma_mb": 64}
NUM_ENVS = 256
STEPS = 200


@row("rollout_decisions_per_s", "1/s")
def rollout_decisions() -> float:
    """Placement decisions a second, compiled rollout of cma_first, phone scenario, 256 MB, one core."""
    from cma_gym.machine.kernel import KernelConfig
    from cma_gym.machine.machine import run
    from cma_gym.machine.spec import MachineSpec
    from cma_gym.policies.registry import get_system
    from cma_gym.workloads.registry import generate

    spec = MachineSpec.model_validate(MACHINE)
    system = get_system("cma_first")
    kernel = KernelConfig.for_profile(spec.profile, **system.kernel)
    workload = generate({"family": "phone"}, spec, 0)
    results = [run(spec, kernel, workload, system.decide, params=system.params, seed=0)]
    seconds = best_seconds(lambda: run(spec, kernel, workload, system.decide, params=system.params, seed=0))
    return float(results[0].metrics["decisions"]) / seconds


@row("vector_env_steps_per_s", "1/s")
def vector_env_steps() -> float:
    """Steps a second of the Gymnasium vector environment, 256 machines, random actions."""
    import gymnasium

    import cma_gym  # noqa: F401 - registers the environments

    env = gymnasium.make_vec("cma_gym/Placement-v0", num_envs=NUM_ENVS)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 3, size=(STEPS, NUM_ENVS))
    for action in actions[:10]:
        env.step(action)
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    seconds = time.perf_counter() - start
    env.close()
    return STEPS * NUM_ENVS / seconds
