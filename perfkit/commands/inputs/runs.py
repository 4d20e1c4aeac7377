"""Saved runs: the record of one, or all that lie in a folder or that a sweep's results name."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from perfkit.analysis.runs.processes import LeftOut, Side, side_of
from perfkit.errors import UsageError
from perfkit.schema import record, results_file
from perfkit.schema.own_files import inside
from perfkit.schema.printable import printable
from perfkit.schema.record import RECORD_FILE, RunRecord
from perfkit.schema.sweep import SweepRow

_FIRST_KEY = b'"config"'  # of every record; no trace begins with it
_HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class SavedRuns:
    """What a path stands for."""

    path: Path
    records: tuple[tuple[str, RunRecord], ...]
    """Name and record of each run."""
    failed: tuple[LeftOut, ...] = ()
    """Runs that left no record."""
    shared: bool = False
    """All in one process (perfkit sweep --in-process)."""
    files: tuple[Path, ...] = ()
    """The records' files, resolved."""

    def side(self, name: str) -> Side:
        """As a side of a comparison."""
        return side_of(name, str(self.path), self.records, self.failed, independent=not self.shared)


def saved_runs(path: Path) -> SavedRuns | None:
    """The runs that `path` stands for; None where it is something else.

    A path is a record, a run's folder, a folder that holds runs' folders, as --repeats leaves it, or the results of a
    sweep (.csv).
    """
    if path.is_dir():
        files = [path / RECORD_FILE] if (path / RECORD_FILE).is_file() else sorted(path.glob(f"*/{RECORD_FILE}"))
        if not files:
            return None
        found = tuple((file.parent.name, record.load(file)) for file in files)
        return SavedRuns(path, found, files=tuple(file.resolve() for file in files))
    if path.suffix == ".csv":
        return _of_sweep(path)
    if path.name == RECORD_FILE or _is_record(path):
        return SavedRuns(path, ((path.name, record.load(path)),), files=(path.resolve(),))
    return None


def sweep_rows(path: Path) -> list[SweepRow]:
    """The rows of a sweep's results file; a word on stderr where its end is left out. UsageError where it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    found = results_file.read(path, data)
    if found.torn:
        why = "the last line is not whole and is left out: a sweep writes it now, or was cut off"
        print(f"{printable(str(path))}: {why}", file=sys.stderr)
    return found.rows


def record_file(path: Path, row: SweepRow) -> Path:
    """The record of a row that has one, of the results file `path`. UsageError where it is not below that folder."""
    return inside(path.parent, f"{row.record}/{RECORD_FILE}", f"{path}: the result {row.key}.{row.repeat}")


def _of_sweep(path: Path) -> SavedRuns:
    rows = sweep_rows(path)
    found, failed, files = [], list[LeftOut](), []
    for row in rows:
        name = f"{row.key}.{row.repeat}"
        if row.record is None:
            failed.append(LeftOut(f"{name} ({row.outcome})", row.config))
            continue
        file = record_file(path, row)
        if not file.parent.exists():
            raise UsageError(f"{path}: its records are missing ({file.parent}): they belong beside the results file")
        found.append((name, record.load(file)))
        files.append(file.resolve())
    shared = any(row.isolation == "shared" for row in rows)
    return SavedRuns(path, tuple(found), tuple(failed), shared, tuple(files))


def _is_record(path: Path) -> bool:
    """Whether a file is a record that was given another name."""
    if path.suffix != ".json":
        return False
    try:
        with path.open("rb") as stream:
            return _FIRST_KEY in stream.read(_HEAD_BYTES)
    except OSError:
        return False
