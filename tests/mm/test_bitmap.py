"""Rows of bits against a list of flags."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from cma_gym.mm.bitmap import NO_BIT, bitmap_fill, bitmap_words, find_last_bit, find_next_bit, test_bit

NR_BITS = 100
ranges = st.tuples(st.integers(0, NR_BITS), st.integers(0, NR_BITS)).map(sorted)
bit_is_set = test_bit
del test_bit  # pytest would take it for a test


@given(st.lists(st.tuples(ranges, st.booleans()), max_size=6), ranges)
def test_bits_are_what_a_list_of_flags_would_be(fills, window):
    words = np.zeros(bitmap_words(NR_BITS), np.int64)
    flags = [False] * NR_BITS
    for (start, end), value in fills:
        bitmap_fill(words, start, end - start, value)
        flags[start:end] = [value] * (end - start)
    assert [bool(bit_is_set(words, bit)) for bit in range(NR_BITS)] == flags
    start, end = window
    found = [bit for bit in range(start, end) if flags[bit]]
    assert find_next_bit(words, start, end) == (found[0] if found else NO_BIT)
    assert find_last_bit(words, start, end) == (found[-1] if found else NO_BIT)


def test_so_many_bits_take_so_many_words():
    assert [bitmap_words(n) for n in (0, 1, 32, 33, 64)] == [0, 1, 1, 2, 2]
