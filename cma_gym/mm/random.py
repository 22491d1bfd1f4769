"""Random integers from a counter in the record, so that a machine carries its own randomness.

Model: a 32-bit mixing of (key, counter) in 64-bit signed arithmetic that cannot overflow, so it is the same jitted
and not.
"""

from __future__ import annotations

from cma_gym.support.jit import jit

_MASK = 0xFFFFFFFF


@jit
def mix(x):
    """Scramble 32 bits."""
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & _MASK
    x = ((x ^ (x >> 15)) * 0x735A2D97) & _MASK
    return x ^ (x >> 15)


@jit
def random_below(mem, bound):
    """A number in 0 .. bound-1; advances the machine's counter."""
    mem.rng += 1
    key = mem.rng >> 32
    return (mix((mix(key & _MASK) + mem.rng) & _MASK) * bound) >> 32
