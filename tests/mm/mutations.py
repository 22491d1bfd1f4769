"""Deliberately broken mechanisms, and what notices each: `python tests/mm/mutations.py` tries them and prints a table.

A mutation replaces one line of one function of the core, in the uncompiled core (NUMBA_DISABLE_JIT=1), everywhere the
function is known by name. Then what should notice runs: a short life of a tiny machine with validate() after each step
and a count of lost pages at the end ("life"), the naive twin ("twin"), or a test by name ("module.test").
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent


class Mutation(NamedTuple):
    """One line of the core, broken."""

    what: str
    module: str
    function: str
    """Where the line is, if several functions of the module have it."""
    old: str
    new: str
    by: str
    """What must notice it."""


MUTATIONS = (
    Mutation("free CMA pages are not counted", "page_alloc", "account_freepages",
             "zone.vm_stat[ZoneStat.FREE_CMA] += nr_pages", "pass", "life"),
    Mutation("isolated pages stay counted as free", "page_alloc", "move_freepages",
             "account_freepages(zone, -(1 << order), old_type)", "pass", "life"),
    Mutation("a split loses its smallest half", "page_alloc", "expand", "while high > low:", "while high > low + 1:",
             "life"),
    Mutation("freed blocks do not merge", "page_alloc", "free_one_page", "while order < NR_PAGE_ORDERS - 1:",
             "while order < 0:", "life"),
    Mutation("CMA blocks merge with ordinary ones", "page_alloc", "free_one_page",
             "if not (migratetype_is_mergeable(migratetype) and migratetype_is_mergeable(buddy_type)):", "if False:",
             "twin"),
    Mutation("the census counts the wrong kind", "page_alloc", "set_page_kind", "mem.cma.occupancy[kind] += 1",
             "mem.cma.occupancy[KIND_FREE] += 1", "life"),
    Mutation("the largest block is split first", "page_alloc", "rmqueue_smallest",
             "for current in range(order, NR_PAGE_ORDERS):", "for current in range(NR_PAGE_ORDERS - 1, order - 1, -1):",
             "twin"),
    Mutation("pageblocks are claimed although most is foreign", "page_alloc", "worth_claiming",
             "return missing <= 0", "return True", "twin"),
    Mutation("CMA goes to requests without the right", "page_alloc", "rmqueue_buddy",
             "cma = alloc_flags & ALLOC_CMA != 0 and", "cma =", "twin"),
    Mutation("the half rule forgets its ratio", "page_alloc", "prefers_cma", "[ZoneStat.FREE_CMA] * ratio",
             "[ZoneStat.FREE_CMA]", "twin"),
    Mutation("a page leaves a per-CPU list uncounted", "pcp", "rmqueue_pcplist", "pcp.nr -= 1 << order", "pass",
             "life"),
    Mutation("a drained page is not freed", "pcp", "free_pcp_block",
             "free_one_page(mem, zone, pfn, order, get_pageblock_migratetype(mem, pfn))", "pass", "life"),
    Mutation("drained pages go to the lists of one type", "pcp", "free_pcp_block",
             "free_one_page(mem, zone, pfn, order, get_pageblock_migratetype(mem, pfn))",
             "free_one_page(mem, zone, pfn, order, 0)", "life"),
    Mutation("isolated pageblocks are never uncounted", "page_isolation", "unset_migratetype_isolate",
             "zone.nr_isolated_pageblocks -= 1", "pass", "life"),
    Mutation("isolation is not undone", "contig_alloc", "test_range", "undo_isolate_page_range(mem, ",
             "(lambda *args: None)(mem, ", "life"),
    Mutation("a release forgets its last page", "cma", "cma_release", "for frame in range(pfn, pfn + nr_pages):",
             "for frame in range(pfn, pfn + nr_pages - 1):", "life"),
    Mutation("a release frees every page twice", "cma", "cma_release", "for frame in range(pfn, pfn + nr_pages):",
             "for frame in [*range(pfn, pfn + nr_pages)] * 2:", "life"),
    Mutation("bits of the bitmap are never cleared", "cma", "set_bitmap",
             "base_pfn, nr_pages, taken)", "base_pfn, nr_pages, True)", "life"),
    Mutation("buffers are aligned twice as coarsely", "cma", "find_next_zero_area", "align = (1 << align_order) - 1",
             "align = (2 << align_order) - 1", "twin"),
    Mutation("a migrated page leaves one sharer behind", "rmap", "remap", "vpn = np.int64(mem.pte[vpn].next)",
             "vpn = NO_PAGE", "life"),
    Mutation("a mapping is not counted", "rmap", "add_rmap", "page.mapcount += 1", "pass", "life"),
    Mutation("swap slots of an ended task stay in use", "rmap", "zap_pte", "swap_free(mem, cpu, slot)", "pass", "life"),
    Mutation("a page that was not moved stays isolated", "migrate", "putback_folio",
             "page.flag &= ~PageFlag.ISOLATED", "pass", "life"),
    Mutation("a page leaves its LRU list uncounted", "lru", "lruvec_del_folio",
             "update_lru_size(mem, np.int64(page.zone), folio_lru_list(page), -1)", "pass", "life"),
    Mutation("a drained batch keeps its references", "lru", "drain_batch",
             "mem.page[pfn].flag &= ~PageFlag.LRU_BATCH", "pass", "life"),
    Mutation("a page is freed under its holders", "lru", "put_page",
             "if page.flag & (PageFlag.LRU_BATCH | PageFlag.WRITEBACK) or page.pincount > 0:", "if False:", "life"),
    Mutation("an orphan is not freed with its last reference", "page_ref", "expire_references",
             "put_page(mem, 0, pfn)", "pass", "life"),
    Mutation("references are not sorted by their end", "page_ref", "sift_up",
             "while slot > 0 and mem.pin[slot].expire < mem.pin[(slot - 1) // 2].expire:", "while False:", "life"),
    Mutation("freed swap slots are not counted", "swap", "swap_free", "mem.node.nr_swap_free += 1", "pass", "life"),
    Mutation("an empty zspage is kept", "swap", "zs_free", "free_pages(mem, cpu, pfn, 0)", "pass", "life"),
    Mutation("cleaned pages stay counted as dirty", "writeback", "folio_cancel_dirty", "mem.node.nr_dirty -= 1", "pass",
             "life"),
    Mutation("writeback never ends for its page", "writeback", "end_oldest_writeback",
             "mem.page[pfn].flag &= ~PageFlag.WRITEBACK", "pass", "life"),
    Mutation("the watermark is not tested", "watermark", "watermark_ok_with",
             "if free <= mark + zone.lowmem_reserve[highest_zoneidx]:", "if False:",
             "test_watermarks.test_what_a_request_may_use_of_the_reserve"),
    Mutation("the lowmem reserve is not kept", "watermark", "watermark_ok_with",
             "if free <= mark + zone.lowmem_reserve[highest_zoneidx]:", "if free <= mark:",
             "test_watermarks.test_the_lowmem_reserve_is_added_to_the_mark"),
    Mutation("free CMA counts for everybody", "watermark", "watermark_ok_with",
             "free -= zone.vm_stat[ZoneStat.FREE_CMA]", "pass",
             "test_watermarks.test_free_cma_counts_only_for_those_who_may_use_it"),
    Mutation("pinned pages are moved", "migrate", "refusal", "if page.pincount > 0:", "if False:",
             "test_contig.test_a_page_that_cannot_move_stops_the_attempt_at_its_batch"),
    Mutation("in 4.6 the rest of a borrowed block stays on its list", "page_alloc", "rmqueue_fallback",
             "expand(mem, zone, pfn, order, current, migratetype)", "expand(mem, zone, pfn, order, current, other)",
             "twin"),
    Mutation("an operation has no reference to its pages", "hands", "take_in_hand", "page.pincount += 1", "pass",
             "life"),
    Mutation("what reclaim could not free is lost", "hands", "drop_from_hand", "lruvec_add_folio(mem, pfn, False)",
             "pass", "test_hands.test_what_direct_reclaim_could_not_free_returns_to_the_lru_when_its_work_is_over"),
    Mutation("operations take no time", "hands", "hold_for", "stretched(mem, work_ns)", "1",
             "test_hands.test_a_fault_holds_its_page_as_long_as_it_takes"),
    Mutation("a flushed gather keeps its references", "mmu_gather", "tlb_flush_mmu", "page.pincount -= 1", "pass",
             "life"),
    Mutation("the pages of an exit are free at once", "mmu_gather", "tlb_finish_mmu", "stretched(mem, work_ns)", "1",
             "test_hands.test_the_pages_of_an_exiting_task_are_free_when_its_batch_is_flushed"),
    Mutation("a looked up buffer has no reference", "lru", "bh_lru_install", "mem.page[pfn].pincount += 1", "pass",
             "test_hands.test_buffers_looked_up_lately_hold_their_pages_until_sixteen_others_were"),
    Mutation("contiguous allocation never waits", "contig_alloc", "must_sleep", "if wake_ns <= mem.clock:", "if True:",
             "test_hands.test_a_synchronous_migration_waits_for_a_page_lock"),
    Mutation("the first demand is always served first", "cma", "next_in_queue",
             "demand.queue_ns < mem.demand[found].queue_ns", "False",
             "test_demand.test_two_demands_queue_for_the_mutex"),
    Mutation("a page is free before the disk has it", "swap", "store", "mem.kernel.swap_disk", "False",
             "test_swap_disk.test_pages_on_their_way_to_the_disk_are_free_when_they_are_written"),
    Mutation("a dropped copy stays counted", "cleancache", "cleancache_drop", "mem.node.nr_cleancache -= 1", "pass",
             "test_cleancache.test_a_truncated_file_has_no_copies"),
    Mutation("copies outlive their file", "cleancache", "cleancache_invalidate",
             "cleancache_drop(mem, clean_pfn(entry))", "pass", "test_cleancache.test_a_truncated_file_has_no_copies"),
    Mutation("copies stay in the way of a buffer", "cleancache", "cleancache_drop_range",
             "mem.page[pfn].kind == PageKind.CLEANCACHE", "False",
             "test_cleancache.test_the_area_is_given_back_by_dropping_without_any_migration"),
    Mutation("balancing moves pages to wherever", "balance", "balance_zone", "cpu, MIGRATE_CMA)", "cpu, 1)",
             "test_cleancache.test_kswapd_moves_movable_pages_into_cma_when_balancing"),
)


def target(mutation: Mutation) -> Callable[..., Any]:
    """The function to break: the named one, or the only one of its module that has the line.

    Raises:
        LookupError: the line is nowhere, or in several functions.
    """
    module = importlib.import_module(f"cma_gym.mm.{mutation.module}")
    having = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and inspect.getsource(value).count(mutation.old) == 1
    }
    if mutation.function in having:
        return having[mutation.function]
    if len(having) != 1:
        raise LookupError(
            f"{len(having)} functions of {mutation.module} have {mutation.old!r}; write the mutation "
            f"{mutation.what!r} anew for what the core is now"
        )
    return next(iter(having.values()))


@contextmanager
def broken(mutation: Mutation) -> Iterator[None]:
    """The core with this mutation."""
    original = target(mutation)
    source = textwrap.dedent(inspect.getsource(original))
    scope: dict[str, Any] = {}
    exec(compile(source.replace(mutation.old, mutation.new), f"<{mutation.what}>", "exec"), original.__globals__, scope)
    users = [
        (user, name)
        for user in list(sys.modules.values())
        for name, value in list(vars(user).items())
        if value is original
    ]
    for user, name in users:
        setattr(user, name, scope[original.__name__])
    try:
        yield
    finally:
        for user, name in users:
            setattr(user, name, original)


def noticed(mutation: Mutation) -> str:
    """What was noticed, in one line; empty if nothing."""
    watch = _watcher(mutation.by)
    with broken(mutation):
        try:
            watch()
        except Exception as error:  # a broken core may fail in any way
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split()) or f"in {where.name}"
            return f"{type(error).__name__}: {text}"[:120]
    return ""


def _watcher(by: str) -> Callable[[], None]:
    from tests.mm import life, test_naive_twin

    if by == "life":
        return life.run
    if by == "twin":
        return test_naive_twin.short_trace
    module, _, name = by.partition(".")
    return getattr(importlib.import_module(f"tests.mm.{module}"), name)


def try_all() -> dict[str, str]:
    """What was noticed, by mutation."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    for by in ("life", "twin"):
        _watcher(by)()  # nothing is wrong with the core as it is
    found = {}
    for mutation in MUTATIONS:
        try:
            found[mutation.what] = noticed(mutation)
        except LookupError as error:
            found[mutation.what] = f"LookupError: {error}"
    return found


def table(found: dict[str, str]) -> str:
    """The table of docs/soundness.md."""
    rows = ["| broken | in | noticed by | as |", "|---|---|---|---|"]
    for mutation in MUTATIONS:
        said = found[mutation.what].replace("machine 0 contradicts itself: ", "") or "NOT NOTICED"
        rows.append(f"| {mutation.what} | `{mutation.module}.{target(mutation).__name__}` | {mutation.by} | {said} |")
    return "\n".join(rows)


def main() -> int:
    """Try all mutations and print them; `--json FILE` also writes what was noticed."""
    found = try_all()
    print(table(found))
    if sys.argv[1:2] == ["--json"]:
        Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
    return int(not all(found.values()))


if __name__ == "__main__":
    sys.exit(main())
