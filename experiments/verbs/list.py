"""What can be named on a command line."""

from __future__ import annotations

import argparse
from typing import Any

from cma_gym.experiments import files, terminal
from cma_gym.experiments.config import CONFIGS, ROOT, ConfigError

SUMMARY = "list systems, workloads, environments and configurations"

KINDS = ("systems", "workloads", "envs", "configs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("kind", nargs="?", choices=KINDS, help="one list only")
    parser.add_argument("--json", metavar="FILE", help="write the lists for programs")
    parser.add_argument("--markdown", metavar="FILE", help="write the page on all systems; only with `systems`")


def run(args: argparse.Namespace) -> int:
    """Print the lists."""
    if args.markdown and args.kind != "systems":
        raise ConfigError("--markdown: the page is about systems; write: list systems --markdown FILE")
    finders = {"systems": _systems, "workloads": _workloads, "envs": _envs, "configs": _configs}
    lists = {kind: finders[kind]() for kind in ([args.kind] if args.kind else KINDS)}
    for number, (kind, entries) in enumerate(lists.items()):
        if number:
            terminal.console.print()
        width = max((len(entry["name"]) for entry in entries), default=0)
        terminal.console.print(f"[bold]{kind}[/bold]")
        for entry in entries:
            terminal.console.print(f"  {entry['name']:<{width}}  {entry['summary']}", markup=False)
    if args.json:
        files.write_json(args.json, lists)
    if args.markdown:
        _write_page(args.markdown)
    return 0


def _write_page(path: str) -> None:
    from cma_gym.experiments.systems.page import page
    from cma_gym.policies.registry import systems

    files.write_text(path, page(systems().values()))
    terminal.note(f"page: {path}")


def _systems() -> list[dict[str, Any]]:
    from cma_gym.policies.registry import describe, systems

    return [describe(entry) for entry in systems().values()]


def _workloads() -> list[dict[str, Any]]:
    from cma_gym.workloads.registry import families

    found = [{"name": name, "summary": _first_line(family)} for name, family in families().items()]
    return found + _files("workloads")


def _envs() -> list[dict[str, Any]]:
    import gymnasium

    import cma_gym  # noqa: F401 - registers the environments

    ours = {name: spec for name, spec in gymnasium.registry.items() if name.startswith("cma_gym/")}
    return [{"name": name, "summary": str(spec.entry_point)} for name, spec in sorted(ours.items())]


def _configs() -> list[dict[str, Any]]:
    return _files("train") + _files("machine")


def _files(kind: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted((CONFIGS / kind).glob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        found.append({"name": str(path.relative_to(ROOT)), "summary": first.lstrip("# ") if first[:1] == "#" else ""})
    return found


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]
