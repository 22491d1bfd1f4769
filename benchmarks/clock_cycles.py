"""The processor's cycle counter inside compiled code, for phases too short to be timed from Python."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _cycles(typing_context: Any) -> Any:

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        read = builder.module.declare_intrinsic("llvm.readcyclecounter", (), ir.FunctionType(ir.IntType(64), ()))
        return builder.call(read, ())

    return types.int64(), generate


cycles: Any = intrinsic(_cycles)
"""The counter, int64; on x86 and ARM it runs at a constant rate, which the caller finds out from a longer time."""
