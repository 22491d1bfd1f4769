"""A machine's record as C declarations, so that C code can work on the very bytes that the simulator works on."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from cma_gym.mm import mmzone, page_alloc
from cma_gym.mm.mmzone import MigrateType, PageFlag, PageKind, PcpCma, VmEvent, Watermark, ZoneStat, ZoneType

_ENUMS: dict[str, type[IntEnum]] = {
    "MIGRATE": MigrateType,
    "PG": PageFlag,
    "KIND": PageKind,
    "PCP_CMA": PcpCma,
    "EVENT": VmEvent,
    "WMARK": Watermark,
    "STAT": ZoneStat,
    "ZONE": ZoneType,
}
_NUMBERS = ("NO_PAGE", "NR_PAGE_ORDERS", "NR_PCP_TYPES", "NR_PCP_LISTS", "PAGE_ALLOC_COSTLY_ORDER", "TICK_SHIFT")


def c_header(memory: np.dtype[Any]) -> str:
    """Declarations of `struct memory` and all that lies in it, each under its field's name, and of the constants."""
    lines = ["#include <stddef.h>", "#include <stdint.h>", "enum {"]
    for prefix, members in _ENUMS.items():
        lines += [f"\t{prefix}_{member.name} = {int(member)}," for member in members]
    lines += [f"\t{name} = {getattr(mmzone, name)}," for name in _NUMBERS]
    lines += [f"\t{name} = {value}," for name, value in vars(page_alloc).items() if name.startswith("ALLOC_")]
    lines.append("};")
    _declare(memory, "memory", lines, set())
    return "\n".join(lines) + "\n"


def _declare(record: np.dtype[Any], name: str, lines: list[str], known: set[str]) -> None:
    """Append the struct of a record, after those of the records in it."""
    assert record.fields is not None
    if name in known:
        raise ValueError(f"two records are both called {name}")
    known.add(name)
    members, checks = [], [f'_Static_assert(sizeof(struct {name}) == {record.itemsize}, "{name}");']
    for field, (dtype, offset, *_) in record.fields.items():
        inner, shape = dtype.subdtype if dtype.subdtype is not None else (dtype, ())
        if inner.fields is not None:
            _declare(inner, field, lines, known)
        kind = f"struct {field}" if inner.fields is not None else f"{inner.name}_t"
        members.append(f"\t{kind} {field}" + "".join(f"[{length}]" for length in shape) + ";")
        checks.append(f'_Static_assert(offsetof(struct {name}, {field}) == {offset}, "{name}.{field}");')
    lines += [f"struct {name} {{", *members, "};", *checks]
