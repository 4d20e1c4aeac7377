"""Checks that all parts of a configuration share; their messages name flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perfkit.errors import UsageError

SIZE_LIMIT = 2**31
"""Sizes and counts must be below this: above it PyTorch's arithmetic overflows before an allocation can fail."""


def flag(field: str) -> str:
    """`batch_size` as `--batch-size`."""
    return "--" + field.replace("_", "-")


def check_choices(part: object, choices: Mapping[str, tuple[str, ...]]) -> None:
    """Raise UsageError for a field whose value is not one of its choices; the command line checks this itself."""
    for name, allowed in choices.items():
        value = getattr(part, name)
        if value is not None and value not in allowed:
            raise UsageError(f"{flag(name)} {value}: choose from {', '.join(allowed)}")


def check_counts(part: object, names: Iterable[str]) -> None:
    """Raise UsageError for a size or count that is below 1 or too large; None is allowed."""
    for name in names:
        value = getattr(part, name)
        if value is not None and value < 1:
            raise UsageError(f"{flag(name)} {value}: must be at least 1")
        if value is not None and value >= SIZE_LIMIT:
            raise UsageError(f"{flag(name)} {value}: must be below {SIZE_LIMIT}")
