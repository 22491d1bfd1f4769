"""A machine's page frames as a picture: one tile for each pageblock, one square for each page, coloured by its kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from cma_gym.mm.mmzone import NR_PAGE_KINDS, PageKind

_COLOURS = {
    PageKind.FREE: (236, 236, 230),
    PageKind.ANON: (66, 118, 190),
    PageKind.SHMEM: (134, 96, 178),
    PageKind.FILE: (96, 168, 88),
    PageKind.BDEV: (232, 158, 48),
    PageKind.ZSMALLOC: (72, 178, 186),
    PageKind.DRIVER: (206, 68, 58),
    PageKind.SLAB: (150, 108, 76),
    PageKind.PAGE_TABLE: (178, 152, 60),
    PageKind.KERNEL: (110, 110, 110),
    PageKind.CMA: (232, 92, 160),
    PageKind.RESERVED: (48, 48, 48),
    PageKind.CLEANCACHE: (178, 214, 160),
}
KIND_COLOURS = np.array([_COLOURS[PageKind(kind)] for kind in range(NR_PAGE_KINDS)], dtype=np.uint8)
"""uint8[NR_PAGE_KINDS, 3]: red, green, blue of each kind of page."""
GAP_COLOUR = np.array((255, 255, 255), dtype=np.uint8)
AREA_COLOUR = np.array((220, 20, 20), dtype=np.uint8)
"""Outlines the pageblocks of the CMA area."""

_MAX_PAGES = 1 << 22
"""A larger machine is shown by every 2nd, 4th, ... page."""
_SMALLEST_SIDE = 256
"""Pixels; pages of small machines are drawn as larger squares."""


def page_map(mem: Any) -> np.ndarray:
    """Draw a machine; the size of the picture depends on the machine's sizes only.

    Args:
        mem: one machine record (`mems[i]`).

    Returns:
        uint8[height, width, 3].
    """
    nr_pages = int(mem["nr_pages"])
    stride = 1
    while nr_pages // stride > _MAX_PAGES:
        stride *= 2
    block = max((1 << int(mem["kernel"]["pageblock_order"])) // stride, 1)
    kinds = mem["page"]["kind"][:nr_pages:stride]
    nr_tiles = -(-len(kinds) // block)
    area = mem["cma"]
    first = int(area["base_pfn"]) // stride // block
    last = -(-(int(area["base_pfn"]) + int(area["nr_pages"])) // stride // block)
    colours = np.full((nr_tiles * block, 3), GAP_COLOUR, dtype=np.uint8)
    colours[: len(kinds)] = KIND_COLOURS[kinds]
    order = block.bit_length() - 1
    tiles = colours.reshape(nr_tiles, 1 << order // 2, 1 << (order - order // 2), 3)
    picture = _arrange(tiles, range(first, last))
    zoom = -(-_SMALLEST_SIDE // min(picture.shape[:2]))
    return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _arrange(tiles: np.ndarray, marked: range) -> np.ndarray:
    """Tiles [n, h, w, 3] in rows, roughly a square, with a gap of one pixel; the marked ones have a coloured frame."""
    nr_tiles, height, width, _ = tiles.shape
    columns = max(1, round((nr_tiles * (height + 1) / (width + 1)) ** 0.5))
    rows = -(-nr_tiles // columns)
    picture = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, 3), GAP_COLOUR, dtype=np.uint8)
    for index in range(nr_tiles):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        if index in marked:
            picture[top : top + height + 2, left : left + width + 2] = AREA_COLOUR
    for index in range(nr_tiles):
        top, left = index // columns * (height + 1) + 1, index % columns * (width + 1) + 1
        picture[top : top + height, left : left + width] = tiles[index]
    return picture
