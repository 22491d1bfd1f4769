"""PPO learns what can be known, and a run that is stopped ends as if it had not been."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from cma_gym.agents.network.neural import ModelError, load_policy
from cma_gym.agents.network.play import episode_returns
from cma_gym.agents.network.ppo import PpoConfig, PpoProgress, TrainError, train
from tests.agents.network.toy_batch import ToyBatch

TOY = PpoConfig(
    timesteps=4096,
    num_envs=8,
    n_steps=64,
    batch_size=128,
    select_every=2,
    learning_rate=3e-3,
    gamma=0.5,
    net_widths=(32,),
)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights(path: Path) -> list[np.ndarray]:
    return [array for layer in load_policy(path).layers for array in layer]


def returns(path: Path, masked: bool = False) -> np.ndarray:
    policy = load_policy(path)
    masks = (lambda batch: batch.masks.astype(bool)) if masked else (lambda batch: None)
    return episode_returns(lambda batch: policy.predict(batch.obs, masks(batch)), ToyBatch("select", 3), range(8))


@pytest.mark.parametrize("maskable", [False, True])
def test_it_finds_the_best_answer_of_the_toy(tmp_path: Path, maskable: bool) -> None:
    seen: list[PpoProgress] = []
    config = TOY.model_copy(update={"maskable": maskable})
    path = train(config, ToyBatch, tmp_path, on_progress=lambda progress, total: seen.append(progress))
    assert path == tmp_path / "model.zip"
    assert returns(path, maskable).mean() > -1.0  # of -16 for always wrong, about -10.7 for guessing
    assert [progress.timesteps for progress in seen] == [512 * (k + 1) for k in range(8)]
    assert seen[-1].best_return == max(progress.select_return for progress in seen[1::2])
    assert len(rows(tmp_path)) == 8


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    short = TOY.model_copy(update={"timesteps": 1536})
    paths = [train(short, ToyBatch, tmp_path / name) for name in ("a", "b")]
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert all(np.array_equal(a, b) for a, b in zip(*map(weights, paths), strict=True))
    other = train(short.model_copy(update={"seed": 1}), ToyBatch, tmp_path / "c")
    assert not all(np.array_equal(a, b) for a, b in zip(weights(paths[0]), weights(other), strict=True))


@pytest.mark.parametrize("maskable", [False, True])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, maskable: bool) -> None:
    config = TOY.model_copy(update={"timesteps": 3072, "maskable": maskable, "n_steps": 60, "batch_size": 120})
    whole = train(config, ToyBatch, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(progress: PpoProgress, total: int) -> None:
        if progress.iteration == 5:  # one iteration after the checkpoint; its row must be taken back
            raise Killed

    with pytest.raises(Killed):
        train(config, ToyBatch, tmp_path / "killed", on_progress=kill)
    assert len(rows(tmp_path / "killed")) == 5
    resumed = train(config, ToyBatch, tmp_path / "killed", resume=True)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert all(np.array_equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    before = resumed.stat().st_mtime_ns
    assert train(config, ToyBatch, tmp_path / "killed", resume=True).stat().st_mtime_ns == before


def test_ctrl_c_leaves_a_usable_model(tmp_path: Path) -> None:
    def interrupt(progress: PpoProgress, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TOY, ToyBatch, tmp_path, on_progress=interrupt)
    assert load_policy(tmp_path / "model.zip").obs_size == 4
    assert train(TOY, ToyBatch, tmp_path, resume=True).exists()
    assert len(rows(tmp_path)) == 8


def test_runs_are_never_overwritten_or_mixed(tmp_path: Path) -> None:
    short = TOY.model_copy(update={"timesteps": 512})
    train(short, ToyBatch, tmp_path)
    with pytest.raises(TrainError, match="already holds a training run"):
        train(short, ToyBatch, tmp_path)
    with pytest.raises(TrainError, match="another configuration"):
        train(short.model_copy(update={"gamma": 0.9}), ToyBatch, tmp_path, resume=True)
    with pytest.raises(TrainError, match="share"):
        train(short, lambda split, n: ToyBatch("train", n), tmp_path / "mixed")


def test_the_plain_network_answers_as_sb3_does(tmp_path: Path) -> None:
    from stable_baselines3 import PPO

    path = train(TOY.model_copy(update={"timesteps": 1024}), ToyBatch, tmp_path)
    obs = np.random.default_rng(0).random((200, 4), np.float32)
    theirs, _ = PPO.load(path, device="cpu").predict(obs, deterministic=True)
    assert np.array_equal(load_policy(path).predict(obs), theirs)


def test_a_file_that_is_no_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        load_policy(tmp_path / "missing.zip")
    (tmp_path / "broken.zip").write_bytes(b"not a zip file")
    with pytest.raises(ModelError, match="not a model"):
        load_policy(tmp_path / "broken.zip")


def test_a_configuration_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_size=4096 is more than one iteration"):
        PpoConfig(num_envs=2, n_steps=8, batch_size=4096)
    with pytest.raises(ValidationError, match="Extra inputs"):
        PpoConfig(learning_rat=1.0)  # type: ignore[call-arg]
