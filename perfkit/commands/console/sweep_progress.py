"""How far a sweep is, on stderr: a table that fills and a bar where there is a terminal, a line a point elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from perfkit.commands.console.progress import stderr_console
from perfkit.schema import units
from perfkit.schema.campaign import Turn
from perfkit.schema.sweep import SweepRow

_NUMBERS = ("median", "CV", "peak memory", "took")
_BAR_WIDTH = 40
_ROOM_BELOW = 5
"""Lines under the table: the bar, the running point, and air."""


class SweepProgress:
    """Draws only when a point begins or ends: no thread of its own runs beside the measurement."""

    def __init__(self, total: int, there: int, varied: Sequence[str]) -> None:
        """`there` of `total` turns have a result from an earlier session."""
        self._console = stderr_console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._total, self._there, self._varied = total, there, varied
        self._lines: list[tuple[str, ...]] = []
        """The varied fields, the repeat, the outcome, and the numbers."""
        self._waiting: list[Turn] = []
        self._seconds: dict[str, float] = {}
        """Point -> how long its last run took."""
        self._began = time.monotonic()

    def __enter__(self) -> SweepProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def expect(self, turns: Sequence[Turn]) -> None:
        """What is to come."""
        self._waiting = list(turns)
        if self._there:
            self._console.print(f"{self._there} of {self._total} results are there", markup=False)

    def start(self, turn: Turn) -> None:
        """A turn begins."""
        self._began = time.monotonic()
        if self._console.is_terminal:
            self._draw(f"running {self._label(turn)}, since {datetime.now():%H:%M:%S}")

    def finish(self, turn: Turn, row: SweepRow) -> None:
        """A turn has ended, or was left out."""
        self._waiting.remove(turn)
        if row.process_s is not None:
            self._seconds[turn.point.key] = row.process_s
        self._lines.append((*self._values(turn), str(turn.repeat), row.outcome, *_cells(row)))
        if self._console.is_terminal:
            self._draw("")
            return
        facts = [f"{name} {text}" for name, text in zip(_NUMBERS, _cells(row), strict=True) if text]
        done = self._total - len(self._waiting)
        line = f"[{done}/{self._total}] {self._label(turn)}: {', '.join([row.outcome, *facts])}{self._left(', ')}"
        self._console.print(line, markup=False, soft_wrap=True)

    def _draw(self, running: str) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in (*(name.replace("_", " ") for name in self._varied), "repeat", "outcome"):
            table.add_column(heading, overflow="ellipsis")
        for heading in _NUMBERS:
            table.add_column(heading, justify="right", no_wrap=True)
        for line in self._lines[-max(1, self._console.height - _ROOM_BELOW) :]:
            table.add_row(*map(Text, line), style="" if "ok" in line else "yellow")
        done = self._total - len(self._waiting)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=self._total, completed=done, width=_BAR_WIDTH), f"{done}/{self._total}", self._left("")
        )
        self._live.update(Group(table, bar, Text(running, style="dim")), refresh=True)

    def _left(self, before: str) -> str:
        """How long the rest will take: a point that ran before as long as then, another as long as the mean."""
        if not self._waiting or not self._seconds:
            return ""
        mean = sum(self._seconds.values()) / len(self._seconds)
        seconds = sum(self._seconds.get(turn.point.key, mean) for turn in self._waiting)
        return f"{before}about {units.rough_duration(seconds)} left"

    def _label(self, turn: Turn) -> str:
        config = turn.point.config
        values = [f"{n.replace('_', '-')} {v}" for n, v in zip(self._varied, self._values(turn), strict=True)]
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
