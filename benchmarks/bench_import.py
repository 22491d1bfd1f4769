"""Importing a recording."""

from __future__ import annotations

import lzma
import tempfile
from pathlib import Path

from benchmarks.rows import LeftOutError, cpu_seconds, median, row
from cma_gym.experiments.config import ROOT

RECORDING = ROOT / "tests" / "data" / "mix_excerpt.ftrace.xz"


@row("import_lines_per_s", "1/s", at_least=400_000)
def import_lines() -> float:
    """Lines of a recording read into a workload (469,200 lines, plain text)."""
    from cma_gym.recording.importer import import_trace

    if not RECORDING.exists():
        raise LeftOutError(f"{RECORDING.name} is only in the source tree; measure there")
    text = lzma.decompress(RECORDING.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "recording.txt"
        plain.write_bytes(text)
        import_trace(plain)
        return text.count(b"\n") / median(lambda: cpu_seconds(lambda: import_trace(plain)), 3)
