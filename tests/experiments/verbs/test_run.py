"""The main job on a tiny configuration: all files are there, a second start redoes nothing, a kill loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cma_gym.experiments.cli import main
from cma_gym.experiments.config import CONFIGS
from cma_gym.experiments.training.learned_table import played_workloads
from cma_gym.experiments.training.settings import load_train_config
from tests.experiments.small_comparison import SCENARIO

ROOT = Path(__file__).resolve().parents[3]

TINY = {
    "name": "tiny",
    "machine": {"ram_mb": 16, "cma_mb": 4, "pageblock_order": 6},
    "workloads": {"short": yaml.safe_load(SCENARIO)},
    "episodes": {"train": 2, "select": 2, "test": 2, "search": 2},
    "ppo": {"timesteps": 256, "num_envs": 2, "n_steps": 64, "batch_size": 64, "select_every": 1, "select_episodes": 1},
    "distill": {"decisions": 300, "held_out_decisions": 100, "num_envs": 2},
    "search": {"evaluations": 30},
    "ties": {"evaluations": 10},
    "compare": {"systems": "cma_first,mainline_fallback"},
}


def tiny_config(folder: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.mark.parametrize("path", sorted((CONFIGS / "train").glob("*.yaml")), ids=lambda path: path.name)
def test_committed_configurations_load_and_come_back_from_a_run_folder(path: Path, tmp_path: Path) -> None:
    config = load_train_config(path)
    copy = tmp_path / "config.yaml"
    copy.write_text(yaml.safe_dump(config.plain()))
    assert load_train_config(copy) == config


def test_a_search_takes_turns_with_its_machines() -> None:
    config = load_train_config(CONFIGS / "train" / "product.yaml", ["machine.ram_mb=16", "machine.cma_mb=4"])
    phone = {"phone": config.workloads["phone"]}
    specs, workloads = played_workloads(config.model_copy(update={"workloads": phone}), "select", 4)
    assert [spec.ram_mb for spec in specs] == [64, 128, 192, 64]
    assert [workload.meta["machine"]["ram_mb"] for workload in workloads] == [64, 128, 192, 64]
    alone = config.model_copy(update={"workloads": phone, "search_machines": {}})
    assert [spec.ram_mb for spec in played_workloads(alone, "select", 2)[0]] == [16, 16]


def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    config, figures = tiny_config(tmp_path), tmp_path / "figures.json"
    assert main(["run", str(config), "--jobs", "1", "--json", str(figures)]) == 0
    said = capsys.readouterr().out
    assert "learned" in said and "Everything is in runs/tiny/" in said and "Next, try" in said
    run = tmp_path / "runs" / "tiny"
    expected = "config.yaml run.json progress.csv model.zip table.json table.md table.csv table.h tree.md results.csv"
    assert not set(expected.split()) - {entry.name for entry in run.iterdir()}
    assert (run / "report.md").is_file() and (run / "ranking.png").is_file()
    rows = json.loads(figures.read_text())["rows"]
    assert {row["system"] for row in rows} == {"cma_first", "mainline_fallback", "learned"}
    assert {row["seed"] for row in rows} == {2_000_000, 2_000_001}
    again_and_evaluate(config, run, tmp_path)


def again_and_evaluate(config: Path, run: Path, tmp_path: Path) -> None:
    """What follows a run: resume does nothing twice, rows validate, the network and the table are evaluated."""
    before = (run / "model.zip").stat().st_mtime_ns, (run / "results.csv").read_text()
    assert main(["run", str(config), "--resume", "--jobs", "1"]) == 0
    assert ((run / "model.zip").stat().st_mtime_ns, (run / "results.csv").read_text()) == before
    assert not (tmp_path / "runs" / "tiny-2").exists()
    assert main(["run", str(config), "--resume", "--set", "ppo.seed=7"]) == 2
    assert main(["validate", str(run / "results.csv"), "--rows", "0"]) == 0
    assert main(["evaluate", str(run), "--json", str(tmp_path / "e.json")]) == 0
    rows = json.loads((tmp_path / "e.json").read_text())["rows"]
    assert {row["system"] for row in rows} == {"mainline_fallback", "learned", "network"}
    assert main(["export", str(run), "--format", "h", "-o", str(tmp_path / "rule.h")]) == 0
    assert (tmp_path / "rule.h").read_text() == (run / "table.h").read_text()
    assert main(["report", str(run), "--out", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "elsewhere" / "report.md").is_file()


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    words = [sys.executable, "-m", "cma_gym", "run", str(config), "--set", "ppo.timesteps=100000", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    progress = tmp_path / "runs" / "tiny" / "progress.csv"
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if progress.is_file() and progress.read_text().count("\n") > 3:
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue with: cma-gym run" in said and "Traceback" not in said
    assert (tmp_path / "runs" / "tiny" / "model.zip").is_file()
    done = subprocess.run(
        [*words[:3], "distill", "runs/tiny"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "tiny" / "table.json").is_file()
