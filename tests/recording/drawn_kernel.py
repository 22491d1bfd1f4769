"""A little machine's `.kernel.txt`, drawn: 16 MB in eight pageblocks, the area in the two before the last."""

from __future__ import annotations

BLOCK = 512
PAGES = 8 * BLOCK
AREA = 5 * BLOCK
AREA_PAGES = 2 * BLOCK
ORDERS = "0123456789@"
TYPES = {0: 0, 5: 4, 6: 4}
"""Migratetype of each block that is not movable."""
USED = {0: "R", 20: "pppp", 30: "TToo", 40: "bb", 600: "aaaa", 610: "ff", 620: "ss", 700: "--", 3500: "b", 4000: "RR"}
"""Pages in use (and outside the free lists) from these frames on; the rest is free."""


def page_map(used: dict[int, str]) -> str:
    """The characters of every frame: free blocks as large as alignment, migratetype and neighbours allow."""
    chars = [""] * PAGES
    for first, text in used.items():
        chars[first : first + len(text)] = list(text)
    pfn = 0
    while pfn < PAGES:
        if chars[pfn]:
            pfn += 1
            continue
        order = 10
        while pfn % (1 << order) or any(chars[pfn : pfn + (1 << order)]) or mixed(pfn, 1 << order):
            order -= 1
        chars[pfn : pfn + (1 << order)] = [ORDERS[order], *"." * ((1 << order) - 1)]
        pfn += 1 << order
    return "".join(chars)


def mixed(pfn: int, pages: int) -> bool:
    """Whether a range lies in pageblocks of different types."""
    return len({TYPES.get(block, 1) for block in range(pfn // BLOCK, (pfn + pages - 1) // BLOCK + 1)}) > 1


def buddies(chars: str) -> list[int]:
    """Free blocks by order."""
    return [chars.count(char) for char in ORDERS]


def state(chars: str, **counters: int) -> str:
    """A START or STOP section."""
    used = sum(chars.count(char) for char in "pToabfs-m")
    free = PAGES - used - chars.count("R")
    vmstat = {"nr_free_pages": free, "nr_mapped": 1, "nr_unevictable": 1, "nr_active_anon": 2, **counters}
    lines = [
        "Node 0, zone    DMA32 " + " ".join(str(count) for count in buddies(chars)) + " ",
        "Page block order: 9",
        "Pages per block:  512",
        "",
        "Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic          CMA      Isolate ",
        "Node 0, zone    DMA32            1            5            0            0            2            0 ",
        "Node 0, zone    DMA32",
        "  per-node stats",
        "      nr_inactive_anon 4",
        f"  pages free     {free}",
        "        boost    5",
        "        min      65",
        "        low      75",
        "        high     85",
        f"        managed  {free + used}",
        "        protection: (0, 0, 3)",
        "  pagesets",
        "    cpu: 0",
        "              count: 1",
        "              high:  4",
        "              batch: 7",
        "    cpu: 1",
        "              count: 0",
        "              high:  4",
        "              batch: 7",
        "  start_pfn:           1",
        "Node 0, zone   Normal",
        "        managed  0",
        "Node 0, zone  Movable",
        "        managed  0",
        *(f"{name} {count}" for name, count in vmstat.items()),
        "MemTotal:         16384 kB",
        "SwapTotal:         8192 kB",
        "SwapFree:          8192 kB",
    ]
    return "\n".join(lines)


def snap(tag: str, time_s: float, free: int = AREA_PAGES, **counters: int) -> str:
    """A SNAP with its SCAN and VMSTAT."""
    vmstat = " ".join(f"{name}={count}" for name, count in {"nr_free_pages": 3000, **counters}.items())
    scan = f"SCAN base={AREA} count={AREA_PAGES} free={free} anon={AREA_PAGES - free} dirty=3"
    return f"SNAP {tag} t={time_s:.3f}\n{scan}\nVMSTAT {vmstat}\n"


DEMANDS = (
    snap("W0", 5.9)
    + f"ATT W0 t=6.100 alloc id=0 n={AREA_PAGES} ok=0 pfn=-1 us=100000 failcalls=1 stage=M err=-16 busy=1\n"
    + "FAIL W0 # stage=M err=-16 total=1 kept=1\n"
    + "FAILAGG W0 m:bdev+jbd=2 T:anon+pinned=1\n"
    + f"ATT W0 t=6.300 alloc id=0 n={AREA_PAGES} ok=1 pfn={AREA} us=50000 failcalls=0 stage=- err=0 busy=0\n"
    + "DEMAND W0 kind=whole ok=1 tries=2 ms=300.0\n"
    + "REL W0 free id=0 ok=1 us=76054\n"
    + snap("P1", 7.0, 600)
    + "ATT P1 t=7.100 alloc id=1 n=256 ok=1 pfn=2560 us=1000 failcalls=0 stage=- err=0 busy=0\n"
    + "ATT P1 t=7.200 alloc id=2 n=256 ok=1 pfn=2816 us=1000 failcalls=0 stage=- err=0 busy=0\n"
    + "DEMAND P1 kind=pieces ok=1 got=2 first=2 ms=120.5\n"
    + snap("end", 8.0, pswpout=40)
)


def kernel_text(
    used: dict[int, str] = USED, demands: str = DEMANDS, boot: str = "policy=0 wl=drawn seed=3 ncpu=2"
) -> str:
    """A whole file."""
    chars = page_map(used)
    blocks = [(first, TYPES.get(first // BLOCK, 1)) for first in range(0, PAGES, BLOCK)]
    rows = [f"{first} DMA32 {kind} {chars[first : first + BLOCK]}" for first, kind in blocks]
    return "\n".join(
        [
            f"BOOT 6.12.117 {boot}",
            "START-BEGIN",
            state(chars),
            "START-END",
            "MAP-BEGIN",
            *rows,
            "MAP-END",
            "[    0.5] the kernel's own log",
            "STOP-BEGIN",
            state(chars, pswpout=100, pgscan_kswapd=500, pgscan_direct=100, allocstall_movable=2, allocstall_normal=3),
            "STOP-END",
            "DEMAND-BEGIN",
            demands + "DEMAND-END",
            "",
        ]
    )
