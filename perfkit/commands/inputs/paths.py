"""What a path is: a trace, a record, a folder of one run or several, or the results of a sweep."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from perfkit.errors import UsageError
from perfkit.schema.own_files import RECORD_FILE, inside
from perfkit.schema.printable import printable
from perfkit.trace import foreign
from perfkit.trace.load import traces_in
from perfkit.trace.snapshot.known import is_snapshot

if TYPE_CHECKING:
    from perfkit.analysis.runs.processes import Side
    from perfkit.schema.record import RunRecord
    from perfkit.schema.sweep import SweepRow

STANDARD_INPUT: Final = "-"

_FIRST_KEY = re.compile(rb'\s*\{\s*"config"')  # of every record; no trace begins with it
_HEAD_BYTES = 64
_PATTERN = re.compile(r"[*?\[]")


class TraceFile(msgspec.Struct, frozen=True):
    """A trace, or a folder that holds a single trace. Any unknown file counts as a trace; the reader checks it."""

    path: Path | Literal["-"]


class RecordFile(msgspec.Struct, frozen=True):
    """The record of one run, without the other files of its folder."""

    path: Path
    record: RunRecord


class RunFolder(msgspec.Struct, frozen=True):
    """The folder of one run: its record, and perhaps plain steps and a trace.

    Or the folder of a job's ranks, each in a folder of its own, as callbacks leave them (`rank_0`, `rank_1`, ...).
    """

    path: Path
    record: RunRecord


class RunsFolder(msgspec.Struct, frozen=True):
    """A folder that holds the folders of runs, as --repeats makes it."""

    path: Path
    records: tuple[tuple[Path, RunRecord], ...]
    """Each record's file and content, sorted by the folder's name."""


class SweepResults(msgspec.Struct, frozen=True):
    """A sweep's results file. The records of its rows lie beside it and are read when needed."""

    path: Path
    rows: tuple[SweepRow, ...]


class SnapshotFile(msgspec.Struct, frozen=True):
    """A recording of memory that PyTorch's allocator wrote, by its first bytes."""

    path: Path


Runs = RecordFile | RunFolder | RunsFolder | SweepResults
Input = TraceFile | SnapshotFile | Runs


def what_is(name: str | Path) -> Input:
    """What a path stands for; `-` is a trace on standard input. Raises UsageError if a record cannot be read."""
    if name == STANDARD_INPUT:
        return TraceFile(STANDARD_INPUT)
    path = Path(name)
    if foreign.is_address(name) and not path.exists():
        raise foreign.missing(name)
    if path.is_dir():
        if (path / RECORD_FILE).is_file():
            return RunFolder(path, _record(path))
        return _folder(path)
    if path.suffix == ".csv":
        return SweepResults(path, tuple(_sweep_rows(path)))
    if path.name == RECORD_FILE or _is_record(path):
        return RecordFile(path, _record(path))
    return SnapshotFile(path) if is_snapshot(path) else TraceFile(path)


def _folder(path: Path) -> Input:
    """A folder without a record of its own. Raises UsageError where the runs in it are one folder further down."""
    from perfkit.analysis.runs.ranks import joined

    if sides := _sides(path):
        names = ", ".join(map(printable, sides[:5]))
        raise UsageError(f"{printable(str(path))} holds folders of runs: name one of them: {names}")
    runs = runs_in(path)
    if len(runs.records) > 1 and (job := joined({file.parent.name: saved for file, saved in runs.records})):
        return RunFolder(path, job)
    return runs if runs.records else TraceFile(path)


def _record(path: Path) -> RunRecord:
    """The record of a run. What reads it is loaded only now: most paths are traces."""
    from perfkit.schema import record

    return record.load(path)


def shown(input_: Input) -> Input:
    """What is shown of a path: a folder of one run is that run.

    But where a trace lies beside it, that is of a run that left no record, and the record is of its plain steps.
    """
    if isinstance(input_, RunsFolder) and len(input_.records) == 1 and not traces_in(input_.path):
        [(file, saved)] = input_.records
        return RunFolder(file.parent, saved)
    return input_


def out_of_tables(tables: Sequence[str], known: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Values of --table, and the paths among them, for it takes all that follows: `--table kernels FILE`.

    What exists is a path, unless it is `known` as the name of a table.
    """
    paths = tuple(name for name in tables if name == STANDARD_INPUT or (name not in known and Path(name).exists()))
    return tuple(name for name in tables if name not in paths), paths


def expanded(names: Sequence[str]) -> tuple[str, ...]:
    """The names, and for a pattern that no shell has expanded (`'traces/*.json.gz'`) the files that fit it, sorted."""
    return tuple(path for name in names for path in (_fitting(name) if _PATTERN.search(name) else None) or [name])


def _fitting(name: str) -> list[str]:
    if Path(name).exists():
        return []
    return [path for fits in sorted(glob.glob(name, recursive=True)) for path in _sides(Path(fits)) or [fits]]  # noqa: PTH207


def _sides(path: Path) -> list[str]:
    """The folders of runs, as a comparison's two, in a folder that has no run and no trace of its own."""
    runs_or_record = (RECORD_FILE, f"*/{RECORD_FILE}")
    if not path.is_dir() or any(any(path.glob(name)) for name in runs_or_record) or traces_in(path):
        return []
    return [str(path / side) for side in with_runs_of_their_own(path)]


def inputs_of(names: Sequence[str]) -> list[Input]:
    """What each path stands for; all paths are checked before any trace is read.

    Raises UsageError as what_is does, and for a path that does not exist or is named twice.
    """
    inputs: list[Input] = []
    for name in names:
        input_ = what_is(name)
        if isinstance(input_, TraceFile) and isinstance(input_.path, Path) and not input_.path.exists():
            raise foreign.missing(name)
        if _place(input_) in map(_place, inputs):
            raise UsageError(f"{name} is named twice: name it once")
        inputs.append(input_)
    return inputs


def refuse_overwriting(output: Path, *read: Path | str | None) -> None:
    """Raise UsageError where a file to be written is one that is read, or the record of a run that is."""
    place = output.resolve()
    for path in read:
        if isinstance(path, Path) and place in (path.resolve(), path.resolve() / RECORD_FILE):
            raise UsageError(f"{output}: is one of the files that are read: name another file")


def _place(input_: Input) -> Path | str:
    """A key that is the same for all spellings of one path; for standard input, `-` itself."""
    return input_.path.resolve() if isinstance(input_.path, Path) else input_.path


def runs_in(folder: Path) -> RunsFolder:
    """The runs whose folders are in this one; there may be none."""
    files = sorted(folder.glob(f"*/{RECORD_FILE}"))
    return RunsFolder(folder, tuple((file, _record(file)) for file in files))


def with_runs_of_their_own(folder: Path) -> list[str]:
    """Names of the folders in this one that are no run, and hold the folders of runs, as --repeats and compare do."""
    several = {
        file.relative_to(folder).parts[0]
        for depth in ("*/*", "*/*/*")
        for file in folder.glob(f"{depth}/{RECORD_FILE}")
    }
    return sorted(name for name in several if not (folder / name / RECORD_FILE).is_file())


def side(runs: Runs, name: str) -> Side:
    """Runs as a side of a comparison. Raises UsageError if a record that a sweep names cannot be read."""
    from perfkit.analysis.runs.processes import LeftOut, side_of

    match runs:
        case RecordFile(path, saved) | RunFolder(path, saved):
            return side_of(name, str(path), [(path.name, saved)])
        case RunsFolder(path, records):
            return side_of(name, str(path), [(file.parent.name, saved) for file, saved in records])
        case SweepResults(path, rows):
            failed = [LeftOut(f"{_name(row)} ({row.outcome})", row.config) for row in rows if row.record is None]
            saved_runs = [(_name(row), _record(file)) for row, file in _records(runs)]
            shared = any(row.isolation == "shared" for row in rows)
            return side_of(name, str(path), saved_runs, failed, independent=not shared)


def record_files(runs: Runs) -> list[Path]:
    """The files that hold the runs' records."""
    match runs:
        case RecordFile(path):
            return [path]
        case RunFolder(path):
            own = path / RECORD_FILE
            return [own] if own.is_file() else sorted(path.glob(f"*/{RECORD_FILE}"))
        case RunsFolder(records=records):
            return [file for file, _ in records]
        case SweepResults():
            return [file for _, file in _records(runs)]


def check_apart(a: Runs, b: Runs) -> None:
    """Refuse a process that is on both sides: it was measured only once."""
    check_not_the_same(a, b)
    shared = {file.resolve() for file in record_files(a)} & {file.resolve() for file in record_files(b)}
    if shared:
        raise UsageError(f"{min(shared)} is on both sides: compare each run with another one")


def check_not_the_same(a: Input, b: Input) -> None:
    """Refuse one path for both sides."""
    if _place(a) == _place(b):
        raise UsageError(f"{a.path} is named for both sides: name another for one of them")


def record_file(path: Path, row: SweepRow) -> Path:
    """The record of a row of the results file `path`. Raises UsageError if it is not below that file's folder."""
    return inside(path.parent, f"{row.record}/{RECORD_FILE}", f"{path}: the result {_name(row)}")


def records_of(results: SweepResults) -> list[RunRecord]:
    """The records of a sweep's runs. Raises UsageError where they are not beside it."""
    return [_record(file) for _, file in _records(results)]


def _records(results: SweepResults) -> list[tuple[SweepRow, Path]]:
    """The rows that have a record, each with its file."""
    path = results.path
    records = [(row, record_file(path, row)) for row in results.rows if row.record is not None]
    for _, file in records:
        if not file.parent.exists():
            raise UsageError(f"{path}: its records are missing ({file.parent}): put them beside the results file")
    return records


def _name(row: SweepRow) -> str:
    return f"{row.key}.{row.repeat}"


def _sweep_rows(path: Path) -> list[SweepRow]:
    """The rows of a sweep's results file; a line on stderr says if an incomplete last line is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise foreign.missing(path) from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    foreign.refuse(data, printable(str(path)), by_name=False)
    from perfkit.schema import results_file

    results = results_file.read(path, data)
    if results.torn:
        why = "the last line is incomplete and is left out: a sweep is still writing it, or was cut off"
        print(f"{printable(str(path))}: {why}", file=sys.stderr)
    return results.rows


def _is_record(path: Path) -> bool:
    """Whether a file is a renamed record."""
    if path.suffix != ".json":
        return False
    try:
        with path.open("rb") as stream:
            return _FIRST_KEY.match(stream.read(_HEAD_BYTES)) is not None
    except OSError:
        return False
