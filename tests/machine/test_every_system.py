"""Every system on every workload family: the machine stays sound and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.machine.events import Op
from cma_gym.machine.result import METRICS
from cma_gym.mm.check.validate import validate
from cma_gym.mm.mmzone import PageKind, VmEvent, ZoneStat
from cma_gym.policies.registry import systems
from cma_gym.workloads.registry import families
from tests.machine.regenerate_golden import SPEC, run_system, workload


@pytest.mark.parametrize("profile", ["v6_12", "v4_6"])
@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("name", systems())
def test_a_run_ends_sound_and_loses_nothing(name, family, profile):
    stream = workload(family, seed=3)
    result = run_system(systems()[name], stream, profile)
    mem = result.mems[0]
    validate(result.mems)

    events = mem["vm_event"]
    assert events[VmEvent.EVENTS] == len(stream.events)
    assert events[VmEvent.PIN_LOST] == events[VmEvent.DEMAND_LOST] == 0
    assert mem["clock"] >= stream.events["time"][-1]
    demands = int((stream.events["op"] == Op.DEMAND).sum())
    assert result.metrics["whole_demands"] + result.metrics["pieces_demands"] == demands == len(result.demand_table)
    assert list(result.metrics) == list(METRICS)

    page = mem["page"][: SPEC.nr_pages]
    used = int((page["kind"] != PageKind.FREE).sum())
    waiting = int(mem["zones"]["pcp"]["nr"].sum())
    assert used + waiting + int(mem["zones"]["vm_stat"][:, ZoneStat.FREE_PAGES].sum()) == SPEC.nr_pages
    held = np.unpackbits(mem["cma_bitmap"].view(np.uint8)).sum()
    assert held == mem["cma"]["nr_allocated"]
    if name == "carve_out":
        assert np.all(result.demand_table["first_ok"] == 1)
