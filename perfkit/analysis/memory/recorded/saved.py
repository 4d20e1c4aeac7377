"""What each block keeps for backward, the gradients that its backward makes, and what freeing it returns."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import Kind, Lifetimes, Span
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.memory.recorded.tables import texts
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import MISSING, Int64s

LARGEST = 5
"""Operations of a block that have a row of their own."""
_NUMBERED = re.compile(r"(?<![^./])(?P<name>[^./]*?)(?P<number>\d+)(?=[./]|$)")
_NUMBER_BYTES = 16
"""Of the largest number that takes part in an operation: a complex double."""
_BY_MAKER = (
    "by lifetimes a tensor goes by the layer that made it, by hooks by the layer that keeps it:"
    " the sums are the same, and those of blocks that are alike"
)


def blocks_of(scopes: Iterable[str]) -> dict[str, str]:
    """The block that each layer belongs to: `layers.3` of `layers.3.attn`, itself where it is in none.

    It is the outermost part of a path that ends in a number, as do others beside it; a part of digits alone need not
    have others.
    """
    paths = dict.fromkeys(scopes)
    beside: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in paths:
        for name, number, _ in _numbered(path):
            beside[name].add(number)
    return {
        path: next((block for name, _, block in _numbered(path) if not name[1] or len(beside[name]) > 1), path)
        for path in paths
    }


def _numbered(path: str) -> Iterator[tuple[tuple[str, str], str, str]]:
    """Parts of a path that end in a number: what is before the number (around it, in it), the number, all up to it."""
    for match in _NUMBERED.finditer(path):
        yield (path[: match.start()], match["name"]), match["number"], path[: match.end()]


def kept(lives: Lifetimes, device: int, step: int) -> Int64s:
    """Rows that forward of a step made and its backward freed, which lived as backward began: saved for it.

    A number that takes part in an operation on a CPU (8 bytes, made by no operator) is none: hooks see none either.
    """
    rows = [_freed_by(lives, span) for span in _backwards(lives, device, step)]
    return np.concatenate(rows) if rows else np.empty(0, np.int64)


def _backwards(lives: Lifetimes, device: int, step: int) -> list[Span]:
    return [span for span in lives.spans if (span.device, span.step, span.phase) == (device, step, Phase.BACKWARD)]


def _freed_by(lives: Lifetimes, span: Span) -> Int64s:
    is_number = (lives.size <= _NUMBER_BYTES) & (lives.operator == MISSING) & (lives.device == MISSING)
    ended = (lives.end >= span.first) & (lives.end <= span.last)
    made = (lives.begin < span.first) & (lives.phase == Phase.FORWARD) & (lives.device == span.device)
    return np.flatnonzero(ended & made & ~is_number)


def the_step(lives: Lifetimes, device: int, moment: int) -> int:
    """The step that tables of a step are of: that of a moment if it has a backward, else the first that has."""
    steps = {span.step for span in lives.spans if span.phase == Phase.BACKWARD and span.device == device}
    here = {span.step for span in lives.spans if span.device == device and span.first <= moment <= span.last}
    return min(steps & here, default=min(steps, default=MISSING))


def saved(account: MemoryAccount) -> Table:
    """By block, bytes that it keeps for backward, by lifetimes and by hooks, and what its backward makes and frees."""
    lives, device = account.lives, account.at.device
    step = the_step(lives, device, account.at.moment)
    rows = kept(lives, device, step)
    gradients = np.flatnonzero(
        (lives.kind == Kind.GRADIENTS)
        & (lives.phase == Phase.BACKWARD)
        & (lives.step == step)
        & (lives.device == device)
    )
    hooks: dict[str, int] = defaultdict(int)
    by_hooks = account.notes.saved if account.notes else ()
    blocks = blocks_of((*lives.scopes, *(one.scope for one in by_hooks)))
    for one in by_hooks:
        hooks[blocks[one.scope]] += one.size
    kept_by, made_by = _by_block(lives, rows, blocks), _by_block(lives, gradients, blocks)
    names = [*dict.fromkeys([*kept_by, *hooks, *made_by])]
    frame = pd.DataFrame({
        "block": names,
        "bytes": [kept_by.get(name, 0) for name in names],
        "hooks_bytes": [hooks.get(name, 0) for name in names] if hooks else None,
        "gradient_bytes": [made_by.get(name, 0) for name in names],
    })  # fmt: skip
    frame = frame.assign(returned_bytes=frame["bytes"] - frame["gradient_bytes"])
    columns = (
        Column("block"),
        Column("bytes", "B", "bytes", "kept for backward", summed=True, scale="bytes"),
        Column("hooks_bytes", "B", "bytes", "by hooks", summed=True, scale="bytes", spare=True),
        Column("gradient_bytes", "B", "bytes", "gradients made", summed=True, scale="bytes"),
        Column("returned_bytes", "B", "bytes", "returned by its backward", summed=True, scale="bytes"),
    )
    notes = (_BY_MAKER,) if hooks else ()
    return Table("saved", "Kept for backward", columns, frame, notes)


def _by_block(lives: Lifetimes, rows: Int64s, blocks: dict[str, str]) -> dict[str, int]:
    """Bytes of rows by block, in the order of the first one."""
    found: dict[str, int] = {}
    names = {code: blocks[text] for code, text in enumerate(lives.scopes)} | {MISSING: ""}
    for code, size in zip(lives.scope[rows].tolist(), lives.size[rows].tolist(), strict=True):
        found[names[code]] = found.get(names[code], 0) + size
    return found


def operations(account: MemoryAccount) -> Table:
    """By block, the five operations that keep most for backward, and the rest: they add up to what it keeps.

    Operations are the hooks' where a run has them, else those of the lifetimes, with the line of the program.
    """
    kept_by = _by_hooks(account) if account.notes and account.notes.saved else _by_lifetimes(account)
    rows = []
    for block, sizes in kept_by.items():
        most = sorted(sizes.items(), key=lambda item: -item[1])
        whole, rest = sum(sizes.values()), most[LARGEST:]
        shown = most[:LARGEST] + ([(f"{len(rest)} others", sum(size for _, size in rest))] if rest else [])
        rows += [(block, operation, size, size / whole) for operation, size in shown]
    columns = (
        Column("block"), Column("operation"), Column("bytes", "B", "bytes", summed=True, scale="bytes"),
        Column("share", "1", "share", "of the block's"),
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return Table("operations", "Operations that keep most for backward", columns, frame)


def _by_hooks(account: MemoryAccount) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    kept_by = account.notes.saved if account.notes else ()
    blocks = blocks_of((*account.lives.scopes, *(one.scope for one in kept_by)))
    for one in kept_by:
        block = blocks[one.scope]
        inside = one.scope[len(block) :].lstrip("./")
        found[block][f"{inside}: {one.operation}" if inside else one.operation] += one.size
    return found


def _by_lifetimes(account: MemoryAccount) -> dict[str, dict[str, int]]:
    lives = account.lives
    rows = kept(lives, account.at.device, the_step(lives, account.at.device, account.at.moment))
    operators = texts(lives.operator[rows], lives.operators)
    places = texts(lives.stack[rows], lives.places) if lives.places else [""] * len(rows)
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    scopes, blocks = texts(lives.scope[rows], lives.scopes), blocks_of((*lives.scopes, ""))
    for scope, operator, place, size in zip(scopes, operators, places, lives.size[rows].tolist(), strict=True):
        found[blocks[scope]][", ".join(filter(None, (operator, place))) or "unknown"] += size
    return found
