"""Progress of a run on stderr: a bar on a terminal, otherwise one line per stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from perfkit.schema.printable import printable

_MANY_EVENTS = 300_000
"""Takes about a second."""
_QUIET_SECONDS = 1.0
_REFRESH_SECONDS = 0.1


class _Stderr:
    """Standard error without write errors: a closed terminal must not lose what is measured."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        """Write the text; ignore errors."""
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush; ignore errors."""
        with suppress(OSError):
            sys.stderr.flush()


def stderr_console() -> Console:
    """The console that shows progress."""
    return Console(file=cast(IO[str], _Stderr()), highlight=False)


def still_bar(console: Console, *columns: ProgressColumn) -> Progress:
    """A bar that is drawn only when asked and removed at the end; disabled without a terminal."""
    return Progress(*columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal)


class StageProgress:
    """Shows stages of work and their steps. It draws only when called: no thread runs beside a measurement."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or stderr_console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = still_bar(self._console, SpinnerColumn(), *columns)
        self._task = self._bar.add_task("", total=None, visible=False)

    def __enter__(self) -> StageProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage(self, name: str, steps: int = 0) -> None:
        """Begin a stage of `steps` steps (0: not divided into steps)."""
        if self._bar.disable:
            self._console.print(f"{name}, {steps}" if steps else name, markup=False)
            return
        self._bar.reset(self._task, description=name, total=steps or None, visible=True)
        self._bar.refresh()

    def advance(self) -> None:
        """Count one more step of the stage."""
        self._bar.advance(self._task)
        self._bar.refresh()


@contextmanager
def attributing(events: int, console: Console | None = None) -> Iterator[None]:
    """Show a status line on stderr while very many events are attributed; nothing without a terminal."""
    console = console or stderr_console()
    if events < _MANY_EVENTS or not console.is_terminal:
        yield
        return
    with console.status(f"attributing {events:,} events"):
        yield


@contextmanager
def writing(name: str, events: int, console: Console | None = None) -> Iterator[None]:
    """Show a status line on stderr while very many events are written; nothing without a terminal."""
    console = console or stderr_console()
    if events < _MANY_EVENTS or not console.is_terminal:
        yield
        return
    with console.status(f"writing {events:,} events to {escape(printable(name))}"):
        yield


@contextmanager
def reading(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on stderr when reading a file takes longer than a second; nothing without a terminal."""
    columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    bar = still_bar(stderr_console(), TextColumn("reading {task.description}"), *columns)
    task = bar.add_task(escape(printable(name)), total=None)
    begin = shown = time.monotonic()

    def advance(done: int, total: int | None) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - begin < _QUIET_SECONDS or now - shown < _REFRESH_SECONDS:
            return
        shown = now
        bar.start()
        bar.update(task, completed=done, total=total)
        bar.refresh()

    try:
        yield advance
    finally:
        bar.stop()
