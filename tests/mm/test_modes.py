"""Compiled and uncompiled code do the same, to the byte, and without a warning; so do two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from tests.mm import scenario
from tests.mm.driver import DTYPE
from tests.mm.tiny import MS, Tiny

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def in_another_process(*command: str, **environment: str) -> str:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_a_life_repeated_leaves_the_same_bytes():
    assert scenario.all_told(events=60) == scenario.all_told(events=60)


def test_an_uncompiled_life_leaves_the_same_bytes():
    """Without a warning: no overflow, no conversion that compiled code would not see."""
    if numba.config.DISABLE_JIT:
        pytest.skip("this process is the uncompiled one")
    printed = in_another_process("-m", "tests.mm.scenario", NUMBA_DISABLE_JIT="1")
    assert printed.split() == scenario.all_told()


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="would call itself")
def test_another_process_leaves_the_same_bytes():
    printed = in_another_process("-m", "tests.mm.scenario")
    assert printed.split() == scenario.all_told()


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="would call itself")
@pytest.mark.slow
def test_the_unit_tests_hold_uncompiled():
    files = ("buddy", "contig", "memory", "page_cache")
    in_another_process(
        "-m", "pytest", "-x", *(str(HERE / f"test_{name}.py") for name in files), NUMBA_DISABLE_JIT="1"
    )


def test_two_machines_in_one_array_do_not_influence_each_other():
    """The second one lives beside a first that is busy, and ends as if it were alone."""
    def life(m: Tiny, neighbour: Tiny | None = None) -> None:
        for n in range(10):
            m.touch(1, 8 * n, 8, action=2)
            m.idle(MS)
            if neighbour is not None:
                neighbour.file(20 * n, 20, action=n % 3)
                neighbour.idle(3 * MS)

    alone = Tiny(128, 32)
    life(alone)
    pair = np.zeros(2, DTYPE).view(np.recarray)
    first, second = Tiny(128, 32, mems=pair, i=0), Tiny(128, 32, mems=pair, i=1)
    life(second, first)
    assert pair[1].tobytes() == alone.mems[0].tobytes()
    assert pair[0].tobytes() != pair[1].tobytes()


def test_a_copy_goes_on_like_the_original():
    m = Tiny(128, 32, watermarks=True)
    m.touch(1, 0, 60, action=2)
    copy = m.mems.copy()
    m.file(0, 60, action=2)
    m.idle(50 * MS)
    ended = m.mems.copy()
    m.mems[:] = copy
    m.file(0, 60, action=2)
    m.idle(50 * MS)
    assert m.mems.tobytes() == ended.tobytes()
