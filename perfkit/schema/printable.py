"""Text from files and names of files, where a person looks: nothing in it moves the cursor or reorders the line."""

from __future__ import annotations


def printable(name: str) -> str:
    r"""The name without what a terminal obeys: ESC becomes `\x1b`, a newline `\n`, an override `\u202e`."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
