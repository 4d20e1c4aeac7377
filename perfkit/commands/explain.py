"""`perfkit explain`: what the sizes of models and of a card say of anyone's table of times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perfkit.analysis.explained import card as cards
from perfkit.analysis.explained import reading, report
from perfkit.analysis.explained.card import Card
from perfkit.analysis.explained.reading import Defaults, Edition
from perfkit.commands.console import show
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import completing
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.parts.step import PassType, Precision

_LARGEST = 16 * 2**20
"""Bytes of a table that people wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What the table does not say, and how to show what is found."""

    device: str | None = None
    """The card: "RTX 4090 Laptop GPU". Without it no peak and no memory is known."""
    memory: str | None = None
    """The card's memory, such as 16GB; default: the device's."""
    pass_type: PassType = "forward-backward"
    """Pass of times whose column and row name none."""
    context_length: int = 512
    """Tokens in a sequence, where the table has no such column."""
    batch_size: int = 4
    """Sequences in a batch, where the table has no such column."""
    precision: Precision = "fp32"
    """Precision of the matmuls, where the table has no such column."""
    edition: Edition = "2025"
    """Of the course whose names of sizes the table uses: the xl of 2026 is the 2.7B of 2025."""
    format: Format = "table"
    """table for people; json with everything, for scripts; csv (one table, see --table); md for a document."""
    table: Annotated[tuple[str, ...], Parameter(consume_multiple=(1, None))] = ()
    """Show only these tables: rows, changes."""

    def __post_init__(self) -> None:
        for name in ("context_length", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be 1 or more")


_PATH = Parameter(help="A table of times: .csv, or Markdown with bars.", completer=completing.paths)
_DEFAULT = ExplainOptions()


def execute(
    path: Annotated[Path, _PATH], /, *, options: Annotated[ExplainOptions, Parameter(name="*")] = _DEFAULT
) -> int:
    """Explain a table of times: what each row should take, what it needs of memory, and why it is slower.

    Example: perfkit explain results.csv --device "RTX 4090 Laptop GPU"
    """
    memory = None if options.memory is None else units.parse_size(options.memory)
    card = Card("", memory) if options.device is None else cards.named(options.device, memory)
    defaults = Defaults(
        options.pass_type, options.context_length, options.batch_size, options.precision, options.edition
    )
    try:
        rows = reading.read(_text(path), defaults)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    found = report.report(rows, card, path.name)
    asked = show.Asked(tables=options.table)
    show.write(show.chosen([found], options.table), options.format, top=None, asked=asked)
    return 0


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError("too large for a table of times")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError("no text: a table is CSV or Markdown") from error
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from error
