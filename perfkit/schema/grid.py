"""A grid over RunConfig: every field takes several values, and each combination of them is one configuration."""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import GenericAlias
from typing import Any, Literal

from cyclopts import Parameter
from docstring_parser import parse_from_object

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig

ALIASES = {"model_size": "--model-sizes", "target_ci": "--target-cv"}
"""Second names of flags."""


def _grid_class() -> type[Any]:
    """A dataclass with RunConfig's fields and help, in which each is a tuple of values; None: not asked for."""
    hints = typing.get_type_hints(RunConfig, include_extras=True)
    texts = {text.arg_name: text.description or "" for text in parse_from_object(RunConfig).params}
    fields = []
    annotated: Any = typing.Annotated  # a type checker cannot follow types made from fields
    for field in dataclasses.fields(RunConfig):
        hint, *notes = typing.get_args(hints[field.name])
        parameters = [note for note in notes if isinstance(note, Parameter)]
        own = Parameter(help=texts[field.name], name=_names(field.name), converter=_of_each(parameters))
        element: Any = Literal["off", "on"] if hint is bool else _without_none(hint)
        several = annotated[(GenericAlias(tuple, (element, ...)) | None, *parameters, own)]
        fields.append((field.name, several, dataclasses.field(default=None)))
    made = dataclasses.make_dataclass("Grid", fields, frozen=True, slots=True, kw_only=True)
    made.__module__ = __name__
    made.__doc__ = "The values of each field of RunConfig; None where none was asked for."
    return made


def _of_each(parameters: list[Parameter]) -> Callable[[Any, Any], Any] | None:
    """A field's own converter, for several values; None where it has none."""
    convert: Any = next((parameter.converter for parameter in parameters if parameter.converter), None)
    return convert and (lambda kind, tokens: tuple(convert(kind, [token]) for token in tokens))


def _names(field: str) -> tuple[str, ...]:
    return ("--" + field.replace("_", "-"), *([ALIASES[field]] if field in ALIASES else []))


def _without_none(hint: Any) -> Any:
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in typing.get_args(hint) else hint


if typing.TYPE_CHECKING:

    class Grid:
        """The values of each field of RunConfig; None where none was asked for."""

else:
    Grid = _grid_class()


@dataclass(frozen=True, slots=True)
class Refused:
    """A combination that cannot work."""

    flags: str
    """Those that tell it from the others."""
    reason: str


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a grid asks for."""

    configs: tuple[RunConfig, ...]
    """In the order of the values given, the last field's fastest; each once."""
    refused: tuple[Refused, ...]
    varied: tuple[str, ...]
    """Fields with more than one value."""


def values(grid: Grid) -> dict[str, tuple[Any, ...]]:
    """Field -> the values asked for, each once. A switch without a value is on, and `off on` is both.

    Raises UsageError for a flag that was given no value.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for field in dataclasses.fields(RunConfig):
        asked = getattr(grid, field.name)
        if asked is None:
            continue
        switch = isinstance(field.default, bool)
        if not asked and not switch:
            raise UsageError(f"{_names(field.name)[0]} needs a value")
        chosen = [value == "on" for value in asked] or [True] if switch else asked
        found[field.name] = tuple(dict.fromkeys(chosen))
    return found


def expand(values: Mapping[str, tuple[Any, ...]]) -> Expansion:
    """Every combination of the values, as a configuration or with the reason why it is none."""
    configs: dict[RunConfig, None] = {}
    refused = []
    varied = tuple(name for name, several in values.items() if len(several) > 1)
    for combination in _combinations(values):
        try:
            configs[RunConfig(**combination)] = None
        except UsageError as error:
            flags = " ".join(f"{_names(name)[0]} {_text(combination[name])}" for name in varied or combination)
            refused.append(Refused(flags, str(error)))
    return Expansion(tuple(configs), tuple(refused), varied)


def _combinations(values: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def _text(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
