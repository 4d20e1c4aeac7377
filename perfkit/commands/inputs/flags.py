"""The flags of a configuration: each with one value (`run`), with several (`sweep`), or in one string (`compare`).

The one place where the fields of RunConfig meet the command line: a flag has its field's name, type, default and text.
"""

from __future__ import annotations

import dataclasses
import shlex
import typing
from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter, Token
from docstring_parser import parse_from_object

from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.config import FIELDS, PARTS, Field, RunConfig, of_own
from perfkit.schema.parts.checks import flag
from perfkit.schema.parts.workloads import Applied

SWEEP_ALIASES = {"model_size": "--model-sizes", "target_ci": "--target-cv"}
"""Second names of flags of `perfkit sweep`."""
_ALIASES = {"target_ci": "--target-cv"}
_DEPENDENT = ("measure_steps",)
"""Fields whose default depends on other flags: RunConfig.of fills them in."""
_GROUPS = {
    part: Parameter(group=Group(title, sort_key=place))
    for place, (part, title) in enumerate(zip(PARTS, ("Model", "Step", "Measurement"), strict=True), start=1)
}
_TEXTS = {text.arg_name: text.description or "" for part in PARTS.values() for text in parse_from_object(part).params}
"""Field -> its help text."""


def _ratio(_: object, tokens: Sequence[Token]) -> float:
    """Parse `1%` or `0.01`. cyclopts calls this with the type and the tokens."""
    text = tokens[0].value
    try:
        return units.parse_percentage(text) if text.endswith("%") else float(text)
    except (ValueError, UsageError) as error:
        raise UsageError(f"--target-ci {text}: write it as 1% or 0.01") from error


def _ratios(_: object, tokens: Sequence[Token]) -> tuple[float, ...]:
    return tuple(_ratio(_, [token]) for token in tokens)


def _flag_class(
    name: str, text: str, flag_of: Callable[[str, Field], tuple[Any, Parameter]], defaults: dict[str, Any],
    own: Sequence[tuple[str, Any, Any]] = (), **more: Any,
) -> Any:  # fmt: skip
    """A dataclass with a flag for every field, with the type and Parameter that `flag_of` returns; and some more."""
    annotated: Any = Annotated  # a type checker cannot follow types made from fields
    fields = [
        (field, annotated[(kind, _GROUPS[about.part], parameter)], dataclasses.field(default=defaults[field]))
        for field, about in FIELDS.items()
        for kind, parameter in [flag_of(field, about)]
    ]
    made = dataclasses.make_dataclass(name, [*fields, *own], frozen=True, slots=True, kw_only=True, namespace=more)
    made.__module__, made.__doc__ = __name__, text
    return made


def _one(name: str, field: Field) -> tuple[Any, Parameter]:
    convert = _ratio if name == "target_ci" else None
    kind: Any = field.kind | None if name in _DEPENDENT else field.kind
    return kind, Parameter(help=_TEXTS[name], name=_names(name, _ALIASES), converter=convert)


def _several(name: str, field: Field) -> tuple[Any, Parameter]:
    """A tuple of values; None if the flag is not given."""
    convert = _ratios if name == "target_ci" else None
    element = Literal["off", "on"] if field.kind is bool else _without_none(field.kind)
    values = GenericAlias(tuple, (element, ...)) | None
    return values, Parameter(help=_TEXTS[name], name=_names(name, SWEEP_ALIASES), converter=convert)


def _names(field: str, aliases: dict[str, str]) -> tuple[str, ...]:
    return (flag(field), *([aliases[field]] if field in aliases else []))


def _without_none(hint: Any) -> Any:
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in typing.get_args(hint) else hint


def _config(flags: Any) -> RunConfig:
    """The configuration that the flags describe. Raises UsageError if it cannot work."""
    given = {name: getattr(flags, name) for name in FIELDS}
    fields = {name: value for name, value in given.items() if name not in _DEPENDENT or value is not None}
    if flags.model is None and flags.input is None and not flags.model_arg and not flags.apply:
        return RunConfig.of(**fields)
    return of_own(flags.model, flags.model_arg, flags.input, flags.apply, **fields)


_OWN: list[tuple[str, Any, Any]] = [
    (
        name,
        Annotated[kind, _GROUPS["workload"], Parameter(help=text, name=flag(name))],
        dataclasses.field(default=default),
    )
    for name, kind, default, text in (
        (
            "model",
            str | None,
            None,
            "Measure a module of your own: the callable that builds it, as package.module:callable.",
        ),
        ("model_arg", tuple[str, ...], (), "With --model: arguments of the callable, as name=value."),
        ("input", str | None, None, "With --model: the callable that returns a batch, and a loss if it likes."),
        (
            "apply",
            tuple[Applied, ...],
            (),
            "With --model: change what the callables made, as docs/tune.md says.",
        ),
    )
]
"""Flags of a run that name a model of the caller's own."""


if typing.TYPE_CHECKING:  # a type checker cannot follow types made from fields

    class RunFlags:
        """One value of each field; raises UsageError if they cannot work together."""

        config: RunConfig

        def __init__(self, **values: Any) -> None: ...

    class Grid:
        """The values of each field of RunConfig; None if its flag is not given."""

        def __init__(self, **values: Any) -> None: ...

else:
    RunFlags = _flag_class(
        "RunFlags",
        "One value of each field; raises UsageError if they cannot work together.",
        _one,
        {name: None if name in _DEPENDENT else field.default for name, field in FIELDS.items()},
        own=_OWN,
        config=property(_config),
        __post_init__=_config,
    )
    Grid = _flag_class(
        "Grid",
        "The values of each field of RunConfig; None if its flag is not given.",
        _several,
        dict.fromkeys(FIELDS),
    )


def values(grid: Grid) -> dict[str, tuple[Any, ...]]:
    """Field -> its values, without duplicates. A switch without a value is on, and `off on` is both.

    Raises UsageError for a flag without a value.
    """
    asked_for: dict[str, tuple[Any, ...]] = {}
    for name, field in FIELDS.items():
        asked = getattr(grid, name)
        if asked is None:
            continue
        switch = field.kind is bool
        if not asked and not switch:
            raise UsageError(f"{flag(name)} needs a value")
        chosen = [value == "on" for value in asked] or [True] if switch else asked
        asked_for[name] = tuple(dict.fromkeys(chosen))
    return asked_for


_DEFAULT = RunFlags()


def config_of(line: str) -> RunConfig:
    """The configuration that `perfkit run LINE` would measure. Raises UsageError if it would refuse the flags."""
    app = App(
        default_parameter=Parameter(negative=(), consume_multiple=True),
        help_flags=(),
        version_flags=(),
        result_action="return_value",
    )
    app.default(_taken)
    try:
        config = app(shlex.split(line), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise UsageError(
            f"'{line}': {_first_line(error)}; give only flags of perfkit run that say what to measure"
        ) from error
    except ValueError as error:  # from shlex: an unclosed quotation
        raise UsageError(f"'{line}': {error}") from error
    assert isinstance(config, RunConfig)
    return config


def _taken(flags: Annotated[RunFlags, Parameter(name="*")] = _DEFAULT) -> RunConfig:
    """Return the configuration of the parsed flags."""
    return flags.config


def _first_line(error: CycloptsError) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
