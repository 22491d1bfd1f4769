"""What a training configuration holds, from machine to comparison; one model for file, overrides and run record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cma_gym.agents.network.ppo import PpoConfig
from cma_gym.agents.table.distill import DistillConfig
from cma_gym.agents.table.objective import Objective
from cma_gym.agents.table.search import SearchConfig
from cma_gym.agents.table.ties import TiesConfig
from cma_gym.agents.table.tree import TreeConfig
from cma_gym.envs.reward import RewardWeights
from cma_gym.experiments.config import ConfigError, checked, named_config, override, read_yaml
from cma_gym.experiments.rows.case import workload_sources
from cma_gym.machine.spec import MachineSpec
from cma_gym.policies.tables.table import LEARNED_KERNEL


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Episodes(_Strict):
    """How many workload seeds are used of each of the three disjoint ranges."""

    train: int = Field(default=64, ge=1)
    """To learn from."""
    select: int = Field(default=8, ge=1)
    """To choose a checkpoint and a table with."""
    search: int = Field(default=12, ge=1)
    """Of those to learn from, the first ones, which the direct search of tables plays."""
    test: int = Field(default=5, ge=1)
    """To report; per workload and system."""


class Compare(_Strict):
    """The comparison at the end."""

    systems: str = "all"
    """`all`, or a comma list."""
    baseline: str = "mainline_fallback"
    """Paired differences refer to it."""
    recording: str | None = None
    """An ftrace file that is imported and replayed under every system, too."""


class TrainConfig(_Strict):
    """A training run."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    """Of the run folder and of the table."""
    machine: MachineSpec = MachineSpec()
    """In a file: a name in configs/machine, or its settings."""
    search_machines: dict[str, MachineSpec] = Field(default_factory=dict)
    """The direct search of tables plays on each of these instead. In a file: a list of names in configs/machine, or a
    map from labels to settings."""
    workloads: dict[str, dict[str, Any]]
    """Scenarios by label. In a file: a list of names in configs/workloads and of families, or such a map."""
    kernel: dict[str, Any] = Field(default_factory=lambda: dict(LEARNED_KERNEL))
    """Switches of the kernel that the learned table runs with."""
    weights: RewardWeights = RewardWeights()
    """Of the terms of the reward [ms per unit]."""
    episodes: Episodes = Episodes()
    ppo: PpoConfig = PpoConfig()
    distill: DistillConfig = DistillConfig()
    objective: Objective = Objective()
    """What the direct search of tables optimises."""
    search: SearchConfig = SearchConfig()
    ties: TiesConfig = TiesConfig()
    tree: TreeConfig = TreeConfig()
    compare: Compare = Compare()

    @field_validator("workloads")
    @classmethod
    def _some(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not value:
            raise ValueError("names no workload; give at least one")
        return value

    def plain(self) -> dict[str, Any]:
        """The configuration in YAML's own types."""
        return self.model_dump(mode="json")


def load_train_config(path: str | Path, settings: Sequence[str] = ()) -> TrainConfig:
    """Read a training configuration; names in it are replaced by what they stand for, then `settings` apply.

    Raises:
        ConfigError: anything in it that cannot be used.
    """
    content = read_yaml(path)
    if isinstance(content.get("machine"), str):
        content["machine"] = named_config("machine", content["machine"])[1]
    if isinstance(content.get("search_machines"), list):
        content["search_machines"] = {
            str(name): named_config("machine", str(name))[1] for name in content["search_machines"]
        }
    content["workloads"] = _scenarios(content.get("workloads"), path)
    where = f"{path} with --set" if settings else str(path)
    config = checked(TrainConfig, override(content, settings), where)
    _check_scenarios(config, where)
    return config


def _scenarios(given: Any, path: str | Path) -> dict[str, Any]:
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        given = {Path(name).stem: name for name in given}
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: workloads: is a list of names, or a map from labels to scenarios")
    return {str(label): _scenario(value, path) for label, value in given.items()}


def _scenario(given: Any, path: str | Path) -> Any:
    if not isinstance(given, str):
        return given
    (_, source), *others = workload_sources(given)
    if others or "scenario" not in source:
        raise ConfigError(f"{path}: workloads: {given!r} is not one scenario; traces go into compare.recording")
    return source["scenario"]


def _check_scenarios(config: TrainConfig, where: str) -> None:
    from cma_gym.workloads.registry import parse
    from cma_gym.workloads.workload import WorkloadError

    for label, scenario in config.workloads.items():
        try:
            parse(scenario)
        except WorkloadError as error:
            raise ConfigError(f"{where}: workloads.{label}: {error}") from None
