"""TraceTable: a table of a trace by name: what its rows are, and the function that computes it when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from perfkit.analysis.attribution.captures import Captures
from perfkit.analysis.time.account import Selection
from perfkit.analysis.time.partial import Facts, Partial
from perfkit.schema.report import LazyTable
from perfkit.schema.table import Audience, Table

By = Literal["layer", "module", "class", "component", "phase", "op", "kernel"]


@dataclass(frozen=True, slots=True)
class View:
    """How to look at a trace."""

    selection: Selection = Selection()  # noqa: RUF009 - frozen
    by: By = "component"
    depth: int | None = None
    fold: bool = True
    modules: dict[str, str] | None = None
    """The model's tree, path -> class, for a trace that does not carry it."""
    captures: Captures | None = None
    """The captures of the trace's CUDA graphs, from another trace."""


def everyone(_: Facts) -> Audience:
    """The audience of a table that every trace has and everyone sees."""
    return "everyone"


@dataclass(frozen=True, slots=True)
class TraceTable:
    """A table of a trace."""

    name: str
    """As `--table` takes it."""
    row: str
    """What a row is, for the documents."""
    columns: str
    """Its columns, for the documents."""
    build: Callable[[Partial, View], Table]
    """Computes it from a partial."""
    audience: Callable[[Facts], Audience | None] = everyone
    """Its audience for such a trace; None where it is not made."""

    def of(self, partial: Partial, view: View) -> LazyTable | None:
        """The table of one trace, to be computed when asked for; None where such a trace has none."""
        audience = self.audience(partial.facts)
        return LazyTable(self.name, lambda: self.build(partial, view), audience) if audience else None
