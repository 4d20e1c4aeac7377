"""Files for other people's viewers. What writes them is loaded only where one was asked for."""

from __future__ import annotations

from pathlib import Path

from perfkit import signals
from perfkit.analysis.time.account import Account
from perfkit.commands.console import progress
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema.report import Report
from perfkit.trace.columns import Trace
from perfkit.trace.detail_columns import Details
from perfkit.trace.details import read_details


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
        with progress.writing(self._path.name, account.trace.facts.events), files.replacing(self._path) as file:
            export(account, report.findings, details, file, self._path.name)


def _details(trace: Trace) -> Details | None:
    """The file's counters and memory; None where it can have none, or cannot be read a second time."""
    can = trace.recording.capabilities
    if trace.origin is None or not (can.counters or can.memory_events):
        return None
    with progress.reading(trace.source) as advance:
        return read_details(trace, advance)
