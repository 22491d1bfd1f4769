"""The soak: passes on a sound core, is the same for the same seed, and says what is wrong where something is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cma_gym.experiments.cli import main
from cma_gym.experiments.soak import life
from cma_gym.experiments.soak.events import RUN, TASKS, Sizes, random_events
from cma_gym.experiments.soak.machines import DRAWN, LAYOUTS, layout_names, layout_of, machine_for
from cma_gym.machine.events import NR_OPS, Op

SIZES = Sizes(200, 300, 1024)


def soak(tmp_path, *words: str) -> tuple[int, dict]:
    target = tmp_path / "soak.json"
    status = main(["soak", "--ops", "60000", "--every", "200", "--json", str(target), *words])
    return status, json.loads(target.read_text(encoding="utf-8"))


def test_events_stay_in_their_ranges_and_are_of_every_kind():
    events = random_events(np.random.default_rng(1), 20_000, SIZES, 5)
    assert set(np.unique(events["op"])) == set(range(NR_OPS))
    assert events["time"][0] >= 5 and np.all(np.diff(events["time"]) >= 0)
    files = np.isin(events["op"], (Op.FILE, Op.SYNC, Op.TRUNCATE))
    assert np.all(events["start"][files] + events["nr"][files] <= SIZES.nr_fpages)
    touched = events[events["op"] == Op.TOUCH]
    assert np.all(touched["start"] // SIZES.each == touched["task"])
    assert np.all((touched["start"] + touched["nr"] - 1) // SIZES.each == touched["task"])
    assert touched["nr"].max() <= RUN and touched["task"].max() < TASKS
    forks = events[events["op"] == Op.FORK]
    assert np.all(forks["task"] != forks["value"]) and forks["value"].min() >= 1 and forks["value"].max() < TASKS


def test_every_layout_makes_a_machine_and_has_its_turn():
    machines = [machine_for(name, np.random.default_rng(0)) for name in layout_names()]
    assert {m.layout for m in machines} == {*LAYOUTS, DRAWN}
    assert {layout_of(n) for n in range(2 * len(LAYOUTS))} == {*LAYOUTS, DRAWN}
    drawn = [machine_for(DRAWN, np.random.default_rng(n)) for n in range(20)]
    assert len({m.kernel.zone_cma for m in drawn}) == 2 and len({m.spec.pageblock_order for m in drawn}) > 3


def test_a_sound_core_passes_and_the_same_seed_gives_the_same(tmp_path, capsys):
    status, found = soak(tmp_path)
    assert status == 0 and found["violations"] == 0 and found["operations"] >= 60_000
    assert "0 lives with violations or lost pages" in capsys.readouterr().out
    again = soak(tmp_path)[1]
    assert [life["counters"] for life in again["lives"]] == [life["counters"] for life in found["lives"]]


def test_a_contradiction_is_named_with_its_life_and_ends_in_status_1(tmp_path, capsys, monkeypatch):
    run = life._run

    def corrupting(mems, events):
        if len(events) == 200:
            mems["node"]["nr_dirty"] += 1
        return run(mems, events)

    monkeypatch.setattr(life, "_run", corrupting)
    status, found = soak(tmp_path, "--seed", "3", "--machine", "mainline")
    assert status == 1 and found["violations"] == 1
    text = capsys.readouterr().out
    assert "life 0 on mainline: DIRTY_COUNT at" in text
    assert "again: cma-gym soak --seed 3 --first 0 --ops 60000 --every 200 --machine mainline" in text


def test_a_lost_page_is_counted(tmp_path, capsys, monkeypatch):
    census = life.census
    monkeypatch.setattr(life, "census", lambda mems: census(mems) | {"CMA pages": int(mems["clock"][0] > 0)})
    assert soak(tmp_path, "--machine", "zone_cma")[0] == 1
    assert "pages were lost: {'CMA pages': 1} more than after boot" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--machine", "toaster"), "there is no such layout"),
        (("--every", "0"), "--every 0: write a number above 0"),
        (("--first", "-1"), "--first -1: write 0 or a number above"),
    ],
)
def test_bad_arguments_are_one_sentence(words, said, capsys):
    assert main(["soak", *words]) == 2
    assert said in capsys.readouterr().err
