"""Saved runs: the record of one, or all that lie in a folder."""

from __future__ import annotations

from pathlib import Path

from perfkit.schema import record
from perfkit.schema.record import RECORD_FILE, RunRecord

_FIRST_KEY = b'"config"'  # of every record; no trace begins with it
_HEAD_BYTES = 64

Runs = list[tuple[str, RunRecord]]


def saved_runs(path: Path) -> Runs | None:
    """Name and record of each run that `path` stands for; None where it is something else.

    A path is a record, a run's folder, or a folder that holds runs' folders, as --repeats leaves it.
    """
    if path.is_dir():
        files = [path / RECORD_FILE] if (path / RECORD_FILE).is_file() else sorted(path.glob(f"*/{RECORD_FILE}"))
        return [(file.parent.name, record.load(file)) for file in files] or None
    if path.name == RECORD_FILE or _is_record(path):
        return [(path.name, record.load(path))]
    return None


def _is_record(path: Path) -> bool:
    """Whether a file is a record that was given another name."""
    if path.suffix != ".json":
        return False
    try:
        with path.open("rb") as stream:
            return _FIRST_KEY in stream.read(_HEAD_BYTES)
    except OSError:
        return False
