"""Sentences about findings: who is ahead is told from the interval, never from the mean."""

from __future__ import annotations

import math

from cma_gym.experiments.figures.ranking import figure
from cma_gym.experiments.head_to_head.contrast import Direction, Finding, Level, Measure


def code(system: str) -> str:
    """A system's name on the page."""
    return f"`{system}`"


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign; a proper minus, no -0.0."""
    text = figure(abs(value), digits)
    if not any(digit in text for digit in "123456789"):
        return text
    return ("+" if value > 0 else "\N{MINUS SIGN}") + text


def interval(low: float, high: float, digits: int = 1) -> str:
    """[low, high], or nothing where there is no interval."""
    return "" if math.isnan(low) else f"[{signed(low, digits)}, {signed(high, digits)}]"


def level_text(value: Level, measure: Measure) -> str:
    """98.3 % [97.1, 99.2]."""
    mean, low, high = (figure(measure.scale * part, measure.digits) for part in (value.mean, value.low, value.high))
    return f"{mean}{measure.unit}" + ("" if math.isnan(value.low) else f" [{low}, {high}]")


def difference_text(entry: Finding) -> str:
    """+17.1 points [+12.0, +22.3]."""
    scale, digits = entry.measure.scale, entry.measure.digits
    return (
        f"{signed(scale * entry.paired.mean, digits)}{entry.measure.points} "
        f"{interval(scale * entry.paired.low, scale * entry.paired.high, digits)}"
    ).rstrip()


def counts(entry: Finding) -> str:
    """Pairs won, tied, lost."""
    return f"{entry.paired.wins}/{entry.paired.ties}/{entry.paired.losses}"


def verdict(entry: Finding) -> str:
    """Half a sentence on who is ahead."""
    ours, theirs = code(entry.contrast.ours), code(entry.contrast.theirs)
    return {
        Direction.AHEAD: f"{ours} is {entry.measure.better}",
        Direction.BEHIND: f"{theirs} is {entry.measure.better}",
        Direction.TIE: f"the interval contains 0, so neither is told to be {entry.measure.better}",
        Direction.EQUAL: "the same in every pair",
        Direction.MISSING: "not measured",
    }[entry.direction]


def sentence(entry: Finding) -> str:
    """One finding as a sentence that can be quoted."""
    ours, theirs = code(entry.contrast.ours), code(entry.contrast.theirs)
    if entry.direction is Direction.MISSING:
        return f"{ours} against {theirs}: not in the rows, so this is not answered."
    says = entry.measure.says.format(level_text(entry.ours, entry.measure))
    theirs_say = f"{theirs} {level_text(entry.theirs, entry.measure)}"
    if entry.direction is Direction.EQUAL:
        return f"{ours} {says}, {theirs_say}: the same in each of {entry.paired.pairs:,} pairs."
    return (
        f"{ours} {says}, {theirs_say}; paired difference {difference_text(entry)} over {entry.paired.pairs:,} pairs "
        f"(won/tied/lost {counts(entry)}): {verdict(entry)}."
    )


def answer(entry: Finding) -> str:
    """The answer to what a contrast asks, in a few words."""
    return {
        Direction.AHEAD: entry.contrast.ahead,
        Direction.BEHIND: entry.contrast.behind,
        Direction.TIE: f"no difference told between {entry.contrast.ahead} and {entry.contrast.behind}",
        Direction.EQUAL: f"no difference between {entry.contrast.ahead} and {entry.contrast.behind}",
        Direction.MISSING: "not measured",
    }[entry.direction]


def capital(text: str) -> str:
    """With a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def confirmation(here: Finding, there: Finding, scenarios: int) -> str:
    """Whether machines of full size say the same as their twins, on the scenarios that both play."""
    decided = (Direction.AHEAD, Direction.BEHIND)
    told = [entry.direction in decided for entry in (here, there)]
    if here.direction == there.direction and here.direction is not Direction.TIE:
        verb = "they agree"
    elif all(told):
        verb = "they say the opposite"
    elif any(told):
        verb = f"only {'the twins tell' if told[0] else 'full size tells'} a direction"
    else:
        verb = "neither tells a direction"
    return (
        f"On the {scenarios} {'scenario' if scenarios == 1 else 'scenarios'} that full size plays too, the twins give "
        f"{brief(here)} and full size {brief(there)} over {there.paired.pairs:,} pairs: {verb}."
    )


def brief(entry: Finding) -> str:
    """The difference alone, or that there is none."""
    return "no difference" if entry.direction is Direction.EQUAL else difference_text(entry)


def listed(names: list[str]) -> str:
    """A, B and C."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else "none"
