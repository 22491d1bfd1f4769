"""What the tests of the agents share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.agents.network.toy_batch import ToyBatch
from tests.agents.real_machines import real_batch


@pytest.fixture(params=["toy", "real"])
def any_batch(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a batch of toys and, in a second run of the test, of machines."""
    return ToyBatch if request.param == "toy" else real_batch
