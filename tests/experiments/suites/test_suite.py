"""Suites: their files, what they play, and the cache that they run from."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cma_gym.envs.seeds import SPLITS
from cma_gym.experiments.cli import main
from cma_gym.experiments.config import CONFIGS, ConfigError
from cma_gym.experiments.rows.cache import RowCache, key_of, system_digest
from cma_gym.experiments.rows.case import Unit, system_names
from cma_gym.experiments.rows.results import read_results
from cma_gym.experiments.suites import verb as suite_verb
from cma_gym.experiments.suites.run import Batch, plan, run_batch
from cma_gym.experiments.suites.suite import Suite, SuiteConfig, load_suite, resolve_suite, split_of
from cma_gym.machine.events import Op
from cma_gym.machine.spec import MachineSpec
from cma_gym.policies.registry import systems
from cma_gym.workloads.registry import generate

ROOT = Path(__file__).resolve().parents[3]
TINY = {"ram_mb": 16, "cma_mb": 4, "pageblock_order": 6}
SHORT = {"camera.warmup_s": 2, "camera.count": 2, "camera.gap_s": 2, "camera.hold_s": 0.4}


def content(**more: object) -> dict:
    """A suite of two scenarios of a second each."""
    return {
        "name": "small",
        "machines": {"16m": TINY, "16m-swap": {**TINY, "zram_percent": 25}},
        "workload": SHORT,
        "scenarios": [
            {"use": "phone", "at": ["16m"], "tests": ["whole", "pieces"], "seeds": 2, "quick": 1},
            {"use": "phone", "at": "16m-swap", "tests": "blocks", "seeds": 2},
        ],
        **more,
    }


def written(folder: Path, **more: object) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content(**more)))
    return path


def refuse(folder: Path, **more: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_suite(str(written(folder, **more)))
    sentence = str(caught.value)
    assert "\n" not in sentence and sentence.startswith(str(folder))
    return sentence


def one(**more: object) -> list[dict]:
    return [{"use": "phone", "at": "16m", "seeds": 2, **more}]


def test_a_wrong_suite_is_refused_in_one_sentence(tmp_path: Path) -> None:
    assert "'scenarios.0.seed'; did you mean 'seeds'?" in refuse(tmp_path, scenarios=[*one(seed=3)])
    assert "there is no machine '1g'; machines has 16m, 16m-swap" in refuse(tmp_path, scenarios=one(at="1g"))
    assert "quick=3 is more than seeds=2" in refuse(tmp_path, scenarios=one(quick=3))
    assert "'phone-16m' exists already; give it another `vary`" in refuse(tmp_path, scenarios=one() + one())
    assert "did you mean 'whole'" not in refuse(tmp_path, scenarios=one(tests="hole"))
    assert "camera.warmup_s" in refuse(tmp_path, scenarios=one(workload={"camera.warmup_s": -1}))
    assert "did you mean 'warmup_s'" in refuse(tmp_path, scenarios=one(workload={"camera.warmup": 1}))
    assert "scenarios.0.machine (16m): there is no key 'zram'" in refuse(tmp_path, scenarios=one(machine={"zram": 1}))
    assert "no switch 'swapiness'; did you mean 'swappiness'?" in refuse(
        tmp_path, scenarios=one(kernel={"swapiness": 1})
    )
    assert "split: input should be 'train', 'select' or 'test'" in refuse(tmp_path, split="exam")
    assert "two machines are twins of the same one" in refuse(
        tmp_path, twins={"16m": "16m-swap", "16m-swap": "16m-swap"}
    )
    assert "use: 'a.npz' is not one scenario" in refuse(tmp_path, scenarios=one(use="a.npz"))
    assert "scenarios.0: use: " in refuse(tmp_path, scenarios=one(use="fone"))
    assert "has no quick part" in str(pytest.raises(ConfigError, resolved(scenarios=one()).quick).value)


def resolved(**more: object) -> Suite:
    return resolve_suite(SuiteConfig.model_validate(content(**more)), "here")


def test_changes_by_dotted_keys_reach_machine_workload_and_kernel() -> None:
    changed = {"machine": {"zram_percent": 7}, "workload": {"camera.count": 3}, "kernel": {"swappiness": 10}}
    (plain, varied) = resolved(scenarios=one() + one(vary="much", **changed)).scenarios
    assert (plain.label, varied.label, varied.vary) == ("phone-16m", "phone-16m-much", "much")
    assert json.loads(varied.machine)["zram_percent"] == 7 != json.loads(plain.machine)["zram_percent"]
    origin = json.loads(varied.source)
    assert origin["scenario"]["camera"] == {"warmup_s": 2, "count": 3, "gap_s": 2, "hold_s": 0.4}
    assert origin["kernel"] == {"swappiness": 10} and "kernel" not in json.loads(plain.source)
    assert plain.measures == ("whole_success", "pieces_success")


@pytest.mark.parametrize("path", sorted((CONFIGS / "suites").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_suites_use_seeds_that_nothing_learns_from(path: Path) -> None:
    suite = load_suite(str(path))
    used = {seed for scenario in suite.scenarios for seed in scenario.seeds}
    assert {split_of(seed) for seed in used} == {"test"}
    for train in (CONFIGS / "train").glob("*.yaml"):
        episodes = yaml.safe_load(train.read_text())["episodes"]
        for split, names in (("train", ("train", "search")), ("select", ("select",))):
            count = max(episodes.get(name, 0) for name in names)
            assert not used & set(range(SPLITS[split], SPLITS[split] + count))


def test_the_product_suite_is_what_was_asked_for() -> None:
    suite = load_suite("product")
    machines = {entry.label: MachineSpec.model_validate_json(entry.machine) for entry in suite.scenarios}
    full = [entry for entry in suite.scenarios if entry.at in suite.config.twins.values()]
    twins = [entry for entry in suite.scenarios if entry.at in suite.config.twins]
    others = [entry.label for entry in suite.scenarios if entry not in (*full, *twins)]
    assert others == ["phone-128m-blocks"]  # as a phone of 2 GB, where blocks are too dear
    for entries, scale, seeds in ((full, 1, 5), (twins, 16, 30)):
        assert all(len(entry.seeds) >= seeds for entry in entries)
        for tests, area in ((("whole", "pieces"), 256), (("blocks",), 384)):
            found = {
                (machines[e.label].ram_mb * scale, machines[e.label].cma_mb * scale)
                for e in entries
                if e.tests == tests
            }
            sizes = (1024, 2048, 3072) if tests != ("blocks",) else (1024,)
            assert found == {(size, area) for size in sizes}
    assert {entry.use for entry in twins} >= {"phone", "streaming", "metadata", "pinning", "mix"}
    assert {full.label for full, _ in suite.twin_pairs()} == {entry.label for entry in full}


def test_the_quick_part_has_every_kind_of_test_and_every_system() -> None:
    suite = load_suite("product").quick()
    assert {test for entry in suite.scenarios for test in entry.tests} == {"whole", "pieces", "blocks"}
    assert all(entry.at in suite.config.twins for entry in suite.scenarios)
    units = suite.units(system_names("all"))
    for entry in suite.scenarios:
        assert {unit.system for unit in units if unit.workload == entry.label} == set(systems())


@pytest.mark.parametrize(("ram_mb", "cma_mb", "blocks"), [(1024, 384, 4800), (64, 24, 300)])
def test_scattered_blocks_are_single_pieces_of_64_kib(ram_mb: int, cma_mb: int, blocks: int) -> None:
    scenario = {"family": "build", "camera": {"tests": ["blocks"], "count": 1, "gap_s": 4, "warmup_s": 0.1}}
    events = generate(scenario, MachineSpec(ram_mb=ram_mb, cma_mb=cma_mb, pageblock_order=6), 0).events
    (demand,) = events[events["op"] == Op.DEMAND]
    assert (demand["value"], demand["nr"], demand["arg"]) == (blocks, 16, 4)


def test_batches_begin_with_one_run_and_go_from_long_to_short() -> None:
    suite = resolved(machines={"16m": TINY, "16m-swap": {**TINY, "ram_mb": 32}})
    units = suite.units([(name, name) for name in ("cma_first", "carve_out", "mainline_fallback")])
    batches = plan(suite, [(index, unit, str(index)) for index, unit in enumerate(units)], RowCache("unused"))
    assert [len(batch.units) for batch in batches] == [1, 2, 3, 3, 3]
    assert [batch.units[0][1].workload for batch in batches] == ["phone-16m-swap"] * 3 + ["phone-16m"] * 2
    assert sum(batch.weight for batch in batches) == pytest.approx(len(units))
    assert sorted(index for batch in batches for index, _, _ in batch.units) == list(range(len(units)))


# ---- running ---------------------------------------------------------------------------------------------------------


def words(folder: Path, out: str, *more: str) -> list[str]:
    suite = str(written(folder))
    return ["compare", "--suite", suite, "--systems", "cma_first,mainline_fallback", "--out", str(folder / out), *more]


def bytes_of(folder: Path) -> bytes:
    return (folder / "results.csv").read_bytes()


def kept(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*.json"))


def use(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep rows in a folder of the test's own; the compiler's cache stays where it is."""
    monkeypatch.setattr(suite_verb, "default_folder", lambda: cache)


def test_a_suite_gives_the_same_bytes_from_one_process_two_and_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cache, out, jobs in (("a", "one", "1"), ("b", "two", "2"), ("a", "again", "1")):
        use(tmp_path / cache, monkeypatch)
        before = len(kept(tmp_path / cache))
        assert main(words(tmp_path, out, "--jobs", jobs)) == 0
        assert len(kept(tmp_path / cache)) == 8 and before in (0, 8)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two") == bytes_of(tmp_path / "again")
    results = tmp_path / "two" / "results.csv"
    rows = read_results(results)
    assert [(row["workload"], row["seed"] % 10) for row in rows[::2]] == [
        *(("phone-16m", seed) for seed in (0, 1)),
        *(("phone-16m-swap", seed) for seed in (0, 1)),
    ]
    assert rows[0]["whole_demands"] == rows[0]["pieces_demands"] == 1 and rows[-1]["pieces_demands"] == 2
    assert main(["validate", str(results), "--rows", "3"]) == 0
    page = (tmp_path / "two" / "report.md").read_text()
    assert "### phone-16m-swap" in page and "Whole area served [%], other machines" in page
    for name in ("whole_success_other.png", "paired_other.png", "front_cost_ms_phone-16m.png"):
        assert f"({name})" in page and (tmp_path / "two" / name).read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "two" / "figures.json").read_text())
    assert figures["scenarios"]["phone-16m"]["paired"]["whole_success"]["cma_first"]["pairs"] == 2
    assert {"suite", "split", "baseline", "systems", "bounds", "scenarios", "groups", "agreement", "provenance"} == set(
        figures
    )


KILLED = """\
import os, signal, sys
from pathlib import Path
from cma_gym.experiments.suites import run as suite_run, verb as suite_verb
from cma_gym.experiments.cli import main

calls = []

def third_one_kills(unit, run=suite_run.run_unit):
    calls.append(unit)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(unit)

suite_run.run_unit = third_one_kills
suite_verb.default_folder = lambda: Path(sys.argv[1])
main(sys.argv[2:])
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    asked = [sys.executable, "-c", KILLED, str(cache), *words(tmp_path, "killed")]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr[-500:]
    first = {path: path.stat().st_mtime_ns for path in kept(cache)}
    assert len(first) == 2 and not (tmp_path / "killed" / "results.csv").exists()
    use(cache, monkeypatch)
    assert main(words(tmp_path, "killed")) == 0
    assert first.items() <= {path: path.stat().st_mtime_ns for path in kept(cache)}.items()
    use(tmp_path / "fresh", monkeypatch)
    assert main(words(tmp_path, "whole")) == 0
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


# ---- the cache -------------------------------------------------------------------------------------------------------

RULE = '''"""Never.

Who: a test.

Source: none.

Assumed: nothing.
"""

from cma_gym.mm.mmzone import Action
from cma_gym.policies.registry import system


@system("test_never", params={{"unused": 1}})
def decide(view, params):
    return Action.{action}
'''


def unit(**more: object) -> Unit:
    source = '{"scenario":{"family":"phone"}}'
    return Unit(
        **{"system": "a", "policy": "cma_first", "workload": "w", "source": source, "machine": "{}", "seed": 1, **more}
    )


def test_a_changed_rule_misses_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cma_gym.experiments.rows import case

    rule, keys = tmp_path / "mine.py", []
    for action in ("NORMAL_ONLY", "CMA_FIRST", "NORMAL_ONLY"):
        rule.write_text(RULE.format(action=action))
        for remembered in (case._rules, system_digest, key_of.__globals__["sources_digest"]):
            remembered.cache_clear()  # as in a new process
        keys.append(key_of(unit(policy=f"{rule}::test_never")))
    assert keys[0] == keys[2] != keys[1]


def test_a_key_holds_what_changes_a_figure_and_no_label() -> None:
    same = key_of(unit())
    assert key_of(unit(system="b", workload="x")) == same
    varied = '{"kernel":{"swappiness":10},"scenario":{"family":"phone"}}'
    others = [unit(policy="carve_out"), unit(seed=2), unit(machine='{"ram_mb":64}'), unit(source=varied)]
    assert len({same, *map(key_of, others)}) == 5


def test_sources_that_changed_meanwhile_are_noticed(tmp_path: Path) -> None:
    batch = Batch(((0, unit(), "of other sources"),), str(tmp_path), 1.0)
    with pytest.raises(ConfigError, match="sources changed while the suite ran; start it again"):
        run_batch(batch)
    assert not kept(tmp_path)


def test_a_damaged_row_is_no_row(tmp_path: Path) -> None:
    cache, key = RowCache(tmp_path), "ab" + "0" * 62
    assert cache.find(unit(), key) is None
    cache.keep({"system": "old", "held_up": "[]", "stall_ms": float("nan"), "cost": 0.1 + 0.2}, key)
    row = cache.find(unit(), key)
    assert row is not None and row["system"] == "a" and row["cost"] == 0.1 + 0.2 and row["stall_ms"] != row["stall_ms"]
    (tmp_path / "ab" / ("0" * 62 + ".json")).write_text('{"system": "old", "he')
    assert cache.find(unit(), key) is None
