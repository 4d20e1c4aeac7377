"""Files for other people's viewers. What writes them is loaded only where one was asked for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from perfkit import signals
from perfkit.commands.console import progress
from perfkit.commands.console.progress import tell
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema.own_files import RECORD_FILE

if TYPE_CHECKING:
    from perfkit.analysis.reports.page.pictures import Plot
    from perfkit.analysis.time.account import Account
    from perfkit.schema.page.pictures import Picture
    from perfkit.schema.record import RunRecord
    from perfkit.schema.report import Report
    from perfkit.schema.sweep import SweepRow
    from perfkit.trace.columns import Trace
    from perfkit.trace.detail_columns import Details

_Source = TypeVar("_Source")


class Perfetto:
    """Writes an account and its findings for ui.perfetto.dev when it is called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.was_called = False

    def __call__(self, account: Account, report: Report) -> None:
        """Write the file, completely or not at all. Raises UsageError where it cannot be, or is the trace itself."""
        self.was_called = True
        origin = account.trace.origin
        if origin is not None and self._path.exists() and self._path.samefile(origin.path):
            raise UsageError(f"--export-perfetto {self._path}: is the trace itself: name another file")
        with signals.at_once():
            from perfkit.export.perfetto.export import export

        details = _details(account.trace)
        what = f"writing {account.trace.facts.events:,} events to {self._path.name}"
        with progress.going_on(what), files.replacing(self._path) as file:
            export(account, report.findings, details, file, self._path.name)
        tell(f"wrote {self._path}: open it at https://ui.perfetto.dev")


def _details(trace: Trace) -> Details | None:
    """The file's counters and memory; None where it can have none, or cannot be read a second time."""
    from perfkit.trace.details import read_details

    can = trace.recording.capabilities
    if trace.origin is None or not (can.counters or can.memory_events):
        return None
    with progress.reading(trace.source) as advance:
        return read_details(trace, advance)


class TensorBoardRun:
    """The event file of a run, for TensorBoard's own tabs."""

    def __init__(self, folder: Path) -> None:
        with signals.at_once():  # before anything is measured
            from perfkit.export.tensorboard.runs import RunEvents

        self.events = RunEvents(folder)
        self._pictures: dict[str, Picture] = {}

    def also(self, account: Account, _: Report) -> None:
        """Remember the roofline of the trace, where it has one."""
        self._pictures |= _roofline(account)

    def finish(self, record: RunRecord, reports: Sequence[Report]) -> None:
        """Write results, tables and, of a profiled run, figures. What cannot be written is said on standard error."""
        from perfkit.analysis.reports.page import pictures

        is_profiled = record.config.measurement.profiler != "none"  # of others the step times are all, in SCALARS
        shown = _built(pictures.OF_RUNS, "steps", record) | self._pictures if is_profiled else {}
        try:
            self.events.finish(record, reports, _drawn(shown))
        except OSError as error:
            tell(f"TensorBoard's events are not complete: {error.strerror or error}")


class TensorBoard:
    """Writes what was analysed into a folder for TensorBoard: a run, a trace, a sweep.

    What was written of the same path before is replaced.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder = folder
        self._origin = str((path.parent if path.name == RECORD_FILE else path).resolve())
        self._pictures: dict[str, Picture] = {}

    def __call__(self, account: Account, _: Report) -> None:
        """Remember the roofline of the trace, where it has one."""
        self._pictures |= _roofline(account)

    def write(self, source: RunRecord | Sequence[SweepRow] | None, made: Sequence[Report]) -> None:
        """Write reports of a run, of the rows of a sweep or of a trace. Raises UsageError where that cannot be."""
        with signals.at_once():
            from perfkit.analysis.reports.page import pictures
            from perfkit.analysis.reports.sweep import varied
            from perfkit.export.tensorboard import runs
            from perfkit.schema.record import RunRecord

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if isinstance(source, RunRecord):
                shown = _built(pictures.OF_RUNS, "steps", source) | self._pictures
                instead = source.artifacts.get("tensorboard", "")
                runs.RunEvents(self._folder, self._origin, instead).finish(source, made, _drawn(shown))
            elif source is not None:
                [report] = made
                swept = pictures.Swept(source, tuple(varied(source)), tuple)
                drawn = _drawn(_built(pictures.OF_SWEEPS, "growth", swept))
                runs.write_sweep(self._folder, source, report, drawn, self._origin)
            else:
                runs.write_trace(self._folder, made, _drawn(self._pictures), self._origin)
            tell(f"wrote {self._folder}: tensorboard --logdir {shlex.quote(str(self._folder))}")
        except OSError as error:
            raise UsageError(f"{self._folder}: cannot be written: {error.strerror or error}") from error


def _roofline(account: Account) -> dict[str, Picture]:
    from perfkit.analysis.reports.page import pictures
    from perfkit.analysis.time.trace_table import View

    return _built(pictures.OF_TRACES, "roofline", pictures.Traced(account, View()))


def _built(some: Sequence[Plot[_Source]], name: str, source: _Source) -> dict[str, Picture]:
    """The picture that `--plot` draws under this name; none where the source has nothing to show."""
    [plot] = (plot for plot in some if plot.name == name)
    try:
        return {name: plot.build(source)}
    except UsageError:
        return {}


def _drawn(shown: dict[str, Picture]) -> dict[str, bytes]:
    """The pictures as PNG. What draws takes half a second to load, so it is not where there are none."""
    if not shown:
        return {}
    with signals.at_once():
        from perfkit.render.charts import draw

    return {name: draw(picture, ".png") for name, picture in shown.items()}
