"""docs/head-to-head.md: put together from its sections; every sentence with a figure is built from the rows."""

from __future__ import annotations

from pathlib import Path

from cma_gym.experiments.figures.statistics import mean
from cma_gym.experiments.files import write_text
from cma_gym.experiments.head_to_head import plots, tables
from cma_gym.experiments.head_to_head.contrast import (
    BLOCKS,
    COST,
    P50,
    P99,
    PIECES,
    USE,
    WHOLE,
    Direction,
    Pool,
    Rows,
    family,
    finding,
    is_twin,
    pool,
)
from cma_gym.experiments.head_to_head.questions import QUESTIONS, Contrast, contrasts
from cma_gym.experiments.head_to_head.sections import SUITE, VARIANTS, Page, question_section, short_answer
from cma_gym.experiments.head_to_head.sensitivity import NOT_LENDING, Sensitivity
from cma_gym.experiments.head_to_head.tables import BOUND, first_contrasts, front, level_cell, of_system, system_level
from cma_gym.experiments.head_to_head.words import code, level_text, listed, sentence
from cma_gym.experiments.suites.suite import load_suite
from cma_gym.experiments.verbs.report import markdown

NEVER = "carve_out"
SENSITIVITY_SYSTEMS = (
    "carve_out,page_cache_only,anonymous_only,page_cache_and_anonymous,page_cache_and_bdev,gfp_page_cache,gfp_cma,"
    f"zone_cma,mainline_fallback,half_and_half,cma_first,{VARIANTS}"
)
"""Those that the questions ask about, and variants that differ in one switch."""
KILL_WEIGHT = "a kill counts as 1 s"


def page_of(rows: Rows, sensitivity: Rows | None, command: str) -> Page:
    """Sort the rows into twins and machines of full size."""
    twins = pool("twins", [row for row in rows if is_twin(row)])
    full = pool("full size", [row for row in rows if not is_twin(row)])
    main, other = (twins, full) if twins.rows else (full, None)
    study = Sensitivity(sensitivity) if sensitivity else None
    return Page(main, other if other and other.rows else None, study, command)


def write_page(page: Page, path: Path) -> list[Path]:
    """Write the page, and its figures into a folder of its name; returns the files."""
    folder = path.with_suffix("")
    figures = draw(page, folder)
    write_text(path, text(page, folder.name))
    return [path, *figures]


def text(page: Page, folder: str) -> str:
    """The whole page."""
    sections = [
        _head(page),
        _answer(page, folder),
        *(question_section(page, question) for question in QUESTIONS),
        _front(page, folder),
        _blame(page, folder),
        _cost(page, folder),
        _sensitivity(page, folder),
        _agreement(page),
        _limits(page),
        _again(page),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _head(page: Page) -> list[str]:
    pools = [page.main] + ([page.other] if page.other else [])
    sizes = listed([f"{len(given.rows) + len(given.blocks):,} runs on {_machines(given)}" for given in pools])
    return [
        "# Which pages may borrow CMA memory, and when: every rule against every other",
        "",
        f"Written by `{page.command}`; no figure here was typed by hand. {len(page.systems)} systems; {sizes}. "
        "All systems see the same arrivals, so that they are compared pair by pair (workload, machine, seed). "
        "[low, high] is a 95 % bootstrap interval of the mean; *ahead* is said only if it does not contain 0.",
    ]


def _machines(given: Pool) -> str:
    names = sorted({tables.size(row) for row in given.rows})
    kind = "twins" if given.name == "twins" else "machines"
    scenarios: dict[str, set[str]] = {}
    for row in given.rows:
        scenarios.setdefault(family(row), set()).add(str(row["workload"]))
    played = listed([f"{name} {len(labels)}" for name, labels in scenarios.items()])
    return f"{kind} of {listed([f'{ram}' for ram, _ in names])} MB (scenarios: {played})"


# ---- the answer ------------------------------------------------------------------------------------------------------


def _answer(page: Page, folder: str) -> list[str]:
    lines = ["## The answer", "", *markdown(*answer_table(page)), ""]
    lines += [_answer_legend(page), ""]
    lines += ["Points are paired differences in whole-area demands served, `a` minus `b`.", ""]
    lines.append(f"- *Who wins?* {_winners(page)}")
    for question in QUESTIONS:
        lines.append(f"- *{question.text}* {short_answer(page, question)}")
    lines += [f"- {line}" for line in (*_gain_lines(page), *_learned_lines(page))]
    return [*lines, "", _image(folder, "questions", "Paired differences, one line a pair of systems")]


def answer_table(page: Page) -> tuple[list[str], list[list[str]]]:
    """One line a system: success of the product tests, cost, use of the area, and the fronts it is on."""
    own, blocks = of_system(page.main.rows), of_system(page.main.blocks)
    full = of_system(page.other.rows) if page.other else {}
    titles = ["system", "whole area %"] + (["at full size %"] if full else [])
    titles += ["9 pieces %"] + (["blocks %"] if blocks else [])
    titles += ["demand p50 ms", "p99 ms", "cost s", "CMA used %", "on the front of"]
    fronts = {price: front(page.main.rows, price) for price in ("cost_ms", "cma_idle")}
    cells = []
    for place, system in enumerate(page.systems, 1):
        mine = own[system]
        line = [f"{place} {code(system)}", level_cell(mine, WHOLE)]
        line += [level_cell(full.get(system, []), WHOLE)] if full else []
        line.append(level_cell(mine, PIECES))
        line += [level_cell(blocks.get(system, []), BLOCKS)] if blocks else []
        line += [tables.plain_mean(mine, measure) for measure in (P50, P99)]
        line += [level_cell(mine, COST), tables.plain_mean(mine, USE)]
        on = [name for name, price in (("cost", "cost_ms"), ("idle", "cma_idle")) if system in fronts[price]]
        cells.append([*line, ", ".join(on)])
    return titles, cells


def _answer_legend(page: Page) -> str:
    return (
        "Success is within the driver's three tries, mean over runs. Cost of a run: allocation stalls, swap-in and "
        f"refault time, and {KILL_WEIGHT}. *On the front*: no other system serves as many whole-area demands for less "
        f"cost (with less of the area idle); {code(BOUND)}, a bound, takes no part. "
        + ("Full size plays fewer workloads than the twins, so the two columns are not alike." if page.other else "")
    ).rstrip()


def _winners(page: Page) -> str:
    """The rule that serves most, those not told from it, and the cheapest and fullest ones."""
    rows, names = page.main.rows, rules(page)
    if not names:
        return "No rule that lends is among the systems."
    best = names[0]
    against = {name: finding(rows, Contrast(name, best, "", ""), WHOLE) for name in names[1:]}
    near = [name for name, entry in against.items() if entry.direction is not Direction.BEHIND]
    own = of_system(rows)
    ends = []
    for words, measure, sign in (("The cheapest", COST, 1), ("The one that uses most of the area", USE, -1)):
        name = min(names, key=lambda name: (sign * mean(row[measure.metric] for row in own[name]), name))
        figures = [level_text(system_level(own[name], entry), entry) for entry in (measure, WHOLE)]
        ends.append(f"{words}: {code(name)}, {figures[0]}; it serves {figures[1]}.")
    return (
        f"Of the rules that lend, {code(best)} serves most whole-area demands: "
        f"{level_text(system_level(own[best], WHOLE), WHOLE)}; not told from it: "
        f"{listed([code(name) for name in near])}. {' '.join(ends)}"
    )


def _gain_lines(page: Page) -> list[str]:
    """What the clairvoyant bound leaves to be gained over the rule that serves most and the one that uses most."""
    head = "*What would a clairvoyant gain?*"
    names = rules(page)
    if BOUND not in page.systems or not names:
        return [f"{head} Not measured: {code(BOUND)} is not among the systems."]
    rows, own = page.main.rows, of_system(page.main.rows)
    fullest = max(names, key=lambda name: (mean(row[USE.metric] for row in own[name]), name))
    lines = [f"{head} Its bound is on success; that it also uses much of the area is the best that was found."]
    for system in dict.fromkeys((names[0], fullest)):
        contrast = Contrast(BOUND, system, "", "")
        lines.append(" ".join(sentence(finding(rows, contrast, measure)) for measure in (WHOLE, USE)))
    return [" ".join(lines)]


def _learned_lines(page: Page) -> list[str]:
    """Where learned tables stand."""
    lines = []
    for table in page.learned:
        place = page.systems.index(table) + 1
        best = [system for system in rules(page) if system != table][:1]
        found = [finding(page.main.rows, Contrast(table, best[0], "", ""), entry) for entry in (WHOLE, COST, USE)]
        told = " ".join(sentence(entry) for entry in found)
        lines.append(f"*The learned table* {code(table)} is number {place} of {len(page.systems)}. {told}")
    return lines


def rules(page: Page) -> list[str]:
    """The systems that lend and are no bound, best first."""
    return [system for system in page.systems if system not in NOT_LENDING]


# ---- fronts, blame, cost ---------------------------------------------------------------------------------------------


def _front(page: Page, folder: str) -> list[str]:
    lines = ["## Success against its price", ""]
    for price, words in (("cost_ms", "success and cost"), ("cma_idle", "success and use of the area")):
        lines += [f"On the front of {words}: {listed([code(name) for name in front(page.main.rows, price)])}.", ""]
    marks = {NEVER: "Against never lending", BOUND: "Against the clairvoyant bound: what is left to be gained"}
    for mark, words in marks.items():
        if mark in page.systems:
            table = tables.against_table(page.main.rows, mark)
            lines += [f"{words}, paired over all runs, in bold where told:", "", *markdown(*table), ""]
    return [
        *lines,
        _image(folder, "front", "Success against cost; numbers are places in the table above"),
        "",
        _image(folder, "idle", "Success against idle area; numbers are places in the table above"),
    ]


def _blame(page: Page, folder: str) -> list[str]:
    return [
        "## Who holds demands up",
        "",
        "Time that demands lost to pages that refused, ms a run, by kind of page and by who held it; a failed try's "
        "time and the wait after it are shared out equally among the pages that refused in it. An empty cell is none.",
        "",
        *markdown(*tables.blame_table(page.main.rows)),
        "",
        _image(folder, "blame", "Who holds demands up"),
    ]


def _cost(page: Page, folder: str) -> list[str]:
    pairs = first_contrasts(page.main.rows)
    return [
        "## What it costs",
        "",
        "Means a run. Lost to failed tries: part of the demands' own latency, no part of the cost.",
        "",
        *markdown(*tables.cost_table(page.main.rows)),
        "",
        _image(folder, "cost", "What the cost is made of"),
        "",
        "What a kill costs the user is an assumption. Under other prices, with the cost difference of the first pair "
        "of each question [s], in bold where its interval does not contain 0:",
        "",
        *markdown(*tables.kill_table(page.main.rows, pairs)),
        "",
        "## Where: whole-area success by workload",
        "",
        _image(folder, "scenarios", "Whole-area success by system and workload, in percent"),
    ]


# ---- how far to trust it ---------------------------------------------------------------------------------------------


def _sensitivity(page: Page, folder: str) -> list[str]:
    lines = ["## Sensitivity", ""]
    study = page.sensitivity
    if study is None:
        return [*lines, "No sensitivity rows were given."]
    pairs = first_contrasts(study.base)
    lines += [
        f"One assumption changed at a time, {len(study.rows):,} runs on twins. A cell is the paired difference in "
        "whole-area demands served [points], in bold where its interval does not contain 0; *as assumed* is the same "
        "scenarios unchanged.",
        "",
        *markdown(*study.table(pairs)),
        "",
    ]
    lines += [
        "What becomes of each verdict on whole-area success, and in how many variations the verdict on cost stays:",
        "",
        *markdown(*study.kept_table(list(contrasts()))),
    ]
    return [*lines, "", "Whole-area success by system [%]:", "", *markdown(*study.systems_table())]


def _agreement(page: Page) -> list[str]:
    if page.other is None:
        return []
    rows = [row for given in (page.main, page.other) for row in (*given.rows, *given.blocks)]
    titles, cells = tables.agreement_table(load_suite(SUITE), rows)
    if not cells:
        return []
    return [
        "## Twins against full size",
        "",
        "Every pair of systems, by the mean over seeds; *told on both*: pairs whose interval contains 0 on neither "
        "machine.",
        "",
        *markdown(titles, cells),
    ]


def _limits(page: Page) -> list[str]:
    return [
        "## Assumptions and limits",
        "",
        "- A model, not a phone: [fidelity.md](fidelity.md) sets it beside measurements. Its rankings of rules hold up "
        "better than its times; compare costs with each other, not with a stopwatch.",
        "- Workloads are synthetic. Their numbers, and which of them have no source, are in `configs/workloads`; the "
        "sensitivity table varies some that have none.",
        "- Whole-area success is a mean over scenarios that were chosen, not drawn, each counting with its runs: read "
        "the figure by workload before quoting a mean. Intervals speak of other seeds, not of other workloads, and "
        "each stands for itself: where there is no difference at all, one in twenty will tell a direction by chance.",
        "- Where a system served all demands or none, the other end of its interval is 3/n away, n being its runs.",
        "- Two systems of a pair can differ in more than the question asks; their kernel switches are compared under "
        "each pair. What each system's author left open, and what was assumed: [systems.md](systems.md).",
    ]


def _again(page: Page) -> list[str]:
    return [
        "## Run it again",
        "",
        "```sh",
        "cma-gym compare --suite product --systems all --jobs 2",
        f"cma-gym compare --suite sensitivity --systems {SENSITIVITY_SYSTEMS} --jobs 2",
        page.command,
        "```",
        "",
        "`cma-gym head-to-head` does all three, and runs only what is not in the cache. Any row can be "
        "run again by itself: `cma-gym validate runs/product/results.csv --rows 10`.",
    ]


def _image(folder: str, name: str, caption: str) -> str:
    return f"![{caption}]({folder}/{name}.png)"


def draw(page: Page, folder: Path) -> list[Path]:
    """Every figure that there are rows for."""
    rows = page.main.rows
    paths = {name: folder / f"{name}.png" for name in ("questions", "front", "idle", "blame", "cost", "scenarios")}
    pairs = [(contrast, given) for _, contrast in contrasts() if (given := page.pool_of(contrast))]
    plots.forest([finding(given.rows, contrast, WHOLE) for contrast, given in pairs], paths["questions"])
    for name, price, scale, label in (
        ("front", "cost_ms", 0.001, f"cost per run [s]; {KILL_WEIGHT}"),
        ("idle", "cma_idle", 100, "share of the area that lies idle [%]"),
    ):
        plots.front(rows, paths[name], price, scale, label, front(rows, price))
    plots.blame(rows, paths["blame"])
    plots.cost(rows, paths["cost"])
    plots.scenarios(rows, paths["scenarios"])
    return list(paths.values())
