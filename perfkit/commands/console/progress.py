"""Progress of a run on stderr: a bar on a terminal, otherwise one line per stage."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import IO, Any, TypeAlias, cast

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

from perfkit.render.opening import wrapped
from perfkit.schema import units
from perfkit.schema.printable import printable

_QUIET_SECONDS = 1.0
_REFRESH_SECONDS = 0.1
TOLD_SECONDS = 10.0
"""Between two lines about the same stage where there is no terminal."""
_SEEN_SECONDS = 2.0
"""Between two looks of the same line on a terminal; nothing shorter is worth a line."""
_CLEAR = "\x1b[K"

Wait: TypeAlias = Callable[[float], bool]
"""Sleeps for so many seconds, and says whether it is time to end."""


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
    """The console that shows progress. What asks for colour (FORCE_COLOR, a notebook) makes no terminal of a pipe."""
    is_terminal = None if sys.stderr.isatty() else False
    return Console(file=cast(IO[str], _Stderr()), highlight=False, force_terminal=is_terminal, force_jupyter=False)


def tell(text: str, console: Console | None = None) -> None:
    """Say something on stderr: in lines that a terminal has room for, and in one where there is none."""
    console = console or stderr_console()
    for line in wrapped(text, console.width if console.is_terminal else None):
        console.file.write(f"{line}\n")


def still_bar(console: Console, *columns: ProgressColumn) -> Progress:
    """A bar that is drawn only when asked and removed at the end; disabled without a terminal."""
    return Progress(*columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal)


class Waiting:
    """Calls `tell` with `20 s so far` every so many seconds, from a thread of its own, until it is stopped."""

    def __init__(self, tell: Callable[[str], None], wait: Wait | None = None, seconds: float = TOLD_SECONDS) -> None:
        self.has_told = False
        self._tell, self._end, self._seconds = tell, threading.Event(), seconds
        self._began = time.monotonic()
        self._wait = wait or self._end.wait
        self._thread = threading.Thread(target=self._go_on, name="progress", daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        while not self._wait(self._seconds):
            self.has_told = True
            self._tell(f"{time.monotonic() - self._began:.0f} s so far")

    def stop(self) -> None:
        """End the thread, and wait until it has ended."""
        self._end.set()
        self._thread.join()


class StageProgress:
    """Shows stages of work and their steps; without a terminal a line for each stage, and one every ten seconds.

    It draws when called, and from a thread only in stages in which nothing is measured.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console or stderr_console(), clock
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = still_bar(self._console, SpinnerColumn(), *columns)
        self._task = self._bar.add_task("", total=None, visible=False)
        self._name, self._steps, self._done = "", 0, 0
        self._began = self._told = 0.0
        self._waiting: Waiting | None = None

    def __enter__(self) -> StageProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._bar.stop()

    def stage(self, name: str, steps: int = 0, *, is_measured: bool = False) -> None:
        """Begin a stage of `steps` steps (0: not divided into steps). `is_measured`: no thread may run beside it."""
        self._stop()
        self._name, self._steps, self._done = name, steps, 0
        self._began = self._told = self._clock()
        if self._bar.disable:
            self._console.print(f"{name}, {steps}" if steps else name, markup=False)
        else:
            self._bar.reset(self._task, description=name, total=steps or None, visible=True)
            self._bar.refresh()
        if not is_measured:
            self._waiting = Waiting(lambda _: self._say_how_far(), seconds=_seconds(self._console))

    def advance(self) -> None:
        """Count one more step of the stage."""
        self._done += 1
        if self._bar.disable and self._clock() - self._told >= TOLD_SECONDS:
            self._say_how_far()
        self._bar.advance(self._task)
        self._bar.refresh()

    def _say_how_far(self) -> None:
        if not self._bar.disable:
            self._bar.refresh()
            return
        self._told = self._clock()
        done = f", {self._done} of {self._steps}" if self._steps else f", {self._done} done" if self._done else ""
        self._console.print(f"{self._name}{done}, {self._told - self._began:.0f} s so far", markup=False)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None


def _seconds(console: Console) -> float:
    """Between two looks of what goes on."""
    return _SEEN_SECONDS if console.is_terminal else TOLD_SECONDS


@contextmanager
def going_on(what: str, console: Console | None = None, wait: Wait | None = None) -> Iterator[None]:
    """Say on stderr how long the body has been going on: in one line of a terminal from two seconds on, which is taken
    away at the end; without a terminal a line every ten seconds.

    It writes plain text, which takes some 50 us: steps may be measured in another process meanwhile.
    """
    console = console or stderr_console()
    text = printable(what)

    def tell(so_far: str) -> None:
        line = f"{text}, {so_far}"
        if console.is_terminal:
            console.file.write(f"\r{line[: console.width - 1]}{_CLEAR}")
        else:
            console.file.write(f"{line}\n")
        console.file.flush()

    waiting = Waiting(tell, wait, _seconds(console))
    try:
        yield
    finally:
        waiting.stop()
        if console.is_terminal and waiting.has_told:
            console.file.write(f"\r{_CLEAR}")
            console.file.flush()


def attributing(events: int) -> AbstractContextManager[None]:
    """Say how long events have been attributed."""
    return going_on(f"attributing {events:,} events")


@contextmanager
def reading(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on stderr when reading a file takes longer than a second; without a terminal a line every 10 s."""
    columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    console = stderr_console()
    bar = still_bar(console, TextColumn("reading {task.description}"), *columns)
    task = bar.add_task(escape(printable(name)), total=None)
    begin = shown = time.monotonic()

    def advance(done: int, total: int | None) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - begin < _QUIET_SECONDS or now - shown < _REFRESH_SECONDS:
            return
        if bar.disable:
            if now - shown >= TOLD_SECONDS:
                of = f" of {units.size(total)}" if total else ""
                console.print(f"reading {printable(name)}, {units.size(done)}{of}", markup=False)
                shown = now
            return
        shown = now
        bar.start()
        bar.update(task, completed=done, total=total)
        bar.refresh()

    try:
        yield advance
    finally:
        bar.stop()
