"""Families of synthetic workloads, found by scanning this package.

A family is one file: a pydantic class of parameters under the decorator, whose fields are the parts it is made of:

    @family("quiet")
    class Quiet(Scenario):
        \"\"\"Apps and nothing else.\"\"\"

        camera: Camera = Camera()
        apps: Apps = Apps(size_percent=50)

A scenario is a dict such as `{"family": "phone", "camera": {"count": 4}}`; what it does not name keeps its default.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

import cma_gym.workloads.families
from cma_gym.machine.spec import MachineSpec
from cma_gym.support.packages import modules_of
from cma_gym.workloads.scenario import Scenario
from cma_gym.workloads.workload import Workload, WorkloadError

_FAMILIES: dict[str, type[Scenario]] = {}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_Family = TypeVar("_Family", bound=type[Scenario])


def family(name: str) -> Callable[[_Family], _Family]:
    """Register the decorated class of parameters as a family.

    Raises:
        WorkloadError: the name is taken or malformed.
    """

    def register(cls: _Family) -> _Family:
        if not _NAME.fullmatch(name):
            raise WorkloadError(f"workload family {name!r}: a name is lower-case letters, digits and underscores")
        if name in _FAMILIES:
            raise WorkloadError(f"workload family {name!r} exists already; choose another name")
        _FAMILIES[name] = cls
        return cls

    return register


def families() -> dict[str, type[Scenario]]:
    """All families by name, in alphabetical order."""
    modules_of(cma_gym.workloads.families)
    return dict(sorted(_FAMILIES.items()))


def _family(name: str) -> type[Scenario] | None:
    """The family of a name; its file is looked for under the same name first, because importing all takes a while."""
    where = f"cma_gym.workloads.families.{name}"
    if name not in _FAMILIES and _NAME.fullmatch(name) and importlib.util.find_spec(where):
        importlib.import_module(where)
    return _FAMILIES.get(name) or families().get(name)


def parse(scenario: Mapping[str, Any] | Scenario) -> Scenario:
    """A checked scenario.

    Args:
        scenario: plain values with a `family`, or a scenario that was checked before.

    Raises:
        WorkloadError: one sentence about the first thing that is wrong, with the nearest known name.
    """
    if isinstance(scenario, Scenario):
        return scenario
    if not isinstance(scenario, Mapping):
        raise WorkloadError(f"a scenario is a dict like {{'family': 'phone'}}, not {scenario!r}")
    if "family" not in scenario:
        raise WorkloadError(f"the scenario names no family; add one of {', '.join(families())} as 'family'")
    name = scenario["family"]
    model = _family(name) if isinstance(name, str) else None
    if model is None:
        raise WorkloadError(f"there is no workload family {name!r}; {_nearest(str(name), families())}")
    try:
        return model(**scenario)
    except ValidationError as error:
        raise WorkloadError(f"workload scenario {name!r}: {_sentence(model, error.errors()[0])}") from None
    except TypeError:
        raise WorkloadError(f"workload scenario {name!r}: its keys must all be words, got {list(scenario)}") from None


def generate(scenario: Mapping[str, Any] | Scenario, spec: MachineSpec, seed: int) -> Workload:
    """The workload of a scenario on one machine; the same arguments give the same bytes.

    Args:
        scenario: see `parse`.
        spec: the machine; sizes are shares of its RAM and its CMA area.
        seed: a whole number of at least 0.

    Raises:
        WorkloadError: the scenario or the seed cannot be used.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or int(seed) < 0:
        raise WorkloadError(f"the seed of a workload is a whole number of at least 0, got {seed!r}")
    return parse(scenario).generate(spec, int(seed))


class Parameter(NamedTuple):
    """One parameter of a family, for listings and generated pages."""

    path: str
    """Its name, with the parts it lies in before it, separated by dots."""
    default: Any
    description: str
    """What it means, its unit, and what the default rests on."""


def parameters(name: str) -> list[Parameter]:
    """All parameters of a family with their defaults.

    Raises:
        WorkloadError: there is no such family.
    """
    return list(_walk(parse({"family": name}), ""))


def _walk(values: BaseModel, prefix: str) -> Iterator[Parameter]:
    for key, info in type(values).model_fields.items():
        value = getattr(values, key)
        if isinstance(value, BaseModel):
            yield from _walk(value, f"{prefix}{key}.")
        else:
            yield Parameter(prefix + key, value, info.description or "")


def _sentence(model: type[BaseModel], error: ErrorDetails) -> str:
    """What is wrong with the values of a model, where, and what to do."""
    where = ".".join(str(step) for step in error["loc"])
    if error["type"] == "extra_forbidden":
        *above, key = error["loc"]
        fields = _fields_at(model, above)
        return f"there is no parameter {where!r}; {_nearest(str(key), fields)}"
    if error["type"] == "value_error":  # our own sentence, which names the values itself
        return f"{where}: {error['ctx']['error']}"
    return f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}, got {error['input']!r}"


def _fields_at(model: type[BaseModel], steps: Iterable[int | str]) -> list[str]:
    """Names of the fields at a place inside a model."""
    for step in steps:
        info = model.model_fields.get(str(step))
        inner = next(_models(info.annotation), None) if info else None
        if inner is None:
            break
        model = inner
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Union or get_args(annotation):
        for inner in get_args(annotation):
            yield from _models(inner)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known are {', '.join(names)}"
