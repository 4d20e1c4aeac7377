"""Text from files and file names, made safe for programs that would act on it: control characters for terminals, and
formulas for spreadsheets."""

from __future__ import annotations

import re

_ACTIVE = re.compile(r"['=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""First characters that start a formula (OWASP, "CSV Injection", with their full-width forms), and our own mark."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def printable(name: str) -> str:
    r"""The name with terminal control characters escaped: ESC becomes `\x1b`, a newline `\n`, an override `\u202e`."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def defused(text: str) -> str:
    """The text as a cell of a CSV that no spreadsheet evaluates; `restored` gives it back. Numbers stay as they are."""
    return f"'{text}" if _ACTIVE.match(text) and not _NUMBER.fullmatch(text) else text


def restored(cell: str) -> str:
    """The text from which `defused` made the cell."""
    return cell.removeprefix("'")
