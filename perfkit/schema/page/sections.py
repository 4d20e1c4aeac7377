"""Page: what an HTML report says, part by part. Analyses return Pages; `render.html` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfkit.schema.finding import Finding
from perfkit.schema.page.figures import Figure
from perfkit.schema.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question and its answer: a sentence, a figure, the tables behind it."""

    anchor: str
    """In the page's address: `wall-time`."""
    title: str
    takeaway: str = ""
    """The figure's caption: what it shows, with its numbers and units."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """What is left out, and how to read the figure."""
    lacking: str = ""
    """What to record, where the evidence for the section is missing."""
    folded: bool = False
    """Closed until somebody opens it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What there is to say of one source, or of a comparison of two: the answer, then its sections."""

    title: str
    findings: Sequence[Finding]
    sections: tuple[Section, ...]
    source: str = ""
    """The path, for the command that shows it in a terminal; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A report: one part a source, a comparison first."""

    title: str
    parts: tuple[Part, ...]
    command: str
    """The command that made it."""
    version: str
