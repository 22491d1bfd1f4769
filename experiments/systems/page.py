"""docs/systems.md: a line for every system, from its registration and from asking its rule, and what its file says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cma_gym.experiments.systems.probe import Probe, Terms, probe
from cma_gym.experiments.verbs.report import markdown
from cma_gym.machine.kernel import KernelConfig
from cma_gym.mm.mmzone import RequestKind
from cma_gym.policies.registry import System, describe

_HEAD = """# Systems

Every known way to lend a CMA area, each one file in `cma_gym/policies/`: a placement rule, and the kernel it runs on.
Written by `cma-gym list systems --markdown docs/systems.md`; do not edit.

The columns on borrowing are not described but found: each rule is asked about every kind of request on a phone of 1 GB
with an area of 256 MB, at many levels of free memory, idle and while a contiguous allocation runs, and again with every
other feature of the view changed alone (`experiments/probe.py`). *Ordinary free* is free memory outside the area; a
request that is not preferred borrows as a *fallback* when the ordinary free lists are empty, or *not at all*. Rows are
those of [facts.md](facts.md); several systems of one row are variants. Kernel switches are those that differ from
mainline 6.12 (`KernelConfig`)."""

_NAMES = {
    RequestKind.ANON: "zero-filled",
    RequestKind.COW: "copy-on-write",
    RequestKind.SWAPIN: "swap-in",
    RequestKind.SHMEM: "shmem",
    RequestKind.FILE: "page cache",
    RequestKind.BDEV: "block device",
    RequestKind.ZSMALLOC: "zsmalloc",
    RequestKind.DRIVER: "drivers",
}
_ANONYMOUS = (RequestKind.ANON, RequestKind.COW, RequestKind.SWAPIN)
_DEFAULTS = KernelConfig().model_dump()


def page(entries: Iterable[System]) -> str:
    """The whole page."""
    ordered = sorted(entries, key=_order)
    titles = ("row", "system", "who, when", "may borrow", "preferred over ordinary memory", "while one runs")
    lines = [_line(entry) for entry in ordered]
    text = [_HEAD, "", *markdown((*titles, "looks at", "kernel switches"), lines, words=8), ""]
    for entry in ordered:
        text += _section(entry)
    return "\n".join(text)


def _order(entry: System) -> tuple[int, str]:
    return int(entry.row[1:] or 99), entry.name


def _line(entry: System) -> list[str]:
    found = {"row": entry.row or "-", "name": f"[{entry.name}](#{entry.name})", "who": describe(entry)["who"]}
    switches = ", ".join(f"`{name}={_value(value)}`" for name, value in _switches(entry).items())
    if getattr(entry, "foresee", None) is not None:
        return [*found.values(), "as foreseen", "as foreseen", "as foreseen", "the whole workload", switches or "-"]
    asked = probe(entry)
    looks_at = ", ".join(asked.looks_at) or "nothing"
    return [*found.values(), *_borrowing(entry, asked), looks_at, switches or "-"]


def _borrowing(entry: System, asked: Probe) -> list[str]:
    """Who may borrow, when that is preferred, and what changes while a contiguous allocation runs."""
    kernel = {**_DEFAULTS, **entry.kernel}
    if not kernel["lend"] or not asked.may_use:
        return ["nobody; copies that can be dropped" if kernel["gcma"] else "nobody", "never", "never"]
    own = "; ".join(filter(None, [_own_preference(kernel), _gate(entry)]))
    idle = _terms(asked.idle, asked.may_use)
    busy = "the same" if asked.busy == asked.idle else _terms(asked.busy, asked.may_use)
    if kernel["lending_stops_while_busy"]:
        busy = "nobody borrows"
    return [_kinds(asked.may_use), f"{idle}; {own}" if own else idle, busy]


def _terms(found: Mapping[RequestKind, Terms], kinds: Sequence[RequestKind]) -> str:
    """Kinds of equal terms together; their names only if terms differ."""
    groups: dict[Terms, list[RequestKind]] = {}
    for kind in kinds:
        groups.setdefault(found[kind], []).append(kind)
    texts = {terms: terms.first or terms.otherwise for terms in groups}
    for terms in groups:
        if terms.first and terms.otherwise:
            texts[terms] = f"{terms.first}, else {terms.otherwise}"
    if len(groups) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{_kinds(group)}: {texts[terms]}" for terms, group in groups.items())


def _own_preference(kernel: Mapping[str, Any]) -> str:
    """What the kernel itself prefers, page for page, where the rule leaves it to the free lists."""
    if kernel["cma_round_robin"]:
        return "the kernel, page by page: in turn with ordinary memory"
    if kernel["cma_first_limit"] >= 0:
        return f"the kernel, page by page: free CMA > {kernel['cma_first_limit']} % of free"
    ratio = kernel["cma_ratio"]
    return f"the kernel, page by page: free CMA > free / {ratio}" if ratio > 0 else ""


def _gate(entry: System) -> str:
    """Switches by which the kernel lends at some times only."""
    names = [f"`{name}`" for name in _switches(entry) if name.startswith("lend_")]
    return f"while the kernel lends at all: {', '.join(names)}" if names else ""


def _kinds(kinds: Sequence[RequestKind]) -> str:
    missing = [_NAMES[kind] for kind in RequestKind if kind not in kinds]
    if not missing:
        return "all movable"
    if len(missing) <= 2:
        return f"all but {' and '.join(missing)}"
    names = [_NAMES[kind] for kind in kinds if kind not in _ANONYMOUS]
    anonymous = [kind for kind in kinds if kind in _ANONYMOUS]
    first = ["anonymous"] if len(anonymous) == len(_ANONYMOUS) else [_NAMES[kind] for kind in anonymous]
    return ", ".join([*first, *names])


def _switches(entry: System) -> dict[str, Any]:
    return {name: value for name, value in entry.kernel.items() if value != _DEFAULTS.get(name)}


def _value(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _section(entry: System) -> list[str]:
    said = describe(entry)
    lines = [f"## {entry.name}", "", said["summary"], ""]
    for label in ("row", "who", "source", "assumed"):
        if said[label]:
            lines += [f"**{label.capitalize()}:** {said[label]}", ""]
    if said["params"]:
        constants = ", ".join(f"`{name}={value}`" for name, value in said["params"].items())
        lines += [f"**Constants:** {constants}", ""]
    return lines
