"""Measurements of a real kernel: what the policy numbers stand for, and reading a measured.csv.

One row is one CMA demand: policy, workload, seed, ram_mb, cma_mb, kind (whole or pieces), ok, first_try_ok, total_ms,
and counts of the kernel before the demand: cma_free and vm_pswpout among others (columns that are missing leave gaps).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cma_gym.experiments.config import CONFIGS, ConfigError, read_yaml

SYSTEMS: dict[int, str] = {
    0: "half_and_half",
    1: "mainline_fallback",
    2: "cma_first",
    3: "page_cache_only",
    4: "anonymous_only",
    5: "page_cache_and_bdev",
    6: "carve_out",
    7: "zone_cma",
    8: "page_cache_and_anonymous",
}
"""The system of each measured policy."""
GUEST_KERNEL: dict[str, Any] = {
    "cost_profile": "emulated",
    "swappiness": 100,
    "zram_content": "half",
    "demand_tries_per_piece": True,
    "lmk_available_permille": 60,
    "lmk_swap_free_permille": 30,
}
"""Switches of the measured guest's kernel, besides a policy's own: 20-50 times slower than hardware, swappiness 100, a
killer in user space below 6 % of RAM available or with swap nearly full (3 %: assumption), a driver that tries three
times for each piece and leaves out those that it cannot have; half of what is swapped does not compress (0.5 zsmalloc
pages were taken for each page swapped out in the recordings)."""
_NUMBERS = ("policy", "seed", "ram_mb", "cma_mb")
_KINDS = ("whole", "pieces")
_WORKLOADS = CONFIGS / "workloads" / "measured"


@dataclass(frozen=True)
class Demand:
    """One demand, of a real kernel or of the model."""

    policy: int
    workload: str
    seed: int
    ram_mb: int
    cma_mb: int
    whole: bool
    first: bool
    """Its first try succeeded."""
    ok: bool
    """It succeeded within its tries."""
    latency_ms: float
    counts: Mapping[str, float]
    """Counts before the demand: columns cma_* and vm_*, as far as there are any."""

    @property
    def cell(self) -> tuple[str, int, int]:
        """Workload and size."""
        return self.workload, self.ram_mb, self.cma_mb


def read_measured(path: str | Path) -> list[Demand]:
    """The demands of a file.

    Raises:
        ConfigError: no such file, a missing column, or a value that cannot be; the message names file and line.
    """
    try:
        with open(path, encoding="utf-8", newline="") as source:
            reader = csv.DictReader(source)
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({reason}); check the path") from None
    needed = (*_NUMBERS, "workload", "kind", "ok", "first_try_ok", "total_ms")
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f"{path}: has no column {missing[0]!r}; a file of measurements has one row per demand")
    if not lines:
        raise ConfigError(f"{path}: has no rows; measure something first")
    return [_measured(line, number, path) for number, line in enumerate(lines, 2)]


def _measured(line: Mapping[str, str], number: int, path: str | Path) -> Demand:
    where = f"{path}, line {number}"
    policy, seed, ram_mb, cma_mb = (_whole_number(line, name, where) for name in _NUMBERS)
    if policy not in SYSTEMS:
        raise ConfigError(f"{where}: policy {policy} is none of the measured ones (0 to {max(SYSTEMS)})")
    if line["kind"] not in _KINDS:
        raise ConfigError(f"{where}: kind is {line['kind']!r}; it is whole or pieces")
    return Demand(
        policy=policy,
        workload=line["workload"],
        seed=seed,
        ram_mb=ram_mb,
        cma_mb=cma_mb,
        whole=line["kind"] == "whole",
        first=_whole_number(line, "first_try_ok", where) == 1,
        ok=_whole_number(line, "ok", where) == 1,
        latency_ms=_number(line, "total_ms", where),
        counts={
            name: float(value) for name, value in line.items() if name.startswith(("cma_", "vm_")) and _is_number(value)
        },
    )


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _number(line: Mapping[str, str], name: str, where: str) -> float:
    if not _is_number(line[name]):
        raise ConfigError(f"{where}: {name} is {line[name]!r}, not a number")
    return float(line[name])


def _whole_number(line: Mapping[str, str], name: str, where: str) -> int:
    try:
        return int(line[name])
    except (TypeError, ValueError):
        raise ConfigError(f"{where}: {name} is {line[name]!r}, not a whole number") from None


# ---- the model's side ------------------------------------------------------------------------------------------------


def scenario(workload: str, ram_mb: int) -> dict[str, Any]:
    """The scenario file that mirrors a measured workload at this size.

    Raises:
        ConfigError: there is none of that name and size.
    """
    path = _WORKLOADS / f"{workload}_{ram_mb}m.yaml"
    if not path.is_file():
        known = ", ".join(sorted(entry.stem for entry in _WORKLOADS.glob("*.yaml")))
        raise ConfigError(f"no scenario mirrors workload {workload!r} on {ram_mb} MB; there are {known}")
    return read_yaml(path)


def machine(ram_mb: int, cma_mb: int) -> dict[str, Any]:
    """Settings of the measured guest's machine at this size."""
    path = CONFIGS / "machine" / f"measured_{ram_mb}m.yaml"
    settings = read_yaml(path) if path.is_file() else {"ram_mb": ram_mb}
    return {**settings, "cma_mb": cma_mb}
