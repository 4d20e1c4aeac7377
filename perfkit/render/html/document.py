"""A page as one HTML file: no request to any host, and no script that this file does not name by its hash."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perfkit.render.findings import FINDINGS
from perfkit.render.html import figures, tables
from perfkit.render.html.library import javascript, packed
from perfkit.render.html.style import style
from perfkit.render.html.text import LONGEST, clean, escaped, isolated
from perfkit.render.opening import AT_STAKE, NOTHING, TITLE, Change, opening
from perfkit.schema.table import each_note_once

if TYPE_CHECKING:
    from perfkit.schema.page.sections import Page, Part, Section

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("tables.js", "timeline.js", "charts.js", "page.js")
"""In the order in which they stand in the page."""
_LONGEST_SENTENCE = 2_000


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a page holds of a trace whose names are many and long."""

    letters: int
    """Of a name in a figure or in a tip."""
    rows: int
    """Of a table."""


_LIMITS = (_Limits(LONGEST, tables.MOST_ROWS), _Limits(120, 500), _Limits(48, 100))
"""From the widest; the first that keeps the file below MOST_BYTES is taken, else the last."""
MOST_BYTES = 2_500_000


def document(page: Page) -> str:
    """The file's content."""
    made = ""
    for limits in _LIMITS:
        made = _document(page, limits)
        if len(made) < MOST_BYTES:
            break
    return made


def _document(page: Page, limits: _Limits) -> str:
    script = "".join((_ASSETS / name).read_text("utf-8") for name in _SCRIPTS)
    parts = _Parts(limits.rows)
    body = "".join(parts.part(part, several=len(page.parts) > 1) for part in page.parts)
    library = javascript() if any(figure["kind"] != "timeline" for figure in parts.figures) else ""
    data = msgspec.json.encode(_shortened({"tables": parts.tables, "figures": parts.figures}, limits.letters)).decode()
    policy = (
        f"default-src 'none'; script-src {_hash(script)} {_hash(library)}; style-src 'unsafe-inline';"
        " img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en" data-theme="auto">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="perfkit {escaped(page.version)}">
<title>{escaped(page.title)} - perfkit</title>
<link rel="icon" href="data:,">
<style>{style()}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the findings</a>
<header><div><p class="brand">perfkit report</p><h1>{isolated(page.title)}</h1></div>
<button type="button" id="theme" aria-live="polite">Theme: as the system</button></header>
<nav aria-label="Sections"><ul>{parts.contents}</ul></nav>
<main id="main" tabindex="-1">
<noscript><p class="lacking">Charts, sorting and the timeline need JavaScript; the first rows of each table do not.</p>
</noscript>
{body}
</main>
<footer><p>Made by perfkit {escaped(page.version)} with <code>{isolated(page.command)}</code>. This file is complete in
itself: it makes no request. Tables hold up to {limits.rows:,} rows, names up to {limits.letters} characters;
<code>perfkit analyze --format json</code> has everything.</p></footer>
<script type="text/plain" id="data">{packed(data)}</script>
<script type="text/plain" id="library">{packed(library)}</script>
<script>{script}</script>
</body>
</html>
"""


def _shortened(data: Any, letters: int) -> Any:
    """The data of a page with its texts cut to so many letters, all in the same way: equal ones stay equal."""
    if letters >= LONGEST:
        return data
    match data:
        case str():
            return clean(data, letters)
        case dict():
            return {key: _shortened(value, letters) for key, value in data.items()}
        case list() | tuple() if data and not isinstance(data[0], int | float):
            return [_shortened(value, letters) for value in data]
    return data


def _hash(script: str) -> str:
    """As a content security policy names a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


class _Parts:
    """Writes parts, and collects what their tables and figures need."""

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self.tables: list[dict[str, Any]] = []
        self.figures: list[dict[str, Any]] = []
        self.contents = ""
        self._anchors: set[str] = set()
        self._regions: set[str] = set()
        self._titles: set[str] = set()
        self._numbers = iter(range(1, 1_000_000))

    def part(self, part: Part, *, several: bool) -> str:
        """The answer of one source, then its sections."""
        anchor = self._anchor("findings")
        title = f"{anchor}-title"
        named = _unused(part.title, " · no. ", self._titles)
        heading = f'<h2 id="{title}">{isolated(named)}</h2>' if several else '<h2 class="hidden">Findings</h2>'
        self.contents += self._entry(anchor, named if several else "Findings", is_part=several)
        within = f"{title} " if several else ""
        sections = "".join(self._section(section, within) for section in part.sections)
        return f'<section id="{anchor}" class="answer">{heading}{"".join(_answer(part))}</section>{sections}'

    def _section(self, section: Section, within: str) -> str:
        """`within`: what names its part before itself, where two parts have a section of one title."""
        anchor = self._anchor(section.anchor)
        self.contents += self._entry(anchor, section.title)
        takeaway = f'<p class="takeaway">{escaped(section.takeaway)}</p>' if section.takeaway else ""
        lacking = f'<p class="lacking">{escaped(section.lacking)}</p>' if section.lacking else ""
        drawn = "".join(self._figure(figure, section) for figure in section.figures)
        notes = "".join(f"<li>{escaped(note)}</li>" for note in section.notes)
        notes = f'<ul class="notes">{notes}</ul>' if notes else ""
        listed = "".join(map(self._table, each_note_once(section.tables)))
        if section.folded:
            listed = f"<details><summary>{len(section.tables)} more tables</summary>{listed}</details>"
        heading = (
            f'<h2 id="{anchor}-title">{escaped(section.title)} <a class="anchor" href="#{anchor}"'
            f' aria-label="Link to {escaped(section.title)}">#</a></h2>'
        )
        return (
            f'<section id="{anchor}" aria-labelledby="{within}{anchor}-title">{heading}{takeaway}{lacking}{drawn}'
            f"{notes}{listed}</section>"
        )

    def _figure(self, figure: Any, section: Section) -> str:
        number = len(self.figures)
        described = figures.data(figure)
        self.figures.append(described)
        kind = described["kind"]
        name = f"{section.title}, {_KINDS[kind]}: {section.takeaway}"
        return (
            f'<figure class="figure {kind}" id="figure-{number}" data-label="{escaped(name)}">'
            f'<div class="drawing"></div></figure>'
        )

    def _table(self, table: Any) -> str:
        region = _unused(table.title, " ", self._regions)
        markup, data = tables.table(table, next(self._numbers), table.title, self._most_rows, region)
        if data is not None:
            self.tables.append(data)
        return markup

    def _anchor(self, wanted: str) -> str:
        return _unused(wanted, "-", self._anchors)

    def _entry(self, anchor: str, title: str, *, is_part: bool = False) -> str:
        kind = ' class="part"' if is_part else ""
        return f'<li{kind}><a href="#{anchor}">{isolated(title)}</a></li>'


def _unused(wanted: str, joint: str, used: set[str]) -> str:
    """As wanted, with a number where it is in use; then it is, too."""
    name, number = wanted, 2
    while name in used:
        name, number = f"{wanted}{joint}{number}", number + 1
    used.add(name)
    return name


_KINDS = {"chart": "chart", "bars": "bars", "tree": "icicle", "heat": "heat map", "timeline": "timeline"}


def _answer(part: Part) -> Iterator[str]:
    """What it is about, what to change first, what else to know."""
    said = opening(part.findings, (FINDINGS,))  # all of them: who is sent the page has no perfkit
    for sentence in said.about:
        yield f'<p class="about">{_sentence(sentence)}</p>'
    if said.changes:
        has_cost = any(change.cost for change in said.changes)
        yield f"<h3>{AT_STAKE if has_cost else TITLE}</h3><ol class=changes>"
        yield from map(_change, said.changes)
        yield "</ol>"
    if said.nothing_found:
        yield f"<p>{NOTHING}</p>"
    if said.notes:
        yield '<h3>What else to know</h3><ul class="remarks">'
        yield from (f"<li>{_sentence(note)}</li>" for note in said.notes)
        yield "</ul>"


def _change(change: Change) -> str:
    stake = "".join(f"<span>{escaped(text)}</span> " for text in (change.cost, change.share) if text.strip())
    advice = f'<span class="try">Try {_sentence(change.advice)}</span>' if change.advice else ""
    cost = f'<span class="stake">{stake}</span>' if stake else ""
    return f"<li>{cost}<span>{_sentence(change.what)}{advice}</span></li>"


def _sentence(text: str) -> str:
    return escaped(re.sub(" {2,}", " · ", text), _LONGEST_SENTENCE)  # HTML knows no wide blanks
