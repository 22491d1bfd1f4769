"""What the measured ranking comes to: its verdict, and its section of docs/fidelity.md."""

from __future__ import annotations

from collections.abc import Sequence

from cma_gym.experiments.fidelity.measured.demands import Demand
from cma_gym.experiments.fidelity.measured.order import Pair
from cma_gym.experiments.fidelity.measured.tables import (
    KINDS,
    Table,
    pair_table,
    sign_table,
    success_table,
    volume_table,
)
from cma_gym.experiments.fidelity.measured.tradeoff import Sign
from cma_gym.experiments.verbs.report import markdown

AIM = 0.9
"""Share of pairs in the measured order."""
_HEAD = """## Measured ranking

A real kernel ran a phone-like guest under nine placement rules; the model runs scenarios that mirror the guest
(`configs/workloads/measured`) under the same rules. First tries, and success within three tries. A pair counts where
the measured whole-area success differs beyond sampling error (Fisher's exact test, p < 0.1); a tie of the model is
wrong."""


def verdicts(pairs: Sequence[Pair], signs: Sequence[Sign]) -> list[str]:
    """One sentence each on the pairs and on the trade-off."""
    same = sum(pair.agrees for pair in pairs)
    order = "no pair of policies differs beyond sampling error"
    if pairs:
        order = f"{same} of {len(pairs)} pairs in the measured order ({same / len(pairs):.1%}, aim {AIM:.0%})"
    kept = [sign for sign in signs if sign.holds_measured is not None and sign.holds_model is not None]
    held = sum(sign.holds_measured == sign.holds_model for sign in kept)
    return [order, f"{held} of {len(kept)} signs of the trade-off as measured"]


def section(measured: Sequence[Demand], model: Sequence[Demand], pairs: Sequence[Pair], signs: Sequence[Sign]) -> str:
    """The section, without its heading's marks."""
    runs = len({demand.seed for demand in model})
    lines = [_HEAD, "", *(f"- {text}" for text in verdicts(pairs, signs)), f"- seeds of the model: {runs}"]
    for kind in KINDS:
        lines += _titled(f"Success, {kind} [% measured / % model]", success_table(measured, model, kind))
    wrong = [pair for pair in pairs if not pair.agrees]
    if wrong:
        lines += _titled("Pairs that the model puts in another order", pair_table(wrong))
    lines += _titled("Trade-off (kernel fact 16)", sign_table(signs))
    lines += _titled("Volumes of a run, pages, medians [measured / model]", volume_table(measured, model))
    return "\n".join(lines)


def _titled(title: str, table: Table) -> list[str]:
    return ["", f"### {title}", "", *markdown(*table)]
