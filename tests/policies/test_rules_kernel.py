"""The edges of the rules whose systems live mostly in kernel switches."""

import numpy as np
import pytest

from cma_gym.mm.mmzone import Action, Importance, RequestKind
from cma_gym.policies.registry import get_system
from tests.policies.tables.random_tables import random_views, view_with


def answer(name, **features):
    rule = get_system(name)
    return rule.decide(view_with(**features), rule.param_array())


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("mainline_3x", Action.NORMAL_FIRST),
        ("sticky_movable", Action.NORMAL_FIRST),
        ("motorola_mm_tune", Action.NORMAL_FIRST),
        ("contiguitas", Action.NORMAL_FIRST),
        ("gcma_2015", Action.NORMAL_ONLY),
        ("gcma_2025", Action.NORMAL_ONLY),
    ],
)
def test_a_rule_that_leaves_all_to_its_kernel_never_changes_its_mind(name, action):
    rule = get_system(name)
    assert {rule.decide(view, rule.param_array()) for view in random_views(2, 1000)} == {action}


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("mainline_3x", {"cma_by_table": True, "steal_largest_first": True, "cma_ratio": 0}),
        ("sticky_movable", {"cma_sticky": True, "cma_pcp": "shared"}),
        ("contiguitas", {"contiguitas": True, "cma_pcp": "shared"}),
        ("motorola_mm_tune", {"lend_after_s": 100, "cma_ratio": 2, "migrate_into_cma": False, "cma_alloc_retries": 10}),
        ("gcma_2015", {"gcma": True, "gcma_frontswap": True, "lend": False}),
        ("gcma_2025", {"gcma": True, "lend": False, "lmk_subtract_cma": True}),
        ("amlogic_late", {"lend_below_watermark": True, "lending_stops_while_busy": True, "cma_alloc_retries": 5}),
        ("amlogic_late", {"cma_helpers": True, "migrate_mapped_file": True, "wake_kswapd_on_busy": True}),
        ("amlogic_late", {"compact_into_cma": False, "migrate_into_cma": False}),
        ("realtek_accelerator", {"sync_on_busy": True, "cma_pcp": "own"}),
    ],
)
def test_what_sets_its_kernel_apart(name, switches):
    assert switches.items() <= get_system(name).kernel.items()


def test_the_two_gcmas_differ_in_swapped_pages_alone():
    first, second = get_system("gcma_2015").kernel, get_system("gcma_2025").kernel
    assert first.items() - second.items() == {("gcma_frontswap", True)}


# Amlogic.


def test_amlogic_late_lends_to_tasks_that_are_not_niced():
    answers = {importance: answer("amlogic_late", importance=importance) for importance in Importance}
    assert answers == dict.fromkeys(Importance, Action.CMA_FIRST) | {Importance.BACKGROUND: Action.NORMAL_ONLY}


def test_amlogic_late_lends_every_kind_but_nothing_while_busy():
    assert {answer("amlogic_late", kind=kind) for kind in RequestKind} == {Action.CMA_FIRST}
    busy = {answer("amlogic_late", kind=kind, importance=i, cma_busy=1) for kind in RequestKind for i in Importance}
    assert busy == {Action.NORMAL_ONLY}


# Realtek.


def realtek(refaults, file_pages=999, **features):
    """Answer with this rate of refaults; two thirds of the file pages are active. Score: 100 * refaults / 1000."""
    active = file_pages * 2 // 3
    lists = {"active_file": active, "inactive_file": file_pages - active}
    return answer("realtek_accelerator", refault_rate=refaults, **lists, **features)


@pytest.mark.parametrize(
    ("refaults", "busy", "action"),
    [
        (0, 0, Action.NORMAL_ONLY),
        (9, 0, Action.NORMAL_ONLY),  # a score of 0.9 is 0
        (10, 0, Action.CMA_FIRST),
        (100, 0, Action.CMA_FIRST),
        (10, 1, Action.NORMAL_ONLY),
        (109, 1, Action.NORMAL_ONLY),  # 10 is not above 10
        (110, 1, Action.CMA_FIRST),
    ],
)
def test_realtek_lends_by_score_and_while_busy_by_a_high_one(refaults, busy, action):
    assert realtek(refaults, cma_busy=busy) == action


def test_realtek_asks_for_no_kind_and_survives_an_empty_cache():
    assert {realtek(10, kind=kind) for kind in RequestKind} == {Action.CMA_FIRST}, "block-device cache too"
    assert realtek(1, file_pages=0) == Action.CMA_FIRST


def test_realtek_floors_are_parameters():
    rule = get_system("realtek_accelerator")
    assert dict(zip(rule.param_names, rule.params, strict=True)) == {"score_floor": 0, "busy_score_floor": 10}
    view = view_with(refault_rate=50, active_file=999)
    assert rule.decide(view, np.array([4, 10])) == Action.CMA_FIRST
    assert rule.decide(view, np.array([5, 10])) == Action.NORMAL_ONLY
