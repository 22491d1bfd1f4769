"""A machine's free lists as text, in the look of /proc/buddyinfo and /proc/pagetypeinfo."""

from __future__ import annotations

from typing import Any

import numpy as np

from cma_gym.mm.mmzone import (
    NR_MIGRATETYPES,
    NR_PAGE_ORDERS,
    NR_ZONES,
    PAGE_SIZE,
    MigrateType,
    PageFlag,
    PageKind,
    ZoneStat,
    ZoneType,
)

_KB_PER_PAGE = PAGE_SIZE // 1024
_ZONE_NAMES = {
    ZoneType.DMA32: "DMA32",
    ZoneType.NORMAL: "Normal",
    ZoneType.HIGHMEM: "HighMem",
    ZoneType.MOVABLE: "Movable",
    ZoneType.CMA: "CMA",
}
_TYPE_NAMES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")


def machine_text(mem: Any) -> str:
    """What an engineer would look at first on a device.

    Args:
        mem: one machine record (`mems[i]`).

    Returns:
        Several lines: memory sizes, buddyinfo, pagetypeinfo, and who sits in the CMA area.
    """
    zones = [zone for zone in range(NR_ZONES) if mem["zones"]["managed_pages"][zone] > 0]
    free = free_blocks(mem)
    lines = _memory_lines(mem)
    for zone in zones:
        counts = "".join(f"{count:>7}" for count in free[zone].sum(axis=0))
        lines.append(f"Node 0, zone {_ZONE_NAMES[ZoneType(zone)]:>8}{counts}")
    lines += ["", f"Page block order: {mem['kernel']['pageblock_order']}", _orders_line()]
    for zone in zones:
        for kind in MigrateType:
            counts = "".join(f"{count:>7}" for count in free[zone, kind])
            lines.append(f"{_zone_prefix(zone)}, type {_TYPE_NAMES[kind]:>12}{counts}")
    lines += ["", "Number of blocks type     " + "".join(f"{name:>12}" for name in _TYPE_NAMES)]
    blocks = blocks_by_type(mem)
    lines += [f"{_zone_prefix(zone)}  " + "".join(f"{count:>12}" for count in blocks[zone]) for zone in zones]
    return "\n".join([*lines, "", *_area_lines(mem)]) + "\n"


def free_blocks(mem: Any) -> np.ndarray:
    """Free blocks in the buddy lists, int64[NR_ZONES, NR_MIGRATETYPES, NR_PAGE_ORDERS].

    Pages that wait on per-CPU lists are not among them, as in the kernel.
    """
    page = mem["page"][: mem["nr_pages"]]
    heads = np.flatnonzero(page["flag"] & PageFlag.BUDDY)
    kinds = mem["pageblock"]["migratetype"][heads >> mem["kernel"]["pageblock_order"]]
    counts = np.zeros((NR_ZONES, NR_MIGRATETYPES, NR_PAGE_ORDERS), dtype=np.int64)
    np.add.at(counts, (page["zone"][heads], kinds, page["order"][heads]), 1)
    return counts


def blocks_by_type(mem: Any) -> np.ndarray:
    """Pageblocks of each zone by migratetype, int64[NR_ZONES, NR_MIGRATETYPES]."""
    order = int(mem["kernel"]["pageblock_order"])
    nr_blocks = int(mem["nr_pages"]) >> order
    zones = mem["page"]["zone"][: nr_blocks << order : 1 << order]
    counts = np.zeros((NR_ZONES, NR_MIGRATETYPES), dtype=np.int64)
    np.add.at(counts, (zones, mem["pageblock"]["migratetype"][:nr_blocks]), 1)
    return counts


def _memory_lines(mem: Any) -> list[str]:
    stat = mem["zones"]["vm_stat"].sum(axis=0)
    sizes = {
        "MemTotal": mem["zones"]["managed_pages"].sum(),
        "MemFree": stat[ZoneStat.FREE_PAGES],
        "CmaTotal": mem["cma"]["nr_pages"],
        "CmaFree": stat[ZoneStat.FREE_CMA],
        "SwapFree": mem["node"]["nr_swap_free"],
    }
    text = "  ".join(f"{name}: {pages * _KB_PER_PAGE} kB" for name, pages in sizes.items())
    return [f"{mem['clock'] / 1e9:.3f} s  {text}", ""]


def _area_lines(mem: Any) -> list[str]:
    area = mem["cma"]
    occupancy = area["occupancy"]
    held = [f"{kind.name.lower()} {occupancy[kind]}" for kind in PageKind if kind != PageKind.FREE and occupancy[kind]]
    first = int(area["base_pfn"])
    state = "a contiguous allocation runs" if area["busy"] else "idle"
    return [
        f"CMA area: pfn {first} - {first + int(area['nr_pages']) - 1}, {area['nr_pages']} pages, {state}",
        "CMA pages in use: " + (", ".join(held) if held else "none"),
    ]


def _orders_line() -> str:
    return "Free blocks per migrate type at order".ljust(38) + "".join(f"{order:>7}" for order in range(NR_PAGE_ORDERS))


def _zone_prefix(zone: int) -> str:
    return f"Node 0, zone {_ZONE_NAMES[ZoneType(zone)]:>8}"
