"""Deliberately broken mechanisms are noticed (mutations.py): one process tries them all on the uncompiled core."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.mm.mutations import HERE, MUTATIONS


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    result = tmp_path_factory.mktemp("mutations") / "found.json"
    command = [sys.executable, "-m", "tests.mm.mutations", "--json", str(result)]
    run = subprocess.run(command, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True)
    assert result.exists(), run.stderr[-2000:]
    return json.loads(result.read_text(encoding="utf-8"))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[m.what for m in MUTATIONS])
def test_a_broken_mechanism_is_noticed(found, mutation):
    assert found[mutation.what], f"nothing noticed that {mutation.what}"
    assert not found[mutation.what].startswith("LookupError"), found[mutation.what]


def test_every_mutation_is_listed():
    page = (HERE.parents[1] / "docs" / "soundness.md").read_text(encoding="utf-8")
    missing = [m.what for m in MUTATIONS if f"| {m.what} |" not in page]
    assert not missing, f"docs/soundness.md does not list {missing}; python tests/mm/mutations.py prints it"
