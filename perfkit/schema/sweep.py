"""SweepRow: the result of one point of a sweep, and its cells in the results file.

History of the format (the column `sweep_version` of each row; a later version than the last one here is refused, a
column more or less is no new version):

1  first version
2  text that a spreadsheet would take for a formula has an apostrophe before it
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from perfkit.errors import UsageError
from perfkit.schema import limits
from perfkit.schema.config import FIELDS, OWN_FIELDS, RunConfig, nested, of_the_transformer
from perfkit.schema.parts.workloads import Own
from perfkit.schema.printable import defused, restored

SWEEP_VERSION = 2
_FIRST_VERSION = 1

SweepOutcome = Literal["ok", "spilled", "oom", "predicted-oom", "timeout", "host-killed", "error"]

Isolation = Literal["fresh", "shared"]
"""A process of its own, or one for all points."""

_Version = Annotated[int, msgspec.Meta(ge=_FIRST_VERSION, le=SWEEP_VERSION)]
_Positive = Annotated[float, msgspec.Meta(gt=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One repeat of one configuration. Times in seconds, sizes in bytes; None where there is nothing to say."""

    sweep_version: _Version = SWEEP_VERSION
    key: str
    """Of the configuration as it was asked for (see `key_of`)."""
    repeat: Annotated[int, msgspec.Meta(ge=1)]
    """From 1."""
    isolation: Isolation
    outcome: SweepOutcome
    config: RunConfig
    """Resolved, as far as that is known; its fields are columns of their own."""
    parameters: int | None = None
    steps: int | None = None
    """Measured."""
    mean_s: _Positive | None = None
    std_s: float | None = None
    cv: float | None = None
    median_s: _Positive | None = None
    median_low_s: _Positive | None = None
    median_high_s: _Positive | None = None
    min_s: _Positive | None = None
    p90_s: _Positive | None = None
    max_s: _Positive | None = None
    first_step_s: _Positive | None = None
    """The first measured step: far above the median where warm-up was too short."""
    forward_s: float | None = None
    backward_s: float | None = None
    optimizer_s: float | None = None
    rest_s: float | None = None
    tokens_per_s: float | None = None
    peak_memory_bytes: int | None = None
    """Tensors on a GPU, the resident set on a CPU."""
    tensor_bytes: int | None = None
    """Peak in tensors on any device; None where they were not counted."""
    reserved_bytes: int | None = None
    """GPU: peak of the caching allocator."""
    predicted_bytes: int | None = None
    """The peak that was predicted before the run."""
    phase: str | None = None
    """Where it failed."""
    requested_bytes: int | None = None
    available_bytes: int | None = None
    message: str | None = None
    """Why it failed; one line."""
    try_first: str | None = None
    try_second: str | None = None
    """Changes of flags that would help."""
    process_s: float | None = None
    """The whole process, with the start of Python and PyTorch."""
    device_name: str | None = None
    torch: str | None = None
    created: str | None = None
    record: str | None = None
    """The run's folder, with its raw samples; relative to the folder of the results file."""

    @property
    def id(self) -> tuple[str, int]:
        """No two rows of a file share it."""
        return self.key, self.repeat


CONFIG_FIELDS = (*OWN_FIELDS, *FIELDS)
COLUMNS: tuple[str, ...] = tuple(
    column
    for field in dataclasses.fields(SweepRow)
    for column in (CONFIG_FIELDS if field.name == "config" else (field.name,))
)
"""Of the results file, in order."""
REQUIRED = ("key", "repeat", "isolation", "outcome")
"""Columns that every results file has; any other may be missing."""
_KEY = re.compile(r"(?P<workload>.+)_(?P<pass_type>[a-z-]+)_[0-9a-f]{8}")
"""What `key_of` gives."""
_QUOTED = 40
"""Characters of a cell that a message shows."""


def key_of(config: RunConfig) -> str:
    """A short name that is the same for the same flags, on any machine and in any session: `small_train_1f09c2d4`.

    Made of the flags that differ from their defaults, so that a field added to RunConfig changes no key.
    """
    digest = hashlib.sha256("\0".join(config.flags()).encode()).hexdigest()[:8]
    return f"{config.workload.name}_{config.step.pass_type}_{digest}"


def flat(row: SweepRow) -> dict[str, Any]:
    """The row by columns; of what only perfkit's own Transformer has, a model of the caller's own has nothing."""
    result: dict[str, Any] = dict.fromkeys(COLUMNS)
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        result |= value.flat() if field.name == "config" else {field.name: value}
    if isinstance(row.config.workload, Own):
        result |= {name: None for name in FIELDS if of_the_transformer(name)}
    return result


def header_line(columns: Sequence[str] = COLUMNS) -> str:
    """The first line of a results file."""
    return _line(columns)


def to_line(row: SweepRow, columns: Sequence[str] = COLUMNS) -> str:
    """The row as one line of CSV, with its line end, in a file of these columns; those it knows nothing of are empty.

    Numbers keep every digit, None is empty. The line is of this version, whatever the row was read from.
    """
    cells = {name: _cell(value) for name, value in flat(row).items()} | {"sweep_version": str(SWEEP_VERSION)}
    return _line([cells.get(name, "") for name in columns])


def from_cells(cells: Mapping[str, str]) -> SweepRow:
    """The row of the cells of a line, by column. Missing cells have their defaults, unknown columns are
    ignored. Raises UsageError where the cells are not a row.
    """
    present = {name: cells[name] for name in COLUMNS if cells.get(name)}
    for name in REQUIRED:
        if name not in present:
            raise UsageError(f"column {name} is empty")
    if present.setdefault("sweep_version", str(_FIRST_VERSION)) != str(_FIRST_VERSION):
        present = {name: restored(text) for name, text in present.items()}
    plain: dict[str, Any] = {name: text for name, text in present.items() if name not in CONFIG_FIELDS}
    plain["config"] = nested(_said_by_key(present["key"], is_own="model" in present) | present)
    try:
        row = msgspec.convert(plain, SweepRow, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(_complaint(str(error), present)) from error
    for name, value in flat(row).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"column {name} holds {present[name]!r}, which is not a number")
    limits.check({name: value for name, value in flat(row).items() if name not in CONFIG_FIELDS})
    _check_key(row)
    return row


def _said_by_key(key: str, *, is_own: bool) -> dict[str, str]:
    """The fields that a configuration's key names, for columns that were removed from the file."""
    asked = _KEY.fullmatch(key)
    if asked is None:
        return {}
    said = {"workload" if is_own else "model_size": asked["workload"], "pass_type": asked["pass_type"]}
    return {name: text for name, text in said.items() if text != "default"}


def _check_key(row: SweepRow) -> None:
    """Refuse a changed column: the row would show the numbers of another configuration."""
    for name, said in _said_by_key(row.key, is_own=isinstance(row.config.workload, Own)).items():
        if said != (has := row.config.value(name)):
            raise UsageError(f"the key {row.key} says {name} {said}, but column {name} holds {has!r}")


def _complaint(text: str, cells: Mapping[str, str]) -> str:
    """What msgspec found wrong, with the column and what is in it."""
    what, _, where = text.partition(" - at ")
    column = re.sub(r"\W", "", where.rpartition(".")[2])
    return f"column {column} holds {cells[column][:_QUOTED]!r}: {what}" if column in cells else what


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return defused(_one_line(value)) if isinstance(value, str) else repr(value)


def _one_line(text: str) -> str:
    """White space as single blanks; what no text file can hold (half a surrogate pair, NUL) as its escape."""
    encodable = text.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")
    return " ".join(encodable.split())


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
