"""The compiler's decorator: units that share their members, and a Numba that is left as it was."""

from __future__ import annotations

import gc

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from numba.core import base, errors
from numba.core.types.functions import BaseFunction
from numba.np import arrayobj

from cma_gym.support.jit import jit, jit_inline

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="unjitted: nothing is compiled")

RECORD = np.dtype([("total", "i8"), ("part", "i8", (4,)), ("point", [("x", "i4"), ("y", "i4")], (4,))], align=True)


@jit
def add_part(record, i):
    record.total += max(record.part[i], record.point[i].x)
    return record.total


@jit
def add_parts(record, n):
    for i in range(n):
        add_part(record, i)
    return record.total


@jit
def add_all(records):
    for i in range(len(records)):
        add_parts(records[i], 4)


@jit
def add_some(records, first):
    """Its callees in another order, and a list comprehension, which few functions have."""
    return add_part(records[0], first) + add_parts(records[0], 2) + len([i for i in range(first)])


def records() -> np.recarray:
    made = np.zeros(2, RECORD).view(np.recarray)
    made["part"] = [1, 2, 3, 4]
    made["point"]["x"] = [[5, 0, 0, 0]] * 2
    return made


def test_units_share_what_they_have_in_common():
    some, every = records(), records()
    assert add_some(some, 3) == 4 + 11 + 3
    add_all(every)
    assert every["total"].tolist() == [5 + 2 + 3 + 4] * 2
    assert some["total"].tolist() == [4 + 5 + 2, 0]


def test_numba_is_left_as_it_was():
    def replaced():
        kept = numba.types.Record.__repr__, BaseFunction.get_call_type, base._has_loc, arrayobj.fix_integer_index
        return *kept, gc.isenabled()

    @jit
    def fresh(values):
        return values[0] + 1

    before = replaced()
    assert fresh(np.array([41])) == 42
    assert replaced() == before


def test_the_core_is_called_by_the_core_or_by_python():
    @numba.njit
    def stranger(made):
        return add_parts(made[0], 4)

    with pytest.raises(errors.NumbaError, match="add_parts is called by a compiled function without the decorator jit"):
        stranger(records())


@pytest.mark.parametrize("decorate", [jit, jit_inline])
def test_what_is_to_be_inlined_is_marked_for_llvm(monkeypatch, decorate):
    monkeypatch.setattr(type(add_part), "enable_caching", lambda self: None)  # so that it is compiled here

    @decorate
    def inner(x):
        return x + 1

    @jit
    def outer(x):
        return inner(x)

    assert outer(1) == 2
    (member,) = inner._members.values()
    code = "".join(str(llvm.parse_bitcode(code)) for code in member.code)
    assert ("alwaysinline" in code) is (decorate is jit_inline)
