"""What the tests of the agents share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from real_machines import real_batch
from toy_batch import ToyBatch


@pytest.fixture(params=["toy", "real"])
def any_batch(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a batch of toys and, in a second run of the test, of machines."""
    return ToyBatch if request.param == "toy" else real_batch
