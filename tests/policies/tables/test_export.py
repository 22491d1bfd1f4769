"""Tables as files: JSON gives back the same table, and whatever is not a table is refused with one sentence."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings

from cma_gym.mm.mmzone import Action, RequestKind
from cma_gym.policies.tables.export import (
    FORMAT,
    from_json,
    load_table,
    to_csv,
    to_json,
    to_markdown,
    write_all,
    write_table,
)
from cma_gym.policies.tables.table import DecisionTable, TableError
from tests.policies.tables.random_tables import tables

TABLE = DecisionTable(
    "small",
    (("kind", (4, 5)), ("cma_free_64ths", (12, 32))),
    np.array([0, 0, 0, 0, 1, 2, 0, 0, 0]),
    dont_care=np.array([1, 0, 0, 0, 0, 0, 0, 0, 0], dtype=bool),
    visits=np.arange(9),
    provenance={"seeds": [1, 2], "git_revision": "abc"},
)


@settings(max_examples=60, deadline=None)
@given(table=tables())
def test_json_gives_back_the_same_table(table):
    text = to_json(table)
    again = from_json(text)
    assert again == table
    assert to_json(again) == text
    assert again.params().tobytes() == table.params().tobytes()
    assert from_json(text.encode()) == table


@settings(max_examples=20, deadline=None)
@given(table=tables())
def test_csv_has_one_row_a_cell_with_its_ranges(table):
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [int(row["action"]) for row in rows] == table.cells.tolist()
    for feature in table.features:
        ends = {(int(row[f"{feature.name}_min"]), int(row[f"{feature.name}_max"])) for row in rows}
        assert sorted(ends) == [feature.bounds(which) for which in range(feature.nr_bins)]


@settings(max_examples=20, deadline=None)
@given(table=tables())
def test_markdown_tables_are_whole(table):
    """Expect to find as many columns in each row as in the head of its table."""
    columns = 0
    for line in to_markdown(table).splitlines():
        cells = line.replace("\\|", "").count("|") if line.startswith("|") else 0
        assert columns in (0, cells) or cells == 0
        columns = cells


def test_markdown_shows_the_grid():
    page = to_markdown(TABLE)
    assert (
        "| cma_free_64ths | 0-11; 12-31; 32+ | 1/64 | free_cma * 64 / cma_pages | free_cma: NR_FREE_CMA_PAGES" in page
    )
    assert "### ANON, COW, SWAPIN, SHMEM\n\n| cma_free_64ths | 0-11 | 12-31 | 32+ |" in page
    assert (
        "### FILE\n\n| cma_free_64ths | 0-11 | 12-31 | 32+ |\n| --- | --- | --- | --- |\n|  | `-` | `f` | `C` |" in page
    )
    assert "NORMAL_ONLY 7, NORMAL_FIRST 1, CMA_FIRST 1" in page
    assert "`?`" in page


def test_json_names_its_numbers():
    values = json.loads(to_json(TABLE))
    assert values["format"] == FORMAT
    assert values["actions"] == [action.name for action in Action]
    assert values["kinds"] == [kind.name for kind in RequestKind]
    assert values["features"] == [{"name": "kind", "edges": [4, 5]}, {"name": "cma_free_64ths", "edges": [12, 32]}]


def test_all_forms_are_written_and_no_scraps_stay(tmp_path):
    paths = write_all(TABLE, tmp_path / "out", "best")
    assert [path.name for path in paths] == ["best.json", "best.csv", "best.md", "best.h"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
    assert load_table(paths[0]) == TABLE
    with pytest.raises(TableError, match="cannot be written as '.xls'; choose from .json"):
        write_table(TABLE, tmp_path / "x.xls")


def test_a_failed_write_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    path = write_table(TABLE, tmp_path / "t.json")
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_table(TABLE.replace(np.zeros(9, dtype=int)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_too_large_to_be_read_is_not_written():
    with pytest.raises(TableError, match="shorten its provenance"):
        to_json(TABLE.replace(provenance={"x": "y" * (1 << 20)}))


def changed(**values):
    plain = json.loads(to_json(TABLE)) | values
    return json.dumps({key: value for key, value in plain.items() if value is not ...})


MALFORMED = {
    "empty": ("", "not valid JSON"),
    "truncated": (to_json(TABLE)[:-40], "not valid JSON .*perhaps cut off"),
    "not a map": ("[1, 2]", "format is 'list'"),
    "another format": (changed(format="cma-gym-table-9"), "format is 'cma-gym-table-9', not 'cma-gym-table-1'"),
    "no format": (changed(format=...), "format is None"),
    "key missing": (changed(visits=...), "key 'visits' is missing"),
    "key unknown": (changed(cell=[]), "unknown key 'cell'; did you mean 'cells'"),
    "key twice": (to_json(TABLE).replace('"visits"', '"cells"'), "key 'cells' stands twice"),
    "other actions": (changed(actions=["A", "B", "C"]), "its actions are not NORMAL_ONLY"),
    "other kinds": (changed(kinds=["ANON"]), "its kinds are not ANON, COW"),
    "name not text": (changed(name=5), "'name' is not text"),
    "name with a path": (changed(name="../x"), "rename it"),
    "features not a list": (changed(features={"kind": [1]}), "'features' is not a list"),
    "feature not a map": (changed(features=["kind"]), "feature 0 is not a map of 'name' and 'edges'"),
    "feature unknown": (changed(features=[{"name": "kin", "edges": [1]}]), "no feature 'kin'; did you mean 'kind'"),
    "feature a list": (changed(features=[{"name": ["kind"], "edges": [1]}]), "no feature"),
    "edges not ascending": (changed(features=[{"name": "kind", "edges": [5, 4]}]), "edge 4 after 5 is not ascending"),
    "edges text": (changed(features=[{"name": "kind", "edges": "12"}]), "no list of edges"),
    "edge not an integer": (changed(features=[{"name": "kind", "edges": [1.5]}]), "edge 1.5 is not an integer"),
    "too few cells": (changed(cells=[0] * 8), "cells has 8 entries .* make 9"),
    "cell out of range": (changed(cells=[0] * 8 + [3]), "entry 8 is 3"),
    "cell huge": (changed(cells=[1 << 70] + [0] * 8), "entry 0 is .* not a 64-bit integer"),
    "cell true": (changed(cells=[True] + [0] * 8), "entry 0 is 'True', not a 64-bit integer"),
    "cells text": (changed(cells="000000000"), "'cells' is not a list"),
    "cells missing": (changed(cells=None), "'cells' is not a list"),
    "dont_care out of range": (changed(dont_care=[2] * 9), "dont_care: entry 0 is 2"),
    "visits negative": (changed(visits=[-1] * 9), "visits: entry 0 is -1"),
    "too many cells": (
        changed(features=[{"name": name, "edges": list(range(1, 65))} for name in ("cma_free_64ths", "demand_ms")]),
        "more than 4096 cells at feature 'demand_ms'",
    ),
    "kernel not a map": (changed(kernel=[]), "'kernel' is not a map"),
    "kernel unknown": (changed(kernel={"lends": True}), "no switch 'lends'; did you mean 'lend'"),
    "provenance not a map": (changed(provenance="x"), "'provenance' is not a map"),
    "NaN": (to_json(TABLE).replace('"abc"', "NaN"), "holds NaN"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "digits": ('{"format": ' + "9" * 5000 + "}", "not valid JSON"),
    "binary": (b"\xff\xfe\x00\x01" * 10, "not valid JSON"),
    "huge": (" " * ((1 << 20) + 1), "larger than 1 MiB"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_with_one_sentence(case, tmp_path):
    text, message = MALFORMED[case]
    path = tmp_path / "t.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TableError, match=message) as caught:
        load_table(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    assert len(said) < 1000


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(TableError, match="cannot be read .*check the path"):
            load_table(path)
