"""Settings that must be in place before anything is compiled."""

import os

import pytest

# Every array access of compiled code is checked; the compiler's cache keeps such code apart (cma_gym/mm/jit.py).
os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_report_header() -> str:
    jit = "unjitted" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "jitted, NUMBA_BOUNDSCHECK="
    return f"cma-gym core: {jit}{os.environ['NUMBA_BOUNDSCHECK']}"


@pytest.fixture(autouse=True)
def only_own_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test registers does not exist for the next."""
    from cma_gym.policies import registry

    registry.systems()
    monkeypatch.setattr(registry, "_SYSTEMS", dict(registry._SYSTEMS))
    monkeypatch.setattr(registry, "_FROM_FILE", dict(registry._FROM_FILE))
