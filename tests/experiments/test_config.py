"""A wrong configuration is answered by one sentence that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from cma_gym.experiments.config import (
    ConfigError,
    checked,
    named_config,
    override,
    parse_override,
    parse_seeds,
    read_yaml,
)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate_ms: int = Field(default=3, ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner = Inner()
    several: list[Inner] = []
    name: str


def refuse(content: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(Outer, content, "file.yaml")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith("file.yaml: ")
    return sentence


def test_unknown_keys_name_the_nearest_known_one() -> None:
    assert "'inner.rate_m'; did you mean 'rate_ms'?" in refuse({"name": "x", "inner": {"rate_m": 3}})
    assert "'several.0.rat_ms'; did you mean 'rate_ms'?" in refuse({"name": "x", "several": [{"rat_ms": 3}]})
    assert "'zzz'; known are inner, name, several" in refuse({"name": "x", "zzz": 1})


def test_wrong_values_and_missing_keys_name_the_key() -> None:
    assert "'name' is missing" in refuse({})
    wrong = {"name": "", "inner": {"rate_ms": 0}}
    assert "inner.rate_ms: input should be greater than or equal to 1, not 0" in refuse(wrong)
    assert "(1 more like this)" in refuse({"x": 1, "y": 2, "name": ""})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "not valid YAML"),
        ("a: 1\na: 2", "line 2: not valid YAML (the key 'a' stands twice)"),
        ("- 1", "no `key: value` lines"),
        ("", "no `key: value` lines"),
        ("a: !!python/object/apply:os.system [x]", "not valid YAML"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_its_neighbour() -> None:
    with pytest.raises(ConfigError, match=r"did you mean configs/machine/twin_64m\.yaml"):
        named_config("machine", "twin_64")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml("/nowhere/at/all.yaml")


def test_binary_garbage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match="not a text file"):
        read_yaml(path)


def test_overrides() -> None:
    content = {"a": {"b": 1}, "list": [{"c": 1}, {"c": 2}]}
    changed = override(content, ["a.b=2", "list.1.c=[1, 2]", "new.key=text"])
    assert changed == {"a": {"b": 2}, "list": [{"c": 1}, {"c": [1, 2]}], "new": {"key": "text"}}
    assert content["a"] == {"b": 1}
    assert parse_override("a.b=x=y") == (["a", "b"], "x=y")


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", "a.b.c=1", "list.7=1", "list.x=1", "a=[1"])
def test_overrides_that_go_nowhere_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        override({"a": {"b": 1}, "list": [1]}, [text])


def test_seeds() -> None:
    assert parse_seeds("0:3") == [0, 1, 2]
    assert parse_seeds("7") == [7]
    assert parse_seeds("0:2,9,1") == [0, 1, 9]
    for wrong in ("", "a", "3:3", "-1", "1:b"):
        with pytest.raises(ConfigError, match="seeds"):
            parse_seeds(wrong)
