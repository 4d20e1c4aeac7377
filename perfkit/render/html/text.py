"""Text in HTML: whatever it holds, it is read as text. Names come from files that anybody may have written."""

from __future__ import annotations

import html

from perfkit.render.cells import encodable
from perfkit.schema.printable import printable

LONGEST = 400
"""Characters of a text that a page keeps; CSV and JSON have it whole."""


def clean(text: str, most: int = LONGEST) -> str:
    """The text as people read it: on one line, no longer than `most`, without what turns the direction of writing."""
    shown = encodable(printable(text))
    return shown if len(shown) <= most else f"{shown[: most - 20]}… {shown[-18:]}"


def escaped(text: str, most: int = LONGEST) -> str:
    """The text between tags or in a quoted attribute."""
    return html.escape(clean(text, most))


def isolated(text: str) -> str:
    """The text between tags, its direction of writing kept to itself."""
    return f"<bdi>{escaped(text)}</bdi>"
