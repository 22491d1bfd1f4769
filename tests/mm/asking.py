"""Asking a tiny machine for contiguous buffers."""

from __future__ import annotations

from cma_gym.mm.mmzone import ContigPhase, DemandState, Holder, PageKind
from tests.mm.tiny import LONG_NS, Do, Tiny


def demand(m: Tiny, nr_pages: int, pieces: int = 1, *, hold_ns: int = LONG_NS, align: int = 0) -> None:
    """Ask for a buffer, and let the first try come to its end."""
    slot = ask(m, nr_pages, pieces, hold_ns=hold_ns, align=align)
    while m.mem["demand"]["state"][slot] == DemandState.TRYING:
        m.do(Do.STEP_DEMANDS)


def ask(m: Tiny, nr_pages: int, pieces: int = 1, *, hold_ns: int = LONG_NS, align: int = 0) -> int:
    """Ask for a buffer; the first try begins. The demand's slot."""
    found = m.do(Do.DEMAND, 7, nr_pages, pieces, align, hold_ns)
    assert found
    m.do(Do.RUN_DEMANDS)
    return found - 1


def step_to(m: Tiny, phase: ContigPhase) -> None:
    """Let time pass until the next step is one of this phase."""
    while m.mem["contig"]["phase"] != phase:
        assert m.do(Do.STEP_DEMANDS)
        m.validate()


def blamed(m: Tiny) -> set[tuple[int, str, str]]:
    """Pages that held demands up."""
    log = m.mem["blame_log"][: m.mem["nr_blames_logged"]]
    return {(int(b["pfn"]), PageKind(b["kind"]).name, Holder(b["holder"]).name) for b in log}


def outcome(m: Tiny, n: int = 0) -> dict[str, int]:
    record = m.mem["demand_log"][n]
    return {name: int(record[name]) for name in ("ok", "first_ok", "tries", "got", "whole")}
