"""Reports as a JSON document: raw values at full precision."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd

from perfkit.render import findings
from perfkit.render.cells import encodable
from perfkit.schema.finding import in_reading_order

if TYPE_CHECKING:
    from perfkit.schema.report import Report
    from perfkit.schema.table import Table

_SPACES = 2
_UNUSUAL = re.compile(r"[^\n -~]")


def json_document(reports: Sequence[Report], *, by_title: bool = False) -> str:
    """`{"summary": {...}, "tables": {name: {title, columns, rows, notes}}, "findings": [...]}` with raw values.

    Where two reports have a key of the summary or the name of a table in common, or where they are to stand apart
    (`by_title`), `summary` and `tables` hold one object a report, under its title, and what a finding is about
    (`where`) begins with that title.
    NaN, NA and infinities become null, integers stay integers, non-ASCII text is kept. Control
    characters are written as JSON's own escapes: readers get the raw value, and no terminal obeys it.
    """
    encoded = msgspec.json.encode(_document(reports, by_title=by_title), enc_hook=_plain)
    text = msgspec.json.format(encoded, indent=_SPACES).decode() + "\n"
    return _UNUSUAL.sub(lambda match: match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1], text)


def _document(reports: Sequence[Report], *, by_title: bool) -> dict[str, Any]:
    summaries = [dict(report.summary) for report in reports]
    tables = [_json_tables(report) for report in reports]
    if not by_title and _is_apart(summaries) and _is_apart(tables):
        every = in_reading_order(finding for report in reports for finding in report.findings)
        values = [findings.json_value(finding) for finding in every]
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
    tables = [table for table in report.tables if table.name not in findings.MADE_OF_FINDINGS]
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


def _json_table(table: Table) -> dict[str, Any]:
    values = {c.name: _raw(table.frame[c.name]) for c in table.columns}
    return {
        "title": table.title,
        "columns": [{"name": c.name, "unit": c.unit, "kind": c.kind} for c in table.columns],
        "rows": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)],
        "notes": list(table.remarks),
    }


def _raw(series: pd.Series[Any]) -> list[Any]:
    """The values as Python objects, None for what is missing."""
    return [
        None if missing else encodable(value) if isinstance(value, str) else value
        for value, missing in zip(series.tolist(), series.isna().tolist(), strict=True)
    ]


def _plain(value: object) -> object:
    """What msgspec does not know by itself: numpy's scalars and arrays, pandas' times and NA, paths."""
    if value is pd.NA or value is pd.NaT:
        return None
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike | pd.Timestamp | pd.Timedelta):
        return str(value)
    raise TypeError(f"cannot write a {type(value).__name__} to JSON: {value!r}")
