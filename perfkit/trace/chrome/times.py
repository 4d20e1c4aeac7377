"""Times of Chrome trace events: microseconds as in JSON, as text or as floats, to whole nanoseconds, exactly."""

from __future__ import annotations

import decimal
import math
import struct
from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from perfkit.trace.columns import MAX_NS, Int64s

Bools: TypeAlias = npt.NDArray[np.bool_]
Time: TypeAlias = msgspec.Raw | float
"""In us: the text, or the float that it is read as; nan for none."""

FARTHEST_US = 2.0**42
"""50 days. Between nearer floats are at most 2^-11 us, which is less than half a nanosecond."""

_SCALE = np.array([1000, 100, 10, 1], np.int64)
"""The value in ns of the last digit, by the number of decimals."""
_DOT = ord(".")


class RoundedError(Exception):
    """A float is not what some whole number of nanoseconds is read as: its text, which is lost, has more decimals."""


def nanoseconds(times: Sequence[Time]) -> tuple[Int64s, Bools]:
    """Convert microseconds as in JSON (`12`, `12.5`, `"12.5"`, `1.25e3`) to whole ns.

    The second array is False where a time is not a number or lies beyond MAX_NS. A fourth decimal is rounded half to
    even. Floats, and plain digits with up to three decimals, the only form that Kineto writes, are converted in bulk.
    Raises RoundedError where floats are not enough.
    """
    try:
        if times and isinstance(times[0], float):
            return _of_floats(np.frombuffer(struct.pack(f"={len(times)}d", *times)))
        joined = b" ".join(times)  # type: ignore[arg-type]  # what are no texts raise TypeError
    except (struct.error, TypeError):  # of mended events and others
        return _one_by_one(times)
    return _of_texts(joined, times)


def _of_floats(us: npt.NDArray[np.float64]) -> tuple[Int64s, Bools]:
    """Exact, for floats nearer than FARTHEST_US, though each stands for all numbers within 2^-12 us of it.

    If n ns are read as the same float as the text, both are within 2^-12 us of it, so the text is less than half a
    nanosecond from n ns: it is n ns, rounded.
    """
    valid = ~np.isnan(us)
    ns = np.rint(np.where(valid, us, 0.0) * 1000)
    if not (valid <= (ns / 1000 == us)).all():
        raise RoundedError
    return ns.astype(np.int64), valid


def _of_texts(joined: bytes, texts: Sequence[Time]) -> tuple[Int64s, Bools]:
    if not texts or joined.translate(None, b"0123456789. "):
        return _one_by_one(texts)
    letters = np.frombuffer(joined + b" ", np.uint8)
    ends = np.flatnonzero(letters == 0x20)
    in_threes = joined.count(b".") == len(texts) and (letters[ends - 4] == _DOT).all()
    if not in_threes:
        lengths = np.diff(ends, prepend=-1) - 1
        if len(ends) != len(texts) or lengths.min() == 0 or lengths.max() > 20:
            return _one_by_one(texts)
    values: Int64s = np.fromstring(joined.replace(b".", b""), dtype=np.int64, sep=" ")
    if in_threes:  # decimals, as Kineto writes them; larger values than int64 holds come as its largest
        exact = values <= MAX_NS
    else:
        decimals = _decimals(letters, ends)
        scale = _SCALE[decimals.clip(0, 3)]
        exact = (values <= MAX_NS // scale) & (decimals <= 3)
        values *= scale
    if exact.all():
        return values, exact
    rows = np.flatnonzero(~exact)
    values[rows], exact[rows] = _one_by_one([texts[row] for row in rows.tolist()])
    return values, exact


def _decimals(letters: npt.NDArray[np.uint8], ends: Int64s) -> Int64s:
    """How many digits follow each number's decimal point; `ends` has the ends of the numbers in `letters`."""
    points = np.flatnonzero(letters == _DOT)
    owners = np.searchsorted(ends, points)
    decimals = np.zeros(len(ends), np.int64)
    decimals[owners] = ends[owners] - 1 - points
    return decimals


def _one_by_one(times: Sequence[Time]) -> tuple[Int64s, Bools]:
    exact = [_of_float(time) if isinstance(time, float) else _exact_ns(bytes(time)) for time in times]
    return (
        np.fromiter((0 if ns is None else ns for ns in exact), np.int64, len(exact)),
        np.fromiter((ns is not None for ns in exact), np.bool_, len(exact)),
    )


def _of_float(us: float) -> int | None:
    return None if math.isnan(us) else int(_of_floats(np.array([us]))[0][0])


def _exact_ns(text: bytes) -> int | None:
    with decimal.localcontext(prec=120) as context:
        context.clear_traps()
        value = decimal.Decimal(text[:100].strip(b' "').decode("ascii", "replace"))
        if not value.is_finite() or (value and value.adjusted() > 20) or len(text) > 100:
            return None
        ns = int((value * 1000).to_integral_value(decimal.ROUND_HALF_EVEN))
    return ns if -MAX_NS <= ns <= MAX_NS else None
