"""Run folders are never overwritten; files appear complete or not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from cma_gym.experiments import files
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.run_folder import RunFolder
from cma_gym.support.files import whole_file


def test_a_name_is_never_used_twice(tmp_path: Path) -> None:
    names = [RunFolder.create("quick", {"a": 1}, tmp_path).path.name for _ in range(3)]
    assert names == ["quick", "quick-2", "quick-3"]
    latest = RunFolder.latest("quick", tmp_path)
    assert latest is not None and latest.path.name == "quick-3"
    assert RunFolder.latest("quic", tmp_path) is None


def test_a_folder_describes_itself_and_can_be_continued(tmp_path: Path) -> None:
    run = RunFolder.create("quick", {"seed": 3}, tmp_path)
    run.finish("train", timesteps=7)
    again = RunFolder.open(run.path)
    assert again.finished("train") and not again.finished("compare")
    assert again.config() == {"seed": 3}
    assert {"command", "git_revision", "core_digest", "versions", "steps"} <= set(again.facts)
    assert "numba" in again.facts["versions"]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ConfigError, match="damaged"):
        RunFolder.open(tmp_path)


def test_json_has_no_nan_and_knows_numpy(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    files.write_json(path, {"a": math.nan, "b": np.int64(3), "c": np.array([1.5, math.inf]), "d": (1, None)})
    assert json.loads(path.read_text()) == {"a": None, "b": 3, "c": [1.5, None], "d": [1, None]}


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), whole_file(path) as out:
        out.write("half of the new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.txt"]


def test_csv_keeps_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    files.write_csv(path, ["a", "b", "c"], [{"a": 0.1 + 0.2, "b": math.nan, "c": 'say "x",y'}])
    assert path.read_text() == 'a,b,c\n0.30000000000000004,,"say ""x"",y"\n'
