"""The edges of every rule: kinds, thresholds and their order."""

import numpy as np
import pytest

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import get_system
from tests.policies.tables.random_tables import random_views, view_with

WINDOWED = ("gfp_page_cache", "gfp_page_cache_bdev")
MB = 256
RAM, AREA = 1024 * MB, 256 * MB
"""The board the thresholds of GFP_PAGE_CACHE were written for."""


def answer(name, **features):
    rule = get_system(name)
    return rule.decide(view_with(**features), rule.param_array())


def always(name):
    rule = get_system(name)
    return {rule.decide(view, rule.param_array()) for view in random_views(1, 2000)}


def by_kind(name, **features):
    return {kind: answer(name, kind=kind, **features) for kind in RequestKind}


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("carve_out", Action.NORMAL_ONLY),
        ("mainline_fallback", Action.NORMAL_FIRST),
        ("half_and_half", Action.NORMAL_FIRST),
        ("cma_first", Action.CMA_FIRST),
        ("adjustable_ratio", Action.NORMAL_FIRST),
        ("round_robin", Action.NORMAL_FIRST),
        ("cma_balancing", Action.NORMAL_FIRST),
        ("android_gki_redirect_all", Action.CMA_FIRST),
    ],
)
def test_a_rule_without_conditions_never_changes_its_mind(name, action):
    assert always(name) == {action}


def test_zone_cma_keeps_only_block_device_cache_out():
    expected = dict.fromkeys(RequestKind, Action.CMA_FIRST) | {RequestKind.BDEV: Action.NORMAL_ONLY}
    assert by_kind("zone_cma") == expected
    assert by_kind("zone_cma", cma_busy=1, free_cma=0, owner_pinned=1) == expected  # nothing else matters to it


def test_gfp_cma_flags_zeroed_faults_and_copies_and_nothing_else():
    expected = dict.fromkeys(RequestKind, Action.NORMAL_ONLY)
    expected |= {RequestKind.ANON: Action.CMA_FIRST, RequestKind.COW: Action.CMA_FIRST}
    assert by_kind("gfp_cma") == expected
    assert by_kind("gfp_cma", cma_busy=1, free_cma=0) == expected  # "always first", even while busy


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("page_cache_only", {RequestKind.FILE}),
        ("page_cache_and_bdev", {RequestKind.FILE, RequestKind.BDEV}),
        ("anonymous_only", {RequestKind.ANON, RequestKind.COW, RequestKind.SWAPIN}),
        (
            "page_cache_and_anonymous",
            {RequestKind.FILE, RequestKind.ANON, RequestKind.COW, RequestKind.SWAPIN},
        ),
    ],
)
def test_selective_rules_go_by_kind_alone_and_close_both_leaks(name, kinds):
    expected = {kind: Action.CMA_FIRST if kind in kinds else Action.NORMAL_ONLY for kind in RequestKind}
    assert by_kind(name) == expected
    assert by_kind(name, cma_busy=1, free_cma=0, owner_pinned=1) == expected
    closed = {"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False}
    assert get_system(name).kernel == closed


@pytest.mark.parametrize("name", ["qualcomm_gfp_cma", "android_gki"])
def test_gfp_cma_of_qualcomm_and_android_is_for_zeroed_faults_and_zram(name):
    expected = dict.fromkeys(RequestKind, Action.NORMAL_ONLY)
    expected |= {RequestKind.ANON: Action.CMA_FIRST, RequestKind.ZSMALLOC: Action.CMA_FIRST}
    assert by_kind(name) == expected
    assert by_kind(name, cma_busy=1, free_cma=0) == expected  # the kernel switch keeps them out, not the rule
    assert get_system(name).kernel["lending_stops_while_busy"]


def test_openharmony_is_for_single_anonymous_pages():
    expected = dict.fromkeys(RequestKind, Action.NORMAL_ONLY)
    expected |= dict.fromkeys((RequestKind.ANON, RequestKind.COW, RequestKind.SWAPIN), Action.CMA_FIRST)
    assert by_kind("openharmony") == expected
    assert set(by_kind("openharmony", order=1).values()) == {Action.NORMAL_ONLY}


@pytest.mark.parametrize(
    ("free_pages", "free_cma", "action"),
    [
        (1001, 0, Action.NORMAL_FIRST),  # a watermark is passed by having more
        (1000, 0, Action.CMA_FIRST),
        (5000, 3999, Action.NORMAL_FIRST),  # free CMA does not count
        (5000, 4000, Action.CMA_FIRST),
    ],
)
def test_watermark_rule_looks_at_ordinary_memory_alone(free_pages, free_cma, action):
    levels = {"free_pages": free_pages, "free_cma": free_cma, "watermark_low": 1000, "watermark_high": 1500}
    assert set(by_kind("watermark_rule", **levels).values()) == {action}
    assert set(by_kind("watermark_rule", cma_busy=1, **levels).values()) == {action}


@pytest.mark.parametrize("scale", [1, 4, 16])
def test_cma_aggressive_leaves_500_pages_of_its_board_and_the_request(scale):
    def at(free_cma, **more):
        return answer("cma_aggressive", free_cma=free_cma, cma_pages=AREA // scale, **more)

    edge = 500 // scale + 1
    assert at(edge) == Action.NORMAL_FIRST
    assert at(edge + 1) == Action.CMA_FIRST
    assert at(edge + 1, order=1) == Action.NORMAL_FIRST
    assert at(edge + 2, order=1) == Action.CMA_FIRST
    assert at(AREA // scale, cma_busy=1) == Action.NORMAL_FIRST  # then it is only the last resort


def test_cma_aggressive_is_for_every_movable_request():
    assert set(by_kind("cma_aggressive", free_cma=AREA, cma_pages=AREA).values()) == {Action.CMA_FIRST}
    assert set(by_kind("cma_aggressive", free_cma=0, cma_pages=AREA).values()) == {Action.NORMAL_FIRST}


PLENTY = {"managed_pages": RAM, "free_pages": 32 * MB + 100, "free_cma": 100}
SHORT = PLENTY | {"free_pages": 32 * MB + 99}


def test_amlogic_lends_to_cold_pages_and_below_its_limit_to_all():
    expected = dict.fromkeys(RequestKind, Action.NORMAL_ONLY) | {RequestKind.FILE: Action.CMA_FIRST}
    assert by_kind("amlogic_early", **PLENTY) == expected
    expected = dict.fromkeys(RequestKind, Action.CMA_FIRST) | {RequestKind.BDEV: Action.NORMAL_ONLY}
    assert by_kind("amlogic_early", **SHORT) == expected


def test_amlogic_lends_to_nobody_while_busy_unless_memory_is_short():
    assert set(by_kind("amlogic_early", cma_busy=1, **PLENTY).values()) == {Action.NORMAL_ONLY}
    assert by_kind("amlogic_early", cma_busy=1, **SHORT) == by_kind("amlogic_early", **SHORT)


@pytest.mark.parametrize("levels", [PLENTY, SHORT])
def test_amlogic_never_lends_to_writers(levels):
    assert set(by_kind("amlogic_early", writable=1, **levels).values()) == {Action.NORMAL_ONLY}


def window(normal_pages, cma_pages, kind=RequestKind.FILE, reserve=9 * MB, ram=RAM, area=AREA, name="gfp_page_cache"):
    """GFP_PAGE_CACHE's answer with this much free memory outside (above the reserve) and inside the area.

    free_pages = |-- normal --|-- totalreserve --|-- free CMA --|
    """
    return answer(
        name,
        kind=kind,
        free_pages=normal_pages + reserve + cma_pages,
        free_cma=cma_pages,
        totalreserve=reserve,
        managed_pages=ram,
        cma_pages=area,
    )


@pytest.mark.parametrize(
    ("normal_pages", "cma_pages", "action"),
    [
        (48 * MB, 48 * MB, Action.CMA_FIRST),  # both at their edges: still in the window
        (48 * MB + 1, 48 * MB, Action.NORMAL_ONLY),  # enough ordinary memory
        (48 * MB, 48 * MB - 1, Action.NORMAL_ONLY),  # the last 48 MB of the area
        (-9 * MB, 256 * MB, Action.CMA_FIRST),  # below the reserve: normal is negative
        (0, 0, Action.NORMAL_ONLY),
        (500 * MB, 256 * MB, Action.NORMAL_ONLY),
    ],
)
@pytest.mark.parametrize("ram_gb", [1, 2, 3])
@pytest.mark.parametrize("name", WINDOWED)
def test_gfp_page_cache_window_is_48_mb_on_every_phone(name, ram_gb, normal_pages, cma_pages, action):
    assert window(normal_pages, cma_pages, ram=ram_gb * RAM, name=name) == action


@pytest.mark.parametrize("scale", [2, 4, 16])
def test_gfp_page_cache_window_scales_with_the_machine(scale):
    edge = 48 * MB // scale
    small = {"ram": RAM // scale, "area": AREA // scale}
    assert window(edge, edge, **small) == Action.CMA_FIRST
    assert window(edge + 1, edge, **small) == Action.NORMAL_ONLY
    assert window(edge, edge - 1, **small) == Action.NORMAL_ONLY


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("gfp_page_cache", [RequestKind.FILE]), ("gfp_page_cache_bdev", [RequestKind.FILE, RequestKind.BDEV])],
)
def test_gfp_page_cache_is_for_page_cache_only(name, kinds):
    assert [kind for kind in RequestKind if window(MB, 100 * MB, kind=kind, name=name) != Action.NORMAL_ONLY] == kinds


def test_gfp_page_cache_thresholds_are_parameters():
    rule = get_system("gfp_page_cache")
    assert rule.param_names == ("normal_limit_256ths", "cma_floor_256ths")
    view = view_with(
        kind=RequestKind.FILE, free_cma=AREA, free_pages=AREA + RAM // 2, managed_pages=RAM, cma_pages=AREA
    )
    assert rule.decide(view, np.array([512, 256])) == Action.CMA_FIRST
    assert rule.decide(view, np.array([511, 256])) == Action.NORMAL_ONLY
    view[View.FREE_CMA] -= 1
    view[View.FREE_PAGES] -= 1
    assert rule.decide(view, np.array([512, 256])) == Action.NORMAL_ONLY


MAINLINE = {"cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True}
CLOSED = {"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False}
FLAGGED = {"cma_pcp": "own", "lending_stops_while_busy": True, "migrate_into_cma": False}
"""Kernels of a __GFP_CMA flag: compaction stays as it is."""


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("carve_out", {"lend": False, "lmk_subtract_cma": True}),
        ("mainline_fallback", MAINLINE | {"cma_ratio": 0}),
        ("half_and_half", MAINLINE | {"cma_ratio": 2}),
        ("adjustable_ratio", MAINLINE | {"cma_ratio": 4}),
        ("watermark_rule", MAINLINE | {"cma_ratio": 2}),
        ("round_robin", MAINLINE | {"cma_round_robin": True}),
        ("cma_first", MAINLINE),
        ("cma_aggressive", MAINLINE | {"shrink_before_cma_alloc": True}),
        ("cma_balancing", MAINLINE | {"cma_balance": True, "cma_first_limit": 50}),
        ("zone_cma", {"zone_cma": True}),
        ("gfp_page_cache", CLOSED | {"lmk_subtract_cma": True}),
        ("gfp_page_cache_bdev", CLOSED | {"lmk_subtract_cma": True}),
        ("amlogic_early", CLOSED),
        ("gfp_cma", CLOSED | {"cma_pcp": "own", "lmk_subtract_cma": True}),
        ("qualcomm_gfp_cma", FLAGGED | {"lmk_subtract_cma": True}),
        ("android_gki", FLAGGED | {"lmk_subtract_cma": True}),
        ("android_gki_redirect_all", MAINLINE | {"lending_stops_while_busy": True, "lmk_subtract_cma": True}),
        ("openharmony", FLAGGED),
    ],
)
def test_what_sets_a_systems_kernel_apart(name, switches):
    assert switches.items() <= get_system(name).kernel.items()
