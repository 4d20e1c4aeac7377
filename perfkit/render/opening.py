"""What people read before the tables: what it is about, what to change first, and what else to know."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence

import msgspec
import pandas as pd

from perfkit.render import findings as sentences
from perfkit.render.cells import quantities
from perfkit.schema.finding import APART, TRACE_TOTALS, Finding, in_reading_order
from perfkit.schema.printable import printable
from perfkit.schema.table import Column

FIRST = 5
"""Findings about what to change that are shown where there are more; where all is to be brief, notes too."""
TITLE = "What to change first"
AT_STAKE = f"{TITLE}, and the time of a step at stake"
NOTHING = f"{TITLE}: no rule found anything"
WIDEST = 120
"""Characters in a line of sentences, however wide the terminal is."""

_NARROWEST = 40
_COST, _SHARE = Column("cost_ns", "ns", "time"), Column("share", "1", "share")


class Change(msgspec.Struct, frozen=True):
    """A finding about what to change."""

    cost: str
    """The time at stake, and its unit; a dash where it is not known, empty where it is known of none."""
    share: str
    """Of the step."""
    what: str
    advice: str
    """What to try; empty where there is nothing, or one before it says the same."""


class Opening(msgspec.Struct, frozen=True):
    """Sentences in the order of reading."""

    about: tuple[str, ...]
    """What all is about."""
    changes: tuple[Change, ...]
    more: int
    """How many findings like the changes are not shown."""
    nothing_found: bool
    """The rules about what to change looked, and found nothing."""
    notes: tuple[str, ...]
    """All else: a command's verdicts, cautions, facts."""
    more_notes: int = 0
    """How many notes are not shown."""


def opening(findings: Sequence[Finding], tables: Collection[str] = (), *, brief: bool = False) -> Opening:
    """What to say of findings before the tables.

    tables: those that were asked for by name, if any were. Then only changes are shown that rest on a row of them, and
    all changes where the table `findings` is among them, for which the sentences stand.
    brief: without details, and with the first notes only.
    """
    ordered = in_reading_order(findings)
    changes = [finding for finding in ordered if finding.rule.asks_for_change]
    notes = [finding for finding in ordered if not finding.rule.asks_for_change]
    all_are_wanted = sentences.FINDINGS in tables
    if tables and not all_are_wanted:
        changes = [finding for finding in changes if any(row.table in tables for row in finding.evidence)]
    if set(tables) == {sentences.INTEGRITY}:
        notes = [finding for finding in notes if finding.rule.topic == "integrity" or finding.rule.read == "first"]
    about = [finding for finding in notes if finding.rule.read == "first"]
    notes = [
        finding for finding in notes if finding.rule.read not in (("first", "detail", "last") if brief else ("first",))
    ]
    most = FIRST if brief else len(notes)
    gaining = [
        finding for finding in changes if finding.gain.ns != 0
    ]  # of others a replay knows that they gain nothing
    shown = changes if all_are_wanted else (gaining or changes)[:FIRST]
    is_judged = any(finding.rule == TRACE_TOTALS for finding in findings)
    given = {finding.advice for finding in shown}
    return Opening(
        about=tuple(sentences.lines(about)),
        changes=tuple(_changes(shown)),
        more=len(changes) - len(shown),
        nothing_found=is_judged and not changes and (not tables or all_are_wanted),
        notes=tuple(sentences.lines(notes[:most], given)),
        more_notes=len(notes[most:]),
    )


def _changes(findings: Sequence[Finding]) -> Iterator[Change]:
    costs = _texts(_COST, [finding.at_stake.ns for finding in findings])
    shares = _texts(_SHARE, [finding.at_stake.share for finding in findings])
    given = set()
    for finding, cost, share in zip(findings, costs, shares, strict=True):
        yield Change(cost, share, finding.what, "" if finding.advice in given else finding.advice)
        given.add(finding.advice)


def _texts(column: Column, values: Sequence[float | None]) -> list[str]:
    """Texts of one length, a dash for nothing and for zero; empty where there is nothing else."""
    texts = quantities(column, pd.Series([value or None for value in values], dtype=float))
    return texts if any(values) else [""] * len(values)


def lines(shown: Opening, width: int | None, command: str) -> Iterator[tuple[str, bool]]:
    """Lines of a terminal, and whether each is a heading; empty ones between the parts.

    width: characters in a line; None leaves sentences whole. command: shows all changes.
    """
    for sentence in shown.about:
        yield from ((line, True) for line in _broken_between_parts(sentence, width))
    changes = [(NOTHING, False)] if shown.nothing_found else [*_change_lines(shown, width, command)]
    if changes:
        yield from [("", False)] * bool(shown.about)
        yield from changes
    if changes and shown.notes:
        yield "", False
    for note in shown.notes:
        yield from ((line, False) for line in wrapped(note, width))
    if shown.more_notes:
        yield from ((line, False) for line in _more(shown.more_notes, "", command, width))


def _change_lines(shown: Opening, width: int | None, command: str) -> Iterator[tuple[str, bool]]:
    if not shown.changes:
        return
    yield AT_STAKE if any(change.cost for change in shown.changes) else TITLE, True
    for change in shown.changes:
        lead = "  " + "".join(f"{text}  " for text in (change.cost, change.share) if text)
        blank = " " * len(lead)
        yield from ((line, False) for line in wrapped(change.what, width, lead, blank))
        if change.advice:
            yield from ((line, False) for line in wrapped(f"try {change.advice}", width, blank, blank + "    "))
    if shown.more:
        yield from ((line, False) for line in _more(shown.more, "  ", command, width))


def _more(number: int, lead: str, command: str, width: int | None) -> list[str]:
    """How many more there are, and what shows them: a command is never broken, but stands below where room lacks."""
    said = f"{lead}and {number} more:"
    beside = f"{said} {command}"
    return [beside] if width is None or len(beside) <= width else [said, f"{lead}  {command}"]


def _broken_between_parts(sentence: str, width: int | None) -> list[str]:
    """A first line: where it is too long it goes on below, whole parts together."""
    first, *others = printable(sentence).split(APART)
    written = [first]
    for part in others:
        longer = written[-1] + APART + part
        written[-1:] = [longer] if width is None or len(longer) <= min(width, WIDEST) else [written[-1], "  " + part]
    return [line for text in written for line in wrapped(text, width)]


def wrapped(sentence: str, width: int | None, lead: str = "", blank: str = "  ") -> list[str]:
    """The sentence in lines of at most `width` characters (None: in one), after `lead`, later ones after `blank`."""
    text = printable(sentence)
    if width is None:
        return [lead + text]
    room = max(min(width, WIDEST), _NARROWEST)
    return textwrap.wrap(
        text, room, initial_indent=lead, subsequent_indent=blank, break_long_words=False, break_on_hyphens=False
    )
