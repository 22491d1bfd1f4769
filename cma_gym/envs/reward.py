"""The reward: named terms in one unit, milliseconds of user-visible cost, times weights from the configuration.

The reward is what a policy learns from; it is not how policies are compared. Comparisons use the machine's metrics
(machine/result.py), which no weight touches.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cma_gym.envs.compiled import TERM_NAMES, TIME_TERMS

_NS_PER_MS = 1_000_000


class RewardWeights(BaseModel):
    """What each term costs the user. reward = -sum over terms of weight * amount, in milliseconds.

    The values of the counted terms are assumptions: nobody has measured them; they say what a user would rather wait.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    demand_failed: float = Field(default=5000.0, ge=0)
    """[ms per failed demand] Assumption: a camera that does not open is started again, about 5 s later."""
    pieces_failed: float = Field(default=3000.0, ge=0)
    """[ms per failed demand] Assumption: a shorter buffer queue still works, but worse; 3 s."""
    demand_latency: float = Field(default=1.0, ge=0)
    """[ms per ms] The user looks at a black preview as long as the buffer is waited for."""
    stall: float = Field(default=1.0, ge=0)
    """[ms per ms] A task that waits in direct reclaim does nothing else."""
    swap: float = Field(default=1.0, ge=0)
    """[ms per ms] A task waits for its page."""
    refault: float = Field(default=1.0, ge=0)
    """[ms per ms] A task waits for its page."""
    kill: float = Field(default=1000.0, ge=0)
    """[ms per kill] Assumption: a cold start instead of a warm one costs about 1 s when the user comes back."""
    atomic_fail: float = Field(default=1.0, ge=0)
    """[ms per failed request] Assumption: a dropped packet is sent again within about 1 ms."""

    def factors(self) -> np.ndarray:
        """Milliseconds per raw unit (event or nanosecond) of each term, float64[NR_TERMS]."""
        values = np.array([getattr(self, name) for name in TERM_NAMES], dtype=np.float64)
        values[list(TIME_TERMS)] /= _NS_PER_MS
        return values
