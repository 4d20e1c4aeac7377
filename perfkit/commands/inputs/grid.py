"""A grid over RunConfig: every field takes several values, and each combination of them is one configuration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig, of_values
from perfkit.schema.parts.checks import flag


@dataclass(frozen=True, slots=True)
class Refused:
    """A combination that cannot work."""

    flags: str
    """The flags that distinguish it from the other combinations."""
    reason: str


@dataclass(frozen=True, slots=True)
class Expansion:
    """All combinations of a grid."""

    configs: tuple[RunConfig, ...]
    """In the order of the given values, where the last field varies fastest; without duplicates."""
    refused: tuple[Refused, ...]
    varied: tuple[str, ...]
    """Fields with more than one value."""


def expand(values: Mapping[str, tuple[Any, ...]]) -> Expansion:
    """Every combination of the values, as a configuration or with the reason why it cannot work."""
    configs: dict[RunConfig, None] = {}
    refused = []
    varied = tuple(name for name, several in values.items() if len(several) > 1)
    for combination in _combinations(values):
        try:
            configs[of_values(combination)] = None
        except UsageError as error:
            flags = " ".join(_flag(name, combination[name]) for name in varied or combination)
            refused.append(Refused(flags, str(error)))
    return Expansion(tuple(configs), tuple(refused), varied)


def _combinations(values: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def _flag(name: str, value: object) -> str:
    """`--batch-size 4`; of an own model's argument `--model-arg hidden=4`."""
    field, _, argument = name.partition(".")
    text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    return f"{flag(field)} {argument}={text}" if argument else f"{flag(field)} {text}"
