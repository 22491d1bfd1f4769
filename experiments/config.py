"""Configuration files: strict YAML, checked by a pydantic model, with `--set a.b=c` overrides.

A mistake is answered by one sentence that names the file, the key, and the nearest key that exists.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

import cma_gym

PACKAGE = Path(cma_gym.__file__).resolve().parent
ROOT = PACKAGE.parent
"""The checkout, in a clone."""
CONFIGS = (PACKAGE / "configs").resolve()

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message says which file, which key, and what to do."""


class _Loader(yaml.SafeLoader):
    """YAML without objects and without the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)  # type: ignore[no-untyped-call]
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {_neighbours(Path(path))}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file; a configuration is YAML") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no `key: value` lines; see the files in configs/ for the form")
    return content


def _neighbours(path: Path) -> str:
    siblings = sorted(entry.name for entry in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    if not siblings:
        return "check the path"
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else f"{path.parent} has {', '.join(siblings)}"


def named_config(kind: str, name: str) -> tuple[Path, dict[str, Any]]:
    """The configuration called `name`: a path of a YAML file, or the name of one in configs/`kind`."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = CONFIGS / kind / f"{name}.yaml"
        if path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
    return path, read_yaml(path)


def parse_override(text: str) -> tuple[list[str], Any]:
    """`a.b=c` as (["a", "b"], c), c read as YAML.

    Raises:
        ConfigError: no `=`, an empty key, or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {text}: is not of the form key.subkey=value")
    try:
        return path, yaml.load(value, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        raise ConfigError(f"--set {text}: the value is not valid YAML; put it in quotes") from None


def override(content: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """A copy of `content` with every `a.b=c` of `settings` applied."""
    result = _copy(content)
    for text in settings:
        path, value = parse_override(text)
        _assign(result, path, value, f"--set {text}")
    return dict(result)


def overridden(content: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of `content` with every `a.b: c` of `changes`, a mapping in a file, applied.

    Raises:
        ConfigError: a key that is empty or leads into a single value; `where` says which mapping.
    """
    result = _copy(content)
    for key, value in changes.items():
        path = str(key).split(".")
        if not all(path):
            raise ConfigError(f"{where}: {key!r} is not of the form key.subkey")
        _assign(result, path, _copy(value), f"{where}: {key}")
    return dict(result)


def _assign(place: Any, path: Sequence[str], value: Any, where: str) -> None:
    for part in path[:-1]:
        place = _descend(place, part, where)
    if isinstance(place, list):
        place[_index(place, path[-1], where)] = value
    else:
        place[path[-1]] = value


def _copy(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _copy(value) for key, value in content.items()}
    return [_copy(value) for value in content] if isinstance(content, list) else content


def _index(place: list[Any], part: str, where: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise ConfigError(f"{where}: {part!r} is not a position in a list of {len(place)}; count from 0")
    return int(part)


def _descend(place: Any, part: str, where: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, where)]
    inner = place.setdefault(part, {})
    if not isinstance(inner, (dict, list)):
        raise ConfigError(f"{where}: {part} is a single value ({inner!r}) and has nothing inside it")
    return inner


def checked(model: type[Model], content: Mapping[str, Any], where: str) -> Model:
    """`content` as `model`.

    Args:
        model: the pydantic model that says what may stand there.
        content: what was read.
        where: the file, for the message.

    Raises:
        ConfigError: a key that does not exist, or a value that does not fit.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: {complaint(model, error)}") from None


def complaint(model: type[BaseModel], error: ValidationError) -> str:
    """What is wrong, in one sentence; the first mistake stands for all."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    more = f" ({error.error_count() - 1} more like this)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"there is no key {key!r}; {_nearest(path[-1], _keys_at(model, first['loc'][:-1]))}{more}"
    if first["type"] == "missing":
        return f"the key {key!r} is missing{more}"
    reason = first["msg"].removeprefix("Value error, ")
    tell = first["type"] != "value_error" and not isinstance(first["input"], (dict, list))
    given = f", not {first['input']!r}" if tell else ""
    return f"{key + ': ' if key else ''}{reason[:1].lower()}{reason[1:]}{given}{more}"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


def _keys_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys that may stand at a place inside `model`."""
    inner: type[BaseModel] | None = model
    for part in path:
        if inner is None or part not in inner.model_fields:
            continue  # a position in a list, or the tag of a union: the model stays the same
        inner = _model_in(inner.model_fields[str(part)].annotation)
    return list(inner.model_fields) if inner else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for argument in typing.get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def dump_yaml(content: Mapping[str, Any]) -> str:
    """`content` as YAML, keys in their order."""
    return yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=False, allow_unicode=True)


def parse_seeds(text: str) -> list[int]:
    """`0:10` (0 to 9), `3`, `0,4,7` or a mix of them.

    Raises:
        ConfigError: not of that form, negative, or empty.
    """
    seeds: list[int] = []
    for part in str(text).split(","):
        first, colon, last = part.partition(":")
        if not first.strip().isdigit() or (colon and not last.strip().isdigit()):
            raise ConfigError(f"seeds {text!r}: write 0:10 for 0 to 9, or 0,4,7")
        seeds += range(int(first), int(last)) if colon else [int(first)]
    if not seeds:
        raise ConfigError(f"seeds {text!r}: is an empty range; write 0:10 for 0 to 9")
    return list(dict.fromkeys(seeds))
