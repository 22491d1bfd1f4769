"""What the tests of the environments share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cma_gym.workloads.workload import save
from tests.envs.small_machine import MACHINE, hand_made


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the workload above."""
    path: Path = tmp_path_factory.mktemp("workloads") / "hand_made.npz"
    save(hand_made(), path)
    return str(path)


@pytest.fixture(scope="session")
def small(recorded: str) -> dict[str, Any]:
    """Arguments of a small environment whose episodes end."""
    return {"machine": MACHINE, "workload": recorded}
