"""The compiled loop of the environments: answer, advance, reward terms, view, observation, for a batch of machines.

Everything compiled above the machine stands in this one file: Numba notices an edit of the file that holds a function,
not of the files of the functions it calls (mm/jit.py). What comes from other files of `envs` arrives as arguments.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from cma_gym.machine.step import Status, advance, answer, fill_view, load
from cma_gym.machine.view import NR_VIEW, Scale, View
from cma_gym.mm.mmzone import NR_ACTIONS, Action, VmEvent
from cma_gym.support.jit import jit


class Term(IntEnum):
    """The terms. Counts and nanoseconds since the previous decision, turned into milliseconds by `RewardWeights`."""

    DEMAND_FAILED = 0
    """Whole-area demands given up."""
    PIECES_FAILED = 1
    """Demands for several pieces that did not get all of them."""
    DEMAND_LATENCY = 2
    """Time that devices waited for their buffers."""
    STALL = 3
    """Direct reclaim and compaction inside allocations."""
    SWAP = 4
    """Swap-in."""
    REFAULT = 5
    """Re-reading evicted file pages."""
    KILL = 6
    """Tasks killed by the low memory or out-of-memory killer."""
    ATOMIC_FAIL = 7
    """Failed requests that may not wait (network packets, interrupt handlers)."""


NR_TERMS = len(Term)
TERM_NAMES = tuple(term.name.lower() for term in Term)
TIME_TERMS = (Term.DEMAND_LATENCY, Term.STALL, Term.SWAP, Term.REFAULT)
"""Terms counted in nanoseconds; the others are counted in events."""


REST, BEGIN, STEP = 0, 1, 2
"""What a row does in `run_rows`."""

row_dtype = np.dtype(
    [
        ("alive", "i8"),  # an episode runs
        ("length", "i8"),  # decisions answered in it
        ("episode", "i8"),  # index into the pool
        ("seed", "i8"),
        ("played", "i8"),  # episodes begun since the seed was set
        ("reward_sum", "f8"),  # of the episode
        ("amount", "i8", (NR_TERMS,)),  # raw terms up to the previous decision
    ],
    align=True,
)
"""What a batch keeps for one machine besides the machine itself."""


class Buffers(NamedTuple):
    """What a batch writes into; one row for each of n machines."""

    rows: np.ndarray
    """row_dtype[n]"""
    views: np.ndarray
    """int64[n, NR_VIEW]: the pending question as a kernel would read it."""
    obs: np.ndarray
    """float32[n, OBS_SIZE]: the same, scaled to [0, 1]."""
    masks: np.ndarray
    """int8[n, NR_ACTIONS]: 1 where the action can matter."""
    rewards: np.ndarray
    """float32[n]: minus the sum of `costs`."""
    costs: np.ndarray
    """float64[n, NR_TERMS]: reward terms of the latest step [ms]."""
    terminated: np.ndarray
    """bool[n]: the workload is over."""
    truncated: np.ndarray
    """bool[n]: the episode was cut at the limit of decisions."""


class Rules(NamedTuple):
    """What does not change while a batch lives."""

    plan: np.ndarray
    """int64[NR_VIEW, 3], see observation.PLAN."""
    factors: np.ndarray
    """float64[NR_TERMS]: milliseconds per raw unit."""
    max_decisions: int
    """An episode is truncated after so many decisions; 0: never."""


def new_buffers(nr_rows: int, obs_size: int) -> Buffers:
    """Buffers for `nr_rows` machines; nothing runs yet."""
    return Buffers(
        rows=np.zeros(nr_rows, dtype=row_dtype).view(np.recarray),
        views=np.zeros((nr_rows, NR_VIEW), dtype=np.int64),
        obs=np.zeros((nr_rows, obs_size), dtype=np.float32),
        masks=np.ones((nr_rows, NR_ACTIONS), dtype=np.int8),
        rewards=np.zeros(nr_rows, dtype=np.float32),
        costs=np.zeros((nr_rows, NR_TERMS), dtype=np.float64),
        terminated=np.zeros(nr_rows, dtype=np.bool_),
        truncated=np.zeros(nr_rows, dtype=np.bool_),
    )


@jit
def scale_value(value: Any, how: Any, high: Any, memory: Any, area: Any) -> Any:
    """One value of the view as a number in [0, 1]."""
    if how == Scale.OF_MEMORY:
        high = memory
    elif how == Scale.OF_CMA:
        high = area
    if value <= 0 or high <= 0:
        return 0.0
    if value >= high:
        return 1.0
    if how == Scale.LOG:
        return math.log2(1.0 + value) / math.log2(1.0 + high)
    return value / high


@jit
def scale_view(view: Any, plan: Any, obs: Any) -> None:
    """Fill an observation, float32[OBS_SIZE], from a view, int64[NR_VIEW], as the plan says."""
    memory = view[View.MANAGED_PAGES]
    area = view[View.CMA_PAGES]
    for feature in range(NR_VIEW):
        how = plan[feature, 0]
        high = plan[feature, 1]
        at = plan[feature, 2]
        if how == Scale.ONE_HOT:
            for value in range(high + 1):
                obs[at + value] = 1.0 if view[feature] == value else 0.0
        else:
            obs[at] = scale_value(view[feature], how, high, memory, area)


@jit
def fill_mask(mem: Any, view: Any, mask: Any) -> None:
    """Which actions can matter: none that borrows from an area that is not lent, no CMA_FIRST from one that is full."""
    lent = mem.kernel.lend != 0
    mask[Action.NORMAL_ONLY] = 1
    mask[Action.NORMAL_FIRST] = 1 if lent else 0
    mask[Action.CMA_FIRST] = 1 if lent and view[View.FREE_CMA] > 0 else 0


@jit
def read_amount(mem: Any, term: Any) -> Any:
    """One raw reward term as a total since boot."""
    felt = mem.metrics
    if term == Term.DEMAND_FAILED:
        return felt.whole_tried - felt.whole_ok
    if term == Term.PIECES_FAILED:
        return felt.pieces_tried - felt.pieces_ok
    if term == Term.DEMAND_LATENCY:
        return felt.demand_ns
    if term == Term.STALL:
        return felt.stall_ns
    if term == Term.SWAP:
        return felt.swap_ns
    if term == Term.REFAULT:
        return felt.refault_ns
    if term == Term.KILL:
        return felt.kills
    return mem.vm_event[VmEvent.ATOMIC_FAIL]


@jit
def charge(mem: Any, row: Any, costs: Any, factors: Any) -> Any:
    """Write the reward terms since the previous decision [ms] and return the reward."""
    cost = 0.0
    for term in range(NR_TERMS):
        amount = read_amount(mem, term)
        costs[term] = (amount - row.amount[term]) * factors[term]
        row.amount[term] = amount
        cost += costs[term]
    row.reward_sum -= cost
    return 0.0 - cost


@jit
def observe(mems: Any, i: int, out: Buffers, plan: Any) -> None:
    """Fill view, observation and mask of machine i."""
    view = out.views[i]
    fill_view(mems, i, view)
    scale_view(view, plan, out.obs[i])
    fill_mask(mems[i], view, out.masks[i])


@jit
def place_row(mems: Any, booted: Any, i: int, window: Any) -> None:
    """Put a copy of the machine `booted[0]` in place i and give it an episode, the range `window` (int64[2]) of events.

    The copy is a plain copy of memory.
    """
    mems[i] = booted[0]
    load(mems, i, window[0], window[1])


@jit
def start_account(mem: Any, i: int, out: Buffers, asks: bool) -> None:
    """A new episode; what happened before its first question is nobody's fault."""
    row = out.rows[i]
    row.alive = 1 if asks else 0
    row.length = 0
    row.reward_sum = 0.0
    for term in range(NR_TERMS):
        row.amount[term] = read_amount(mem, term)
    rest_row(i, out)


@jit
def settle_account(mem: Any, i: int, out: Buffers, rules: Rules, asks: bool) -> None:
    """What the latest answer led to; `asks` says whether there is a next question."""
    row = out.rows[i]
    out.rewards[i] = charge(mem, row, out.costs[i], rules.factors)
    row.length += 1
    out.terminated[i] = not asks
    out.truncated[i] = asks and row.length == rules.max_decisions
    row.alive = 1 if asks and not out.truncated[i] else 0


@jit
def rest_row(i: int, out: Buffers) -> None:
    """Nothing happened in this row, nothing is paid."""
    out.rewards[i] = 0.0
    out.terminated[i] = False
    out.truncated[i] = False
    for term in range(NR_TERMS):
        out.costs[i, term] = 0.0


@jit
def plan_step(actions: Any, todo: Any, out: Buffers) -> Any:
    """Set the rows to do (`todo`, int8[n]) to those whose episode runs; the others rest.

    Returns:
        The first running row with an action that does not exist, nothing changed then; -1 if there is none.
    """
    for i in range(len(todo)):
        if out.rows[i].alive != 0 and (actions[i] < 0 or actions[i] >= NR_ACTIONS):
            return i
    for i in range(len(todo)):
        todo[i] = STEP if out.rows[i].alive != 0 else REST
        if todo[i] == REST:
            rest_row(i, out)
    return -1


@jit
def run_rows(mems: Any, todo: Any, actions: Any, events: Any, out: Buffers, rules: Rules) -> None:
    """Run machines to their next question: from the one they have (STEP) or from the start of their episode (BEGIN).

    The only function here that holds the whole memory model; one more would double the time of a cold start.
    """
    for i in range(len(todo)):
        if todo[i] == REST:
            continue
        if todo[i] == STEP:
            answer(mems, i, actions[i])
        asks = advance(mems, i, events) == Status.DECIDE
        if todo[i] == STEP:
            settle_account(mems[i], i, out, rules, asks)
        else:
            start_account(mems[i], i, out, asks)
        observe(mems, i, out, rules.plan)
