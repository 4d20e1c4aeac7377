"""Limits of numbers that can have been measured. Beyond them sums and squares overflow to infinity or NaN."""

from __future__ import annotations

import re

import msgspec

from perfkit.errors import UsageError

LARGEST = 1e18
"""An exabyte, or the nanoseconds of 30 years: its square is a float, and the sum of a few fits into int64."""

_SUSPECT = re.compile(rb"(?<![.\d])\d{19}|[eE]\+?\d\d|NaN|Infinity")
"""A number that may be larger, in JSON."""


def check_json(data: bytes) -> None:
    """Raise UsageError where a record's JSON has a number beyond LARGEST; the configuration has checks of its own."""
    if _SUSPECT.search(data):
        members = msgspec.json.decode(data)
        check({key: value for key, value in members.items() if key != "config"})


def check(value: object, where: str = "") -> None:
    """Raise UsageError where a number in it, or in its lists and dictionaries, is beyond LARGEST or is not a number."""
    if isinstance(value, dict):
        for key, member in value.items():
            check(member, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            check(member, f"{where}[{index}]")
    elif isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise UsageError(f"{where} is beyond {LARGEST:g}, which cannot have been measured: the file is damaged")
