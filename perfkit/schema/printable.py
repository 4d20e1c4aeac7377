"""Text from files and names of files, where a program would obey it: a terminal its control characters, a spreadsheet
its formulas."""

from __future__ import annotations

import re

_ACTIVE = re.compile(r"['=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""First characters that start a formula (OWASP, "CSV Injection", with their full-width forms), and our own mark."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def printable(name: str) -> str:
    r"""The name without what a terminal obeys: ESC becomes `\x1b`, a newline `\n`, an override `\u202e`."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def defused(text: str) -> str:
    """The text as a cell of a CSV that no spreadsheet evaluates; `restored` gives it back. Numbers stay as they are."""
    return f"'{text}" if _ACTIVE.match(text) and not _NUMBER.fullmatch(text) else text


def restored(cell: str) -> str:
    """The text that `defused` made the cell of."""
    return cell.removeprefix("'")
