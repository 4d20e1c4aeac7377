"""Numbers in the names that users give their ranges: `iteration 3` and `iteration 4` are one thing, `iteration *`.

A number folds where the same text occurs with at least two numbers in its place. It stands by itself: nothing that is a
letter or a digit touches it, so that `conv2d` and `conv3d`, `fp8` and `fp16`, `sha256` and `sha512` stay what they are.
Only words that count something may end in it: `layer3`, `block12`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from perfkit.regex import Regex

_COUNTING = (
    "layer", "layers", "block", "blocks", "step", "iter", "iteration", "epoch", "batch", "stage", "expert", "rank",
    "worker", "request", "req", "token", "chunk",
)  # fmt: skip
"""Words that end in a number which counts instances."""

_NUMBER = Regex(
    r"(?:(?<![^\W_])|" + "|".join(rf"(?<={word})" for word in _COUNTING) + r")(\d+)(?![^\W_])", re.IGNORECASE
)
"""A number by itself; `_` is no letter."""


def folded(names: Iterable[str]) -> dict[str, str]:
    """Each name, with a star for each number by which it differs from others of the same text."""
    alike: dict[tuple[str, ...], list[tuple[str, list[str]]]] = defaultdict(list)
    for name in dict.fromkeys(names):
        parts = _NUMBER.split(name)  # text, number, text, number, ..., text
        alike[tuple(parts[::2])].append((name, parts[1::2]))
    result = {}
    for texts, instances in alike.items():
        places = zip(*(numbers for _, numbers in instances), strict=True)
        starred = [len(set(numbers)) > 1 for numbers in places]
        for name, numbers in instances:
            shown = ["*" if star else number for star, number in zip(starred, numbers, strict=True)]
            result[name] = texts[0] + "".join(number + text for number, text in zip(shown, texts[1:], strict=True))
    return result


def folded_paths(paths: Iterable[Sequence[str]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Each path with its components folded, from the outermost inwards: among those whose fronts fold into one."""
    result: dict[tuple[str, ...], tuple[str, ...]] = {tuple(path): () for path in paths}
    waiting = list(result)
    depth = 0
    while waiting:
        parts: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for path in waiting:
            parts[result[path]].add(path[depth])
        of_front = {front: folded(sorted(names)) for front, names in parts.items()}
        for path in waiting:
            result[path] += (of_front[result[path]][path[depth]],)
        depth += 1
        waiting = [path for path in waiting if len(path) > depth]
    return result


def layer_of(path: Sequence[str], starred: Sequence[str]) -> tuple[list[str], list[str]]:
    """The front of a path that is a layer, and the same folded: up to the first component with a star in it.

    Of a component that is a path itself, the front of it: `model.layers.0` of `model.layers.0.attn`.
    """
    for depth, (part, shown) in enumerate(zip(path, starred, strict=True)):
        if part != shown:
            cut, cut_shown = _front(part, shown)
            return [*path[:depth], cut], [*starred[:depth], cut_shown]
    return list(path[:1]), list(starred[:1])


def _front(part: str, shown: str) -> tuple[str, str]:
    """A component up to its first star and what closes a bracket, where a dot follows; else all of it."""
    star = next(at for at in range(len(shown)) if not part.startswith(shown[: at + 1]))
    number = re.compile(r"\d+").match(part, star)
    behind = re.compile(r"[\])}>]*(?=\.)").match(part, number.end() if number else star)
    if number is None or behind is None:
        return part, shown
    return part[: behind.end()], shown[: star + 1] + behind[0]
