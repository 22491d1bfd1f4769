"""The measured ranking: statistics against known values, files that cannot be used, and the verb on a small file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from cma_gym.experiments.cli import main
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.fidelity.measured.demands import SYSTEMS, Demand, read_measured, scenario
from cma_gym.experiments.fidelity.measured.order import POOLED, distinct_pairs, fisher_exact, labels, rank_correlation
from cma_gym.experiments.fidelity.measured.section import section
from cma_gym.experiments.fidelity.measured.tables import volume_table
from cma_gym.experiments.fidelity.measured.tradeoff import trade_off

HEADER = "policy,workload,seed,ram_mb,cma_mb,kind,ok,first_try_ok,total_ms,cma_free,vm_pswpout"


@pytest.mark.parametrize(
    ("table", "p"),
    [
        ((3, 1, 1, 3), 0.4857142857),  # Fisher's lady tasting tea
        ((8, 2, 1, 5), 0.0349650350),
        ((1, 9, 11, 3), 0.0027594562),
        ((12, 5, 0, 4), 0.0210526316),
        ((5, 0, 5, 0), 1.0),
        ((0, 12, 23, 0), 1 / math.comb(35, 12)),
    ],
)
def test_fishers_exact_test(table: tuple[int, int, int, int], p: float) -> None:
    a, b, c, d = table
    assert fisher_exact(a, b, c, d) == pytest.approx(p)
    assert fisher_exact(c, d, a, b) == pytest.approx(p)
    assert fisher_exact(b, a, d, c) == pytest.approx(p)


def test_rank_correlation() -> None:
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9486832981)
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def demands(policy: int, ok: int, tried: int, workload: str = "apps", **counts: float) -> list[Demand]:
    return [
        Demand(policy, workload, n, 512, 128, True, n < ok, n < ok, 10.0, {"cma_free": 0.0, **counts})
        for n in range(tried)
    ]


def test_only_pairs_beyond_sampling_error_count_and_a_tie_is_wrong() -> None:
    measured = demands(0, 1, 10) + demands(3, 9, 10) + demands(6, 10, 10)
    model = demands(0, 2, 6) + demands(3, 4, 6) + demands(6, 2, 6)
    pairs = distinct_pairs(measured, model)
    assert {(pair.better, pair.worse) for pair in pairs} == {(3, 0), (6, 0)}  # 9/10 and 10/10 do not differ
    assert {pair.measure for pair in pairs} == {"first", "three"}
    assert {pair.better: pair.agrees for pair in pairs} == {3: True, 6: False}


def test_workloads_are_pooled_where_there_are_several() -> None:
    one, two = demands(0, 1, 2), demands(0, 1, 2, "meta")
    assert labels(one) == ["apps"]
    assert labels(one + two) == ["apps", "meta", POOLED]


def test_the_trade_off_knows_what_it_cannot_tell() -> None:
    signs = {sign.name: sign for sign in trade_off(demands(6, 10, 10), demands(6, 9, 10))}
    assert signs["never_serves"].holds_measured is True
    assert signs["never_serves"].holds_model is False
    assert signs["zone_is_slow"].holds_measured is None


def test_swapping_is_compared_by_runs() -> None:
    both = demands(0, 1, 2, vm_pswpout=100.0) + demands(6, 1, 2, vm_pswpout=210.0)
    signs = {sign.name: sign for sign in trade_off(both, both)}
    assert signs["never_swaps"].measured == pytest.approx(2.1)


def test_the_page_tells_the_verdict_the_pairs_and_the_volumes() -> None:
    measured = demands(0, 1, 10, vm_pswpout=10.0) + demands(3, 9, 10, vm_pswpout=20.0)
    model = demands(0, 4, 6, vm_pswpout=12.0) + demands(3, 4, 6, vm_pswpout=15.0)
    pairs, signs = distinct_pairs(measured, model), trade_off(measured, model)
    text = section(measured, model, pairs, signs)
    assert "- 0 of 2 pairs in the measured order (0.0%, aim 90%)" in text
    assert "| 3 page_cache_only | 90 / 67 | 90 / 67 |" in text
    assert "| apps | first | 3 page_cache_only | 0 half_and_half | 9/10 | 1/10 |" in text
    assert "Volumes" in text


def test_volumes_are_shown_where_both_sides_have_them() -> None:
    counts = {"vm_pswpout": 10.0, "vm_pswpin": 4.0, "vm_workingset_refault_file": 5.0}
    both = demands(0, 1, 2, **counts) + demands(3, 1, 2, vm_pswpout=9.0)
    assert volume_table(both, both)[1] == [["apps 0 half_and_half", "10 / 10", "4 / 4", "5 / 5"]]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([HEADER], "has no rows"),
        ([HEADER.replace("kind,", "")], "no column 'kind'"),
        ([HEADER, "9,apps,1,512,128,whole,1,1,10,,"], "line 2: policy 9"),
        ([HEADER, "0,apps,1,512,128,half,1,1,10,,"], "line 2: kind is 'half'"),
        ([HEADER, "0,apps,1,512,128,whole,yes,1,10,,"], "line 2: ok is 'yes'"),
        ([HEADER, "0,apps,1,512,128,whole,1,1,soon,,"], "line 2: total_ms is 'soon'"),
        ([HEADER, "0,apps,1,512"], "line 2"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(lines: list[str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match=said):
        read_measured(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_measured(tmp_path / "none.csv")


def test_a_workload_that_nothing_mirrors() -> None:
    with pytest.raises(ConfigError, match="no scenario mirrors workload 'games' on 512 MB"):
        scenario("games", 512)


def test_the_verb_on_a_small_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{policy},meta,1,512,128,whole,{ok},{ok},50,100,1000" for policy, ok in ((2, 0), (6, 1)) for _ in range(6)]
    path, figures = tmp_path / "m.csv", tmp_path / "f.json"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    page = tmp_path / "page.md"
    words = ["rank", "--measured", str(path), "--seeds", "1:2", "--jobs", "1", "--json", str(figures)]
    words += ["--markdown", str(page)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "2 of 2 pairs in the measured order" in said
    assert "2 of 2 pairs in the measured order (100.0%, aim 90%)" in page.read_text()
    content = json.loads(figures.read_text())
    assert set(content) == {
        "cells",
        "pairs",
        "agreement",
        "trade_off",
        "rank_correlation",
        "runs",
        "provenance",
    }
    assert content["agreement"] == {"same": 2, "of": 2, "share": 1.0, "aim": 0.9}
    assert [cell["system"] for cell in content["cells"]] == [SYSTEMS[2], SYSTEMS[6]]
    assert content["cells"][1]["whole"]["first"]["model"] == {"ok": 4, "tried": 4}
    assert {run["policy"] for run in content["runs"]} == {2, 6}
