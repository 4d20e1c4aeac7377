"""A page in a frame of another one, such as a notebook's output: a world of its own, and of limited size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from perfkit.render.html.document import document
from perfkit.render.html.text import escaped
from perfkit.schema.page.figures import Timeline
from perfkit.schema.page.sections import Page, Section

MOST = 1_000_000
"""Bytes: a notebook keeps its outputs, and many are kept with their code."""
HEIGHT = "42rem"


def embedded(page: Page, most: int = MOST) -> str:
    """The page in a frame that can reach nothing of what is round it; without timeline, charts, tables, if need be.

    `sandbox` gives the frame an origin of its own; what scripts may run in it, the page's own policy says.
    """
    left_out = []
    data = document(page)
    for name, kept in _LESS:
        if len(data.encode()) <= most:
            break
        left_out.append(name)
        sections = (tuple(map(kept, part.sections)) for part in page.parts)
        page = replace(
            page, parts=tuple(replace(part, sections=own) for part, own in zip(page.parts, sections, strict=True))
        )
        data = document(page)
    source = data.replace("&", "&amp;").replace('"', "&quot;")
    missing = (
        f"<p>Left out here, to keep a notebook small: {', '.join(left_out)}. A saved .html has all.</p>"
        if left_out
        else ""
    )
    return (
        f'<iframe title="perfkit: {escaped(page.title)}" sandbox="allow-scripts" style="width: 100%; height: {HEIGHT};'
        f' border: 0; resize: vertical" srcdoc="{source}"></iframe>{missing}'
    )


def _without_timeline(section: Section) -> Section:
    return replace(section, figures=tuple(one for one in section.figures if not isinstance(one, Timeline)))


def _without_charts(section: Section) -> Section:
    return replace(section, figures=())


def _without_tables(section: Section) -> Section:
    return replace(section, tables=())


_LESS: tuple[tuple[str, Callable[[Section], Section]], ...] = (
    ("the timeline", _without_timeline),
    ("charts", _without_charts),
    ("tables", _without_tables),
)
"""What a page can do without, the first first."""
