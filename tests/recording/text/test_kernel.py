"""Reading what the kernel said beside a recording."""

from pathlib import Path

import pytest

from cma_gym.recording.start import text_beside
from cma_gym.recording.text.kernel import KernelText, KernelTextError, Pageset, read_kernel_text
from tests.recording.drawn_kernel import AREA, BLOCK, DEMANDS, PAGES, USED, kernel_text, page_map, snap


def read(folder: Path, text: str) -> KernelText:
    path = folder / "drawn.kernel.txt"
    path.write_text(text)
    return read_kernel_text(path)


def test_boot_line_and_states(tmp_path: Path) -> None:
    text = read(tmp_path, kernel_text(boot="policy=3 wl=pin ncpu=4"))
    assert (text.boot.release, text.policy, text.boot.number("ncpu", 2)) == ("6.12.117", 3, 4)
    assert text.boot.number("missing", 7) == 7
    zone = text.start.zones["DMA32"]
    assert (zone.value("min"), zone.value("high"), zone.value("boost"), zone.protection) == (65, 85, 5, (0, 0, 3))
    assert zone.pagesets == [Pageset(1, 4, 7), Pageset(0, 4, 7)]
    assert text.start.block_types["DMA32"]["CMA"] == 2
    assert text.start.pageblock_order == 9
    assert text.start.node["nr_inactive_anon"] == 4
    assert text.stop.vmstat["pswpout"] == 100
    assert text.start.meminfo["SwapTotal"] == 8192


def test_the_page_map(tmp_path: Path) -> None:
    text = read(tmp_path, kernel_text())
    assert bytes(text.map.text).decode() == page_map(USED)
    assert text.map.block_pages == BLOCK
    assert list(text.map.migratetype) == [0, 1, 1, 1, 1, 4, 4, 1]


def test_a_map_that_ends_early_ends_in_holes(tmp_path: Path) -> None:
    lines = kernel_text().splitlines()
    last = next(line for line in lines if line.startswith(f"{PAGES - BLOCK} "))
    text = read(tmp_path, kernel_text().replace(last, last[:-100]))
    assert bytes(text.map.text[-100:]) == b" " * 100


def test_demands(tmp_path: Path) -> None:
    text = read(tmp_path, kernel_text())
    whole, pieces = text.demands
    assert (whole.whole, whole.ok, whole.first_ok, whole.tries, whole.latency_ms) == (True, True, False, 2, 300.0)
    assert whole.blamed() == {"m:bdev+jbd": 2, "T:anon+pinned": 1}
    assert whole.snap.scan["base"] == AREA
    assert whole.attempts[0].start_s == pytest.approx(6.0)
    assert (pieces.whole, pieces.pieces, pieces.got, pieces.ok, pieces.first_ok) == (False, 2, 2, True, True)
    assert text.end is not None
    assert [snap.tag for snap in text.snaps()] == ["W0", "P1", "end"]


def test_a_demand_cut_off_by_the_end(tmp_path: Path) -> None:
    text = read(tmp_path, kernel_text(demands=DEMANDS.rpartition("DEMAND P1")[0]))
    assert [demand.tag for demand in text.demands] == ["W0", "P1"]
    assert text.demands[1].ok
    assert text.end is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("MAP-BEGIN", "MAPBEGIN", "no section MAP"),
        ("DEMAND-BEGIN", "", "no section DEMAND"),
        ("START-END", "", "START has no end"),
        ("BOOT ", "BOOTED ", "no line BOOT"),
        ("0 DMA32 0 R", "0 DMA32 0 ?", "not a line of the page map"),
        ("SNAP W0 t=5.900", "SNAP W0", "is damaged"),
        ("FAILAGG W0 m:bdev+jbd=2", "FAILAGG W0 m:bdev+jbd", "is damaged"),
        ("ATT P1 t=7.100", "ATT P9 t=7.100", "no SNAP P9 before it"),
    ],
)
def test_damage_is_one_sentence_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(KernelTextError, match=said) as error:
        read(tmp_path, kernel_text().replace(old, new))
    assert "drawn.kernel.txt" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_text_beside_a_trace(tmp_path: Path) -> None:
    (tmp_path / "a.kernel.txt").write_text("")
    for name in ("a.ftrace", "a.ftrace.xz", "a.ftrace.gz"):
        assert text_beside(tmp_path / name) == tmp_path / "a.kernel.txt"
    with pytest.raises(KernelTextError, match="no b.kernel.txt beside it"):
        text_beside(tmp_path / "b.ftrace.xz")
    with pytest.raises(KernelTextError, match="cannot be read"):
        read_kernel_text(tmp_path / "c.kernel.txt")


def test_a_snap_without_demand_in_the_middle_is_kept(tmp_path: Path) -> None:
    text = read(tmp_path, kernel_text(demands=snap("x", 1.0) + DEMANDS))
    assert [demand.tag for demand in text.demands] == ["x", "W0", "P1"]
