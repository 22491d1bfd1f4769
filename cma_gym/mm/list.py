"""Doubly linked lists of pages, with heads behind the last page, so that no operation has a special case.

Linux: include/linux/list.h
"""

from __future__ import annotations

import numpy as np

from cma_gym.support.jit import jit


@jit
def list_init(mem, head):
    """Make `head` (or a page) an empty list."""
    mem.page[head].next = head
    mem.page[head].prev = head


@jit
def list_add(mem, pfn, head):
    """Insert `pfn` first."""
    first = mem.page[head].next
    mem.page[first].prev = pfn
    mem.page[pfn].next = first
    mem.page[pfn].prev = head
    mem.page[head].next = pfn


@jit
def list_add_tail(mem, pfn, head):
    """Insert `pfn` last."""
    last = mem.page[head].prev
    mem.page[last].next = pfn
    mem.page[pfn].prev = last
    mem.page[pfn].next = head
    mem.page[head].prev = pfn


@jit
def list_del(mem, pfn):
    """Take `pfn` off the list it is on; it is a list of its own afterwards."""
    before = mem.page[pfn].prev
    after = mem.page[pfn].next
    mem.page[before].next = after
    mem.page[after].prev = before
    mem.page[pfn].next = pfn
    mem.page[pfn].prev = pfn


@jit
def list_empty(mem, head):
    """Whether the list has no page."""
    return mem.page[head].next == head


@jit
def list_first(mem, head):
    """First page; the head itself if empty."""
    return np.int64(mem.page[head].next)


@jit
def list_last(mem, head):
    """Last page; the head itself if empty."""
    return np.int64(mem.page[head].prev)


@jit
def check_links(mem, head):
    """Every neighbour on a list must point back; returns its length, or -1."""
    length = 0
    pfn = np.int64(mem.page[head].next)
    before = head
    while pfn != head:
        if mem.page[pfn].prev != before or length > mem.nr_pages:
            return -1
        before = pfn
        pfn = np.int64(mem.page[pfn].next)
        length += 1
    return length if mem.page[head].prev == before else -1
