"""Ordered tables of patterns. The first pattern that matches wins, so special cases stand above general ones.

No pattern looks further than 500 characters from where it begins, so that a long name takes no longer than many short
ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import msgspec

from perfkit.analysis.kernels.names import LOOKED_AT


class Pattern(msgspec.Struct, frozen=True):
    """A regular expression, searched in a name in lower case, and the category it stands for."""

    category: str
    regex: str
    source: str
    """Where names of this kind come from."""


def table(*rows: tuple[str, str, str]) -> tuple[Pattern, ...]:
    """Rows of category, source and regular expression."""
    return tuple(Pattern(category, regex, source) for category, source, regex in rows)


def first(patterns: Sequence[Pattern], text: str) -> str | None:
    """Category of the first pattern that matches."""
    return next((pattern.category for pattern in patterns if _compiled(pattern.regex).search(text, 0, LOOKED_AT)), None)


@cache
def _compiled(regex: str) -> re.Pattern[str]:
    """Only what is asked for: few traces have a name that gets as far as the last of a hundred patterns."""
    return re.compile(regex)
