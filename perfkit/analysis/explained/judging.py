"""What the sizes of a model and of a card say of each row of a table of times.

A row's operations come from its shape, and the rate at which a card works from the rows that fit into its memory: what
such a rate asks of another row is what that row should take. A row that needs more memory than there is, did not fail
and is far slower than that was spilled into the system's memory. (Thresholds: `SLOW`, and those of `memory.fit`.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from perfkit.analysis.costs.flops.transformer import step_flops
from perfkit.analysis.explained.card import Card
from perfkit.analysis.explained.reading import Row
from perfkit.analysis.memory import fit, written_out
from perfkit.analysis.memory.allocator import CUDA_CONTEXT
from perfkit.analysis.memory.fit import FitVerdict

Said = Literal[
    "as expected", "spilled", "slow", "launch-bound", "more than there is", "out of memory", "oom unexplained", "failed"
]

SLOW = 0.4
"""A rate below this share of the best of the smaller models is far too low: larger ones work at higher rates."""
_MORE_WORK = 2.0
_SAME_TIME = 1.15
"""Blocks whose operations differ by the first factor and whose times by no more than the second wait for the host."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a row's step needs for tensors, and what that means on the card."""

    tensors: int
    memory: int | None
    """The card's; None where it is not known."""

    @property
    def whole(self) -> int:
        """With the context of CUDA."""
        return self.tensors + CUDA_CONTEXT

    @property
    def verdict(self) -> FitVerdict | None:
        """As of every prediction; None where the memory is not known."""
        return None if self.memory is None else fit.verdict_of(self.whole / self.memory)

    @property
    def beyond(self) -> int:
        """Bytes for which there is no room; 0 where all fits."""
        return max(0, self.whole - self.memory) if self.memory is not None else 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A row with what its numbers mean."""

    row: Row
    flops: int
    need: Need
    """Of a model whose operations are written out, which is what such tables are mostly of (`memory.written_out`)."""
    own: Need
    """Of perfkit's own, leaner model of the same shape."""
    expected: tuple[float, float] | None
    """Seconds at the best and at the worst rate of the other rows that fit, do not wait for the host, and have the
    same pass, precision, context and batch; None where there are none."""
    peak: float | None
    """FLOP/s of the card in the row's precision."""
    said: Said

    @property
    def rate(self) -> float | None:
        """FLOP/s."""
        return self.flops / self.row.seconds if self.row.seconds else None

    @property
    def lost(self) -> float:
        """Seconds beyond what is expected at the worst of the other rates; 0 where nothing is."""
        if self.expected is None or self.row.seconds is None:
            return 0.0
        return max(0.0, self.row.seconds - self.expected[1])


def judge(rows: Sequence[Row], card: Card) -> list[Judged]:
    """Every row judged by itself and beside the others of its kind."""
    needs = {id(row): (_need(row, card), Need(fit.predict(row.config).peak_bytes, card.memory)) for row in rows}
    waiting = {id(row) for group in launch_bound(rows) for row in group}
    judged = []
    for row in rows:
        need, own = needs[id(row)]
        rates = {
            _flops(other): _flops(other) / other.seconds
            for other in rows
            if other is not row and other.seconds and _kind(other) == _kind(row) and id(other) not in waiting
            and needs[id(other)][0].verdict in (None, "fits")
        }  # fmt: skip
        flops = _flops(row)
        expected = (flops / max(rates.values()), flops / min(rates.values())) if rates else None
        of_smaller = [rate for work, rate in rates.items() if work < flops]
        is_slow = bool(of_smaller and row.seconds and flops / row.seconds < SLOW * max(of_smaller))
        said = _said(row, need, is_slow=is_slow, is_waiting=id(row) in waiting)
        judged.append(Judged(row, flops, need, own, expected, card.peak(row.config.step.precision), said))
    return judged


def _said(row: Row, need: Need, *, is_slow: bool, is_waiting: bool) -> Said:
    is_above = need.beyond > 0
    if row.status == "oom":
        return "oom unexplained" if need.verdict == "fits" else "out of memory"
    if row.seconds is None:
        return "failed"
    if is_waiting:
        return "launch-bound"
    if is_slow:
        return "spilled" if is_above else "slow"
    return "more than there is" if is_above else "as expected"


def _need(row: Row, card: Card) -> Need:
    if row.config.step.precision in ("fp32", "tf32"):
        return Need(written_out.peak(row.config), card.memory)
    return Need(fit.predict(row.config).peak_bytes, card.memory)  # the closed form is of fp32 alone


def _flops(row: Row) -> int:
    flops = step_flops(row.config)
    return {"forward": flops.forward, "backward": flops.backward}.get(row.part, flops.executed)


def _kind(row: Row) -> tuple[object, ...]:
    """Rows that differ in the model alone."""
    step = row.config.step
    return row.part, step.precision, step.context_length, step.batch_size


def launch_bound(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Groups of rows of a kind whose blocks take equally long, though their operations differ twofold or more."""
    kinds: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.seconds:
            kinds.setdefault(_kind(row), []).append(row)
    for alike in kinds.values():
        by_work = sorted(alike, key=lambda row: _flops(row) / row.config.transformer.shape.num_layers)
        for least in range(len(by_work) - 1):
            group = [row for row in by_work if _near(layer_time(row), layer_time(by_work[least]))]
            work = [_flops(row) / row.config.transformer.shape.num_layers for row in group]
            if len(group) > 1 and max(work) > _MORE_WORK * min(work):
                yield group
                break


def _near(one: float, other: float) -> bool:
    return max(one, other) <= _SAME_TIME * min(one, other)


def layer_time(row: Row) -> float:
    """Seconds of a row's step for each of its blocks."""
    assert row.seconds is not None, "only rows with a time"
    return row.seconds / row.config.transformer.shape.num_layers
