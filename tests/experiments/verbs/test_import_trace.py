"""The verb import-trace, as a user meets it."""

import json
from pathlib import Path

import pytest

from cma_gym.experiments.cli import main
from cma_gym.workloads.workload import load
from tests.recording.drawn_trace import Drawing

KEYS = ("lines", "lines_per_s", "peak_rss_mb", "pages_allocated_by_kind", "cma_demands", "skipped")


def test_import_writes_workload_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, out, report = tmp_path / "phone.ftrace", tmp_path / "new" / "phone.npz", tmp_path / "phone.json"
    drawing = Drawing().alloc(0x10).cma_start(64).cma_finish(0x800, 64, error=-16)
    trace.write_text(drawing.text() + "garbage\n")
    assert main(["import-trace", str(trace), "-o", str(out), "--json", str(report)]) == 0
    workload = load(out)
    assert workload.name == "phone"
    facts = json.loads(report.read_text())
    assert set(KEYS) <= set(facts)
    assert facts["lines"] == 6
    assert facts["cma_demands"] == 1
    assert facts["skipped"]["not_ftrace"] == 1
    assert set(facts["pages_allocated_by_kind"]) == {"anon", "file", "bdev", "shmem", "zsmalloc", "kernel"}
    shown = capsys.readouterr().out
    assert "not an ftrace line (first: line 6)" in shown
    assert "frees without a known allocation" in shown
    # Expect what depends on the moment to stay out of the workload.
    assert "lines_per_s" not in workload.meta["report"]


def test_a_bad_file_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "bad.ftrace"
    trace.write_bytes(b"\x00\x01\x02" * 100)
    assert main(["import-trace", str(trace), "-o", str(tmp_path / "bad.npz")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.ftrace"]
