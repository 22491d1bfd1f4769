"""A CSV file of progress that survives a kill: one flushed line per row, cut back to the checkpoint on resume."""

from __future__ import annotations

import csv
from pathlib import Path


class ProgressFile:
    """Rows of numbers under fixed column names; nan is written as an empty cell."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self.path = path
        self.columns = columns

    def start(self) -> None:
        """Begin an empty file."""
        with self.path.open("w", newline="") as out:
            csv.writer(out).writerow(self.columns)

    def append(self, row: dict[str, float]) -> None:
        """Add one row and hand it to the system at once."""
        with self.path.open("a", newline="") as out:
            csv.writer(out).writerow([_cell(row[name]) for name in self.columns])

    def continue_after(self, column: str, last: int) -> None:
        """Drop rows whose `column` lies beyond `last`: they were written after the checkpoint and come again."""
        rows = self.read()
        self.start()
        for row in rows:
            if row.get(column) and int(float(row[column])) <= last:
                self.append({name: _number(row.get(name)) for name in self.columns})

    def read(self) -> list[dict[str, str]]:
        """All rows, as text by column; none if the file is missing."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))


def _cell(value: float) -> str:
    return "" if value != value else repr(value)


def _number(text: str | None) -> float:
    if not text:
        return float("nan")
    return int(text) if text.lstrip("-").isdigit() else float(text)
