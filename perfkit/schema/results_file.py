"""The content of a sweep's results file: its rows, and the exact text that each was read from.

Columns are read by name, so that files of older and later versions load and other columns in them are kept.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from perfkit.errors import UsageError
from perfkit.schema import sweep
from perfkit.schema.sweep import COLUMNS, REQUIRED, SWEEP_VERSION, SweepRow

_BOM = "\ufeff"
_MEND = "repair or remove the line"


@dataclass(frozen=True, slots=True)
class Entry:
    """A row, and its text with the line end."""

    row: SweepRow
    text: str


@dataclass(frozen=True, slots=True)
class Results:
    """The content of a results file."""

    columns: tuple[str, ...] = COLUMNS
    header: str = sweep.header_line()
    """As text, with a byte order mark where the file has one."""
    entries: tuple[Entry, ...] = ()
    torn: int = 0
    """Bytes at the end that a crash cut short: they hold no result that was announced."""

    @property
    def rows(self) -> list[SweepRow]:
        """In the order of the file."""
        return [entry.row for entry in self.entries]

    @property
    def text(self) -> str:
        """All of it but what is torn."""
        return self.header + "".join(entry.text for entry in self.entries)

    def only(self, keep: Callable[[SweepRow], bool]) -> Results:
        """Without the rows for which `keep` is False."""
        return Results(self.columns, self.header, tuple(entry for entry in self.entries if keep(entry.row)))

    def completed(self) -> Results:
        """With all of this version's columns; missing ones are added last. No other character changes."""
        missing = [name for name in COLUMNS if name not in self.columns]
        if not missing:
            return self
        entries = tuple(Entry(entry.row, _extended(entry.text, [""] * len(missing))) for entry in self.entries)
        return Results((*self.columns, *missing), _extended(self.header, missing), entries)


@dataclass(frozen=True, slots=True)
class _Record:
    """A line of CSV; more than one of the file where a quoted cell holds line ends."""

    number: int
    """Of its first line in the file, from 1."""
    cells: tuple[str, ...]
    text: str


def read(path: Path, data: bytes) -> Results:
    """The results in a file's content; `path` is for messages alone.

    Raises UsageError, with the line's number, for a file that no sweep wrote, that is damaged in its middle, or of a
    later version. A last line without its end, or with NUL bytes, is torn and no damage: a crash leaves it.
    """
    end = _end_of_whole(data)
    text = _decoded(path, data[:end])
    records = list(_records(path, text.removeprefix(_BOM)))
    if not records:
        if not sweep.header_line().encode().startswith(data.rstrip(b"\0")):
            raise _foreign(path, REQUIRED[0])
        return Results()  # its header was cut short
    header, *lines = records
    _check_header(path, header.cells, lines)
    entries: dict[tuple[str, int], Entry] = {}
    for line in lines:
        try:
            entry = Entry(_row(header.cells, line.cells), line.text)
            if entry.row.id in entries:
                raise UsageError(f"a second result of {entry.row.key}, repeat {entry.row.repeat}")
        except UsageError as error:
            raise UsageError(f"{path}, line {line.number}: {error}: {_MEND}") from error
        entries[entry.row.id] = entry
    mark = _BOM if text.startswith(_BOM) else ""
    return Results(header.cells, mark + header.text, tuple(entries.values()), len(data) - end)


def _end_of_whole(data: bytes) -> int:
    """Where the last line that is whole ends: with its line end, and with all of its pages on the disk."""
    end = data.rfind(b"\n") + 1
    last = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    return last if b"\0" in data[last:end] else end  # a page that a power cut kept from the disk reads as zeros


def _decoded(path: Path, data: bytes) -> str:
    if b"\0" in data:
        raise UsageError(f"{path}, line {_line_of(data, data.index(0))}: holds NUL bytes: {_MEND}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        number = _line_of(data, error.start)
        raise UsageError(f"{path}, line {number}: not UTF-8: save the file as UTF-8") from error


def _line_of(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1


def _records(path: Path, text: str) -> Iterator[_Record]:
    lines = [line + "\n" for line in text.split("\n")[:-1]]
    reader = csv.reader(lines, strict=True)
    done = 0
    try:
        for cells in reader:
            if cells:
                yield _Record(done + 1, tuple(cells), "".join(lines[done : reader.line_num]))
            done = reader.line_num
    except csv.Error as error:
        raise UsageError(f"{path}, line {done + 1}: is not CSV ({error}): {_MEND}") from error


def _check_header(path: Path, columns: Sequence[str], lines: Sequence[_Record]) -> None:
    version = _newest(columns, lines)
    if version > SWEEP_VERSION:
        raise UsageError(
            f"{path}: results of version {version}, and this perfkit reads up to {SWEEP_VERSION}: upgrade perfkit"
        )
    for name in REQUIRED:
        if name not in columns:
            raise _foreign(path, name)
    for name in COLUMNS:
        if columns.count(name) > 1:
            raise UsageError(f"{path}, line 1: two columns {name}: rename one")


def _newest(columns: Sequence[str], lines: Sequence[_Record]) -> int:
    """The latest version that a line says it is of; 0 where none says anything."""
    if "sweep_version" not in columns:
        return 0
    place = columns.index("sweep_version")
    said = (line.cells[place] for line in lines if len(line.cells) > place)
    return max((int(text) for text in said if re.fullmatch("[0-9]{1,9}", text)), default=0)


def _row(columns: tuple[str, ...], cells: tuple[str, ...]) -> SweepRow:
    if cells == columns:
        raise UsageError("the header is repeated")
    if len(cells) != len(columns):
        raise UsageError(f"{len(cells)} values for {len(columns)} columns")
    return sweep.from_cells(dict(zip(columns, cells, strict=True)))


def _extended(text: str, cells: Sequence[str]) -> str:
    """The text of a line with more cells at its end."""
    body = text.rstrip("\r\n")
    return ",".join([body, *cells]) + text[len(body) :]


def _foreign(path: Path, name: str) -> UsageError:
    return UsageError(f"{path}: not the results of a perfkit sweep (no column {name}): check the name")
