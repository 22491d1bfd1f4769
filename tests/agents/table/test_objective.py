"""What a table costs in compiled rollouts is what the environments charge, whoever does the work."""

from __future__ import annotations

import numpy as np
import pytest

from cma_gym.agents.network.play import episode_returns
from cma_gym.agents.table import objective
from cma_gym.agents.table.objective import Evaluator, Job, Objective
from cma_gym.agents.table.search import SearchConfig, choose, search
from cma_gym.agents.table.starts import known_tables
from cma_gym.agents.table.visits import CountingParams, decide_and_count
from cma_gym.envs.compiled import NR_TERMS, read_amount
from cma_gym.envs.seeds import split_seeds
from cma_gym.machine.kernel import KernelConfig
from cma_gym.machine.machine import boot, new_machines, run
from cma_gym.machine.spec import MachineSpec
from cma_gym.machine.step import advance, load
from cma_gym.machine.view import FEATURES
from cma_gym.policies.tables.table import DecisionTable, table_decide
from cma_gym.workloads.registry import generate
from cma_gym.workloads.workload import Workload
from tests.agents.real_machines import SCENARIO, TINY, real_batch

SPEC = MachineSpec(**TINY)
TEMPLATE = DecisionTable.constant("full")


@pytest.fixture(scope="module")
def workloads() -> list[Workload]:
    return [generate(SCENARIO, SPEC, seed) for seed in split_seeds("train", 4)]


def some_table(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, TEMPLATE.nr_cells).astype(np.uint8)


def test_counting_does_not_change_the_answer() -> None:
    table = TEMPLATE.replace(cells=some_table())
    counting = CountingParams(table)
    params, plain = counting.fill(table.cells), table.params()
    rng = np.random.default_rng(1)
    expected = np.zeros(table.nr_cells, np.int64)
    for _ in range(500):
        view = rng.integers(0, [min(feature.high, 70) + 1 for feature in FEATURES])
        assert decide_and_count(view, params) == table_decide(view, plain) == table.lookup(view)
        expected[table.cell_index(view)] += 1
    assert np.array_equal(counting.visits(), expected)


def test_a_rollout_is_a_run_of_the_table(workloads: list[Workload]) -> None:
    cells = some_table()
    with Evaluator(SPEC, TEMPLATE, workloads) as evaluator:
        outcomes, visits = evaluator.play_all(cells)
        again, _ = evaluator.play_all(cells)
        assert evaluator.evaluations == 2 * len(workloads)
    assert np.array_equal(outcomes, again)
    kernel = KernelConfig.for_profile(SPEC.profile, **TEMPLATE.kernel)
    for number, workload in enumerate(workloads):
        result = run(SPEC, kernel, workload, table_decide, TEMPLATE.replace(cells=cells).params())
        felt = result.mems[0]["metrics"]
        assert visits[number].sum() == result.metrics["decisions"]
        assert outcomes[number][:2].tolist() == [
            felt["whole_tried"] - felt["whole_ok"],
            felt["pieces_tried"] - felt["pieces_ok"],
        ]
        assert outcomes[number][3:6].tolist() == [felt["stall_ns"], felt["swap_ns"], felt["refault_ns"]]


def test_cost_is_minus_the_return_of_the_environment(workloads: list[Workload]) -> None:
    table = TEMPLATE.replace(cells=some_table(3))
    batch = real_batch("train", 2, max_decisions=None, kernel=TEMPLATE.kernel)
    returns = episode_returns(lambda b: table.cells[table.cell_indices(b.views)], batch, range(4))
    with Evaluator(SPEC, TEMPLATE, workloads) as evaluator:
        outcomes, _ = evaluator.play_all(table.cells)
        before = _before_the_first_question(workloads)
    assert Objective().costs(outcomes) - before == pytest.approx(-returns, rel=1e-9, abs=1e-6)


def _before_the_first_question(workloads: list[Workload]) -> np.ndarray:
    """Cost that the environments do not charge, because nothing had been decided yet."""
    rows = []
    for workload in workloads:
        mems = new_machines(1, SPEC, workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
        boot(mems, 0, SPEC, KernelConfig.for_profile(SPEC.profile, **TEMPLATE.kernel))
        load(mems, 0, 0, len(workload.events))
        advance(mems, 0, workload.events)
        rows.append([read_amount(mems[0], term) for term in range(NR_TERMS)])
    return Objective().costs(np.array(rows))


def test_two_workers_give_the_same_figures(workloads: list[Workload]) -> None:
    jobs = [Job(some_table(seed), number) for seed in (0, 1) for number in range(len(workloads))]
    with Evaluator(SPEC, TEMPLATE, workloads) as alone, Evaluator(SPEC, TEMPLATE, workloads, workers=2) as many:
        for one, other in zip(alone.play(jobs), many.play(jobs), strict=True):
            assert np.array_equal(one.outcome, other.outcome)
            assert np.array_equal(one.visits, other.visits)


def test_each_workload_can_have_a_machine_of_its_own(workloads: list[Workload]) -> None:
    less = SPEC.model_copy(update={"zram_percent": 10})
    mine = [workloads[0], generate(SCENARIO, less, split_seeds("train", 2)[1]), workloads[2]]
    cells = some_table()
    with Evaluator([SPEC, less, SPEC], TEMPLATE, mine) as mixed:
        outcomes, _ = mixed.play_all(cells)
    for number, spec in enumerate([SPEC, less, SPEC]):
        with Evaluator(spec, TEMPLATE, mine[number : number + 1]) as alone:
            assert np.array_equal(alone.play_all(cells)[0][0], outcomes[number])
    with Evaluator(SPEC, TEMPLATE, mine) as same:
        assert not np.array_equal(same.play_all(cells)[0][1], outcomes[1])


def test_workers_that_found_other_sources_do_not_work(
    workloads: list[Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "_CORE", "of another day")
    with (
        Evaluator(SPEC, TEMPLATE, workloads, workers=2) as evaluator,
        pytest.raises(RuntimeError, match="sources of the simulator were changed"),
    ):
        evaluator.play([Job(some_table(), 0)])


def test_search_improves_a_bad_table_on_a_small_machine(workloads: list[Workload]) -> None:
    cost = Objective(form="cost")
    found = []
    for _ in range(2):
        with Evaluator(SPEC, TEMPLATE, workloads[:2]) as evaluator:
            worst = max(known_tables(TEMPLATE).values(), key=lambda cells: cost.key(evaluator.play_all(cells)[0]))
            found.append(search(evaluator, {"worst": worst}, SearchConfig(evaluations=60), cost))
    assert found[0].key < found[0].start_key
    assert np.array_equal(found[0].cells, found[1].cells)
    assert found[0].evaluations == found[1].evaluations
    with Evaluator(SPEC, TEMPLATE, workloads[2:]) as select:
        best, keys = choose(select, {"searched": found[0].cells, **known_tables(TEMPLATE)}, cost)
        assert keys[best] == min(keys.values())


def test_an_evaluator_needs_workloads() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Evaluator(SPEC, TEMPLATE, [])
