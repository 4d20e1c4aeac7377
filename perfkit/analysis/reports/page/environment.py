"""The section of the environment: where and how it was recorded, and the exact command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import fields

import pandas as pd

from perfkit.schema import units
from perfkit.schema.page.sections import Section
from perfkit.schema.record import RunRecord
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import Trace

_APART = ("argv", "variables", "libraries", "device_memory")
_ANCHOR, _TITLE = "environment", "Environment"


def of_record(record: RunRecord) -> Section:
    """The machine, the versions, the settings, and the command as it was typed."""
    where = record.environment
    rows: list[tuple[str, object]] = [("recorded", record.created), ("status", record.status)]
    rows += [
        (field.name.replace("_", " "), getattr(where, field.name))
        for field in fields(where)
        if field.name not in _APART
    ]
    if where.device_memory is not None:
        rows.append(("device memory", units.size(where.device_memory)))
    rows += sorted(where.variables.items())
    rows += [(f"{name} (library)", version) for name, version in sorted(where.libraries.items())]
    settings = [(f"--{name.replace('_', '-')}", value) for name, value in record.config.flat().items()]
    named = () if where.argv[:1] and not where.argv[0].startswith("-") else ("run",)  # older records lack it
    command = shlex.join(("perfkit", *named, *where.argv)) if where.argv else ""
    return Section(
        anchor=_ANCHOR,
        title=_TITLE,
        takeaway=f"the command was: {command}" if command else "",
        tables=(
            _table("environment", "Where it ran", rows),
            _table("settings", "What was measured", [(name, value) for name, value in settings if value is not None]),
        ),
    )


def of_recording(trace: Trace) -> Section:
    """What a trace's file says of itself."""
    said, facts = trace.recording, trace.facts
    rows: list[tuple[str, object]] = [
        ("file", trace.source),
        ("recorded with", said.tool.value),
        *((f"version of the {field.name}", getattr(said.versions, field.name)) for field in fields(said.versions)),
        *((f"device {device.index}", device.name) for device in said.devices),
        ("rank", said.rank),
        ("world size", said.world_size),
        ("options", ", ".join(said.options)),
        ("events", f"{facts.events:,}"),
        *((f"{category}, not read", f"{count:,}") for category, count in facts.ignored.items()),
    ]
    return Section(anchor="recording", title="Recording", tables=(_table("recording", "The file", rows),))


def _table(name: str, title: str, rows: Iterable[tuple[str, object]]) -> Table:
    shown = [(what, str(value)) for what, value in rows if value not in (None, "", ())]
    columns = (Column("what"), Column("value", whole=True))
    return Table(name, title, columns, pd.DataFrame(shown, columns=["what", "value"]), pinned=len(shown))
