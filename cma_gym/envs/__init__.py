"""Gymnasium environments. `import cma_gym` registers them; their code is loaded when one is made."""

from __future__ import annotations

import gymnasium

ENV_IDS = ("cma_gym/Placement-v0",)


def register_envs() -> None:
    """Register all environments with Gymnasium; doing it twice does no harm."""
    if ENV_IDS[0] not in gymnasium.registry:
        gymnasium.register(
            id=ENV_IDS[0],
            entry_point="cma_gym.envs.placement:PlacementEnv",
            vector_entry_point="cma_gym.envs.placement_vec:PlacementVectorEnv",
        )
