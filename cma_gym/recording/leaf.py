"""The one place that spells the compiler's decorator for the trace reader.

The reader is leaf code: nothing of the memory model calls it. Numba's on-disk cache does not see edits in other files,
and the reader's files freeze each other's constants, so its cache folder is named by a digest of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from cma_gym.support.jit import core_digest

_Function = TypeVar("_Function", bound=Callable[..., object])


def _digest() -> str:
    """Digest (16 hex digits) of the reader's sources and of the core, whose enums it freezes."""
    digest = hashlib.sha256(core_digest().encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


_config: Any = numba.config
_CORE_FOLDER = _config.CACHE_DIR
_FOLDER = str(Path(_CORE_FOLDER).parent / f"ftrace-{_digest()}")


def leaf(function: _Function) -> _Function:
    """Compile a function of the trace reader: cached on disk in the reader's own folder, C arithmetic."""
    _config.CACHE_DIR = _FOLDER
    try:
        compiled: Any = numba.njit(cache=True, error_model="numpy")(function)
        return compiled  # type: ignore[no-any-return]
    finally:
        _config.CACHE_DIR = _CORE_FOLDER
