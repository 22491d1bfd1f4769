"""Where things lie in a machine's record."""

from __future__ import annotations

import pytest

from cma_gym.mm.mm_types import CACHE_LINE, machine_array, memory_dtype, page, shape_for

TABLES = ("task", "pin", "dirty_ring", "dirty_ns", "swap", "pageblock", "cma_bitmap", "pte", "filemap", "page")


@pytest.mark.parametrize("nr_pages", [1 << 12, 1 << 16, 1 << 24])
def test_tables_and_records_begin_at_cache_lines(nr_pages):
    memory = memory_dtype(shape_for(nr_pages))
    assert memory.fields is not None and memory.isalignedstruct
    assert {name: memory.fields[name][1] % CACHE_LINE for name in TABLES} == dict.fromkeys(TABLES, 0)
    assert memory.itemsize % CACHE_LINE == 0 == CACHE_LINE % page.itemsize


def test_machines_begin_at_cache_lines_and_are_empty():
    mems = machine_array(3, memory_dtype(shape_for(1 << 12)))
    assert mems.shape == (3,) and mems.flags.writeable
    assert [mems[i : i + 1].ctypes.data % CACHE_LINE for i in range(3)] == [0, 0, 0]
    assert not any(mems.tobytes())
