"""Text in a CSV that a spreadsheet would take for a formula, and run: an apostrophe before it makes it text again."""

from __future__ import annotations

import re

_ACTIVE = re.compile(r"['=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""First characters that start a formula (OWASP, "CSV Injection", with their full-width forms), and our own mark."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def defused(text: str) -> str:
    """The text as a cell of a CSV that no spreadsheet evaluates; `restored` gives it back. Numbers stay as they are."""
    return f"'{text}" if _ACTIVE.match(text) and not _NUMBER.fullmatch(text) else text


def restored(cell: str) -> str:
    """The text that `defused` made the cell of."""
    return cell.removeprefix("'")
