"""An independent reader of recordings: regular expressions, dictionaries and sets, slow and obvious."""

from __future__ import annotations

import lzma
import re
from collections import Counter
from pathlib import Path

_EVENT = re.compile(r"\S+-(\d+)\s+\[\d+\]\s+\S+\s+[\d.]+: (\w+): (.*)")


def _pages(fields: str) -> range:
    pfn = int(re.search(r"pfn=(0x[0-9a-f]+)", fields)[1], 16)
    order = re.search(r"order=(\d+)", fields)
    return range(pfn, pfn + (1 << int(order[1]) if order else 1))


def _buffer(fields: str) -> range:
    pfn = _pages(fields).start
    return range(pfn, pfn + int(re.search(r"count=(\d+)", fields)[1]))


def count(path: Path) -> Counter[str]:
    """Events by name; `lines`; `pages KIND`; `frees unknown`, `frees buffer`, `allocs failed`."""
    found: Counter[str] = Counter()
    kind_of: dict[int, str] = {}  # of each frame that is allocated
    buffers: set[int] = set()
    in_cma: set[str] = set()
    in_reclaim: set[str] = set()
    with lzma.open(path, "rt") as lines:
        for line in lines:
            found["lines"] += 1
            match = _EVENT.search(line)
            if line.startswith("#") or not match:
                continue
            pid, event, fields = match.groups()
            found[event] += 1
            if event == "mm_page_alloc":
                pages = _pages(fields)
                if pages.start == 0:
                    found["allocs failed"] += 1
                    continue
                kind = _kind(fields.split("gfp_flags=")[1], pid in in_cma and pid not in in_reclaim)
                found[f"pages {kind}"] += len(pages)
                kind_of.update(dict.fromkeys(pages, kind))
                buffers.difference_update(pages)
            elif event == "mm_page_free":
                pages = _pages(fields)
                found["frees buffer"] += pages.start in buffers
                found["frees unknown"] += pages.start not in kind_of and pages.start not in buffers
                buffers.difference_update(pages)
                for pfn in pages:
                    kind_of.pop(pfn, None)
            elif event == "mm_filemap_add_to_page_cache":
                pfn = _pages(fields).start
                kind = "bdev" if re.search(r"dev 0:\d+ ino [0-9a-f]{6,} ", fields) else "file"
                found[f"pages {kind_of[pfn]}"] -= 1
                found[f"pages {kind}"] += 1
                kind_of[pfn] = kind
            elif event == "mm_filemap_delete_from_page_cache":
                pfn = _pages(fields).start
                if kind_of.get(pfn) == "anon":  # tmpfs: removals are traced, additions are not
                    found["pages anon"] -= 1
                    found["pages shmem"] += 1
                    kind_of[pfn] = "shmem"
            elif event == "cma_alloc_start":
                in_cma.add(pid)
            elif event == "cma_alloc_finish":
                in_cma.discard(pid)
                if fields.endswith("errorno=0"):
                    buffers.update(_buffer(fields))
                    for pfn in _buffer(fields):
                        kind_of.pop(pfn, None)
            elif event == "cma_release":
                buffers.difference_update(_buffer(fields))
            elif event == "mm_vmscan_direct_reclaim_begin":
                in_reclaim.add(pid)
            elif event == "mm_vmscan_direct_reclaim_end":
                in_reclaim.discard(pid)
    return found


def _kind(flags: str, migrates: bool) -> str:
    names = set(flags.split("|"))
    if "GFP_HIGHUSER_MOVABLE" in names:
        return "anon"
    if "GFP_USER" in names and "__GFP_MOVABLE" in names and migrates:
        return "target"
    if "__GFP_MOVABLE" in names:
        return "file" if "__GFP_HARDWALL" in names else "zsmalloc"
    # The move before a long-term pin is the only user of these flags in the recordings.
    return "target" if flags == "GFP_USER|__GFP_NOWARN|__GFP_COMP" else "kernel"
