"""SweepRow: what became of one point of a sweep, and the line of the results file that says so.

History of the file (the column `sweep_version`; another version is refused):

1  first version
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from perfkit.errors import UsageError
from perfkit.schema import limits
from perfkit.schema.config import RunConfig

SWEEP_VERSION = 1

SweepOutcome = Literal["ok", "spilled", "oom", "predicted-oom", "timeout", "host-killed", "error"]

Isolation = Literal["fresh", "shared"]
"""A process of its own, or one for all points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One repeat of one configuration. Times in seconds, sizes in bytes; None where there is nothing to say."""

    sweep_version: int = SWEEP_VERSION
    key: str
    """Of the configuration as it was asked for (see `key_of`)."""
    repeat: int
    """From 1."""
    isolation: Isolation
    outcome: SweepOutcome
    config: RunConfig
    """Resolved, as far as that is known; its fields are columns of their own."""
    parameters: int | None = None
    steps: int | None = None
    """Measured."""
    mean_s: float | None = None
    std_s: float | None = None
    cv: float | None = None
    median_s: float | None = None
    median_low_s: float | None = None
    median_high_s: float | None = None
    min_s: float | None = None
    p90_s: float | None = None
    first_step_s: float | None = None
    """The first measured step: far above the median where warm-up was too short."""
    forward_s: float | None = None
    backward_s: float | None = None
    optimizer_s: float | None = None
    rest_s: float | None = None
    tokens_per_s: float | None = None
    peak_memory_bytes: int | None = None
    """Tensors on a GPU, the resident set on a CPU."""
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


CONFIG_FIELDS = tuple(field.name for field in dataclasses.fields(RunConfig))
COLUMNS: tuple[str, ...] = tuple(
    column
    for field in dataclasses.fields(SweepRow)
    for column in (CONFIG_FIELDS if field.name == "config" else (field.name,))
)
"""Of the results file, in order."""


def key_of(config: RunConfig) -> str:
    """A short name that is the same for the same flags, on any machine and in any session: `small_train_1f09c2d4`.

    Made of the flags that differ from their defaults, so that a field added to RunConfig changes no key.
    """
    digest = hashlib.sha256("\0".join(config.flags()).encode()).hexdigest()[:8]
    return f"{config.model_size or 'default'}_{config.pass_type}_{digest}"


def flat(row: SweepRow) -> dict[str, Any]:
    """The row by columns."""
    result: dict[str, Any] = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        result |= {name: getattr(value, name) for name in CONFIG_FIELDS} if field.name == "config" else {}
        if field.name != "config":
            result[field.name] = value
    return result


def header_line() -> str:
    """The first line of a results file."""
    return _line(COLUMNS)


def to_line(row: SweepRow) -> str:
    """The row as one line of CSV, with its line end; numbers keep every digit, None is empty."""
    return _line([_cell(value) for value in flat(row).values()])


def from_line(line: str) -> SweepRow:
    """The row of a line. Raises UsageError where it is none."""
    [cells] = csv.reader([line])
    if len(cells) != len(COLUMNS):
        raise UsageError(f"{len(cells)} values for {len(COLUMNS)} columns")
    return _from_cells(dict(zip(COLUMNS, cells, strict=True)))


def _from_cells(cells: Mapping[str, str]) -> SweepRow:
    present = {name: text for name, text in cells.items() if text}
    plain: dict[str, Any] = {name: text for name, text in present.items() if name not in CONFIG_FIELDS}
    plain["config"] = {name: text for name, text in present.items() if name in CONFIG_FIELDS}
    try:
        row = msgspec.convert(plain, SweepRow, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(str(error)) from error
    limits.check({name: value for name, value in flat(row).items() if name not in CONFIG_FIELDS})
    return row


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(value.split()) if isinstance(value, str) else repr(value)


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
