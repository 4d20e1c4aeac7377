"""Progress of a campaign of processes on stderr: a bar on a terminal, one line per process elsewhere.

Both draw when a process begins or ends, and while it runs seldom: drawing takes a millisecond of one CPU, which the
measured process may need. Without a terminal a line says every ten seconds how long it has run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from perfkit.commands.console.progress import TOLD_SECONDS, Wait, Waiting, stderr_console, still_bar
from perfkit.schema import units
from perfkit.schema.campaign import Finished, Turn
from perfkit.schema.config import title_of
from perfkit.schema.printable import printable
from perfkit.schema.sweep import SweepRow

_NUMBERS = ("median", "CV", "peak memory", "took")
_BAR_WIDTH = 40
_ROOM_BELOW = 5
"""Lines below the table: the bar, the running point and empty lines."""


class TimeLeft:
    """Predicts how long turns take: a point takes as long as its last run, a new point as long as the mean."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        """By the point's key."""

    def took(self, turn: Turn, seconds: float) -> None:
        """A turn has ended."""
        self._seconds[turn.point.key] = seconds

    def text(self, waiting: Sequence[Turn]) -> str:
        """`about 4 min left`; empty if nothing is known yet or no turn is left."""
        if not waiting or not self._seconds:
            return ""
        mean = sum(self._seconds.values()) / len(self._seconds)
        seconds = sum(self._seconds.get(turn.point.key, mean) for turn in waiting)
        return f"about {units.rough_duration(seconds)} left"


class CampaignProgress:
    """Shows processes one by one, for `run --repeats` and `compare --run`."""

    def __init__(self, turns: Sequence[Turn], wait: Wait | None = None) -> None:
        self.done = 0
        self._wait = wait
        self._waiting: Waiting | None = None
        self._turns, self._left = turns, TimeLeft()
        self._console = stderr_console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = still_bar(self._console, *columns)
        self._task = self._bar.add_task("", total=len(turns))

    def __enter__(self) -> CampaignProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._bar.stop()

    def start(self, turn: Turn) -> None:
        """A process starts."""
        process = f"process {self.done + 1} of {len(self._turns)}: {turn.name}"
        text = ", ".join(filter(None, [process, self._left.text(self._turns[self.done :])]))
        if self._bar.disable:
            self._console.print(text, markup=False)
        self._bar.update(self._task, description=text)
        self._bar.refresh()

        def tell(so_far: str) -> None:
            if self._bar.disable:
                self._console.print(f"{process}, {so_far}", markup=False)
            self._bar.refresh()

        self._waiting = Waiting(tell, self._wait)

    def finish(self, turn: Turn, finished: Finished) -> None:
        """The process has ended."""
        self._stop()
        self.done += 1
        self._left.took(turn, finished.wall_s)
        if finished.outcome != "ok":
            self._console.print(f"{finished.outcome}: {printable(finished.last_words)}", markup=False, soft_wrap=True)
        self._bar.advance(self._task)
        self._bar.refresh()

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()


class SweepProgress:
    """Shows the results of a sweep: a growing table, or one line per run."""

    def __init__(
        self, total: int, there: int, varied: Sequence[str], *, is_beside: bool = True, wait: Wait | None = None
    ) -> None:
        """`there` of `total` turns have a result from an earlier session.

        is_beside: turns run in processes of their own. In this one, no thread may run beside them: call
        `still_running` between steps.
        """
        self._console = stderr_console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._total, self._there, self._varied = total, there, varied
        self._lines: list[tuple[str, ...]] = []
        """The varied fields, the repeat, the outcome, and the numbers."""
        self._turns_left: list[Turn] = []
        self._left = TimeLeft()
        self._is_beside, self._wait = is_beside, wait
        self._waiting: Waiting | None = None
        self._running, self._began, self._told = "", 0.0, 0.0

    def __enter__(self) -> SweepProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._live.stop()

    def expect(self, turns: Sequence[Turn]) -> None:
        """Learn which turns will run."""
        self._turns_left = list(turns)
        if self._there:
            self._console.print(f"{self._there} of {self._total} results exist already", markup=False)

    def start(self, turn: Turn) -> None:
        """A turn begins."""
        self._running = self._label(turn)
        self._began = self._told = time.monotonic()
        if self._console.is_terminal:
            self._draw(f"running {self._running}, since {datetime.now():%H:%M:%S}")
        if self._is_beside:
            self._waiting = Waiting(self._tell, self._wait)

    def still_running(self) -> None:
        """Say how long the turn has been running, where nothing was said for ten seconds."""
        now = time.monotonic()
        if now - self._told >= TOLD_SECONDS:
            self._told = now
            self._tell(f"{now - self._began:.0f} s so far")

    def _tell(self, so_far: str) -> None:
        if self._console.is_terminal:
            self._draw(f"running {self._running}, {so_far}")
            return
        done = self._total - len(self._turns_left)
        self._console.print(f"[{done}/{self._total}] {self._running}, {so_far}", markup=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()

    def finish(self, turn: Turn, row: SweepRow) -> None:
        """A turn has ended or was skipped."""
        self._stop()
        self._turns_left.remove(turn)
        if row.process_s is not None:
            self._left.took(turn, row.process_s)
        self._lines.append((*self._values(turn), str(turn.repeat), row.outcome, *_cells(row)))
        if self._console.is_terminal:
            self._draw("")
            return
        numbers = [f"{name} {text}" for name, text in zip(_NUMBERS, _cells(row), strict=True) if text]
        facts = ", ".join(filter(None, [row.outcome, *numbers, self._left.text(self._turns_left)]))
        done = self._total - len(self._turns_left)
        self._console.print(f"[{done}/{self._total}] {self._label(turn)}: {facts}", markup=False, soft_wrap=True)

    def _draw(self, running: str) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in (*(title_of(name) for name in self._varied), "repeat", "outcome"):
            table.add_column(heading, overflow="ellipsis")
        for heading in _NUMBERS:
            table.add_column(heading, justify="right", no_wrap=True)
        for line in self._lines[-max(1, self._console.height - _ROOM_BELOW) :]:
            table.add_row(*map(Text, line), style="" if "ok" in line else "yellow")
        done = self._total - len(self._turns_left)
        bar = Table.grid(padding=(0, 1))
        left = self._left.text(self._turns_left)
        bar.add_row(ProgressBar(total=self._total, completed=done, width=_BAR_WIDTH), f"{done}/{self._total}", left)
        self._live.update(Group(table, bar, Text(running, style="dim")), refresh=True)

    def _label(self, turn: Turn) -> str:
        config = turn.point.config
        values = [f"{title_of(n).replace(' ', '-')} {v}" for n, v in zip(self._varied, self._values(turn), strict=True)]
        repeat = [f"repeat {turn.repeat}"] if turn.repeat > 1 else []
        return ", ".join([*values, *repeat]) or f"{config.workload.name} {config.step.pass_type}"

    def _values(self, turn: Turn) -> tuple[str, ...]:
        return tuple(str(turn.point.config.value(name)) for name in self._varied)


def _cells(row: SweepRow) -> tuple[str, ...]:
    return (
        units.duration(row.median_s) if row.median_s is not None else "",
        units.percent(row.cv) if row.cv is not None else "",
        units.size(row.peak_memory_bytes) if row.peak_memory_bytes is not None else "",
        units.rough_duration(row.process_s) if row.process_s is not None else "",
    )
