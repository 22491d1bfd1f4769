"""From the JSON-plain keyword arguments of an environment to checked objects, with errors of one clear sentence."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cma_gym.envs.episodes import EpisodePool
from cma_gym.envs.reward import RewardWeights
from cma_gym.envs.seeds import SPLIT_SIZE, SPLITS
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.spec import MachineSpec
from cma_gym.workloads.workload import Workload, load

DEFAULT_MACHINE: dict[str, Any] = {"ram_mb": 64, "cma_mb": 16}
"""A small twin of a phone: a quarter of its memory is the area, episodes are short and a reset costs little."""

DEFAULT_SCENARIO: dict[str, Any] = {"family": "phone"}

DEFAULT_POOL = 32


class EnvError(ValueError):
    """Arguments of an environment that cannot be used; the message says what is wrong, where, and what to do."""


_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Setup:
    """Everything a batch of machines is made of."""

    spec: MachineSpec
    kernel: KernelConfig
    episodes: EpisodePool
    weights: RewardWeights
    max_decisions: int | None
    """An episode is truncated after so many decisions; None: it ends with its workload."""


def make_setup(
    *,
    machine: Mapping[str, Any] | None = None,
    kernel: Mapping[str, Any] | None = None,
    scenario: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
    workload: str | None = None,
    weights: Mapping[str, Any] | None = None,
    split: str = "train",
    pool: int = DEFAULT_POOL,
    max_decisions: int | None = None,
) -> Setup:
    """Check the plain arguments of an environment; `PlacementEnv` documents them.

    Raises:
        EnvError: one sentence about the first argument that cannot be used.
        WorkloadError: the same, about the scenario or the workload file.
    """
    recorded = load(workload) if workload is not None else None
    spec = checked(MachineSpec, "machine", machine if machine is not None else _machine_of(recorded))
    if kernel is None and recorded is not None:
        kernel = recorded.meta.get("kernel")  # such as no low memory killer: its kills are in the events
    rules = checked(KernelConfig, "kernel", kernel, make=partial(KernelConfig.for_profile, spec.profile))
    _check_plain(split, pool, max_decisions)
    costs = checked(RewardWeights, "weights", weights)
    if recorded is not None and scenario is not None:
        raise EnvError("scenario and workload are both given; give a scenario to generate from or a workload file")
    scenarios = [] if recorded is not None else _scenarios(scenario)
    return Setup(spec, rules, EpisodePool(spec, scenarios, split, pool, recorded), costs, max_decisions)


def checked(
    model: type[_Model], where: str, given: Mapping[str, Any] | None, make: Callable[..., _Model] | None = None
) -> _Model:
    """A pydantic model from plain values.

    Args:
        model: the model, for the names it knows.
        where: the argument's name, for the message.
        given: plain values; None means the defaults.
        make: called with them instead of the model itself.

    Raises:
        EnvError: one sentence about the first value that cannot be used.
    """
    values = {} if given is None else given
    _check_mapping(where, values)
    try:
        return (make or model)(**values)
    except ValidationError as error:
        raise EnvError(_sentence(model, where, error)) from None


def _sentence(model: type[BaseModel], where: str, error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(model.model_fields)}"
        return f"{where}: there is no field {name!r}; {hint}"
    message = first["msg"].removeprefix("Value error, ")
    if not name:
        return f"{where}: {message}"
    return f"{where}.{name}: {message[0].lower()}{message[1:]}, got {first['input']!r}"


def _machine_of(recorded: Workload | None) -> Mapping[str, Any]:
    """The machine that a workload file was made for, if it says so."""
    machine = recorded.meta.get("machine") if recorded is not None else None
    if isinstance(machine, Mapping) and set(machine) <= set(MachineSpec.model_fields):
        return machine
    return DEFAULT_MACHINE


def _scenarios(given: Mapping[str, Any] | list[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    scenarios = given if isinstance(given, list) else [DEFAULT_SCENARIO if given is None else given]
    if not scenarios:
        raise EnvError("scenario is an empty list; give at least one dict like {'family': 'phone'}")
    for one in scenarios:
        _check_mapping("scenario", one)
    return [dict(one) for one in scenarios]


def _check_mapping(where: str, values: Any) -> None:
    if not isinstance(values, Mapping):
        raise EnvError(f"{where} must be a dict of plain values, got {type(values).__name__} {values!r}")


def _check_plain(split: str, pool: int, max_decisions: int | None) -> None:
    if split not in SPLITS:
        raise EnvError(f"split: there is no range of seeds {split!r}; known are {', '.join(SPLITS)}")
    if not _is_count(pool) or pool > SPLIT_SIZE:
        raise EnvError(f"pool must be a whole number of episodes from 1 to {SPLIT_SIZE}, got {pool!r}")
    if max_decisions is not None and not _is_count(max_decisions):
        raise EnvError(f"max_decisions must be a whole number from 1 up, or None for no limit, got {max_decisions!r}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
