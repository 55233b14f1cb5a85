"""Progress bars in a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Report = Callable[[str, int, int, str], None]
"""Called with (activity, steps done, steps in all, a short note)."""

Count = Callable[[int, int], None]
"""Called with (done, in all)."""

_EVERY = 15.0  # seconds between two lines where the output is no terminal


def silent(what: str, done: int, of: int, note: str) -> None:
    """A report that goes nowhere."""


def counted(report: Report, what: str) -> Count:
    """A report bound to one activity, called with (done, of)."""
    return lambda done, of: report(what, done, of, "")


class Bars:
    """A progress bar per activity. A context manager; hand its `report` to the work."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said = 0.0

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def report(self, what: str, done: int, of: int, note: str) -> None:
        """Show that `done` of `of` steps of `what` are done."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=of, note=note)
        self._progress.update(self._tasks[what], completed=done, note=note)
        if not self._console.is_terminal and (done == of or time.monotonic() - self._said > _EVERY):
            self._said = time.monotonic()
            self._console.print(f"{what} {done}/{of} {note}".rstrip())


@contextmanager
def steps(console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is being done now, where no count is known."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda what: bar.update(task, description=what)
