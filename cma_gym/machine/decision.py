"""The one signature through which every placement rule is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from cma_gym.support.jit import jit_pointer

_ARRAY = types.Array(types.int64, 1, "C")
SIGNATURE = types.int64(_ARRAY, _ARRAY)
DecisionPointer = types.FunctionType(SIGNATURE)
"""Numba type of a rule passed to `rollout`; one compilation of the core serves all rules."""


def decision(rule: Callable[[Any, Any], int]) -> Any:
    """Compile a placement rule.

    Args:
        rule: `rule(view, params) -> Action`; `view` int64[NR_VIEW] (see view.py), `params` int64[any]. It must be
            written for Numba's nopython mode: integers, no allocation, no state.

    Returns:
        The compiled rule; calling it from Python works too.
    """
    return jit_pointer(rule, SIGNATURE)
