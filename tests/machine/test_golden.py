"""Exact counters of two short workloads under every system; see regenerate_golden.py."""

from __future__ import annotations

import json

import pytest

from cma_gym.policies.registry import systems
from tests.machine.regenerate_golden import PATH, SEEDS, counters, run_system, workload

GOLDEN = json.loads(PATH.read_text())


@pytest.mark.parametrize("name", systems())
@pytest.mark.parametrize("family", SEEDS)
def test_counters_are_what_they_were(family, name):
    """If this fails after a change that is meant to change results: python -m tests.machine.regenerate_golden."""
    found = counters(run_system(systems()[name], workload(family, SEEDS[family])))
    assert found["vm_event"] == GOLDEN[family][name]["vm_event"]
    assert found["metrics"] == GOLDEN[family][name]["metrics"]


def test_golden_counters_are_of_these_systems():
    assert all(set(GOLDEN[family]) == set(systems()) for family in SEEDS)
