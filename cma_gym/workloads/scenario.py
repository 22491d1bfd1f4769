"""What a scenario is: parameters with units, made of parts that each add their own events; no code of a family's own.

A family is a `Scenario` whose fields are parts; `generate` runs every part on a stream of its own, with random numbers
of its own, and merges them. Sizes are shares of RAM and times are simulated seconds, so that one scenario runs on
machines of any size.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cma_gym.machine.spec import MachineSpec
from cma_gym.workloads.stream import Stream, merge
from cma_gym.workloads.workload import Workload

SECOND_NS = 10**9
MS_NS = 10**6
US_NS = 10**3
LONGEST_US = 2 * 10**9
"""Longest time that fits into an event's value, in microseconds: some 33 minutes."""
REFERENCE_PAGES = 512 * 256
"""Pages of the machine that the recordings were made on; counts of pages that were measured there scale with RAM."""


class Params(BaseModel):
    """Parameters: strict, frozen, every field with its unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_Pair = TypeVar("_Pair", tuple[float, float], tuple[int, int])


def _ordered(pair: _Pair) -> _Pair:
    if pair[0] > pair[1]:
        raise ValueError(f"the low end {pair[0]:g} is above the high end {pair[1]:g}; give the low end first")
    return pair


Share = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
"""A percentage."""
Chance = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0.001, le=1e6, allow_inf_nan=False)]
Pages = Annotated[int, Field(ge=1, le=1 << 20)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
"""Lowest and highest percentage; values between are equally likely."""
PagesRange = Annotated[tuple[Pages, Pages], AfterValidator(_ordered)]
"""Fewest and most pages, on a machine of 512 MB; counts between are equally likely."""
SecondsRange = Annotated[tuple[Seconds, Seconds], AfterValidator(_ordered)]
"""Shortest and longest time [s]; values between are equally likely."""
Megabytes = Annotated[float, Field(ge=0, le=65536, allow_inf_nan=False)]
MegabytesRange = Annotated[tuple[Megabytes, Megabytes], AfterValidator(_ordered)]
"""Smallest and largest size [MB], for programs whose size does not depend on the machine's."""


@dataclass(frozen=True)
class Stage:
    """Where a part plays: the machine, the time there is, and its random numbers."""

    spec: MachineSpec
    duration_ns: int
    """Length of the stream."""
    seed: int
    part: str
    """The part's name in its scenario; its random numbers depend on it."""

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose of this part, independent of those of any other part or purpose."""
        key = zlib.crc32(f"{self.part}.{purpose}".encode())
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(key,))))

    def pages(self, percent: float, least: int = 1) -> int:
        """Pages in so many percent of RAM."""
        return max(least, round(self.spec.nr_pages * percent / 100))

    def scaled(self, pages: float, least: int = 1) -> int:
        """Pages that stand for `pages` of a machine of 512 MB."""
        return max(least, round(pages * self.spec.nr_pages / REFERENCE_PAGES))


class Part(Params):
    """One source of events. Subclasses say in their docstrings what each number rests on."""

    def emit(self, stage: Stage, stream: Stream) -> None:
        """Append this part's events to its stream."""
        raise NotImplementedError


class Clock(Part):
    """The part that says how long a scenario lasts."""

    @property
    def duration_s(self) -> float:
        """Length of the stream [s]."""
        raise NotImplementedError


class Scenario(Params):
    """Base of all families: its fields that are parts play together."""

    family: str = Field(description="Name of the family.")
    camera: Clock

    @model_validator(mode="before")
    @classmethod
    def _keep_own_defaults(cls, values: Any) -> Any:
        """A part that is given in part keeps this family's defaults for the rest, not those of the part's class."""
        if not isinstance(values, Mapping):
            return values
        merged = dict(values)
        for name, given in values.items():
            default = cls.model_fields[name].default if name in cls.model_fields else None
            if isinstance(given, Mapping) and isinstance(default, Part):
                merged[name] = {**default.model_dump(), **given}
        return merged

    @property
    def duration_s(self) -> float:
        """Simulated length [s]."""
        return self.camera.duration_s

    def parts(self) -> dict[str, Part]:
        """The parts that play, by field name, in the order of their declaration."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in named.items() if isinstance(value, Part)}

    def generate(self, spec: MachineSpec, seed: int) -> Workload:
        """The workload of this scenario on one machine; the same arguments give the same bytes.

        Args:
            spec: the machine; only its sizes matter.
            seed: at least 0.

        Raises:
            WorkloadError: the parts do not make a sane stream, which is a fault of this package.
        """
        duration_ns = round(self.duration_s * SECOND_NS)
        streams = []
        for name, part in self.parts().items():
            streams.append(Stream())
            part.emit(Stage(spec, duration_ns, seed, name), streams[-1])
        merged = merge(streams, duration_ns)
        meta: dict[str, Any] = {
            "family": self.family,
            "seed": seed,
            "scenario": self.model_dump(mode="json"),
            "machine": spec.model_dump(mode="json"),
            "duration_s": self.duration_s,
        }
        return Workload(
            self.family, merged.events, merged.nr_vpages, merged.nr_fpages, merged.nr_tasks, meta=meta
        ).check()


def between_ns(rng: np.random.Generator, seconds: tuple[float, float]) -> int:
    """A time drawn from a `SecondsRange`, in ns."""
    return round(rng.uniform(*seconds) * SECOND_NS)
