"""cma-gym: a Gymnasium environment over a compiled model of Linux's zones, buddy allocator, reclaim and CMA."""

from cma_gym.envs import register_envs

__version__ = "0.1.0"

register_envs()
