"""PPO end to end on our machines, against the same PPO on an environment that does nothing."""

from __future__ import annotations

from benchmarks.rows import alternated, row
from cma_gym.envs.batch import make_batch


@row("ppo_vs_null", "", at_least=0.6)
def ppo_vs_null() -> float:
    """PPO (SB3) on 16 machines of 64 MB against PPO on a null environment, steps a second."""
    import torch

    from benchmarks.ppo_training import CONFIG, NullVecEnv, Training
    from cma_gym.agents.network.vec_env import PlacementVecEnv

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        env = PlacementVecEnv(make_batch(CONFIG.num_envs))
        null = NullVecEnv(env.num_envs, env.observation_space, env.action_space)
        ours, theirs = alternated(Training(env).steps_per_s, Training(null).steps_per_s)
    finally:
        torch.set_num_threads(threads)
    return ours / theirs
