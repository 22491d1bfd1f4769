"""The C header: compiled, as a kernel and as C99, and asked about every cell."""

import itertools
import shutil
import subprocess

import numpy as np
import pytest

from cma_gym.policies.tables.export import to_c_header, to_json
from cma_gym.policies.tables.export_c import c_prefix, selftest_rows
from cma_gym.policies.tables.table import MAX_CELLS, DecisionTable

GCC = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(GCC is None, reason="no C compiler")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wcomment", "-Wsign-compare", "-Wtrigraphs"]

KERNEL_TYPES = """\
#ifndef _LINUX_TYPES_H
#define _LINUX_TYPES_H
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef signed int s32;
#endif
"""

HOSTILE = {
    "note */ int x; /*": "ends a comment */ #error no \\",
    "trigraph": "??/ ??) \u2028 \x00 äöü " + "long " * 100,
    "nested": {"a": [1, None, 2.5]},
}


def a_table(name, features, seed=0, **changes):
    blank = DecisionTable.constant(name, features)
    cells = np.random.default_rng(seed).integers(0, 3, blank.nr_cells, dtype=np.uint8)
    return blank.replace(cells, **changes)


TABLES = {
    "default": DecisionTable.constant("default").replace(
        np.random.default_rng(3).integers(0, 3, 2560), provenance=HOSTILE, summary="a */ b /* c"
    ),
    "one cell more than a byte": a_table("Odd-Name", [("kind", (1, 4, 5, 7))]),
    "two cells": a_table("two", [("cma_busy", (1,))]),
    "largest": a_table(
        "largest", [(name, tuple(range(2, 32, 2))) for name in ("run_pages", "cma_free_64ths", "normal_free_16ths")]
    ),
    "many edges": a_table("many", [("demand_ms", tuple(range(1, MAX_CELLS)))]),
}


def compile_and_run(table, folder, *flags):
    """Builds a program that reads feature values and prints actions; returns its answers for every row asked."""
    prefix = c_prefix(table)
    upper = prefix.upper()
    (folder / "table.h").write_text(to_c_header(table))
    (folder / "main.c").write_text(f"""\
#include "table.h"
#include "table.h"
#include <stdio.h>
int main(void)
{{
	{prefix}_s32 feature[{upper}_NR_FEATURES];
	int i, value;

	if ({prefix}_selftest())
		return {prefix}_selftest();
	for (;;) {{
		for (i = 0; i < {upper}_NR_FEATURES; i++) {{
			if (scanf("%d", &value) != 1)
				return 0;
			feature[i] = value;
		}}
		printf("%d\\n", {prefix}_decide(feature));
	}}
}}
""")
    program = folder / "main"
    subprocess.run([GCC, *STRICT, *flags, "-o", program, folder / "main.c"], check=True, timeout=60)
    rows = ask_about(table)
    text = "\n".join(" ".join(map(str, row)) for row in rows)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True, timeout=60)
    return rows, [int(line) for line in done.stdout.split()]


def ask_about(table):
    """Every cell at the lower and at the upper end of all its bins."""
    ends = [table.bounds_of(cell) for cell in range(table.nr_cells)]
    return [tuple(bounds[end] for bounds in cell) for end, cell in itertools.product((0, 1), ends)]


@pytest.mark.parametrize("name", TABLES)
def test_c_agrees_with_python_on_every_cell(name, tmp_path):
    table = TABLES[name]
    rows, answers = compile_and_run(table, tmp_path, "-O2")
    assert len(rows) == 2 * table.nr_cells
    assert answers == table.cells.tolist() * 2


@pytest.mark.parametrize("name", TABLES)
def test_it_compiles_in_a_kernel(name, tmp_path):
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux" / "types.h").write_text(KERNEL_TYPES)
    table = TABLES[name]
    _, answers = compile_and_run(table, tmp_path, "-D__KERNEL__", f"-I{tmp_path}")
    assert answers == table.cells.tolist() * 2


@pytest.mark.parametrize("broken", [0, 1])
def test_the_self_test_notices_a_wrong_cell(tmp_path, broken):
    """Expect to fail with the number of a row: the header of one table with the cells of its opposite."""
    table = a_table("t", [("kind", (4, 5))]).replace(np.array([0, 1, 2]))
    text = to_c_header(table)
    if broken:
        packed = "\t0x24,\n"  # 0 | 1 << 2 | 2 << 4
        assert text.count(packed) == 1
        text = text.replace(packed, "\t0x20,\n")
    (tmp_path / "main.c").write_text(text + "int main(void) { return placement_t_selftest(); }\n")
    subprocess.run([GCC, *STRICT, "-o", tmp_path / "main", tmp_path / "main.c"], check=True, timeout=60)
    code = subprocess.run([tmp_path / "main"], check=False, timeout=60).returncode
    assert (code != 0) == bool(broken)


def test_the_header_has_no_floating_point_and_no_table_above_a_kibibyte():
    for table in TABLES.values():
        text = to_c_header(table)
        code = "\n".join(line for line in text.splitlines() if not line.startswith((" *", "/*")))
        assert "float" not in code and "double" not in code
        assert f"_cells[{table.nr_bytes}]" in code
        assert table.nr_bytes <= 1024
        assert text.isascii()


def test_self_test_rows_cover_both_sides_of_every_edge():
    table = TABLES["default"]
    rows = selftest_rows(table)
    assert len(rows) <= 256
    for at, feature in enumerate(table.features):
        values = {row[0][at] for row in rows}
        assert {side for edge in feature.edges for side in (edge - 1, edge)} <= values
    assert len(selftest_rows(TABLES["many edges"])) <= 256


def test_the_header_is_a_function_of_the_table_alone():
    table = TABLES["default"]
    assert to_c_header(table) == to_c_header(table.replace())
    assert to_json(table) == to_json(table.replace())
