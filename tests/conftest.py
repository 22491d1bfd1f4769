"""Settings that must be in place before anything is compiled."""

import os

# Every array access of compiled code is checked; the compiler's cache keeps such code apart (cma_gym/mm/jit.py).
os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_report_header() -> str:
    jit = "unjitted" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "jitted, NUMBA_BOUNDSCHECK="
    return f"cma-gym core: {jit}{os.environ['NUMBA_BOUNDSCHECK']}"
