"""What is replaced in Numba and left out of it: one thing for the code that comes out, the others for the time.

A replacement stands only while a unit is compiled (`numba_for_a_unit`), and one whose place does not exist in the Numba
at hand is left out. None but `_plain_indices` changes what is compiled.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from numba import types
from numba.core import base, compiler
from numba.core.types.functions import BaseFunction
from numba.np import arrayobj


@contextlib.contextmanager
def numba_for_a_unit() -> Iterator[None]:
    """While a unit is compiled."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_no_garbage_collection())
        stack.enter_context(_replaced(arrayobj, "fix_integer_index", _plain_indices))
        stack.enter_context(_replaced(types.Record, "__repr__", _remembered))
        stack.enter_context(_replaced(types.NestedArray, "__repr__", _remembered))
        stack.enter_context(_replaced(BaseFunction, "get_call_type", _remembered_calls))
        stack.enter_context(_replaced(base, "_has_loc", functools.cache))
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """With an attribute replaced by what `make` makes of it, if there is one."""
    usual = vars(owner).get(name)
    if usual is None:
        yield
        return
    setattr(owner, name, make(usual))
    try:
        yield
    finally:
        setattr(owner, name, usual)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Compiling makes millions of objects that live as long as the unit; Python would look at them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _plain_indices(_: Any) -> Any:
    """An index is taken as it is. With NUMBA_BOUNDSCHECK=1 a negative one is an error."""

    def plain(context: Any, builder: Any, idxty: Any, idx: Any, size: Any) -> Any:
        return context.cast(builder, idx, idxty, types.intp if idxty.signed else types.uintp)

    return plain


def _remembered(usual: Any) -> Any:
    """The text of a type, made once. Numba asks for it in each pass over each function; a machine's is long."""
    return functools.cache(usual)


def _remembered_calls(usual: Any) -> Any:
    """The type of a call of a built-in function, such as `+` on two integers, found once.

    Numba looks for it among all meanings of `+` wherever one stands, while typing and again while lowering.
    """
    known: dict[Any, Any] = {}

    def get_call_type(self: Any, context: Any, args: Any, kws: Any) -> Any:
        key = (id(self), tuple(args), tuple(kws.items()))
        if key not in known:
            known[key] = usual(self, context, args, kws), self  # which must live as long as its id is remembered
        return known[key][0]

    return get_call_type


_NOT_IN_THE_CORE = {
    "WithLifting",  # with blocks
    "RewriteDynamicRaises",  # raise with values
    "InlineInlinables",  # functions that ask Numba to inline them
    "FindLiterallyCalls",
    "LiteralUnroll",
    "LiteralPropagationSubPipelinePass",
    "NopythonRewrites",  # arithmetic on whole arrays
    "AnnotateTypes",  # a listing of the function with all types, for inspect_types()
    "DumpParforDiagnostics",
}
"""Passes of Numba that find nothing to do in the core: what they look for, it does not have."""

_FOR_CLOSURES = {"InlineClosureLikes", "MakeFunctionToJitFunction"}


class UnitPipeline(compiler.Compiler):
    """Numba's compiler without the passes that a function of the core does not need."""

    def define_pipelines(self) -> Any:
        """Numba's own, but for those passes. What a pass changed it has put in order itself."""
        has_closures = any(isinstance(const, CodeType) for const in self.state.func_id.code.co_consts)
        left_out = _NOT_IN_THE_CORE if has_closures else _NOT_IN_THE_CORE | _FOR_CLOSURES
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [step for step in pipeline.passes if step[0].__name__ not in left_out]
            pipeline.finalize()
        return pipelines
