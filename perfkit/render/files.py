"""Tables to files: CSV and JSON hold raw values at full precision, the others what people read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from csv import QUOTE_NONNUMERIC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd

from perfkit.errors import UsageError
from perfkit.render.latex import latex
from perfkit.render.markdown import markdown
from perfkit.render.typst import typst
from perfkit.schema import formulas
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from perfkit.schema.table import Table

_JSON_SPACES = 2
_UNUSUAL = re.compile(r"[^\n -~]")


def csv(table: Table, *, readable: bool = False) -> str:
    """One header line of column names, then raw values; RFC 4180 quoting, lines end in a bare newline.

    Numbers keep every digit, missing values are empty. A text that a spreadsheet would take for a formula has an
    apostrophe before it (`schema.formulas`). readable: for a terminal, with what it would obey spelled out.
    """

    def written(text: str) -> str:
        return printable(formulas.defused(text)) if readable else formulas.defused(text)

    frame = pd.DataFrame({written(c.name): _with_texts(table.frame[c.name], written) for c in table.columns})
    text: str = frame.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # before Python 3.13 the csv module leaves a bare carriage return unquoted
        text = frame.to_csv(index=False, lineterminator="\n", quoting=QUOTE_NONNUMERIC)
    return _encodable(text)


def _with_texts(series: pd.Series[Any], written: Callable[[str], str]) -> pd.Series[Any]:
    """The series with its texts as they are to be written; numbers stay what they are."""
    if series.dtype.kind != "O":
        return series
    values = [written(value) if isinstance(value, str) else value for value in series.tolist()]
    return pd.Series(values, index=series.index, dtype=object)


def json_document(summary: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """`{"summary": {...}, "tables": {name: {title, columns, rows, notes}}}` with raw values.

    NaN, NA and infinities become null, integers stay integers, non-ASCII text is kept. What a terminal would obey
    is written as JSON's own escape, so that every reader has the raw value and nobody's screen does.
    """
    document = {"summary": dict(summary), "tables": {table.name: _json_table(table) for table in tables}}
    if len(document["tables"]) < len(tables):
        raise ValueError(f"tables share a name: {', '.join(table.name for table in tables)}")
    encoded = msgspec.json.encode(document, enc_hook=_plain)
    text = msgspec.json.format(encoded, indent=_JSON_SPACES).decode() + "\n"
    return _UNUSUAL.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)


def ascii_json(document: str) -> str:
    r"""A JSON document that any encoding can hold: other letters become `\u00e9`, which reads as the same."""
    return re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match[0])[1:-1], document)


def check(path: Path, tables: int = 1) -> None:
    """Raise UsageError where `write` could not succeed, so that a command can say so before it computes."""
    check_place(path, tuple(_WRITERS))
    if path.suffix.lower() == ".csv" and tables != 1:
        raise UsageError(f"{path}: a CSV file holds one table, not {tables}: choose one table, or write .json or .md")


def check_place(path: Path, extensions: Sequence[str]) -> None:
    """Raise UsageError where no file of one of these extensions can be written there."""
    if path.suffix.lower() not in extensions:
        raise UsageError(f"{path}: the extension chooses the format: use {', '.join(extensions)}")
    try:
        _check_place(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


def write(path: Path, table: Table | Sequence[Table], summary: Mapping[str, Any] | None = None) -> None:
    """Write the tables in the format that the extension names: .csv, .md, .json, .tex, .typ or .xlsx.

    A reader sees the old file or the whole new one, never a part. `summary` goes into JSON alone.
    Raises UsageError for an unknown extension, several tables in a CSV file, or an unwritable path.
    """
    tables = list(table) if isinstance(table, Sequence) else [table]
    check(path, len(tables))
    written = _WRITERS[path.suffix.lower()](summary or {}, tables)
    replace(path, written.encode() if isinstance(written, str) else written)


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path}: is a directory: name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent}: create it first")
    if not path.exists() and not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the directory {path.parent} is not writable: choose another")
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"{path}: is not writable: choose another name or change its permissions")


def replace(path: Path, data: bytes) -> None:
    """Write a sibling, then rename it over `path` (or over the file that a link there points to).

    Raises UsageError where that cannot be.
    """
    target = path.resolve()
    sibling = target.with_name(f".{target.name[:100]}.{os.getpid()}.tmp")
    try:
        sibling.write_bytes(data)
        sibling.replace(target)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            sibling.unlink()


def _json_table(table: Table) -> dict[str, Any]:
    values = {c.name: _raw(table.frame[c.name]) for c in table.columns}
    return {
        "title": table.title,
        "columns": [{"name": c.name, "unit": c.unit, "kind": c.kind} for c in table.columns],
        "rows": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)],
        "notes": list(table.notes),
    }


def _raw(series: pd.Series[Any]) -> list[Any]:
    """The values as Python objects, None for what is missing."""
    return [
        None if missing else _encodable(value) if isinstance(value, str) else value
        for value, missing in zip(series.tolist(), series.isna().tolist(), strict=True)
    ]


def _encodable(text: str) -> str:
    r"""The text itself; half a surrogate pair, which no UTF-8 file can hold, becomes its escape `\ud800`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _plain(value: object) -> object:
    """What msgspec does not know by itself: numpy's scalars and arrays, pandas' times and NA, paths."""
    if value is pd.NA or value is pd.NaT:
        return None
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike | pd.Timestamp | pd.Timedelta):
        return str(value)
    raise TypeError(f"cannot write a {type(value).__name__} to JSON: {value!r}")


def _excel(_summary: Mapping[str, Any], tables: Sequence[Table]) -> bytes:
    from perfkit.render.excel import workbook  # noqa: PLC0415 - XlsxWriter costs 50 ms and few callers get here

    return workbook(tables)


_WRITERS: dict[str, Callable[[Mapping[str, Any], Sequence[Table]], str | bytes]] = {
    ".csv": lambda _, tables: csv(tables[0]),
    ".md": lambda _, tables: "\n".join(map(markdown, tables)),
    ".json": json_document,
    ".tex": lambda _, tables: "\n".join(map(latex, tables)),
    ".typ": lambda _, tables: "\n".join(map(typst, tables)),
    ".xlsx": _excel,
}
