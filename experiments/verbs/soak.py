"""Machines live through random but seeded events of every kind, are checked all along, and must end as they began.

An operation is one page allocated or one page freed by the model (its counters pgalloc and pgfree, together). The soak
is cut into lives: a machine is booted, worked under a rule that answers at random, emptied and compared with its state
after boot, free page by free page. Layouts take turns, and every second life draws all switches of its kernel. The
seed and the number of a life decide everything in it, so any life can be run again alone (--first), and a soak that
was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import time
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import ConfigError
from cma_gym.experiments.soak.life import Life, describe, live, reproduction
from cma_gym.experiments.soak.machines import layout_names

SUMMARY = "run machines through random events, validated all along, and look for leaks"
LIFE_OPS = 4_000_000
"""Operations of one life: long enough to age a machine, short enough for all layouts to have their turns."""
VIOLATED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--ops", type=float, default=1e7, metavar="N", help="page allocations and frees (1e7)")
    parser.add_argument("--seed", type=int, default=0, help="decides everything (0)")
    parser.add_argument("--every", type=int, default=1000, metavar="N", help="events between validations (1000)")
    parser.add_argument("--machine", default="", metavar="NAME", help=f"{', '.join(layout_names())}; all by turns")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="life to begin with (0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--json", metavar="FILE", help="write what was done and found for programs")


def run(args: argparse.Namespace) -> int:
    """Run the soak; exit status 1 if anything was violated or lost."""
    _check(args)
    started = time.monotonic()
    lives: list[Life] = []
    interrupted = False
    try:
        with terminal.progress("soaking", args.ops) as task, closing(_lives(args, task)) as finished:
            for life in finished:
                lives.append(life)
                if life.problem:
                    _report_problem(life, args)
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.monotonic() - started
    _summary(lives, seconds, args, interrupted)
    if args.json:
        files.write_json(args.json, _content(lives, seconds, args, interrupted))
    if interrupted:
        raise KeyboardInterrupt
    return VIOLATED if any(life.problem for life in lives) else 0


def _check(args: argparse.Namespace) -> None:
    args.ops = int(args.ops)
    for name in ("ops", "every", "jobs"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name} {getattr(args, name)}: write a number above 0")
    for name in ("seed", "first"):
        if getattr(args, name) < 0:
            raise ConfigError(f"--{name} {getattr(args, name)}: write 0 or a number above")
    if args.machine and args.machine not in layout_names():
        known = ", ".join(layout_names())
        raise ConfigError(f"--machine {args.machine}: there is no such layout; choose from {known}")


def _plan(args: argparse.Namespace) -> list[tuple[int, int]]:
    """(number, operations) of every life."""
    whole, rest = divmod(args.ops, LIFE_OPS)
    sizes = [LIFE_OPS] * whole + [rest] * (rest > 0)
    return [(args.first + index, size) for index, size in enumerate(sizes)]


def _lives(args: argparse.Namespace, task: terminal.Task) -> Generator[Life]:
    plan = _plan(args)
    local = len(plan) if args.jobs == 1 else 1  # the first one fills the compiler's cache for the others
    for number, ops in plan[:local]:
        yield live(args.seed, number, ops, args.every, args.machine, task.advance)
    if local == len(plan):
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(args.jobs, mp_context=context, initializer=_leave_interrupts_to_parent)
    try:
        waiting: set[Future[Life]] = {
            pool.submit(live, args.seed, number, ops, args.every, args.machine, _unheard)
            for number, ops in plan[local:]
        }
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                task.advance(future.result().ops)
                yield future.result()
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _unheard(done: int) -> None:
    """Progress inside another process is not shown."""


def _report_problem(life: Life, args: argparse.Namespace) -> None:
    terminal.console.print(f"life {life.number} on {describe(life.machine)}: {life.problem}", markup=False)
    ops = min(LIFE_OPS, args.ops)
    command = reproduction(life, args.seed, ops, args.every, args.machine)
    terminal.console.print(f"  again: {command}", markup=False)


def _summary(lives: list[Life], seconds: float, args: argparse.Namespace, interrupted: bool) -> None:
    by_layout: dict[str, list[Life]] = {}
    for life in lives:
        by_layout.setdefault(life.machine.layout, []).append(life)
    rows = [
        [name, str(len(group)), f"{_ops(group):,}", *(f"{_count(group, event):,}" for event in _SHOWN.values())]
        for name, group in by_layout.items()
    ]
    if rows:
        terminal.table("what the machines went through", ["layout", "lives", "operations", *_SHOWN], rows)
    problems = sum(bool(life.problem) for life in lives)
    checks = sum(life.validations for life in lives)
    terminal.console.print(
        f"{_ops(lives):,} page operations in {len(lives)} lives, {sum(life.events for life in lives):,} events, "
        f"{seconds:.0f} s: {checks:,} validations, {problems} lives with violations or lost pages"
    )
    if interrupted:
        following = max((life.number for life in lives), default=args.first - 1) + 1
        terminal.console.print(f"stopped; go on with --seed {args.seed} --first {following}")


_SHOWN = {
    "faults": "PGFAULT",
    "swapped out": "PSWPOUT",
    "file reclaimed": "PGSTEAL_FILE",
    "moved": "PGMIGRATE_SUCCESS",
    "cma_alloc ok": "CMA_ALLOC_SUCCESS",
    "failed": "CMA_ALLOC_FAIL",
    "claims": "PAGEBLOCK_CLAIM",
    "kills": "LMK_KILL",
    "atomic failed": "ATOMIC_FAIL",
}
"""Columns of the summary, and the counters they show."""


def _ops(lives: list[Life]) -> int:
    return sum(life.ops for life in lives)


def _count(lives: list[Life], counter: str) -> int:
    return sum(life.counters.get(counter, 0) for life in lives)


def _content(lives: list[Life], seconds: float, args: argparse.Namespace, interrupted: bool) -> dict[str, object]:
    return {
        "seed": args.seed,
        "operations": _ops(lives),
        "events": sum(life.events for life in lives),
        "validations": sum(life.validations for life in lives),
        "violations": sum(bool(life.problem) for life in lives),
        "interrupted": interrupted,
        "seconds": seconds,
        "lives": [
            {
                "life": life.number,
                "layout": life.machine.layout,
                "switches": life.machine.switches,
                "operations": life.ops,
                "events": life.events,
                "problem": life.problem or None,
                "counters": life.counters,
            }
            for life in lives
        ],
    }
