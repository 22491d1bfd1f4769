"""PPO over the native vector environment: from a configuration to the checkpoint that did best on the select seeds.

A run folder holds `progress.csv` (one row per iteration), `checkpoint.pt` (everything needed to go on after a kill,
written atomically), `best.zip` (best network so far) and, at the end, `model.zip`. The three seed ranges never mix:
episodes are drawn from the train seeds, checkpoints are compared on the select seeds, test seeds are not known here.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cma_gym.agents.network.neural import ModelError, NeuralPolicy, from_state_dict, load_policy
from cma_gym.agents.network.play import episode_returns
from cma_gym.agents.network.progress_file import ProgressFile
from cma_gym.support.files import whole_file

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback

    from cma_gym.agents.network.vec_env import PlacementVecEnv
    from cma_gym.envs.batch import Batch

__all__ = ["BatchFactory", "PpoConfig", "PpoProgress", "TrainError", "load_policy", "train"]

BatchFactory = Callable[[str, int], "Batch"]
"""Makes a fresh batch: (range of seeds, "train" or "select"; number of machines)."""

CHECKPOINT = "checkpoint.pt"
BEST = "best.zip"
MODEL = "model.zip"
PROGRESS = "progress.csv"
RECORDING = -1
"""Workload seed of an episode that is a recording; there is only one, so it serves for training and selection."""


class TrainError(ValueError):
    """A training run that cannot start or go on; the message says why and what to do."""


class PpoConfig(BaseModel):
    """Everything that decides the outcome of a PPO run, the machines and workloads apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timesteps: int = Field(default=200_000, ge=1)
    """Decisions to train on, over all machines; rounded up to whole iterations."""
    num_envs: int = Field(default=16, ge=1, le=4096)
    """Machines that run side by side."""
    n_steps: int = Field(default=256, ge=2)
    """Decisions per machine between two updates of the network."""
    batch_size: int = Field(default=512, ge=2)
    """Decisions per gradient step."""
    n_epochs: int = Field(default=4, ge=1)
    """Passes over the collected decisions per iteration."""
    learning_rate: float = Field(default=3e-4, gt=0)
    """Step size of Adam."""
    gamma: float = Field(default=0.999, ge=0, le=1)
    """Discount per decision; demands come thousands of decisions after the placements that decide them."""
    gae_lambda: float = Field(default=0.99, ge=0, le=1)
    """Trace decay of the advantage estimate; high, because costs come late."""
    clip_range: float = Field(default=0.2, gt=0)
    """Largest trusted change of an action's probability ratio."""
    ent_coef: float = Field(default=0.01, ge=0)
    """Weight of the entropy bonus."""
    vf_coef: float = Field(default=0.5, ge=0)
    """Weight of the value loss."""
    max_grad_norm: float = Field(default=0.5, gt=0)
    """Gradients are clipped to this norm."""
    net_widths: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers, of the actor and of the critic each."""
    normalize_reward: bool = True
    """Divide rewards by the running deviation of the discounted return; recorded returns stay unscaled."""
    maskable: bool = False
    """Use sb3-contrib's MaskablePPO, which never tries actions that the machine says are pointless."""
    seed: int = Field(default=0, ge=0)
    """Of the network's start, of exploration and of the order in which train seeds are drawn."""
    select_every: int = Field(default=8, ge=1)
    """Iterations between two checkpoints; at each the greedy policy is measured on the select seeds."""
    select_episodes: int = Field(default=4, ge=1)
    """Whole episodes of such a measurement."""

    @model_validator(mode="after")
    def _batches_fit(self) -> PpoConfig:
        if self.batch_size > self.num_envs * self.n_steps:
            raise ValueError(
                f"batch_size={self.batch_size} is more than one iteration collects "
                f"(num_envs x n_steps = {self.num_envs * self.n_steps}); make it smaller"
            )
        return self

    def digest(self) -> str:
        """Sixteen hex digits that name this configuration."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PpoProgress:
    """One iteration, as written to progress.csv."""

    iteration: int
    timesteps: int
    episodes: int
    """Ended so far."""
    episode_return: float
    """Mean of the last 100 ended episodes (reward units); nan before the first."""
    episode_decisions: float
    """Mean length of the same [decisions]."""
    select_return: float
    """Mean greedy return on the select seeds; nan where it was not measured."""
    best_return: float
    """Best select_return so far; nan before the first."""
    entropy: float
    value_loss: float
    approx_kl: float
    explained_variance: float
    seconds: float
    """Wall time since this process started training [s]; the only column that is not reproducible."""


def train(
    config: PpoConfig,
    batch: BatchFactory,
    folder: str | os.PathLike[str],
    on_progress: Callable[[PpoProgress, int], None] | None = None,
    resume: bool = False,
) -> Path:
    """Train a network and return the path of the best one, `folder/model.zip`.

    A run that was killed goes on from its last checkpoint with `resume=True` and ends as if it had never stopped.
    Ctrl-C writes `model.zip` from the best (or else the present) network before KeyboardInterrupt goes on its way.

    Args:
        config: must be the same when resuming.
        batch: makes the machines; called once for training and once for selection.
        folder: created if missing.
        on_progress: called after each iteration with the progress and the total of decisions.
        resume: go on from `folder/checkpoint.pt` if it is there.

    Raises:
        TrainError: seed ranges overlap, the folder holds another run, or its checkpoint another configuration.
    """
    run = _Run(config, batch, Path(folder), on_progress)
    if run.finished(resume):
        return run.folder / MODEL
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a small network is slower on two threads than on one
    try:
        run.prepare(resume)
        run.loop()
    except KeyboardInterrupt:
        run.write_model()
        raise
    finally:
        torch.set_num_threads(threads)
    return run.write_model()


class _Run:
    """One training run: the SB3 model, the folder, and where it stands."""

    def __init__(
        self,
        config: PpoConfig,
        batch: BatchFactory,
        folder: Path,
        on_progress: Callable[[PpoProgress, int], None] | None,
    ) -> None:
        self.config, self.batch, self.folder, self.on_progress = config, batch, folder, on_progress
        self.per_iteration = config.num_envs * config.n_steps
        self.iterations = -(-config.timesteps // self.per_iteration)
        self.iteration = 0
        self.episodes = 0
        self.recent: list[tuple[float, float]] = []
        self.best_return = float("nan")
        self.progress = ProgressFile(folder / PROGRESS, list(PpoProgress.__dataclass_fields__))
        self.model: PPO | None = None

    # -- beginning and end --------------------------------------------------------------------------------------------

    def finished(self, resume: bool) -> bool:
        """Whether the folder holds this very run, complete; an unfinished one is only touched when resuming."""
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint = self.folder / CHECKPOINT
        if not resume and (checkpoint.exists() or (self.folder / MODEL).exists()):
            raise TrainError(f"{self.folder}: already holds a training run; resume it or choose another folder")
        if not checkpoint.exists():
            return False
        saved = self._read_checkpoint()
        return saved["iteration"] >= self.iterations and (self.folder / MODEL).exists()

    def prepare(self, resume: bool) -> None:
        """Make the model, and bring it to the last checkpoint if there is one."""
        from cma_gym.agents.network.vec_env import PlacementVecEnv

        self.started = time.perf_counter()
        train_batch = self.batch("train", self.config.num_envs)
        self.select_batch = self.batch("select", min(self.config.select_episodes, self.config.num_envs))
        _check_seeds(train_batch, self.select_batch)
        self.model = _make_model(self.config, PlacementVecEnv(train_batch, seed=self.config.seed))
        if resume and (self.folder / CHECKPOINT).exists():
            self._restore(self._read_checkpoint())
        else:
            self.progress.start()
            self.model._setup_learn(self.config.timesteps)

    def loop(self) -> None:
        """Collect and learn until the decisions are spent; a checkpoint every `select_every` iterations."""
        callback = _callback(self)
        model = self._model()
        while self.iteration < self.iterations:
            done = model.num_timesteps
            total = self.iterations * self.per_iteration
            model._update_current_progress_remaining(done, total)
            assert model.env is not None
            model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=self.config.n_steps)
            model.train()
            self.iteration += 1
            due = self.iteration % self.config.select_every == 0 or self.iteration == self.iterations
            select = self._select() if due else float("nan")
            self._report(select)
            if due:
                self._save_checkpoint()

    def write_model(self) -> Path:
        """Write model.zip: the best network, or the present one if none was measured yet."""
        target = self.folder / MODEL
        best = self.folder / BEST
        if best.exists():
            with whole_file(target, "wb") as out:
                out.write(best.read_bytes())
        elif self.model is not None:
            self._write_zip(target)
        return target

    # -- one iteration ------------------------------------------------------------------------------------------------

    def note_episodes(self, infos: list[dict[str, Any]]) -> None:
        """Remember the episodes that ended in this step."""
        for info in infos:
            if info:
                self.episodes += 1
                self.recent = [*self.recent[-99:], (info["episode"]["r"], float(info["episode"]["l"]))]

    def _select(self) -> float:
        policy = from_state_dict(self._model().policy.state_dict())
        episodes = range(min(self.config.select_episodes, self.select_batch.setup.episodes.size))
        masked = self.config.maskable
        mean = float(episode_returns(partial(_greedy, policy, masked), self.select_batch, episodes).mean())
        if np.isnan(self.best_return) or mean > self.best_return:
            self.best_return = mean
            self._write_zip(self.folder / BEST)
        return mean

    def _report(self, select: float) -> None:
        logged = self._model().logger.name_to_value
        recent = np.array(self.recent or [(np.nan, np.nan)])
        row = PpoProgress(
            iteration=self.iteration,
            timesteps=self._model().num_timesteps,
            episodes=self.episodes,
            episode_return=float(recent[:, 0].mean()),
            episode_decisions=float(recent[:, 1].mean()),
            select_return=select,
            best_return=self.best_return,
            entropy=-float(logged.get("train/entropy_loss", np.nan)),
            value_loss=float(logged.get("train/value_loss", np.nan)),
            approx_kl=float(logged.get("train/approx_kl", np.nan)),
            explained_variance=float(logged.get("train/explained_variance", np.nan)),
            seconds=time.perf_counter() - self.started,
        )
        self.progress.append(asdict(row))
        if self.on_progress is not None:
            self.on_progress(row, self.iterations * self.per_iteration)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _save_checkpoint(self) -> None:
        import torch

        model, env = self._model(), self._env()
        generator: Any = np.random.get_state()
        _, keys, position, has_gauss, cached = generator
        state = {
            "digest": self.config.digest(),
            "iteration": self.iteration,
            "timesteps": model.num_timesteps,
            "updates": model._n_updates,
            "episodes": self.episodes,
            "recent": [list(pair) for pair in self.recent],
            "best_return": self.best_return,
            "policy": model.policy.state_dict(),
            "optimizer": model.policy.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": [torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
            "env": {key: torch.from_numpy(value) for key, value in env.state().items()},
            "episode_starts": torch.from_numpy(np.asarray(model._last_episode_starts, bool)),
            "reward_scale": _reward_scale(model.env),
        }
        content = io.BytesIO()
        torch.save(state, content)
        with whole_file(self.folder / CHECKPOINT, "wb") as out:
            out.write(content.getvalue())

    def _read_checkpoint(self) -> dict[str, Any]:
        import torch

        path = self.folder / CHECKPOINT
        try:
            saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ModelError(f"{path}: a damaged checkpoint ({type(error).__name__}); delete it, train again") from None
        if saved["digest"] != self.config.digest():
            raise TrainError(f"{path}: made with another configuration; resume with that one or choose another folder")
        return saved

    def _restore(self, saved: dict[str, Any]) -> None:
        import torch

        model = self._model()
        model._setup_learn(self.config.timesteps)
        model.policy.load_state_dict(saved["policy"])
        model.policy.optimizer.load_state_dict(saved["optimizer"])
        model.num_timesteps, model._n_updates = saved["timesteps"], saved["updates"]
        self.iteration, self.episodes = saved["iteration"], saved["episodes"]
        self.recent = [(pair[0], pair[1]) for pair in saved["recent"]]
        self.best_return = saved["best_return"]
        env_state = {key: value.numpy() for key, value in saved["env"].items()}
        model._last_obs = self._env().restore(env_state)
        model._last_episode_starts = saved["episode_starts"].numpy()
        _set_reward_scale(model.env, saved["reward_scale"])
        torch.set_rng_state(saved["torch_rng"])
        keys, position, has_gauss, cached = saved["numpy_rng"]
        np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
        self.progress.continue_after("iteration", self.iteration)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _model(self) -> PPO:
        assert self.model is not None, "prepare() makes the model"
        return self.model

    def _env(self) -> PlacementVecEnv:
        env: Any = self._model().env
        unwrapped: PlacementVecEnv = env.unwrapped
        return unwrapped

    def _write_zip(self, target: Path) -> None:
        content = io.BytesIO()
        self._model().save(content, exclude=["_last_obs", "_last_original_obs", "rollout_buffer", "ep_info_buffer"])
        with whole_file(target, "wb") as out:
            out.write(content.getvalue())


def _greedy(policy: NeuralPolicy, masked: bool, batch: Batch) -> np.ndarray:
    return policy.predict(batch.obs, batch.masks.astype(bool) if masked else None)


def _make_model(config: PpoConfig, env: PlacementVecEnv) -> PPO:
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.vec_env import VecNormalize

    algorithm: Any = PPO
    if config.maskable:
        from sb3_contrib import MaskablePPO

        algorithm = MaskablePPO
    wrapped: Any = env
    if config.normalize_reward:
        wrapped = VecNormalize(env, norm_obs=False, norm_reward=True, gamma=config.gamma)
    names = ("n_steps", "batch_size", "n_epochs", "learning_rate", "gamma", "gae_lambda", "clip_range", "ent_coef")
    options = {name: getattr(config, name) for name in (*names, "vf_coef", "max_grad_norm", "seed")}
    layers = {"net_arch": {"pi": list(config.net_widths), "vf": list(config.net_widths)}}
    model: PPO = algorithm("MlpPolicy", wrapped, policy_kwargs=layers, device="cpu", **options)
    model.set_logger(Logger(None, []))
    return model


def _callback(run: _Run) -> BaseCallback:
    from stable_baselines3.common.callbacks import BaseCallback

    class Episodes(BaseCallback):
        """Tells the run about ended episodes."""

        def _on_step(self) -> bool:
            if self.locals["dones"].any():
                run.note_episodes(self.locals["infos"])
            return True

    callback = Episodes()
    callback.init_callback(run._model())
    return callback


def _reward_scale(env: Any) -> list[Any]:
    """State of SB3's reward normalisation as plain numbers; empty without it."""
    if not hasattr(env, "ret_rms"):
        return []
    return [float(env.ret_rms.mean), float(env.ret_rms.var), float(env.ret_rms.count), env.returns.tolist()]


def _set_reward_scale(env: Any, state: list[Any]) -> None:
    if state:
        mean, variance, env.ret_rms.count, returns = state
        env.ret_rms.mean, env.ret_rms.var = np.float64(mean), np.float64(variance)
        env.returns = np.array(returns, np.float64)


def _check_seeds(train: Batch, select: Batch) -> None:
    pools = (train.setup.episodes, select.setup.episodes)
    learn, choose = ({pool.seed_of(episode) for episode in range(pool.size)} for pool in pools)
    shared = (learn & choose) - {RECORDING}
    if shared:
        raise TrainError(f"train and select seeds share {min(shared)}; make the two ranges disjoint")
