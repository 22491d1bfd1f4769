"""Searching a table directly: it improves, it is reproducible, it can be taken up again, and it knows when to stop."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence

import numpy as np
import pytest

from cma_gym.agents.table.moves import levels_of, ordered_moves
from cma_gym.agents.table.objective import Job, Objective, Played
from cma_gym.agents.table.sampling import CmaEs, CrossEntropy
from cma_gym.agents.table.search import SearchConfig, SearchResult, choose, search
from cma_gym.agents.table.search_state import SearchError, SearchState
from cma_gym.agents.table.starts import known_tables, safe_cells
from cma_gym.agents.table.ties import TiesConfig, find_ties
from cma_gym.envs.compiled import NR_TERMS, Term
from cma_gym.machine.view import NR_VIEW, View
from cma_gym.mm.mmzone import Action, Importance, RequestKind
from cma_gym.policies.tables.table import DecisionTable
from tests.agents.table.toy_evaluator import ToyEvaluator

COST = Objective(form="cost")
PLENTY = SearchConfig(evaluations=100_000, seconds=60)


def bad(toy: ToyEvaluator) -> dict[str, np.ndarray]:
    return {"bad": (toy.best + 1) % 3}


def test_it_finds_the_best_action_of_every_cell_that_is_asked() -> None:
    toy = ToyEvaluator()
    found = search(toy, bad(toy), PLENTY, COST)
    assert found.stopped_by == "nothing left"
    assert found.key == (0.0,)
    assert found.key < found.start_key
    assert np.array_equal(found.cells[toy.visited], toy.best[toy.visited])
    assert np.array_equal(found.visits, toy.asked.sum(axis=0))


def test_it_starts_from_the_best_table_it_is_given() -> None:
    toy = ToyEvaluator()
    nearly = toy.best.copy()
    nearly[np.argmax(toy.asked.sum(axis=0))] += 1
    nearly %= 3
    found = search(toy, {**bad(toy), "nearly": nearly}, SearchConfig(evaluations=0), COST)
    assert found.start == "nearly"
    assert np.array_equal(found.cells, nearly)
    assert found.stopped_by == "evaluations"


@pytest.mark.parametrize("method", ["coordinate", "cross_entropy", "cma"])
def test_the_budget_is_kept_and_the_result_is_reproducible(method: str) -> None:
    config = SearchConfig(method=method, evaluations=400, seconds=60, genes=20)
    found: list[SearchResult] = []
    for _ in range(2):
        toy = ToyEvaluator()
        found.append(search(toy, bad(toy), config, COST))
        assert found[-1].evaluations == toy.evaluations
        most = config.population if method != "coordinate" else config.together
        assert 400 <= found[-1].evaluations < 400 + most * toy.nr_workloads
    assert found[0].key < found[0].start_key
    assert np.array_equal(found[0].cells, found[1].cells)


@pytest.mark.parametrize("method", ["coordinate", "cross_entropy", "cma"])
def test_a_search_taken_up_again_gives_the_same_table(method: str) -> None:
    config = SearchConfig(method=method, evaluations=600, seconds=60, genes=20)
    toy = ToyEvaluator()
    whole = search(toy, bad(toy), config, COST)
    written: list[str] = []
    search(
        toy,
        bad(toy),
        config.model_copy(update={"evaluations": 250}),
        COST,
        on_state=lambda state: written.append(json.dumps(state.to_json())),
    )
    for text in (written[0], written[-1]):
        resumed = search(toy, bad(toy), config, COST, state=SearchState.from_json(json.loads(text)))
        assert np.array_equal(resumed.cells, whole.cells)
        assert (resumed.evaluations, resumed.tried) == (whole.evaluations, whole.tried)
        assert resumed.start_key == whole.start_key


def test_a_state_of_another_search_is_refused() -> None:
    toy = ToyEvaluator()
    states: list[SearchState] = []
    config = SearchConfig(evaluations=50)
    search(toy, bad(toy), config, COST, on_state=lambda state: states.append(copy.deepcopy(state)))
    with pytest.raises(SearchError, match="another configuration"):
        search(toy, bad(toy), config.model_copy(update={"slack": 0.5}), COST, state=states[0])
    with pytest.raises(SearchError, match="damaged"):
        SearchState.from_json({"config": "x"})
    with pytest.raises(SearchError, match="at least one table"):
        search(toy, {}, config, COST)


def test_dropping_bad_candidates_early_saves_rollouts() -> None:
    spent = []
    for first in (1, 1000):
        toy = ToyEvaluator()
        found = search(toy, bad(toy), PLENTY.model_copy(update={"first_workloads": first}), COST)
        assert found.key == (0.0,)
        spent.append(found.evaluations)
    assert spent[0] < 0.8 * spent[1]


def test_what_may_be_chance_is_not_taken() -> None:
    """Every change gains much on some workloads and loses nearly as much on others. Expect it to be left alone."""
    toy = ToyEvaluator()
    spread = (np.arange(toy.nr_workloads) % 3 > 0) * 2 - 1  # a third loses

    def play(jobs: Sequence[Job]) -> list[Played]:
        played = ToyEvaluator.play(toy, jobs)
        for job, one in zip(jobs, played, strict=True):
            changed = bool((job.cells != bad(toy)["bad"]).any())
            one.outcome[Term.STALL] = 10**12 - changed * int(spread[job.workload]) * 10**9
            one.visits[:] = 1
        return played

    toy.play = play  # type: ignore[method-assign]
    for sure, accepted in ((0.5, 1), (1.0, 0)):
        found = search(toy, bad(toy), SearchConfig(evaluations=100, seconds=60, sure=sure), COST)
        assert found.accepted == accepted


def test_time_is_only_a_cap() -> None:
    toy = ToyEvaluator()
    found = search(toy, bad(toy), SearchConfig(evaluations=100_000, seconds=1e-9), COST)
    assert found.stopped_by == "seconds"
    assert found.evaluations == toy.nr_workloads


def test_choose_takes_the_best_and_of_equals_the_first() -> None:
    toy = ToyEvaluator()
    name, keys = choose(toy, {**bad(toy), "good": toy.best, "twin": toy.best.copy()}, COST)
    assert name == "good"
    assert keys["good"] == keys["twin"] < keys["bad"]


def test_product_form_puts_failed_demands_first() -> None:
    cheap_but_failing, dear = np.zeros((2, NR_TERMS), np.int64), np.zeros((2, NR_TERMS), np.int64)
    cheap_but_failing[0, Term.PIECES_FAILED] = 1
    dear[:, Term.STALL] = 10**13
    product = Objective(form="product")
    assert product.key(dear) < product.key(cheap_but_failing)
    assert COST.key(dear) > COST.key(cheap_but_failing)
    assert COST.key(dear) == (10**13 / 1e6,)
    whole = np.zeros((2, NR_TERMS), np.int64)
    whole[1, Term.DEMAND_FAILED] = 1
    assert product.key(cheap_but_failing) < product.key(whole)


def test_groups_go_from_slices_to_cells() -> None:
    template = ToyEvaluator().template
    slices, parts, cells = levels_of(template)
    assert len(slices) == 8 * 2
    assert all(len(group) == 3 for group in slices)
    assert sorted(np.concatenate(slices)) == list(range(template.nr_cells))
    assert len(parts) + len(cells) == template.nr_cells  # parts of one cell are not tried twice


def test_moves_are_ordered_by_visits_and_hints() -> None:
    groups = [np.array([0]), np.array([1]), np.array([2])]
    visits = np.array([10, 100, 0])
    hint = np.zeros((3, 3))
    hint[0, 2] = 1.0
    moves = ordered_moves(groups, np.zeros(3, np.uint8), visits, hint)
    assert moves == [(0, 2), (1, 1), (1, 2), (0, 1)]  # 11, 10, 10, 1; cell 2 is never asked


def test_samplers_move_towards_what_ranks_well() -> None:
    goal = np.array([2, 0, 1, 2, 0, 1, 2, 0])
    for sampler in (CrossEntropy(np.ones(8, np.uint8), 24, 0), CmaEs(np.ones(8, np.uint8), 24, 0)):
        for _ in range(30):
            wrong = np.abs(sampler.ask().astype(int) - goal).sum(axis=1)
            sampler.tell(wrong.astype(float))
        assert wrong.min() == 0


def anonymous_views() -> dict[str, np.ndarray]:
    """Requests for anonymous memory by a visible task, by a background one, and by one that pins."""
    views = {name: np.zeros(NR_VIEW, np.int64) for name in ("seen", "service", "pins")}
    views["seen"][View.IMPORTANCE] = Importance.VISIBLE
    views["service"][View.IMPORTANCE] = Importance.BACKGROUND
    views["pins"][View.OWNER_PINNED] = 1
    return views


def test_known_rules_are_expressed_in_any_layout() -> None:
    tables = known_tables(DecisionTable.constant("full"))
    assert {"fallback", "cma_first", "never", "file_only", "anon_only"} <= set(tables)
    template = DecisionTable.constant("full")
    safe = safe_cells(template)
    for cell in range(0, template.nr_cells, 37):
        view = template.view_of(cell)
        assert (tables["file_only"][cell] == Action.CMA_FIRST) == (view[View.KIND] == RequestKind.FILE)
        assert tables["fallback"][cell] == Action.NORMAL_FIRST
        stuck = view[View.KIND] in (RequestKind.BDEV, RequestKind.DRIVER) or view[View.OWNER_PINNED]
        assert safe[cell] == (Action.NORMAL_ONLY if stuck else Action.NORMAL_FIRST)
    shown = {name: tables["for_the_user"][template.cell_index(view)] for name, view in anonymous_views().items()}
    assert shown == {"seen": Action.CMA_FIRST, "service": Action.NORMAL_ONLY, "pins": Action.NORMAL_ONLY}
    blind = known_tables(DecisionTable.constant("blind", (("cma_free_64ths", (8,)),)))
    assert len({cells.tobytes() for cells in blind.values()}) == len(blind)


def test_ties_are_cells_where_nothing_is_at_stake() -> None:
    toy = ToyEvaluator()
    table = (toy.best + (np.arange(len(toy.best)) % 5 == 0)).astype(np.uint8) % 3
    ties = find_ties(toy, table, TiesConfig(evaluations=10_000, band=0.01), COST)
    assert ties.unvisited == int((~toy.visited).sum())
    assert ties.dont_care[~toy.visited].all()
    share = toy.asked.sum(axis=0) / toy.asked[:, table != toy.best].sum()
    assert not ties.dont_care[share > 0.01].any()
    assert ties.tied == int(ties.dont_care[toy.visited].sum())
    none = find_ties(toy, table, TiesConfig(evaluations=0), COST)
    assert none.tied == none.tested == 0
