"""Short names of all kernels of a trace: no two different names get one, whatever the order in which they come."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

from perfkit.analysis.kernels.short_names.forms import canonical, dtype, taken_apart
from perfkit.analysis.kernels.short_names.general import form
from perfkit.regex import Regex
from perfkit.schema.table import Column

NAMES = (Column("name", audience="scripts"), Column("short_name", title="name", short_for="name"))
"""The columns of a table with a row for each kernel's name."""


def named(column: str, short: str, title: str) -> tuple[Column, Column]:
    """The same for a table whose column of kernels' names is another: their short names in `short`, for people."""
    return Column(column, title=title, audience="scripts"), Column(short, title=title, short_for=column)


_MOST_ALIKE = 400
"""Kernels of one text, above which they are numbered: no person compares so many."""
_MOST_COLUMNS = 400
_LONGEST_TEXT = 96
"""Characters of a text, before what tells it from others."""
_LONGEST = 28
"""Characters of one thing that tells names apart."""
_LAMBDA = Regex(r"\{lambda\([^{}]*\)#(\d+)\}")
_TOKEN = Regex(r"lambda \d+|-?\w+")


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> what a person reads: unique among these, never empty, and the same in whatever order they come.

    Kernels that a rule calls the same keep what differs between them: first of what the rule knows besides (stages,
    alignment, flags), then of the names themselves. What is still the same gets a number.
    """
    return dict(_short_names(tuple(sorted(set(names)))))


@lru_cache(maxsize=64)
def _short_names(names: tuple[str, ...]) -> dict[str, str]:
    short = {name: _readable(form(name).text) for name in names}
    for alike in _groups(short):
        for name, more in _told_apart(_padded([form(name).details for name in alike]), alike).items():
            short[name] += more
    for alike in _groups(short):
        for name, more in _told_apart([_tokens(name) for name in alike], alike).items():
            short[name] += more
    taken = set(short.values())
    for alike in _groups(short):
        number = 0
        for name in alike:
            candidate = short[name]
            while candidate in taken:
                number += 1
                candidate = f"{short[name]} #{number}"
            taken.add(candidate)
            short[name] = candidate
    return short


def _readable(text: str) -> str:
    """A text that is short and says more than a number."""
    if not any(letter.isalpha() for letter in text):
        text = f"kernel {text}"
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT // 2]}…{text[1 - _LONGEST_TEXT // 2 :]}"


def _groups(short: dict[str, str]) -> list[list[str]]:
    """Names that share a text, in their own order."""
    by_text: dict[str, list[str]] = defaultdict(list)
    for name, text in short.items():
        by_text[text].append(name)
    return [names for names in by_text.values() if len(names) > 1]


def _told_apart(given: Sequence[list[str]], names: Sequence[str]) -> dict[str, str]:
    """For each name the few of its tokens that tell it from the others, as far as they do."""
    if len(names) > _MOST_ALIKE:
        return {}
    columns = _columns(given)[:_MOST_COLUMNS]
    chosen: list[int] = []
    groups = [""] * len(names)
    while len(set(groups)) < len(names):
        count = [len(set(zip(groups, column, strict=True))) for column in columns]
        best = max(range(len(columns)), key=lambda place: (count[place], -place), default=-1)
        if best < 0 or count[best] == len(set(groups)):
            break
        chosen.append(best)
        numbers = {
            pair: f"{number}" for number, pair in enumerate(dict.fromkeys(zip(groups, columns[best], strict=True)))
        }
        groups = [numbers[pair] for pair in zip(groups, columns[best], strict=True)]
    result = {}
    for place, name in enumerate(names):
        told = dict.fromkeys(_cut(columns[column][place]) for column in sorted(chosen))
        text = ", ".join(filter(None, told))
        result[name] = f" · {text}" if text else ""
    return result


def _columns(given: Sequence[list[str]]) -> list[list[str]]:
    """Tokens that differ: side by side where all names have as many, else those that only some names have."""
    if len(set(map(len, given))) == 1:
        return [list(column) for column in zip(*given, strict=True) if len(set(column)) > 1]
    first = next((column for column in zip(*given, strict=False) if len(set(column)) > 1), ())
    counted = [_numbered(tokens) for tokens in given]
    keys = dict.fromkeys(key for tokens in counted for key in tokens)
    common = set(keys).intersection(*counted)
    present = [[key[0] if key in tokens else "" for tokens in counted] for key in keys if key not in common]
    return [list(first), *present] if first else present


def _padded(given: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """Details have places: what some kernel lacks is empty."""
    most = max(map(len, given))
    return [[*details, *[""] * (most - len(details))] for details in given]


def _numbered(tokens: list[str]) -> dict[tuple[str, int], None]:
    """Each token with how often it came before."""
    seen: Counter[str] = Counter()
    found: dict[tuple[str, int], None] = {}
    for token in tokens:
        found[token, seen[token]] = None
        seen[token] += 1
    return found


@cache
def _tokens(name: str) -> list[str]:
    """A name's parts, those of template arguments in words: what tells names apart."""
    text = canonical(name)
    taken = taken_apart(text)
    if not taken.arguments:
        return [token for token in re.split(r"[_\W]+", text) if token]
    found = [*taken.scope, taken.last]
    for place, argument in enumerate(taken.arguments, 1):
        if re.fullmatch(r"-?\d+|true|false", argument):
            found.append(f"arg {place} {argument}")
        else:
            found += [dtype(token) or token for token in _TOKEN.findall(_LAMBDA.sub(r" lambda \1 ", argument))]
    return found


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[1 - _LONGEST // 2 :]}"
