"""The run folder: self-describing, never overwritten, usable after a kill.

runs/NAME/
    config.yaml       the resolved configuration
    run.json          versions, git revision, seeds, command, machine, finished steps
    progress.csv      one line per training update
    model.zip, table.json, table.md, table.csv, table.h
    results.csv       one line per (system, workload, seed); `validate` re-runs any of them
    report.md, *.png
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cma_gym.experiments.config import ROOT, ConfigError, dump_yaml, read_yaml
from cma_gym.experiments.files import write_json, write_text

RUNS = Path("runs")
_PACKAGES = "numpy numba gymnasium pydantic torch stable-baselines3 sb3-contrib scikit-learn cma".split()


def git_revision() -> str:
    """The revision of the checkout, with `+` behind it where files differ; empty outside a repository."""
    try:
        asked = ("git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*")
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def provenance() -> dict[str, Any]:
    """Where figures come from: command, revision, core digest, versions, machine, time."""
    from cma_gym.support.jit import core_digest

    return {
        "command": " ".join([f"python -m {Path(sys.argv[0]).resolve().parent.name}", *sys.argv[1:]]),
        "git_revision": git_revision(),
        "core_digest": core_digest(),
        "versions": versions(),
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


class RunFolder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}

    @classmethod
    def create(cls, name: str, config: dict[str, Any], root: Path = RUNS) -> RunFolder:
        """A new folder `root/name`, or `name-2`, `name-3`, ... where that exists already."""
        root.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = root / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
                break
            except FileExistsError:
                number += 1
        run = cls(path)
        write_text(run / "config.yaml", dump_yaml(config))
        run.facts = {**provenance(), "steps": {}}
        run.save()
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing folder.

        Raises:
            ConfigError: it is not a run folder.
        """
        run = cls(Path(path))
        try:
            run.facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: is not a run folder ({error}); runs/ holds them") from None
        if not isinstance(run.facts, dict) or not isinstance(run.facts.get("steps"), dict):
            raise ConfigError(f"{path}/run.json: is damaged; start a new run with its config.yaml")
        return run

    @classmethod
    def latest(cls, name: str, root: Path = RUNS) -> RunFolder | None:
        """The youngest folder of that name, if there is one."""
        paths = [path for path in root.glob(f"{name}*") if _number(path.name, name) and (path / "run.json").is_file()]
        return cls.open(max(paths, key=lambda path: _number(path.name, name))) if paths else None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def config(self) -> dict[str, Any]:
        """The resolved configuration of the run."""
        return read_yaml(self / "config.yaml")

    def finished(self, step: str) -> bool:
        """Whether a step was completed before."""
        return step in self.facts["steps"]

    def finish(self, step: str, **facts: Any) -> None:
        """Note that a step is complete, with figures about it."""
        self.facts["steps"][step] = facts
        self.save()

    def save(self) -> None:
        """Write run.json."""
        write_json(self / "run.json", self.facts)


def _number(folder: str, name: str) -> int:
    """Which repetition of `name` a folder is: 1 for `name`, n for `name-n`, 0 for another name."""
    rest = folder.removeprefix(name)
    if rest == "":
        return 1
    return int(rest[1:]) if folder.startswith(name) and rest[0] == "-" and rest[1:].isdigit() else 0
