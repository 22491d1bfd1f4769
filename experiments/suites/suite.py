"""Suites of tests: which scenarios, on which machines, with how many seeds; one strict model for the YAML files.

    name: small
    split: test                     # range of seeds (cma_gym/envs/seeds.py); its first ones are used
    machines:                       # by label: a name in configs/machine, or settings, with `base` to start from
      1g: phone_1g
      1g-blocks: {base: phone_1g, cma_mb: 384}
      64m: twin_64m
    twins: {64m: 1g}                # scaled-down machine: the one it stands for
    workload: {camera.warmup_s: 60} # changes that hold for all scenarios, by dotted keys
    scenarios:                      # every `use` at every `at`
      - {use: [phone, mix], at: [1g, 64m], tests: [whole, pieces], seeds: 5}
      - {use: phone, at: 1g-blocks, tests: blocks, seeds: 5, quick: 1}
      - {use: phone, at: 64m, seeds: 30, vary: "zram 25 %", machine: {zram_percent: 25}}
      - {use: phone, at: 64m, seeds: 30, vary: "minfree x 2", kernel: {lmk_minfree_permille: [40, 70, 120, 0]}}

A scenario is called USE-AT, with its `vary` behind it; that is the `workload` of its rows. A switch of the kernel that
a system sets itself stays the system's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from cma_gym.envs.seeds import SPLIT_SIZE, SPLITS, split_seeds
from cma_gym.experiments.config import ConfigError, checked, named_config, overridden
from cma_gym.experiments.rows.case import Unit, compact, workload_sources
from cma_gym.machine.spec import MachineSpec

Test = Literal["whole", "pieces", "blocks"]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Tests = Annotated[tuple[Test, ...], BeforeValidator(_listed), Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Strict):
    """One line of scenarios: every workload of `use` on every machine of `at`."""

    use: Names
    """Families of workloads, or names in configs/workloads."""
    at: Names
    """Labels of machines."""
    tests: Tests | None = None
    """Which demands take turns; none: as the workload has it."""
    seeds: int = Field(ge=1, le=SPLIT_SIZE)
    """Seeds, the same for all systems."""
    quick: int = Field(default=0, ge=0)
    """Of them, how many a quick comparison plays; 0 leaves the scenarios out of it."""
    vary: str = ""
    """What differs from the scenario without it, for tables."""
    machine: dict[str, Any] = Field(default_factory=dict)
    """Changes of the machine, by dotted keys."""
    workload: dict[str, Any] = Field(default_factory=dict)
    """Changes of the workload, by dotted keys."""
    kernel: dict[str, Any] = Field(default_factory=dict)
    """Switches of the kernel, for every system that does not set them itself."""

    @model_validator(mode="after")
    def _quick_is_part(self) -> Entry:
        if self.quick > self.seeds:
            raise ValueError(f"quick={self.quick} is more than seeds={self.seeds}; a quick run plays a part of them")
        return self


class SuiteConfig(_Strict):
    """What a suite's file holds."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    split: Literal["train", "select", "test"] = "test"
    """Range of workload seeds; the three are disjoint (cma_gym/envs/seeds.py)."""
    baseline: str = "mainline_fallback"
    """System that paired differences refer to, unless it does not take part."""
    machines: dict[str, str | dict[str, Any]] = Field(min_length=1)
    """By label: a name in configs/machine or a path, or settings with an optional `base`."""
    twins: dict[str, str] = Field(default_factory=dict)
    """Label of a scaled-down machine: label of the one it stands for."""
    workload: dict[str, Any] = Field(default_factory=dict)
    """Changes of all workloads, by dotted keys."""
    scenarios: tuple[Entry, ...] = Field(min_length=1)

    @field_validator("twins")
    @classmethod
    def _one_twin_each(cls, value: dict[str, str]) -> dict[str, str]:
        if len(set(value.values())) < len(value):
            raise ValueError("two machines are twins of the same one; each machine has one twin")
        return value

    @model_validator(mode="after")
    def _machines_are_known(self) -> SuiteConfig:
        named = [label for entry in self.scenarios for label in entry.at]
        for label in [*self.twins, *self.twins.values(), *named]:
            if label not in self.machines:
                raise ValueError(f"there is no machine {label!r}; machines has {', '.join(self.machines)}")
        return self


@dataclass(frozen=True)
class Scenario:
    """One scenario of a suite, resolved: a workload on a machine, and the seeds it is played with."""

    label: str
    """Of its rows, in the column `workload`."""
    use: str
    at: str
    vary: str
    tests: tuple[str, ...]
    """Which demands it makes; empty for workloads that have other ones."""
    source: str
    """JSON, see `Unit.source`."""
    machine: str
    """JSON of a MachineSpec."""
    seeds: tuple[int, ...]
    quick: int
    """How many of the seeds a quick comparison plays."""

    @property
    def measures(self) -> tuple[str, ...]:
        """The success metrics it has values of; the scattered blocks are counted as pieces."""
        if not self.tests:
            return ("whole_success", "pieces_success")
        several = ("pieces_success",) if {"pieces", "blocks"} & set(self.tests) else ()
        return (*(("whole_success",) if "whole" in self.tests else ()), *several)


@dataclass(frozen=True)
class Suite:
    """A suite, checked and resolved."""

    config: SuiteConfig
    scenarios: tuple[Scenario, ...]

    @cached_property
    def by_label(self) -> dict[str, Scenario]:
        """Scenarios by label, in the file's order."""
        return {scenario.label: scenario for scenario in self.scenarios}

    def twin_pairs(self) -> list[tuple[Scenario, Scenario]]:
        """(full size, twin) for every scenario that is played on both."""
        own = {(entry.use, entry.at, entry.tests, entry.vary): entry for entry in self.scenarios}
        pairs = []
        for scenario in self.scenarios:
            of = self.config.twins.get(scenario.at)
            full = own.get((scenario.use, of, scenario.tests, scenario.vary)) if of else None
            if full is not None:
                pairs.append((full, scenario))
        return pairs

    def quick(self) -> Suite:
        """The part of it that a quick comparison plays.

        Raises:
            ConfigError: there is none.
        """
        kept = [entry for entry in self.scenarios if entry.quick]
        if not kept:
            raise ConfigError(f"suite {self.config.name}: has no quick part; give some of its scenarios `quick: 1`")
        cut = (Scenario(**{**vars(entry), "seeds": entry.seeds[: entry.quick]}) for entry in kept)
        return Suite(self.config, tuple(cut))

    def units(self, systems: Sequence[tuple[str, str]]) -> list[Unit]:
        """One unit per scenario, seed and system, systems innermost."""
        return [
            Unit(name, policy, entry.label, entry.source, entry.machine, seed)
            for entry in self.scenarios
            for seed in entry.seeds
            for name, policy in systems
        ]


def load_suite(name: str) -> Suite:
    """The suite of a name in configs/suites, or of a YAML file.

    Raises:
        ConfigError: anything in it that cannot be used.
    """
    path, content = named_config("suites", name)
    return resolve_suite(checked(SuiteConfig, content, str(path)), str(path))


def resolve_suite(config: SuiteConfig, where: str) -> Suite:
    """The scenarios of a configuration; `where` names its file in messages."""
    machines = {label: _machine(given, f"{where}: machines.{label}") for label, given in config.machines.items()}
    found: dict[str, Scenario] = {}
    for number, entry in enumerate(config.scenarios):
        place = f"{where}: scenarios.{number}"
        for use in entry.use:
            for at in entry.at:
                scenario = _scenario(config, entry, use, at, machines[at], place)
                if scenario.label in found:
                    raise ConfigError(
                        f"{place}: the scenario {scenario.label!r} exists already; give it another `vary`"
                    )
                found[scenario.label] = scenario
    return Suite(config, tuple(found.values()))


def _machine(given: str | Mapping[str, Any], where: str) -> dict[str, Any]:
    if isinstance(given, str):
        return named_config("machine", given)[1]
    settings = dict(given)
    base = settings.pop("base", None)
    content = named_config("machine", str(base))[1] if base else {}
    return overridden(content, settings, where)


def _scenario(config: SuiteConfig, entry: Entry, use: str, at: str, machine: Mapping[str, Any], where: str) -> Scenario:
    spec = checked(MachineSpec, overridden(machine, entry.machine, f"{where}.machine"), f"{where}.machine ({at})")
    changes = {**config.workload, **entry.workload, **({"camera.tests": list(entry.tests)} if entry.tests else {})}
    scenario = overridden(_workload(use, where), changes, f"{where}.workload")
    _check(scenario, entry.kernel, where)
    label = f"{Path(use).stem}-{at}" + (f"-{entry.vary}" if entry.vary else "")
    origin = {"scenario": scenario, **({"kernel": entry.kernel} if entry.kernel else {})}
    return Scenario(
        label=label,
        use=use,
        at=at,
        vary=entry.vary,
        tests=_tests(scenario),
        source=compact(origin),
        machine=compact(spec.model_dump()),
        seeds=tuple(split_seeds(config.split, entry.seeds)),
        quick=entry.quick,
    )


def _workload(use: str, where: str) -> dict[str, Any]:
    try:
        (_, source), *others = workload_sources(use)
    except ConfigError as error:
        raise ConfigError(f"{where}: use: {error}") from None
    if others or "scenario" not in source:
        raise ConfigError(f"{where}: use: {use!r} is not one scenario; recordings are compared with --workload")
    return dict(source["scenario"])


def _check(scenario: Mapping[str, Any], kernel: Mapping[str, Any], where: str) -> None:
    from cma_gym.policies.registry import PolicyError, check_kernel
    from cma_gym.workloads.registry import parse
    from cma_gym.workloads.workload import WorkloadError

    try:
        parse(scenario)
        check_kernel(dict(kernel), "kernel")
    except (WorkloadError, PolicyError) as error:
        raise ConfigError(f"{where}: {error}") from None


def _tests(scenario: Mapping[str, Any]) -> tuple[str, ...]:
    from cma_gym.workloads.registry import parse

    return tuple(getattr(parse(scenario).camera, "tests", ()))


def split_of(seed: int) -> str:
    """Name of the range that a workload seed lies in; empty for one that lies in none."""
    return next((name for name, first in SPLITS.items() if first <= seed < first + SPLIT_SIZE), "")


def duration_s(scenario: Scenario) -> float:
    """Simulated length of a run [s]."""
    from cma_gym.workloads.registry import parse

    return parse(json.loads(scenario.source)["scenario"]).duration_s
