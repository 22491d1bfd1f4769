"""Rows of bits, packed into words.

Linux: lib/bitmap.c, lib/find_bit.c
Model: a word is an i8 of which 32 bits are used, so that no bit is the sign.
"""

from __future__ import annotations

from cma_gym.support.jit import jit

WORD_SHIFT = 5
BITS_PER_WORD = 1 << WORD_SHIFT
NO_BIT = -1


def bitmap_words(nr_bits: int) -> int:
    """Words that hold so many bits. Linux: BITS_TO_LONGS()."""
    return (nr_bits + BITS_PER_WORD - 1) >> WORD_SHIFT


@jit
def test_bit(words, bit):
    """Whether a bit is set."""
    return words[bit >> WORD_SHIFT] >> (bit & (BITS_PER_WORD - 1)) & 1 != 0


@jit
def bitmap_fill(words, start, nr, value):
    """Set (`value`) or clear `nr` bits from `start` on. Linux: bitmap_set(), bitmap_clear()."""
    bit = start
    end = start + nr
    while bit < end:
        first = bit & (BITS_PER_WORD - 1)
        taken = min(BITS_PER_WORD - first, end - bit)
        mask = ((1 << taken) - 1) << first
        word = words[bit >> WORD_SHIFT]
        words[bit >> WORD_SHIFT] = word | mask if value else word & ~mask
        bit += taken


@jit
def find_last_bit(words, start, end):
    """Last set bit of `start .. end-1`; NO_BIT if there is none. Linux: find_last_bit()."""
    bit = end - 1
    while bit >= start:
        if words[bit >> WORD_SHIFT] == 0:
            bit = (bit & ~(BITS_PER_WORD - 1)) - 1
        elif test_bit(words, bit):
            return bit
        else:
            bit -= 1
    return NO_BIT


@jit
def find_next_bit(words, start, end):
    """First set bit of `start .. end-1`; NO_BIT if there is none. Linux: find_next_bit()."""
    bit = start
    while bit < end:
        if words[bit >> WORD_SHIFT] == 0:
            bit = (bit | (BITS_PER_WORD - 1)) + 1
        elif test_bit(words, bit):
            return bit
        else:
            bit += 1
    return NO_BIT
