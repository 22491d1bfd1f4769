"""What the user sees: one console, tables, progress bars; and files that are written completely or not at all."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

_PLAIN_WIDTH = 160
"""Columns when the output is a file or a pipe, where nothing tells the width."""

_SILENT_S = 60
"""After so long without a line, one says how far the work is, where no terminal is watching."""

_TELLING = 0.05
"""Share of the work before which its pace says nothing: the first part waits for the compiler."""

console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False, soft_wrap=True)
"""Results go here (stdout)."""
notes = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress and remarks go here (stderr)."""


class Interrupt:
    """Ctrl-C that cannot get lost.

    A KeyboardInterrupt raised while Numba looks at the types of its arguments is swallowed there. So the signal is also
    remembered, and every step of a progress bar asks for it.
    """

    def __init__(self) -> None:
        self.pending = False

    def install(self) -> None:
        """Take over the signal, in the main thread of a command."""
        signal.signal(signal.SIGINT, self._received)

    def _received(self, number: int, frame: object) -> None:
        self.pending = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was swallowed, if there was one."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt


interrupt = Interrupt()


class Task:
    """One progress bar; a plain line now and then where no terminal is watching."""

    def __init__(self, title: str, total: float, progress: Progress | None) -> None:
        self.title = title
        self.total = total
        self.done = 0.0
        self._progress = progress
        self._bar = progress.add_task(title, total=total) if progress else None
        self._said = 0
        self._began = self._last = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Add `amount` to what is done; `note` is shown behind the title."""
        self.update(self.done + amount, note)

    def update(self, done: float, note: str = "") -> None:
        """Set what is done; `note` is shown behind the title."""
        interrupt.check()
        self.done = done
        title = f"{self.title} {note}".rstrip()
        if self._progress is not None and self._bar is not None:
            self._progress.update(self._bar, completed=done, description=title)
            return
        quarter = int(4 * done / self.total) if self.total else 4
        if quarter > self._said or time.monotonic() - self._last > _SILENT_S:
            self._said, self._last = quarter, time.monotonic()
            share = min(1.0, done / self.total) if self.total else 1.0
            notes.print(f"  {title}: {round(100 * share)} %{self._time_left(share)}", markup=False)

    def _time_left(self, share: float) -> str:
        left_s = (time.monotonic() - self._began) * (1 - share) / share if share else 0.0
        return f", about {left_s / 60:.0f} min left" if left_s > _SILENT_S and share > _TELLING else ""


@contextmanager
def progress(title: str, total: float) -> Iterator[Task]:
    """Show how far a piece of work is and how long it may still take."""
    if not notes.is_terminal:
        yield Task(title, total, None)
        return
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=notes, transient=True) as bars:
        yield Task(title, total, bars)


def headline(text: str) -> None:
    """Announce a step."""
    notes.print(f"[bold]{text}[/bold]")


def note(text: str) -> None:
    """Say something about a step."""
    notes.print(f"  {text}", markup=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], text: Collection[int] = (0,)) -> None:
    """Print a table; the columns at the positions in `text` hold words, the others figures."""
    grid = Table(title=escape(title), title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, name in enumerate(columns):
        grid.add_column(name, justify="left" if index in text else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*(escape(cell) for cell in row))
    # A narrow terminal wraps the lines; figures are never cut off.
    console.print(grid, crop=False, width=max(console.width, console.measure(grid).maximum))
