"""The registry: what every system must keep to, and what goes wrong loudly."""

import dataclasses
import pickle

import numpy as np
import pytest

from cma_gym.machine.kernel import KernelConfig
from cma_gym.mm.mmzone import NR_ACTIONS, Action
from cma_gym.policies.registry import PolicyError, describe, get_system, load_system_file, system, systems
from tests.policies.tables.random_tables import random_views

NAMES = sorted(systems())
ROWS = {f"S{number}" for number in range(23)}
"""The feature table, docs/facts.md."""

USER_FILE = '''"""Block-device cache stays out; a test's own system.

Who: nobody.

Source: this test.

Assumed: nothing.
"""

from cma_gym.machine.view import View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import system


@system("users_own", kernel={"cma_pcp": "own"}, params={"out": int(RequestKind.BDEV)})
def decide(view, params):
    return Action.NORMAL_ONLY if view[View.KIND] == params[0] else Action.CMA_FIRST
'''


@pytest.fixture
def user_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    return path


def test_the_systems_of_the_seed_discussion_are_found():
    assert set(NAMES) >= {
        "carve_out",
        "mainline_fallback",
        "half_and_half",
        "zone_cma",
        "gfp_page_cache",
        "gfp_page_cache_bdev",
        "gfp_cma",
        "cma_aggressive",
        "qualcomm_gfp_cma",
        "android_gki",
        "cma_first",
    }


def test_every_row_of_the_feature_table_runs():
    rows = {entry.row for entry in systems().values()} - {""}
    assert rows <= ROWS
    assert rows == ROWS


def test_a_row_that_is_none_is_refused():
    with pytest.raises(PolicyError, match="row 'nine' is no row of the feature table"):
        system("new", row="nine")(lambda view, params: 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_an_action_and_asking_changes_nothing(name):
    rule = get_system(name)
    params = rule.param_array()
    views = random_views(7, 3000)
    before = views.copy()
    answers = [rule.decide(view, params) for view in views]
    assert set(answers) <= set(range(NR_ACTIONS))
    assert answers == [rule.decide(view, params) for view in views]
    np.testing.assert_array_equal(views, before)
    np.testing.assert_array_equal(params, rule.param_array())


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_answers_the_same_unjitted(name):
    rule = get_system(name)
    plain = getattr(rule.decide, "py_func", rule.decide)
    for view in random_views(8, 200):
        assert plain(view, rule.param_array()) == rule.decide(view, rule.param_array())


@pytest.mark.parametrize("profile", ["v4_6", "v6_12"])
@pytest.mark.parametrize("name", NAMES)
def test_every_kernel_exists_in_both_profiles(name, profile):
    KernelConfig.for_profile(profile, **get_system(name).kernel)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_says_who_and_where_and_what_is_assumed(name):
    said = describe(get_system(name))
    assert all(said[key] for key in ("summary", "who", "source", "assumed"))
    assert said["file"] == f"{name}.py"
    assert "\n" not in said["summary"]


@pytest.mark.parametrize("name", NAMES)
def test_every_system_can_be_sent_to_another_process(name):
    rule = get_system(name)
    sent = pickle.loads(pickle.dumps(rule))
    view = random_views(9, 1)[0]
    assert sent.decide(view, sent.param_array()) == rule.decide(view, rule.param_array())
    assert dataclasses.replace(sent, decide=rule.decide) == rule


def test_description_names_the_parameters():
    assert describe(get_system("gfp_page_cache"))["params"] == {"normal_limit_256ths": 48, "cma_floor_256ths": 48}


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        PolicyError, match=r"no system 'gfp_pagecache'; did you mean 'gfp_page_cache'\? known are .*, carve_out,"
    ):
        get_system("gfp_pagecache")


def test_a_name_can_be_taken_once():
    with pytest.raises(PolicyError, match=r"'cma_first' exists already .*cma_first.py"):
        system("cma_first")(lambda view, params: Action.CMA_FIRST)


@pytest.mark.parametrize("name", ["", "CMA", "a b", "1st", "../x"])
def test_a_malformed_name_is_refused(name):
    with pytest.raises(PolicyError, match="rename it"):
        system(name)(lambda view, params: Action.CMA_FIRST)


def test_an_unknown_kernel_switch_is_refused():
    with pytest.raises(PolicyError, match="no switch 'cma_pcpp'; did you mean 'cma_pcp'"):
        system("new", kernel={"cma_pcpp": "own"})(lambda view, params: 0)
    with pytest.raises(PolicyError, match="kernel switch 'cma_pcp'"):
        system("new", kernel={"cma_pcp": "mine"})(lambda view, params: 0)


def test_a_file_outside_the_package_registers_a_system(user_file):
    (rule,) = load_system_file(user_file)
    assert rule is get_system("users_own")
    assert describe(rule) == {
        "name": "users_own",
        "row": "",
        "summary": "Block-device cache stays out; a test's own system.",
        "who": "nobody.",
        "source": "this test.",
        "assumed": "nothing.",
        "kernel": {"cma_pcp": "own"},
        "params": {"out": 5},
        "file": "mine.py",
    }
    assert {rule.decide(view, rule.param_array()) for view in random_views(3, 500)} == {0, 2}
    assert not list(user_file.parent.rglob("*.pyc"))


def test_an_edited_file_replaces_its_systems(user_file):
    load_system_file(user_file)
    user_file.write_text(USER_FILE.replace("users_own", "renamed").replace("RequestKind.BDEV", "RequestKind.FILE"))
    (rule,) = load_system_file(user_file)
    assert (rule.name, rule.params) == ("renamed", (4,))
    assert "users_own" not in systems()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no system"),
        ("def decide(:\n", "cannot be read as Python"),
        ("raise RuntimeError('no')\n", "failed with RuntimeError: no"),
        (USER_FILE.replace("users_own", "cma_first"), "exists already"),
        (USER_FILE + "\n1 / 0\n", "ZeroDivisionError"),
        ("#" * ((1 << 20) + 1), "larger than 1 MiB"),
    ],
)
def test_a_bad_file_is_refused_and_leaves_nothing_behind(tmp_path, text, message):
    path = tmp_path / "bad.py"
    path.write_text(text)
    before = systems()
    with pytest.raises(PolicyError, match=message):
        load_system_file(path)
    assert systems() == before


def test_a_rule_that_is_no_integer_function_is_refused(tmp_path):
    if not hasattr(get_system("cma_first").decide, "py_func"):
        pytest.skip("unjitted: nothing is compiled")
    path = tmp_path / "bad.py"
    path.write_text(USER_FILE.replace("return Action", "view.append(1)\n    return Action"))
    with pytest.raises(PolicyError, match="does not compile: .*append"):
        load_system_file(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read"):
        load_system_file(tmp_path / "none.py")
