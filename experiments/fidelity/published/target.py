"""What a target is: runs of the model, and figures made of them that stand beside published ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

BAND = 1.5
"""A relative figure passes if it is within this factor of the published one."""

Check = Literal["relative", "sign", "shown"]
Run = Mapping[str, Any]
"""What one run gave, JSON-plain; see `runner.run_case`."""


@dataclass(frozen=True)
class Case:
    """One row of a published table: a machine, its kernel, a system and a load."""

    name: str
    system: str
    machine: Mapping[str, Any]
    """Settings of a MachineSpec."""
    kernel: Mapping[str, Any]
    """Switches of a KernelConfig beyond the system's own, the cost profile among them."""
    scenario: Mapping[str, Any]
    seeds: tuple[int, ...] = (0,)
    needs: str = ""
    """A kernel switch without which this row cannot be run."""
    sample_ms: int = 0
    """How often counters are sampled [ms]; 0: only at the end."""


class Runs:
    """The finished runs of a target, by the name of their case."""

    def __init__(self, runs: Mapping[str, Sequence[Run]]) -> None:
        self._runs = runs

    def has(self, *cases: str) -> bool:
        """Whether all these rows were run."""
        return all(self._runs.get(case) for case in cases)

    def of(self, case: str) -> Sequence[Run]:
        """The runs of a case, one a seed."""
        return self._runs[case]

    def mean(self, case: str, key: str) -> float:
        """A figure of a case, averaged over its seeds; of `vmstat.X` the event counter X."""
        group, dot, name = key.partition(".")
        values = [float(run[group][name] if dot else run[key]) for run in self._runs[case]]
        return sum(values) / len(values)


@dataclass(frozen=True)
class Figure:
    """One figure: published beside simulated."""

    name: str
    published: float | str
    simulated: float | str
    check: Check
    holds: bool = True
    """Of a sign or an order: whether it is right. Others are judged by their ratio."""
    unit: str = ""

    @property
    def ratio(self) -> float:
        """Simulated over published; nan where either is no number."""
        if isinstance(self.published, str) or isinstance(self.simulated, str) or not self.published:
            return math.nan
        return self.simulated / self.published

    @property
    def passed(self) -> bool | None:
        """Whether it is within its band; None if it has none, or could not be simulated."""
        if self.check == "shown" or self.simulated == UNKNOWN:
            return None
        if self.check == "sign":
            return self.holds
        return 1 / BAND <= self.ratio <= BAND

    @property
    def band(self) -> str:
        """The pass band in words."""
        return {"relative": f"x {1 / BAND:.2f} - {BAND:g}", "sign": "exact", "shown": "-"}[self.check]


UNKNOWN = "not run"


def relative(name: str, published: float, simulated: float, unit: str = "") -> Figure:
    """A ratio or share, which must be within the band."""
    return Figure(name, published, simulated, "relative", unit=unit)


def shown(name: str, published: float | str, simulated: float | str, unit: str = "") -> Figure:
    """An absolute figure of another machine, for orientation only."""
    return Figure(name, published, simulated, "shown", unit=unit)


def sign(name: str, published: str, simulated: str, holds: bool) -> Figure:
    """A sign or an order, which must be exactly right."""
    return Figure(name, published, simulated, "sign", holds=bool(holds))


def missing(name: str, published: float | str, needs: str) -> Figure:
    """A figure whose rows could not be run."""
    return Figure(f"{name} (needs {needs})", published, UNKNOWN, "relative")


def over(value: float, base: float) -> float:
    """`value / base`; infinite where there is no base."""
    if base:
        return value / base
    return math.inf if value else math.nan


@dataclass(frozen=True)
class Target:
    """One published table or fact, and how the model is asked for it."""

    name: str
    title: str
    source: str
    cases: Callable[[], Sequence[Case]]
    figures: Callable[[Runs], Sequence[Figure]]
    assumptions: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a figure misses its aim, by its name; printed only where it does."""
