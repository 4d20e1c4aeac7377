"""Columns to strings: one unit and one number of decimals for a whole column, for every writer for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd

from perfkit.schema import units
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from perfkit.schema.table import Column

MISSING = "-"

# A scale's steps, smallest first: (how many base units one is, how it is written).
_Steps = tuple[tuple[float, str], ...]
_TIME: _Steps = ((1.0, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s"))  # base: ns
_BYTES: _Steps = ((1.0, "B"), (1024.0, "KiB"), (1024.0**2, "MiB"), (1024.0**3, "GiB"), (1024.0**4, "TiB"))
_FLOPS: _Steps = tuple((step, f"{prefix}FLOP") for step, prefix in units.PREFIXES)
_RATES: dict[str, _Steps] = {"B/s": units.PREFIXES, "FLOP/s": units.PREFIXES}
_OTHER_RATE: _Steps = ((1.0, ""), *units.PREFIXES[3:])  # tokens/s, launches/s: thousands separators below 1e9

# Endings of a column's name that repeat its unit, which the heading states anyway.
_NAME_ENDINGS = {"ns": ("_ns",), "s": ("_s", "_seconds"), "B": ("_bytes",), "/s": ("_per_s",)}

_MAX_DECIMALS = 3
_LONGEST_WHOLE_PART = 1e4  # a smaller unit than the largest value's own is taken only below this


class _Scale(msgspec.Struct, frozen=True):
    """How a column's numbers are written: value / divisor with fixed decimals, then the sign."""

    divisor: float
    decimals: int
    unit: str = ""
    sign: str = ""

    def text(self, value: float) -> str:
        """One number. A number that would round to zero is written as a bound: `<0.001`."""
        if math.isnan(value):
            return MISSING
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        scaled = value / self.divisor
        smallest = 10.0**-self.decimals
        if scaled and abs(scaled) < smallest / 2:
            bound = f"{smallest:.{self.decimals}f}{self.sign}"
            return f"<{bound}" if scaled > 0 else f">-{bound}"
        return f"{scaled:,.{self.decimals}f}{self.sign}"


def cells(
    column: Column, series: pd.Series[Any], sums: Sequence[float] = (), pool: Sequence[float] | None = None
) -> tuple[str, list[str]]:
    """The heading with its unit, and the text of each value, then of each sum, all in that unit.

    The unit follows from the values alone, so that a much larger total does not hide their digits; or from
    `pool`, the values of all the columns that share it.
    """
    if column.kind == "text":
        return _stem(column), [text(value) for value in series.tolist()]
    values = _bounded(column, series)
    if column.kind == "params":
        return _stem(column), [_parameters(value) for value in (*values, *sums)]
    if column.kind == "count":
        return _stem(column), [_count(value) for value in (*values, *sums)]
    scale = _scale(column, [abs(v) for v in (values if pool is None else pool) if v and math.isfinite(v)])
    beyond = f">{column.endless / scale.divisor:,.0f}{scale.sign}" if math.isfinite(column.endless) else "inf"
    texts = [beyond if value == math.inf else scale.text(value) for value in (*values, *sums)]
    return _stem(column) if all(map(math.isnan, values)) else _heading(column, scale), texts


def quantities(column: Column, series: pd.Series[Any]) -> list[str]:
    """Each value with its unit, all in one unit and of one length: ` 2.09 ms`, `10.90 ms`."""
    values = floats(series)
    scale = _scale(column, [abs(value) for value in values if value and math.isfinite(value)])
    texts = [scale.text(value) + (f" {scale.unit}" if scale.unit and not math.isnan(value) else "") for value in values]
    width = max(map(len, texts), default=0)
    return [written.rjust(width) for written in texts]


class Numbers(msgspec.Struct, frozen=True):
    """A column of numbers for a writer that formats them itself."""

    heading: str
    """With the unit of the values."""
    values: list[float]
    """In that unit; shares are ratios, parameter counts are counts."""
    decimals: int


def numbers(column: Column, series: pd.Series[Any], pool: Sequence[float] | None = None) -> Numbers:
    """The column in the unit that `cells` shows it in, as numbers with every digit."""
    values = _bounded(column, series)
    if column.kind == "params":
        return Numbers(_stem(column), values, 0)
    scale = _scale(column, [abs(v) for v in (values if pool is None else pool) if v and math.isfinite(v)])
    heading = _stem(column) if all(map(math.isnan, values)) else _heading(column, scale)
    divisor = 1.0 if column.kind == "share" else scale.divisor
    return Numbers(heading, [value / divisor for value in values], scale.decimals)


def floats(series: pd.Series[Any]) -> list[float]:
    """The values as floats; whatever is missing or no number is NaN."""
    numbers = pd.to_numeric(series, errors="coerce")
    return numbers.to_numpy(dtype="float64", na_value=math.nan).tolist()


def _bounded(column: Column, series: pd.Series[Any]) -> list[float]:
    return [math.inf if value > column.endless else value for value in floats(series)]


def text(value: object) -> str:
    """A value of a text column on one line: control characters, escapes and newlines are spelled out."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def _scale(column: Column, magnitudes: Sequence[float]) -> _Scale:
    """The unit and the decimals that fit these numbers, all > 0 and in the column's raw unit."""
    largest, smallest = max(magnitudes, default=0.0), min(magnitudes, default=0.0)
    whole = all(value.is_integer() for value in magnitudes)
    if column.kind == "share":
        return _Scale(0.01, 2 if 0 < largest < 0.1 else 1, sign="%")  # as units.percent writes the largest
    if column.kind == "count":
        return _Scale(1.0, 0 if whole else max(1, _decimals(largest, smallest)))
    steps, base = _steps(column)
    step, unit = _step(steps, largest * base, smallest * base)
    divisor = step / base
    raw = whole and divisor == 1.0
    return _Scale(divisor, 0 if raw else _decimals(largest / divisor, smallest / divisor), unit)


def _steps(column: Column) -> tuple[_Steps, float]:
    """The units to choose from, and how many of the smallest one raw unit is."""
    if column.kind == "time" and column.unit in ("ns", "s"):
        return _TIME, 1.0 if column.unit == "ns" else 1e9
    if column.kind == "bytes" and column.unit == "B":
        return _BYTES, 1.0
    if column.kind == "flops" and column.unit == "FLOP":
        return _FLOPS, 1.0
    if column.kind == "rate":
        steps = _RATES.get(_stem(column).rpartition(" ")[2], _OTHER_RATE)
        return (steps if column.unit == "/s" else _OTHER_RATE[:1]), 1.0
    raise ValueError(f"column {column.name}: kind {column.kind} with unit {column.unit!r} has no meaning")


def _step(steps: _Steps, largest: float, smallest: float) -> tuple[float, str]:
    """The largest value's own unit, or the next smaller one where the smallest value would vanish."""
    index = max((i for i, (step, _) in enumerate(steps) if largest >= step), default=0)
    vanishes = smallest < steps[index][0] * 10.0**-_MAX_DECIMALS
    if index and vanishes and largest < steps[index - 1][0] * _LONGEST_WHOLE_PART:
        index -= 1
    return steps[index]


def _decimals(largest: float, smallest: float) -> int:
    """Decimals that give the largest value four significant digits and the smallest two, at most three."""
    if not largest:
        return 0
    wanted = max(3 - math.floor(math.log10(largest)), 1 - math.floor(math.log10(smallest)))
    return min(max(wanted, 0), _MAX_DECIMALS)


def _count(value: float) -> str:
    """A whole number as one, even among means: 8 times a step; else two decimals: 0.33 times."""
    return _Scale(1.0, 0 if math.isfinite(value) and round(value, 6).is_integer() else 2).text(value)


def _parameters(count: float) -> str:
    if math.isnan(count):
        return MISSING
    return units.parameters(round(count)) if abs(count) >= 1e5 else units.count(count)


def _heading(column: Column, scale: _Scale) -> str:
    """The heading with the unit it needs: `total (ms)`, `tokens/s`, `TFLOP/s`."""
    stem = _stem(column)
    if column.unit != "/s":
        return f"{stem} ({scale.unit})" if scale.unit else stem
    if stem.endswith("/s"):
        *before, last = stem.split(" ")
        return " ".join([*before, scale.unit + last])
    return f"{stem} ({scale.unit}/s)"


def _stem(column: Column) -> str:
    """The heading without a unit: a name's own ending such as `_ns` gives way to the unit shown."""
    if column.title:
        return printable(column.title)
    for ending in _NAME_ENDINGS.get(column.unit, ()):
        if column.name.endswith(ending) and column.name != ending:
            stem = column.name.removesuffix(ending).replace("_", " ")
            return printable(stem + "/s" if column.unit == "/s" else stem)
    return printable(column.heading)


def add(values: Iterable[float]) -> float:
    """The sum of the values that are not missing; NaN where all are."""
    present = [value for value in values if not math.isnan(value)]
    try:
        return math.fsum(present) if present else math.nan
    except (OverflowError, ValueError):  # beyond what a float holds; or infinities of both signs, which give NaN
        return sum(present)


def encodable(text: str) -> str:
    r"""The text itself; half a surrogate pair, which no UTF-8 file can hold, becomes its escape `\ud800`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
