"""What a placement rule does, found by asking it: views of a phone at many levels of free memory, idle and busy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cma_gym.machine.view import NR_VIEW, View
from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.registry import System

MB = 256
"""Pages."""
RAM, AREA = 1024 * MB, 256 * MB
MARKS = {"watermark_low": 1286, "watermark_high": 1548, "totalreserve": 1548}
"""Of a machine of this size (FACTS C3)."""
USUAL = {
    "managed_pages": RAM,
    "cma_pages": AREA,
    "swap_free": 64 * MB,
    "active_anon": 200 * MB,
    "inactive_anon": 200 * MB,
    "active_file": 100 * MB,
    "inactive_file": 100 * MB,
    "run_pages": 1,
    "demand_ms": 1 << 20,
    **MARKS,
}
NORMAL_LEVELS = tuple(mb * MB for mb in (0, 3, 16, 60, 150, 300, 700))
CMA_LEVELS = tuple(mb * MB for mb in (0, 1, 30, 100, 256))
VARIED = {
    "order": (1, 4),
    "importance": (1, 2, 3),
    "owner_pinned": (1,),
    "writable": (1,),
    "managed_pages": (512 * MB, 3072 * MB),
    "dirty": (50 * MB,),
    "writeback": (5 * MB,),
    "swap_free": (0,),
    "active_anon": (0,),
    "inactive_anon": (0,),
    "active_file": (0, 400 * MB),
    "inactive_file": (0, 400 * MB),
    "kswapd_awake": (1,),
    "refault_rate": (1, 1000, 100_000),
    "demand_ms": (0, 10_000),
    "demand_failed": (1,),
    "cma_anon": (64 * MB,),
    "cma_file": (64 * MB,),
    "cma_bdev": (16,),
    "cma_shmem": (64 * MB,),
    "cma_zsmalloc": (64 * MB,),
}
"""Values that other features take, one at a time. Not here: what the levels give, and `run_pages`."""


class Terms(NamedTuple):
    """On which terms a kind of request may borrow."""

    first: str
    """When CMA is preferred: "always", a condition on free memory, or "" for never."""
    otherwise: str
    """What happens else: "fallback", "not at all", "" where CMA is always preferred."""


class Probe(NamedTuple):
    """What was found."""

    may_use: tuple[RequestKind, ...]
    """Kinds that may borrow in some view."""
    idle: dict[RequestKind, Terms]
    busy: dict[RequestKind, Terms]
    """While a contiguous allocation runs."""
    looks_at: tuple[str, ...]
    """Features that change an answer when they alone change."""


def view_at(kind: int, normal: int, cma: int, busy: int, **more: int) -> np.ndarray:
    """A view of the phone with so many free pages outside and inside the area."""
    view = np.zeros(NR_VIEW, np.int64)
    levels = {"kind": kind, "free_pages": normal + cma, "free_cma": cma, "cma_busy": busy}
    for name, value in {**USUAL, **levels, **more}.items():
        view[View[name.upper()]] = value
    view[View.CMA_FREE_64THS] = cma * 64 // AREA
    view[View.NORMAL_FREE_16THS] = min(normal * 16 // MARKS["watermark_high"], 255)
    return view


def probe(system: System) -> Probe:
    """Ask a rule about every kind of request on the grid of levels, and again with other features changed."""
    usual = _answers(system)
    varied = {name: [_answers(system, **{name: value}) for value in values] for name, values in VARIED.items()}
    most = np.maximum.reduce([usual, *(found for each in varied.values() for found in each)])
    looks_at = [name for name, axis in (("kind", 0), ("cma_busy", 1)) if np.ptp(usual, axis=axis).any()]
    looks_at += [name for name, axis in (("ordinary free", 2), ("free_cma", 3)) if np.ptp(usual, axis=axis).any()]
    looks_at += [name for name, each in varied.items() if any((found != usual).any() for found in each)]
    may_use = tuple(kind for kind in RequestKind if most[kind].max() > Action.NORMAL_ONLY)
    idle, busy = ({kind: _terms(system, kind, busy, usual[kind, busy]) for kind in may_use} for busy in (0, 1))
    for terms, now in ((idle, 0), (busy, 1)):
        for kind in may_use:
            if usual[kind, now].max() == Action.NORMAL_ONLY:
                terms[kind] = Terms(_exception(varied, kind, now), "not at all")
    return Probe(may_use, idle, busy, tuple(looks_at))


def _exception(varied: Mapping[str, Sequence[np.ndarray]], kind: int, busy: int) -> str:
    """The first changed feature that lets a kind borrow which may not do so in the usual view."""
    for name, each in varied.items():
        for value, found in zip(VARIED[name], each, strict=True):
            if found[kind, busy].max() > Action.NORMAL_ONLY:
                return f"with {name} {value}"
    return ""


@functools.cache
def _views(**more: int) -> np.ndarray:
    """One view for each kind, busy or not, level outside the area, level in it."""
    shape = (len(RequestKind), 2, len(NORMAL_LEVELS), len(CMA_LEVELS))
    views = np.zeros((*shape, NR_VIEW), np.int64)
    for kind, busy, i, j in np.ndindex(*shape):
        views[kind, busy, i, j] = view_at(kind, NORMAL_LEVELS[i], CMA_LEVELS[j], busy, **more)
    return views


def _answers(system: System, **more: int) -> np.ndarray:
    """Answers to those views."""
    views, params = _views(**more), system.param_array()
    answers = [system.decide(view, params) for view in views.reshape(-1, NR_VIEW)]
    return np.array(answers, np.int64).reshape(views.shape[:-1])


def _terms(system: System, kind: int, busy: int, answers: np.ndarray) -> Terms:
    first = answers == Action.CMA_FIRST
    rest = set(answers[~first].tolist())
    names = {Action.NORMAL_ONLY: "not at all", Action.NORMAL_FIRST: "fallback"}
    otherwise = " or ".join(names[Action(action)] for action in sorted(rest))
    if first.all() or not first.any():
        return Terms("always" if first.all() else "", otherwise)
    outside, inside = first.any(axis=1), first.any(axis=0)
    if (first != np.outer(outside, inside)).any():
        return Terms("depending on both levels", otherwise)

    params = system.param_array()
    low, high = NORMAL_LEVELS[int(outside.argmax())], CMA_LEVELS[int(inside.argmax())]

    def prefers(normal: int, cma: int) -> bool:
        return bool(system.decide(view_at(kind, normal, cma, busy), params) == Action.CMA_FIRST)

    conditions = [
        _edge("ordinary free", NORMAL_LEVELS, outside, lambda normal: prefers(normal, high)),
        _edge("free CMA", CMA_LEVELS, inside, lambda cma: prefers(low, cma)),
    ]
    return Terms(" and ".join(filter(None, conditions)), otherwise)


def _edge(name: str, levels: Sequence[int], holds: np.ndarray, test: Callable[[int], bool]) -> str:
    """Where a condition begins or ceases to hold, to the page."""
    if holds.all():
        return ""
    changes = np.flatnonzero(holds[1:] != holds[:-1])
    if len(changes) > 1:
        return f"{name} within limits"
    below, above = levels[changes[0]], levels[changes[0] + 1]
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if test(middle) == bool(holds[0]) else (below, middle)
    return f"{name} <= {_size(below)}" if holds[0] else f"{name} >= {_size(above)}"


def _size(pages: int) -> str:
    return f"{pages // MB} MB" if pages % MB == 0 else f"{pages} pages"
