"""The edges of every rule: kinds, thresholds and their order."""

import numpy as np
import pytest
from random_tables import random_views, view_with

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import get_system

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


def window(normal_pages, cma_pages, kind=RequestKind.FILE, reserve=9 * MB, ram=RAM, area=AREA):
    """GFP_PAGE_CACHE's answer with this much free memory outside (above the reserve) and inside the area.

    free_pages = |-- normal --|-- totalreserve --|-- free CMA --|
    """
    return answer(
        "gfp_page_cache",
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
def test_gfp_page_cache_window_on_its_board(normal_pages, cma_pages, action):
    assert window(normal_pages, cma_pages) == action


@pytest.mark.parametrize("scale", [2, 4, 16])
def test_gfp_page_cache_window_scales_with_the_machine(scale):
    edge = 48 * MB // scale
    small = {"ram": RAM // scale, "area": AREA // scale}
    assert window(edge, edge, **small) == Action.CMA_FIRST
    assert window(edge + 1, edge, **small) == Action.NORMAL_ONLY
    assert window(edge, edge - 1, **small) == Action.NORMAL_ONLY


def test_gfp_page_cache_is_for_regular_files_only():
    open_to = [kind for kind in RequestKind if window(MB, 100 * MB, kind=kind) != Action.NORMAL_ONLY]
    assert open_to == [RequestKind.FILE]


def test_gfp_page_cache_thresholds_are_parameters():
    rule = get_system("gfp_page_cache")
    assert rule.param_names == ("normal_limit_1024ths", "cma_floor_256ths")
    view = view_with(
        kind=RequestKind.FILE, free_cma=AREA, free_pages=AREA + RAM // 2, managed_pages=RAM, cma_pages=AREA
    )
    assert rule.decide(view, np.array([512, 256])) == Action.CMA_FIRST
    assert rule.decide(view, np.array([511, 256])) == Action.NORMAL_ONLY
    view[View.FREE_CMA] -= 1
    view[View.FREE_PAGES] -= 1
    assert rule.decide(view, np.array([512, 256])) == Action.NORMAL_ONLY


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("carve_out", {"lend": False}),
        (
            "mainline_fallback",
            {"cma_ratio": 0, "cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True},
        ),
        ("half_and_half", {"cma_ratio": 2, "cma_pcp": "shared"}),
        ("zone_cma", {"zone_cma": True}),
        ("gfp_page_cache", {"cma_pcp": "none", "compact_into_cma": False, "migrate_into_cma": False}),
        ("gfp_cma", {"cma_pcp": "own", "compact_into_cma": False, "migrate_into_cma": False, "lmk_subtract_cma": True}),
        ("cma_first", {"cma_pcp": "shared", "compact_into_cma": True, "migrate_into_cma": True}),
    ],
)
def test_what_sets_a_systems_kernel_apart(name, switches):
    assert switches.items() <= get_system(name).kernel.items()
