"""Ordered tables of patterns. The first pattern that matches wins, so special cases stand above general ones.

No pattern looks further than 500 characters from where it begins, so that a long name takes no longer than many short
ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from perfkit.analysis.kernels.names import LOOKED_AT


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression, searched in a name in lower case, and the category it stands for."""

    category: str
    regex: re.Pattern[str]
    source: str
    """Where names of this kind come from."""


def table(*rows: tuple[str, str, str]) -> tuple[Pattern, ...]:
    """Rows of category, source and regular expression; `^` and `$` stand at the ends of a word."""
    return tuple(Pattern(category, re.compile(regex, re.MULTILINE), source) for category, source, regex in rows)


def first(patterns: Sequence[Pattern], text: str) -> str | None:
    """Category of the first pattern that matches."""
    return next((pattern.category for pattern in patterns if pattern.regex.search(text, 0, LOOKED_AT)), None)


def first_of(patterns: Sequence[Pattern], words: Sequence[str]) -> str | None:
    """Category of the first word that any pattern matches; of several, by the first pattern. Reads each word once."""
    lines = "\n".join(words)
    found = [
        (lines.count("\n", 0, match.start()), order, pattern.category)
        for order, pattern in enumerate(patterns)
        if (match := pattern.regex.search(lines, 0, LOOKED_AT))
    ]
    return min(found)[2] if found else None
