"""Whether a changed run computes the same as the original, step by step, and by how much it differs.

Both runs begin with the same weights and see the same batch. A computation that is rounded otherwise is the exact one
of weights that are a rounding error away; so what the original itself makes of weights that were nudged by one rounding
error says how far apart two runs of one computation may be, step by step, with all that its own conditioning and its
optimizer make of it. The limit is sixteen times that, scaled by the ratio of the roundoffs where the precision changes;
but at least what `torch.testing.assert_close` allows for the type (a gradient, the sum of many rounded terms of both
signs, ten times that), and at most a hundred times as much, or what it allows for bf16: beyond, nobody can tell a
rounding error from a mistake.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from perfkit.schema.computed import Arithmetic, Computed, Floats

_RTOL: dict[Arithmetic, float] = {"fp64": 1e-7, "fp32": 1.3e-6, "tf32": 1e-3, "fp16": 1e-3, "bf16": 1.6e-2}
"""Relative tolerance of torch.testing.assert_close; of TF32, whose mantissa has as many bits, that of fp16."""
_BITS: dict[Arithmetic, int] = {"fp64": 53, "fp32": 24, "tf32": 11, "fp16": 11, "bf16": 8}
"""Of the mantissa, with the one that is not stored: numbers are rounded by up to 2 to the minus so many."""
_SLACK = 16
_OF_GRADIENTS = 10
_WIDEST = 100
_SMALL = 1e-3
"""A gradient smaller than this share of all counts as if it were as large: rounding may be all that it is."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a run is from the original, by step: the relative difference of its loss, and of its worst gradient."""

    losses: Floats
    """(S,); of a run without a loss zeros."""
    gradients: Floats
    """(S,): of the parameter that differs most, the norm of the difference over the norm of its gradient."""
    worst: tuple[str, ...]
    """(S,): its name."""


@dataclass(frozen=True, slots=True)
class Equality:
    """Whether it is the same computation."""

    same: bool
    difference: Difference
    loss_limits: Floats
    """(S,)."""
    gradient_limits: Floats
    """(S,)."""
    step: int | None = None
    """The first step at which it is not, from 0."""
    why: str = ""
    """Why it is not; empty where it is."""
    changes_precision: bool = False
    """Whether the two compute in different types."""
    compared: bool = True
    """Whether there was anything to compare: nothing of one batch and another with other rows."""

    @property
    def identical(self) -> bool:
        """Whether every number is the same."""
        return self.compared and self.same and not self.difference.losses.any() and not self.difference.gradients.any()

    @property
    def loss(self) -> float:
        """The largest relative difference of a loss."""
        return float(self.difference.losses.max(initial=0.0))

    @property
    def gradient(self) -> float:
        """The largest relative difference of a gradient."""
        return float(self.difference.gradients.max(initial=0.0))


def difference(original: Computed, other: Computed) -> Difference:
    """How far `other` is from `original`. Raises ValueError where they have different parameters or steps."""
    if original.names != other.names or original.samples.shape != other.samples.shape:
        raise ValueError("it has other parameters, or gradients of other shapes")
    losses = np.zeros(len(original.losses))
    if not np.isnan(original.losses).all():
        losses = _relative(np.abs(other.losses - original.losses), np.abs(original.losses))
    apart = np.abs(other.norms - original.norms)
    if len(original.names):
        starts = np.concatenate(([0], np.cumsum(original.sizes)[:-1]))
        filled = original.sizes > 0
        squares = np.zeros((2, *apart.shape))
        for place, values in enumerate((other.samples - original.samples, original.samples)):
            squares[place][:, filled] = np.add.reduceat(values**2, starts[filled], axis=1)
        distance, of_samples = np.sqrt(squares)
        scale = _relative(original.norms, of_samples)  # what the samples stand for
        apart = np.maximum(apart, distance * np.where(of_samples > 0, scale, 1.0))
    whole = np.sqrt((original.norms**2).sum(axis=1, keepdims=True))
    relative = _relative(apart, np.maximum(original.norms, _SMALL * whole))
    worst = relative.argmax(axis=1) if len(original.names) else np.zeros(len(losses), dtype=int)
    names = tuple(original.names[place] if original.names else "" for place in worst.tolist())
    return Difference(losses, relative.max(axis=1, initial=0.0), names)


def _relative(apart: Floats, size: Floats) -> Floats:
    """0 where nothing is apart; infinite where something is apart from nothing, and where a number is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(apart == 0, 0.0, np.nan_to_num(apart / size, nan=np.inf, posinf=np.inf))


def limits(nudged: Difference, before: Arithmetic, after: Arithmetic) -> tuple[Floats, Floats]:
    """The limits of losses and gradients, by step, of a change from one precision to another (fp32, bf16, ...)."""
    coarser = min((before, after), key=_BITS.__getitem__)
    factor = _SLACK * 2.0 ** (_BITS[before] - _BITS[coarser])
    least, most = _RTOL[coarser], min(_WIDEST * _RTOL[coarser], _RTOL["bf16"])
    losses = np.clip(factor * nudged.losses, least, most)
    gradients = np.clip(factor * nudged.gradients, _OF_GRADIENTS * least, _OF_GRADIENTS * most)
    return losses, gradients


def check(original: Computed, other: Computed, nudged: Computed) -> Equality:
    """Whether `other` computes what `original` does; `nudged` is the original with its weights nudged.

    Never raises: runs that cannot be compared are not the same, and `why` says it.
    """
    try:
        allowed = difference(original, nudged)
        found = difference(original, other)
    except ValueError as error:
        nothing = Difference(np.array([]), np.array([]), ())
        return Equality(False, nothing, np.array([]), np.array([]), None, str(error))
    of_losses, of_gradients = limits(allowed, original.precision, other.precision)
    another = original.precision != other.precision
    wrong = ~(found.losses <= of_losses) | ~(found.gradients <= of_gradients)
    if not wrong.any():
        return Equality(True, found, of_losses, of_gradients, changes_precision=another)
    step = int(wrong.argmax())
    if not found.losses[step] <= of_losses[step]:
        apart, limit = spelled(found.losses[step]), spelled(of_losses[step])
        why = f"the loss of step {step + 1} differs by {apart} (at most {limit})"
    else:
        what = found.worst[step] if found.worst[step].startswith("output ") else f"the gradient of {found.worst[step]}"
        limit = spelled(of_gradients[step])
        why = f"{what} in step {step + 1} differs by {spelled(found.gradients[step])} (at most {limit})"
    return Equality(False, found, of_losses, of_gradients, step, why, another)


def check_batch(original: Computed, other: Computed, times: int) -> Equality:
    """Whether `other` is of the same parameters, and of a batch of so many times the rows, which are other rows.

    A tensor of the batch has so many times the rows where it has more; there must be one. Losses cannot be compared.
    """
    pairs = [*zip(original.batch, other.batch, strict=False)]
    grown = [after == (times * before[0], *before[1:]) for before, after in pairs if before and before != after]
    why = ""
    if original.names != other.names:
        why = "it has other parameters"
    elif len(original.batch) != len(other.batch) or not grown or not all(grown):
        before, after = (", ".join(map(_shape, computed.batch)) or "no tensor" for computed in (original, other))
        why = f"its batch has not {times} times the rows: {after} in place of {before}"
    elif (np.isfinite(original.losses) & ~np.isfinite(other.losses)).any() or not np.isfinite(other.norms).all():
        why = "its loss or a gradient is no number"
    nothing = np.array([])
    return Equality(not why, Difference(nothing, nothing, ()), nothing, nothing, None, why, compared=False)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"


def spelled(value: float) -> str:
    """A relative difference for people: `1.3e-06`, `2.5%`, `390%`."""
    if not math.isfinite(value):
        return "more than any number"
    if value == 0:
        return "0"
    return f"{value:.1e}" if value < _SMALL else f"{100 * value:.2g}%" if value < 1 else f"{100 * value:,.0f}%"
