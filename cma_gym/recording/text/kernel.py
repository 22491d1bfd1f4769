"""What a kernel said beside a recording (`NAME.kernel.txt`): boot line, state at start and stop, page map, demands.

The text has sections between `X-BEGIN` and `X-END` lines. START and STOP hold /proc/buddyinfo, pagetypeinfo, zoneinfo,
vmstat and meminfo, one after the other; MAP one line a pageblock; DEMAND the state before each demand (SNAP), each
attempt (ATT) and the pages that refused it (FAIL, FAILAGG). Nothing is assumed about sizes, counters, or the number of
zones, CPUs or demands; lines of the kernel's own log in between are passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cma_gym.workloads.workload import WorkloadError

MAP_CHARS = frozenset("0123456789@.aAHfbsmpTR-o ")
"""Legend of the MAP: 0-9 and @ head a free block of that order, `.` is the rest of it; see `PageMap`."""
MAX_MAP_PAGES = 1 << 24
HOLE = " "


class KernelTextError(WorkloadError):
    """A text that cannot be used; the message names file and line, and says what to do."""


@dataclass(frozen=True)
class Boot:
    """The first line: how the recorded kernel was booted."""

    release: str
    options: dict[str, str]

    def number(self, name: str, default: int) -> int:
        """An option's number, or `default` where it is absent or no number."""
        text = self.options.get(name, "")
        return int(text) if text.isdigit() else default


@dataclass(frozen=True)
class Pageset:
    """One CPU's list of free pages in one zone."""

    count: int
    high: int
    batch: int


@dataclass
class ZoneInfo:
    """One zone of /proc/zoneinfo."""

    name: str
    values: dict[str, int] = field(default_factory=dict)
    """`free`, `min`, `low`, `high`, `spanned`, `present`, `managed`, `cma`, `start_pfn`, and the nr_* counters."""
    protection: tuple[int, ...] = ()
    pagesets: list[Pageset] = field(default_factory=list)

    def value(self, name: str) -> int:
        """A value of the zone; 0 where the kernel did not print it."""
        return self.values.get(name, 0)


@dataclass
class State:
    """START or STOP: the machine as /proc told it."""

    buddyinfo: dict[str, list[int]] = field(default_factory=dict)
    """Free blocks by zone and order."""
    pageblock_order: int = -1
    free_by_type: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """Free blocks by (zone, migratetype) and order."""
    block_types: dict[str, dict[str, int]] = field(default_factory=dict)
    """Pageblocks by zone and migratetype."""
    zones: dict[str, ZoneInfo] = field(default_factory=dict)
    node: dict[str, int] = field(default_factory=dict)
    """Per-node counters of zoneinfo."""
    vmstat: dict[str, int] = field(default_factory=dict)
    meminfo: dict[str, int] = field(default_factory=dict)
    """kB."""


@dataclass(frozen=True)
class PageMap:
    """Every page frame at the start of the recording."""

    text: np.ndarray
    """uint8 [frames]: the legend's characters; frames before the first and after the last line are holes."""
    block_pages: int
    zone: tuple[str, ...]
    """Zone of each pageblock; "" where there is no line for it."""
    migratetype: np.ndarray
    """int64 [pageblocks], numbered as the kernel does; -1 where there is no line."""


@dataclass
class Snap:
    """State before a demand."""

    tag: str
    time_s: float
    scan: dict[str, int] = field(default_factory=dict)
    """Census of the CMA area: `base`, `count`, `free`, pages by kind, and flags that overlap the kinds."""
    vmstat: dict[str, int] = field(default_factory=dict)
    meminfo: dict[str, int] = field(default_factory=dict)
    buddyinfo: dict[str, list[int]] = field(default_factory=dict)


@dataclass
class Attempt:
    """One call of cma_alloc()."""

    tag: str
    end_s: float
    ident: int
    nr_pages: int
    ok: bool
    pfn: int
    us: int
    stage: str
    error: int
    busy: int
    blamed: dict[str, int] = field(default_factory=dict)
    """Pages that refused, by `stage:kind+flags` (FAILAGG)."""
    refused: set[tuple[str, int]] = field(default_factory=set)
    """(kind, pfn) of them, as far as they are listed (FAIL)."""

    @property
    def start_s(self) -> float:
        """When it was made."""
        return self.end_s - self.us / 1e6


@dataclass
class RecordedDemand:
    """A SNAP and what followed it."""

    tag: str
    snap: Snap
    attempts: list[Attempt] = field(default_factory=list)
    summary: dict[str, str] = field(default_factory=dict)
    """The DEMAND line: kind, ok, tries or got and first, ms; empty where the recording ended before it."""

    @property
    def whole(self) -> bool:
        """Whether it wants the area in one piece."""
        return self.summary.get("kind", "whole" if self.tag.startswith("W") else "pieces") == "whole"

    @property
    def pieces(self) -> int:
        """Pieces asked for, as far as the attempts show."""
        return len({attempt.ident for attempt in self.attempts})

    @property
    def got(self) -> int:
        """Pieces obtained."""
        return sum(attempt.ok for attempt in self.attempts)

    @property
    def ok(self) -> bool:
        """Whether every piece was obtained."""
        return self.summary.get("ok", "1" if self.got == self.pieces else "0") == "1"

    @property
    def tries(self) -> int:
        """Most attempts that one piece took."""
        idents = [attempt.ident for attempt in self.attempts]
        return max((idents.count(ident) for ident in set(idents)), default=0)

    @property
    def first_ok(self) -> bool:
        """Whether every piece was obtained by its first attempt."""
        return bool(self.attempts) and all(attempt.ok for attempt in self.attempts) and self.ok

    @property
    def latency_ms(self) -> float:
        """First attempt's begin to the last one's end."""
        if "ms" in self.summary:
            return float(self.summary["ms"])
        return 1e3 * (self.attempts[-1].end_s - self.attempts[0].start_s) if self.attempts else 0.0

    def blamed(self) -> dict[str, int]:
        """Refusals of all attempts, by `stage:kind+flags`."""
        total: dict[str, int] = {}
        for attempt in self.attempts:
            for key, count in attempt.blamed.items():
                total[key] = total.get(key, 0) + count
        return total


@dataclass
class KernelText:
    """All of one file."""

    path: str
    boot: Boot
    start: State
    stop: State
    map: PageMap
    demands: list[RecordedDemand]
    end: Snap | None
    """The last SNAP, which no demand followed."""

    @property
    def policy(self) -> int:
        """Number of the placement rule that was in force."""
        return self.boot.number("policy", 0)

    def without_refusals(self) -> KernelText:
        """The same, but not telling which pages refused a demand: that is part of what became of it."""
        demands = [
            replace(demand, attempts=[replace(attempt, refused=set()) for attempt in demand.attempts])
            for demand in self.demands
        ]
        return replace(self, demands=demands)

    def snaps(self) -> list[Snap]:
        """Every SNAP in its order."""
        return [demand.snap for demand in self.demands] + ([self.end] if self.end else [])


def read_kernel_text(path: str | os.PathLike[str]) -> KernelText:
    """Read and check one file.

    Raises:
        KernelTextError: it cannot be read, a section is missing, or a line is damaged.
    """
    where = os.fspath(path)
    try:
        lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise KernelTextError(f"{where}: cannot be read ({error.strerror or error}); check the path") from None
    sections = _sections(where, lines)
    boot = _boot(where, lines)
    demands, end = _demands(_Lines(where, *sections["DEMAND"]))
    return KernelText(
        path=where,
        boot=boot,
        start=_state(_Lines(where, *sections["START"])),
        stop=_state(_Lines(where, *sections["STOP"])) if "STOP" in sections else State(),
        map=_map(_Lines(where, *sections["MAP"])),
        demands=demands,
        end=end,
    )


@dataclass
class _Lines:
    """The lines of a section, and where it stands."""

    path: str
    first: int
    """Number of its first line."""
    lines: list[str]

    def error(self, index: int, what: str) -> KernelTextError:
        return KernelTextError(f"{self.path}: line {self.first + index}: {what}; copy the file again, or record again")


def _sections(path: str, lines: list[str]) -> dict[str, tuple[int, list[str]]]:
    found: dict[str, tuple[int, list[str]]] = {}
    opened, first = "", 0
    for number, line in enumerate(lines, 1):
        if line.endswith("-BEGIN") and line[:-6].isupper():
            if opened:
                break
            opened, first = line[:-6], number + 1
        elif opened and line == f"{opened}-END":
            found[opened] = (first, lines[first - 1 : number - 1])
            opened = ""
    if opened:
        raise KernelTextError(f"{path}: line {first - 1}: section {opened} has no end; the file was cut off")
    for name, holds in (
        ("START", "the state at the start (buddyinfo, zoneinfo, vmstat, meminfo)"),
        ("MAP", "the page map"),
        ("DEMAND", "the demands"),
    ):
        if name not in found:
            raise KernelTextError(
                f"{path}: no section {name} ({name}-BEGIN ... {name}-END), {holds}; "
                "a replay cannot do without it: record with it"
            )
    return found


def _boot(path: str, lines: list[str]) -> Boot:
    for line in lines:
        if line.startswith("BOOT "):
            release, *options = line.split()[1:] or [""]
            return Boot(release, dict(option.split("=", 1) for option in options if "=" in option))
    raise KernelTextError(f"{path}: no line BOOT (release, policy=N, ncpu=N); a replay must know the rule")


def _numbers(words: Sequence[str]) -> list[int]:
    return [int(word) for word in words]


def _pairs(text: str) -> dict[str, int]:
    """`name=number` words; others are left out."""
    pairs = (word.split("=", 1) for word in text.split() if "=" in word)
    return {name: int(value) for name, value in pairs if re.fullmatch(r"-?\d+", value)}


_BUDDY = re.compile(r" ?Node\s+\d+, zone\s+(\S+)((?:\s+\d+)+)\s*$")
_FREE_TYPE = re.compile(r"Node\s+\d+, zone\s+(\S+), type\s+(\S+)((?:\s+[>\d]+)+)\s*$")
_BLOCKS = re.compile(r"Number of blocks type\s+(.+)$")
_ZONE = re.compile(r"Node\s+\d+, zone\s+(\S+)\s*$")
_COUNTER = re.compile(r"\s+([a-z_]\w*)\s+(-?\d+)$")
_VMSTAT = re.compile(r"([a-z]\w*) (-?\d+)$")
_MEMINFO = re.compile(r"(\S+):\s+(\d+)(?: kB)?$")


class _StateReader:
    """Reads START or STOP line by line; what a line means follows from its form, not from its place."""

    def __init__(self) -> None:
        self.state = State()
        self._zone: ZoneInfo | None = None
        self._types: list[str] = []
        self._pageset: dict[str, int] = {}

    def take(self, line: str) -> None:
        if match := _FREE_TYPE.match(line):
            counts = [int(word.lstrip(">")) for word in match[3].split()]
            self.state.free_by_type[match[1], match[2]] = counts
        elif match := _BUDDY.match(line):
            self._counts(match[1], _numbers(match[2].split()))
        elif match := _BLOCKS.match(line):
            self._types = match[1].split()
        elif line.startswith("Page block order:"):
            self.state.pageblock_order = int(line.split(":")[1])
        elif match := _ZONE.match(line):
            self._zone = self.state.zones.setdefault(match[1], ZoneInfo(match[1]))
        elif match := _VMSTAT.match(line):
            self._zone = None
            self.state.vmstat[match[1]] = int(match[2])
        elif match := _MEMINFO.match(line):
            self.state.meminfo[match[1]] = int(match[2])
        elif self._zone is not None:
            self._of_zone(self._zone, line)

    def _counts(self, zone: str, counts: list[int]) -> None:
        if self._types and len(counts) == len(self._types):
            self.state.block_types[zone] = dict(zip(self._types, counts, strict=True))
        else:
            self.state.buddyinfo[zone] = counts

    def _of_zone(self, zone: ZoneInfo, line: str) -> None:
        words = line.replace(":", " ").split()
        if line.lstrip().startswith("protection:"):
            zone.protection = tuple(_numbers(re.findall(r"\d+", line)))
        elif words[:2] == ["pages", "free"]:
            zone.values["free"] = int(words[2])
        elif len(words) == 2 and words[0] in ("count", "high", "batch") and ":" in line:
            self._pageset[words[0]] = int(words[1])
            if words[0] == "batch":
                zone.pagesets.append(Pageset(**{"count": 0, "high": 0, **self._pageset}))
                self._pageset = {}
        elif len(words) == 2 and words[1].lstrip("-").isdigit():
            node = words[0].startswith(("nr_", "workingset_", "pgdemote")) and "free" not in zone.values
            (self.state.node if node else zone.values)[words[0]] = int(words[1])


def _state(section: _Lines) -> State:
    reader = _StateReader()
    for index, line in enumerate(section.lines):
        try:
            reader.take(line)
        except (ValueError, IndexError, TypeError):
            raise section.error(index, f"{line.strip()[:60]!r} is damaged") from None
    state = reader.state
    for name, part in (("zoneinfo", state.zones), ("vmstat", state.vmstat), ("meminfo", state.meminfo)):
        if not part:
            raise section.error(0, f"this section holds no {name}")
    return state


def _map(section: _Lines) -> PageMap:
    rows = []
    for index, line in enumerate(section.lines):
        match = re.match(r"(\d+) (\S+) (\d+) (.*)$", line)
        if line.startswith("[") or not line.strip():
            continue  # the kernel's own log
        if not match or not set(match[4]) <= MAP_CHARS:
            raise section.error(index, "not a line of the page map (pfn, zone, migratetype, one character a page)")
        rows.append((int(match[1]), match[2], int(match[3]), match[4]))
    if not rows:
        raise section.error(0, "the page map is empty")
    firsts = [row[0] for row in rows]
    steps = [after - before for before, after in zip(firsts, firsts[1:], strict=False)]
    block = max(min(steps, default=0), max(len(row[3]) for row in rows))
    block = 1 << (block - 1).bit_length()
    if min(steps, default=1) <= 0 or any(first % block for first in firsts):
        raise section.error(0, f"the page map's lines are not in order, or not one for each block of {block} pages")
    nr_blocks = firsts[-1] // block + 1
    if nr_blocks * block > MAX_MAP_PAGES:
        raise section.error(len(rows) - 1, f"the page map goes beyond {MAX_MAP_PAGES} pages (64 GB)")
    text = np.full(nr_blocks * block, ord(HOLE), np.uint8)
    zones, types = [""] * nr_blocks, np.full(nr_blocks, -1, np.int64)
    for first, zone, migratetype, chars in rows:
        text[first : first + len(chars)] = np.frombuffer(chars.encode("ascii"), np.uint8)
        zones[first // block], types[first // block] = zone, migratetype
    return PageMap(text, block, tuple(zones), types)


class _DemandReader:
    """Reads the DEMAND section line by line."""

    def __init__(self) -> None:
        self.demands: list[RecordedDemand] = []
        self._snap: Snap | None = None
        self._readers: dict[str, Callable[[str], None]] = {
            "SNAP": self._begin,
            "SCAN": self._scan,
            "VMSTAT": self._vmstat,
            "MEMINFO": self._meminfo,
            "ATT": self._att,
            "FAIL": self._fail,
            "FAILAGG": self._failagg,
            "DEMAND": self._summary,
        }

    def take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word in self._readers:
            self._readers[word](rest)
        elif (match := _BUDDY.match(line)) and self._snap is not None:
            self._snap.buddyinfo[match[1]] = _numbers(match[2].split())

    def _snap_line(self) -> Snap:
        if self._snap is None:
            raise ValueError("no SNAP line before it")
        return self._snap

    def _begin(self, rest: str) -> None:
        tag, time = rest.split()
        self._snap = Snap(tag, float(time.removeprefix("t=")))
        self.demands.append(RecordedDemand(tag, self._snap))

    def _scan(self, rest: str) -> None:
        self._snap_line().scan.update(_pairs(rest))

    def _vmstat(self, rest: str) -> None:
        self._snap_line().vmstat.update(_pairs(rest))

    def _meminfo(self, rest: str) -> None:
        self._snap_line().meminfo.update(_pairs(rest))

    def _at(self, tag: str) -> RecordedDemand:
        if not self.demands or self.demands[-1].tag != tag:
            raise ValueError(f"no SNAP {tag} before it")
        return self.demands[-1]

    def _att(self, rest: str) -> None:
        tag, *words = rest.split()
        values = dict(word.split("=", 1) for word in words if "=" in word)
        ident, nr, ok, pfn, us, error, busy = (
            int(values.get(name, "0")) for name in ("id", "n", "ok", "pfn", "us", "err", "busy")
        )
        attempt = Attempt(tag, float(values["t"]), ident, nr, ok == 1, pfn, us, values.get("stage", "-"), error, busy)
        self._at(tag).attempts.append(attempt)

    def _attempt(self, tag: str) -> Attempt:
        attempts = self._at(tag).attempts
        if not attempts:
            raise ValueError("no ATT line before it")
        return attempts[-1]

    def _fail(self, rest: str) -> None:
        tag, first, *words = rest.split()
        attempt = self._attempt(tag)
        if first != "#":  # the attempt's own summary
            attempt.refused.add((words[0], int(first)))

    def _failagg(self, rest: str) -> None:
        tag, *words = rest.split()
        blamed = self._attempt(tag).blamed
        for word in words:
            key, count = word.rsplit("=", 1)
            blamed[key] = blamed.get(key, 0) + int(count)

    def _summary(self, rest: str) -> None:
        tag, *words = rest.split()
        self._at(tag).summary.update(dict(word.split("=", 1) for word in words if "=" in word))


def _demands(section: _Lines) -> tuple[list[RecordedDemand], Snap | None]:
    reader = _DemandReader()
    for index, line in enumerate(section.lines):
        try:
            reader.take(line)
        except (ValueError, IndexError, KeyError) as error:
            raise section.error(index, f"{line[:40]!r} is damaged ({error})") from None
    demands = reader.demands
    end = demands.pop().snap if demands and not demands[-1].attempts and not demands[-1].summary else None
    return demands, end
