"""Which lists reclaim looks at: page cache that does not refault first, and what swapping cost."""

import pytest

from cma_gym.mm.mmzone import VmEvent
from tests.mm.driver import Do
from tests.mm.tiny import Tiny, age, reclaim


def half_and_half(**switches) -> Tiny:
    """20 anonymous pages and 20 of a file, none of them used lately."""
    m = Tiny(64, **switches)
    m.touch(1, 0, 20)
    m.file(0, 20)
    m.idle(1_000_000)
    m.settle()
    m.do(Do.DRAIN_LRU)
    age(m)
    return m


def thrash(m: Tiny) -> None:
    """As if a refault of a file page had just been activated."""
    m.mem["lruvec"]["activated"][0, 1] += 1


def test_page_cache_that_does_not_refault_is_trimmed_first():
    m = half_and_half()
    assert reclaim(m, 8) >= 8
    assert m.events(VmEvent.PSWPOUT) == 0
    assert m.events(VmEvent.PGSTEAL_FILE) >= 8
    m.validate()


def test_when_it_refaults_anonymous_pages_take_their_share():
    m = half_and_half()
    thrash(m)
    assert reclaim(m, 8) >= 8
    assert m.events(VmEvent.PSWPOUT) > 0
    assert m.mem["lruvec"]["refaults"][0, 1] == 1  # the next reclaimer compares with this
    m.validate()


def test_up_to_5_7_refaults_did_not_count():
    m = half_and_half(profile="v4_6", new_anon_active=False, lru_per_zone=False)
    thrash(m)
    assert reclaim(m, 8) >= 8
    assert m.events(VmEvent.PSWPOUT) == 0
    assert m.mem["lruvec"]["recent_scanned"][0, 1] > 0
    m.validate()


@pytest.mark.parametrize("pages", [1, 4])
def test_a_page_written_out_counts_as_io(pages):
    """Linux: lru_note_cost() takes stat.nr_pageout; all these pages were freed, so that nothing was rotated."""
    m = Tiny(64)
    m.touch(1, 0, 30)
    m.idle(1_000_000)
    m.settle()
    m.do(Do.DRAIN_LRU)
    age(m)
    assert reclaim(m, pages) >= pages
    assert m.mem["lruvec"]["anon_cost"][0] > 0
    assert m.mem["lruvec"]["file_cost"][0] == 0
    m.validate()
