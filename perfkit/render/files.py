"""Tables to files: CSV and JSON hold raw values at full precision, the others what people read."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from csv import QUOTE_NONNUMERIC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd

from perfkit.errors import UsageError
from perfkit.render import findings
from perfkit.render.latex import latex
from perfkit.render.markdown import markdown
from perfkit.render.typst import typst
from perfkit.schema import formulas
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from perfkit.schema.report import Report
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


def json_document(reports: Sequence[Report]) -> str:
    """`{"summary": {...}, "tables": {name: {title, columns, rows, notes}}, "findings": [...]}` with raw values.

    Where two reports have a key of the summary or the name of a table in common, `summary` and `tables` hold one
    object a report, under its title, and what a finding is about (`where`) begins with that title.
    NaN, NA and infinities become null, integers stay integers, non-ASCII text is kept. What a terminal would obey
    is written as JSON's own escape, so that every reader has the raw value and nobody's screen does.
    """
    encoded = msgspec.json.encode(_document(reports), enc_hook=_plain)
    text = msgspec.json.format(encoded, indent=_JSON_SPACES).decode() + "\n"
    return _UNUSUAL.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)


def _document(reports: Sequence[Report]) -> dict[str, Any]:
    summaries = [dict(report.summary) for report in reports]
    tables = [_json_tables(report) for report in reports]
    if _is_apart(summaries) and _is_apart(tables):
        values = [findings.json_value(finding) for report in reports for finding in report.findings]
        return {"summary": _union(summaries), "tables": _union(tables), "findings": values}
    titles = _titles(reports)
    values = [
        findings.json_value(dataclasses.replace(finding, where=": ".join(filter(None, (title, finding.where)))))
        for title, report in zip(titles, reports, strict=True)
        for finding in report.findings
    ]
    return {
        "summary": dict(zip(titles, summaries, strict=True)),
        "tables": dict(zip(titles, tables, strict=True)),
        "findings": values,
    }


def _json_tables(report: Report) -> dict[str, Any]:
    """Name -> table, without those that are made of findings."""
    tables = [table for table in report.tables if table.name not in (findings.FINDINGS, findings.INTEGRITY)]
    if len({table.name for table in tables}) < len(tables):
        raise ValueError(f"tables share a name: {', '.join(table.name for table in tables)}")
    return {table.name: _json_table(table) for table in tables}


def _is_apart(parts: Sequence[Mapping[str, Any]]) -> bool:
    return sum(map(len, parts)) == len(_union(parts))


def _union(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


def _titles(reports: Sequence[Report]) -> list[str]:
    """The reports' titles, with a number after one that others have too."""
    count = Counter[str]()
    titles = []
    for report in reports:
        count[report.title] += 1
        titles.append(f"{report.title} ({count[report.title]})" if count[report.title] > 1 else report.title)
    return titles


def ascii_json(document: str) -> str:
    r"""A JSON document that any encoding can hold: other letters become `\u00e9`, which reads as the same."""
    return re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match[0])[1:-1], document)


def check(path: Path) -> None:
    """Raise UsageError where `write` could not succeed, so that a command can say so before it computes."""
    check_place(path, tuple(_WRITERS))


def check_place(path: Path, extensions: Sequence[str]) -> None:
    """Raise UsageError where no file of one of these extensions can be written there."""
    if path.suffix.lower() not in extensions:
        raise UsageError(f"{path}: the extension chooses the format: use {', '.join(extensions)}")
    try:
        _check_place(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


def write(path: Path, report: Report) -> None:
    """Write the report's tables in the format that the extension names: .csv, .md, .json, .tex, .typ or .xlsx.

    A reader sees the old file or the whole new one, never a part. CSV has room for the main table alone; summary and
    findings go into JSON alone. Raises UsageError for an unknown extension or an unwritable path.
    """
    check(path)
    written = _WRITERS[path.suffix.lower()](report)
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


def _excel(report: Report) -> bytes:
    from perfkit.render.excel import workbook  # noqa: PLC0415 - XlsxWriter costs 50 ms and few callers get here

    return workbook(report.tables)


_WRITERS: dict[str, Callable[[Report], str | bytes]] = {
    ".csv": lambda report: csv(report.main_table),
    ".md": lambda report: "\n".join(map(markdown, report.tables)),
    ".json": lambda report: json_document([report]),
    ".tex": lambda report: "\n".join(map(latex, report.tables)),
    ".typ": lambda report: "\n".join(map(typst, report.tables)),
    ".xlsx": _excel,
}
