"""Ordered tables of patterns. The first pattern that matches wins, so special cases stand above general ones.

No pattern looks further than 500 characters from where it begins, so that a long name takes no longer than many short
ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from perfkit.analysis.kernels.names import LOOKED_AT
from perfkit.regex import Regex


class Pattern(msgspec.Struct, frozen=True):
    """A regular expression, searched in a name in lower case, and the category it stands for."""

    category: str
    regex: Regex[str]
    source: str
    """Where names of this kind come from."""


def table(*rows: tuple[str, str, str]) -> tuple[Pattern, ...]:
    """Rows of category, source and regular expression."""
    return tuple(Pattern(category, Regex(words), source) for category, source, words in rows)


def first(patterns: Sequence[Pattern], text: str) -> str | None:
    """Category of the first pattern that matches."""
    return next((pattern.category for pattern in patterns if pattern.regex.search(text, 0, LOOKED_AT)), None)
