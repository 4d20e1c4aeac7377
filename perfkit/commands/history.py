"""`perfkit history`: the step time of each commit, from the records of runs, and where it changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perfkit.analysis.reports.many import history
from perfkit.commands.console import show
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import completing
from perfkit.errors import UsageError
from perfkit.schema import record
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.record import RunRecord

_FOLDER = Parameter(help="A folder with folders of runs in it, at any depth.", completer=completing.paths)
_TABLE = Parameter(consume_multiple=(1, None), completer=completing.names((*history.NAMES, "findings")))
_PLAIN = "plain"
"""The folder of the plain steps beside a profiled run: they are too few for a history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryOptions:
    """What to show, and in which format."""

    format: Format = "table"
    """table for people; json with everything, for scripts; csv (one table, see --table); md for a document."""
    table: Annotated[tuple[str, ...], _TABLE] = ()
    """Show only these tables: commits, history, findings."""
    top: int = 40
    """Show this many rows of each table (--format table and md)."""

    def __post_init__(self) -> None:
        if self.top < 0:
            raise UsageError(f"--top {self.top}: must be 0 or more")


_DEFAULT = HistoryOptions()


def execute(
    folder: Annotated[Path, _FOLDER] = Path("traces"),
    /,
    *,
    options: Annotated[HistoryOptions, Parameter(name="*")] = _DEFAULT,
) -> int:
    """Show the step time of each commit, by configuration and device, and at which commits it changed.

    Example: perfkit history traces/
    """
    made = show.chosen([history.report(str(folder), runs_below(folder))], options.table)
    show.write(made, options.format, top=options.top, asked=show.Asked(tables=options.table))
    return 0


def runs_below(folder: Path) -> list[tuple[str, RunRecord]]:
    """The runs of a folder and of those in it, with their paths. Raises UsageError where there are none."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name one with folders of runs in it")
    files = [file for file in sorted(folder.rglob(RECORD_FILE)) if file.parent.name != _PLAIN]
    if not files:
        raise UsageError(f"{folder} has no runs in it: record some with perfkit run, or name another folder")
    return [(str(file.parent), record.load(file)) for file in files]
