"""A short life of a tiny machine, and its fingerprints; run as a script it prints them, one a line.

The same lines must come out compiled and uncompiled, today and in another process.
"""

from __future__ import annotations

import hashlib

import numpy as np

from cma_gym.machine.events import FileFlag, Op, event_dtype
from tests.mm.tiny import EACH, LONG_NS, MS, Do, Tiny

SWITCHES = (
    {},
    {"profile": "v4_6", "zone_cma": True, "high_pages": 32},
    {"cma_pcp": "own", "cma_ratio": 2, "shrink_before_cma_alloc": True, "reclaim_skips_cma": True},
)


def fingerprint(m: Tiny) -> str:
    """Digest of every byte of the machine."""
    return hashlib.sha256(m.mems.tobytes()).hexdigest()


def told(m: Tiny, *, events: int) -> list[str]:
    """Something of everything, then random events."""
    found = [fingerprint(m)]
    m.spawn(2, 2)
    m.touch(1, 0, 40, action=2)
    m.event(Op.FORK, 3, 3 * EACH, EACH, 1, 1)
    m.touch(3, 0, 10)
    m.file(0, 30, FileFlag.MAPPED | FileFlag.EXEC, action=2)
    m.file(350, 20, FileFlag.SHMEM | FileFlag.WRITE, action=2)
    m.file(700, 4, FileFlag.BDEV | FileFlag.JOURNAL, value=50_000, action=1)
    m.write(40, 12)
    found.append(fingerprint(m))
    m.pin(1, 0, 2, LONG_NS)
    m.pin(1, 20, 4, 20 * MS, longterm=True)
    m.event(Op.MLOCK, 1, EACH + 5, 4, 1)
    m.event(Op.KALLOC, 0, 0, 6, 2 << 4 | 2)
    m.event(Op.DEMAND, 50, 1, 64, 0, 1)
    m.idle(400 * MS)
    found.append(fingerprint(m))
    m.touch(2, 0, 80, action=0)
    m.do(Do.COMPACT, 0, 3, 1, 3)
    m.event(Op.EXIT, 1)
    m.idle(6000 * MS)
    found.append(fingerprint(m))
    m.do(Do.SOAK, events, events, event=np.zeros(1, event_dtype))
    m.validate()
    return [*found, fingerprint(m)]


def all_told(events: int = 120) -> list[str]:
    """The fingerprints of all layouts."""
    lines = []
    for switches in SWITCHES:
        m = Tiny(256, 64, watermarks=True, kernel_pages=10, boost_factor=15000, **switches)
        lines += told(m, events=events)
    return lines


if __name__ == "__main__":
    print("\n".join(all_told()))
