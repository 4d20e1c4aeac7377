"""The icicle: phases, below each the modules that its time was in, as wide as their time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from perfkit.render.plots import looks
from perfkit.schema import units
from perfkit.schema.page.figures import Tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LEVELS = 7
"""Rows of modules; what lies deeper is part of the last."""
_ROW_INCHES = 0.34
_LETTER = 0.0088
"""Width of a letter, as a share of the picture's width."""
_NUMBER = re.compile(r"\d{1,9}$")
_LEAST = 0.0006
"""Share of the width below which a box is left out."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node in one phase. Times in seconds."""

    level: int
    left: float
    width: float
    label: str
    phase: str


def inches(tree: Tree, steps: int) -> float:
    """Height of the axes."""
    return _ROW_INCHES * (2 + max(box.level for box in boxes(tree, steps)))


def draw(axes: Axes, tree: Tree, steps: int) -> None:
    """The boxes, and in those with room what they are."""
    found = list(boxes(tree, steps))
    whole = found[0].width
    for box in found:
        face = looks.washed(looks.color_of(box.phase, 0)) if box.phase else (0.93, 0.93, 0.93)
        axes.barh(box.level, box.width, 0.94, box.left, color=face, edgecolor="white", linewidth=0.5)
        text = _text(box, whole)
        if text:
            axes.text(
                box.left + box.width / 2, box.level, text, ha="center", va="center", fontsize=7.5, parse_math=False
            )
    axes.set_xlim(0, whole or 1)
    axes.set_ylim(max(box.level for box in found) + 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    looks.set_round_ticks(axes.xaxis, "s", log=False)
    axes.set_xlabel(f"time, mean of {steps:,} steps" if steps > 1 else "time")


def _text(box: Box, whole: float) -> str:
    """As much of the name, the time and the share as fits."""
    room = int(box.width / whole / _LETTER) if whole else 0
    time = units.duration(box.width)
    share = f" ({units.percent(box.width / whole)})" if whole and box.phase and box.level == 1 else ""
    for text in (f"{box.label} {time}{share}", f"{box.label} {time}", box.label):
        if len(text) <= room:
            return text
    return f"{box.label[: room - 1]}…" if room > 3 else ""


def boxes(tree: Tree, steps: int = 1) -> Iterator[Box]:
    """The root, then each phase with its modules, the parent first.

    Siblings are by their number where they have one, else by time; those that differ in their number alone and are too
    narrow to be named, all phases together, are one box in each phase, and so are what they contain. Times are divided
    by the steps. Boxes too narrow to be seen are left out.
    """
    nodes = _Nodes.of(tree, steps)
    whole = float(nodes.total[0].sum())
    yield Box(0, 0.0, whole, tree.labels[0], "")
    left = 0.0
    for column, phase in enumerate(tree.phases):
        yield Box(1, left, float(nodes.total[0, column]), phase, phase)
        waiting: list[tuple[tuple[int, ...], float, int]] = [((0,), left, 2)]
        while waiting:
            parents, at, level = waiting.pop()
            for name, rows in nodes.below(parents, whole):
                width = float(nodes.total[rows, column].sum())
                if width > _LEAST * whole:
                    yield Box(level, at, width, name, phase)
                    if level <= MOST_LEVELS:
                        waiting.append((tuple(rows), at, level + 1))
                at += width
        left += float(nodes.total[0, column])


@dataclass(frozen=True, slots=True)
class _Nodes:
    tree: Tree
    total: npt.NDArray[np.float64]
    """Seconds of each node and phase, with what it contains."""
    children: tuple[list[int], ...]

    @classmethod
    def of(cls, tree: Tree, steps: int) -> _Nodes:
        shape = len(tree.labels), len(tree.phases)
        total = np.asarray(tree.own, dtype=np.float64).reshape(shape) / 1e9 / max(steps, 1)
        children: tuple[list[int], ...] = tuple([] for _ in tree.labels)
        for row in range(len(tree.labels) - 1, 0, -1):  # a parent comes before its children
            total[tree.parents[row]] += total[row]
            children[tree.parents[row]].append(row)
        return cls(tree, total, children)

    def below(self, parents: Sequence[int], whole: float) -> Iterator[tuple[str, list[int]]]:
        """Names and rows of what these contain, in the order in which it is drawn: the same in every phase."""
        named: dict[str, list[int]] = {}
        for parent in parents:
            for row in self.children[parent]:
                named.setdefault(_leaf(self.tree.labels[row], self.tree.labels[parent]), []).append(row)
        alike: dict[str, list[str]] = {}
        for name in named:
            alike.setdefault(_NUMBER.sub("*", name), []).append(name)
        found = []
        for pattern, names in alike.items():
            widest = max(float(self.total[named[name]].sum()) for name in names)
            if len(names) > 1 and widest < whole * _LETTER * max(map(len, names)):
                found.append((f"{pattern} x{len(names)}", [row for name in names for row in named[name]]))
            else:
                found.extend((name, named[name]) for name in names)
        return iter(sorted(found, key=lambda one: _order(one[0], float(self.total[one[1]].sum()))))


def _order(name: str, time: float) -> tuple[bool, float]:
    numbered = _NUMBER.search(name) if "*" not in name else None
    return (True, float(numbered[0])) if numbered else (False, -time)


def _leaf(label: str, parent: str) -> str:
    """The name below its parent's; a number alone says nothing: `layers.0`."""
    name = label.removeprefix(f"{parent}.").removeprefix(f"{parent}/") or label
    return f"{re.split('[./]', parent)[-1]}.{name}" if name.isdecimal() else name
