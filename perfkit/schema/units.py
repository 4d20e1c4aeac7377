"""Quantities to text, in one place. Times come in nanoseconds or seconds, sizes in bytes."""

from __future__ import annotations

import math
import re

from perfkit.errors import UsageError

_TIME_STEPS = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (math.inf, 1.0, "s"))
PREFIXES = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"))
"""Of FLOP, FLOP/s and B/s, smallest first: how many one is, and the letter (SI)."""
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """Seconds as text with a fitting unit and four significant digits: 0.30803 -> `308.0 ms`."""
    if not math.isfinite(seconds):
        return "-"
    factor, unit = time_unit(seconds)
    return f"{significant(seconds * factor)} {unit}"


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit that fits a time, and how many of it a second is: 0.30803 -> `(1000.0, "ms")`."""
    return next((factor, unit) for limit, factor, unit in _TIME_STEPS if abs(seconds) < limit)


def duration_ns(nanoseconds: float) -> str:
    """Nanoseconds as text with a fitting unit: 307197 -> `307.2 us`."""
    return duration(nanoseconds * 1e-9)


def significant(value: float, digits: int = 4) -> str:
    """A number with `digits` significant digits, never in exponent form: 0.30803 -> `0.3080`."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    return f"{value:.{decimals(value, digits)}f}"


def decimals(value: float, digits: int) -> int:
    """Decimals with which a number has `digits` significant digits; none where its whole part has more."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def rate(per_second: float) -> str:
    """A rate without its unit: 989.4e12 -> `989.4 T`, to be followed by FLOP/s or B/s."""
    factor, prefix = next((step for step in reversed(PREFIXES) if abs(per_second) >= step[0]), PREFIXES[0])
    return f"{significant(per_second / factor)} {prefix}"


def size(count: float, digits: int | None = None) -> str:
    """Bytes as text in binary units, with one decimal or so many significant digits: 29420000000 -> `27.4 GiB`."""
    if math.isnan(count):
        return "-"
    power = sum(abs(count) >= 1024**power for power in range(1, len(_BYTE_UNITS)))
    value = float(count) / 1024**power
    return f"{value:.{min(power, 1) if digits is None else decimals(value, digits)}f} {_BYTE_UNITS[power]}"


_SIZE_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Text as bytes: `16GB` -> 17179869184.

    GB and GiB are the same here, 1024^3 bytes: the memory of a GPU is sold in the former and counted in the latter.
    Raises UsageError for anything else than a positive number and a unit.
    """
    match = _SIZE_TEXT.fullmatch(text.strip())
    if match is None or not float(match[1]) or not re.search("[A-Za-z]", text):
        raise UsageError(f"{text}: not a size of memory; write it as 16GB or 15.6GiB")
    return round(float(match[1]) * 2.0 ** (10 * " KMGT".index(match[2].upper() or " ")))


def rough_duration(seconds: float) -> str:
    """A time to plan by: `8 s`, `4 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def parse_duration(text: str) -> float:
    """A time in seconds: `90s`, `5m`, `5 min`, `1.5h` -> 90, 300, 300, 5400. Raises UsageError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h)", text.strip())
    if match is None:
        raise UsageError(f"{text}: not a time; write it as 90s, 5m or 1h")
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[match[2]]


def parse_percentage(text: str) -> float:
    """A percentage as a ratio: `1%` -> 0.01. Raises UsageError for anything else than a number and %."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*%", text.strip())
    if match is None:
        raise UsageError(f"{text}: not a percentage; write it as 1%")
    return float(match[1]) / 100


def percent(ratio: float) -> str:
    """A ratio as a percentage: 0.0579 -> `5.79%`; two decimals below 10%, one above."""
    if math.isnan(ratio):
        return "-"
    value = ratio * 100
    return f"{value:.2f}%" if abs(value) < 10 else f"{value:.1f}%"


def parameters(count: int) -> str:
    """A parameter count: 16736 -> `16.7K`, 128625408 -> `128.6M`, 3406809600 -> `3.407B`."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.3f}B"
    return f"{count / 1e6:.1f}M" if count >= 1_000_000 else f"{count / 1e3:.1f}K"


def many(number: int, one: str, more: str) -> str:
    """How many, and what: `1 event ends`, `1,313 events end`."""
    return f"{number:,} {one if number == 1 else more}"


def count(value: float) -> str:
    """A count with thousands separators; a fractional mean keeps one decimal."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
