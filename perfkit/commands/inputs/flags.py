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
from perfkit.schema.config import (
    ARGUMENTS,
    FIELDS,
    OWN_FIELDS,
    PARTS,
    SEVERAL,
    Field,
    RunConfig,
    not_beside_a_model,
    of_own,
    of_the_transformer,
)
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
    own = {name: getattr(flags, name) for name in OWN_FIELDS}
    return of_own(own, **fields) if any(own.values()) else RunConfig.of(**fields)


_OWN_TEXTS = {
    "model": "Measure a module of your own: the callable that builds it, as package.module:callable.",
    "model_arg": "With --model: arguments of the callable, as name=value.",
    "input": "With --model: the callable that returns a batch or a DataLoader, and a loss if it likes.",
    "input_arg": "With --model: arguments of --input, as name=value.",
}
_OWN_RUN_TEXTS = _OWN_TEXTS | {"apply": "With --model: change what the callables made, as docs/tune.md says."}
_OWN_GRID_TEXTS = _OWN_TEXTS | {
    "model_arg": "With --model: arguments of the callable, each with one value or more: hidden=256 512 layers=2.",
    "input_arg": "With --model: arguments of --input, each with one value or more: batch=4 8.",
}


def _own(texts: dict[str, str], *, several: bool) -> list[tuple[str, Any, Any]]:
    """Flags that name a model of the caller's own."""
    annotated: Any = Annotated
    flags = []
    for name, text in texts.items():
        one, none = (tuple[str, ...], ()) if several or name in SEVERAL else (str | None, None)
        values = tuple[Applied, ...] if name == "apply" else one
        kind = annotated[(values, _GROUPS["workload"], Parameter(help=text, name=flag(name)))]
        flags.append((name, kind, dataclasses.field(default=none)))
    return flags


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
        own=_own(_OWN_RUN_TEXTS, several=False),
        config=property(_config),
        __post_init__=_config,
    )
    Grid = _flag_class(
        "Grid",
        "The values of each field of RunConfig; None if its flag is not given.",
        _several,
        dict.fromkeys(FIELDS),
        own=_own(_OWN_GRID_TEXTS, several=True),
    )


def values(grid: Grid) -> dict[str, tuple[Any, ...]]:
    """Field -> its values, without duplicates. A switch without a value is on, and `off on` is both.

    Each argument of an own model is a field: `model_arg.hidden`, with texts. Raises UsageError for a flag without a
    value, and for one of perfkit's own Transformer beside --model.
    """
    own = _own_values(grid)
    asked_for = dict(own)
    for name, field in FIELDS.items():
        asked = getattr(grid, name)
        if asked is None:
            continue
        switch = field.kind is bool
        if not asked and not switch:
            raise UsageError(f"{flag(name)} needs a value")
        if own and of_the_transformer(name):
            raise not_beside_a_model(" ".join([flag(name), *map(str, asked)]))
        chosen = [value == "on" for value in asked] or [True] if switch else asked
        asked_for[name] = tuple(dict.fromkeys(chosen))
    return asked_for


def _own_values(grid: Grid) -> dict[str, tuple[Any, ...]]:
    """What names an own model, by field and argument; empty for perfkit's Transformer."""
    found: dict[str, tuple[Any, ...]] = {}
    for field in _OWN_GRID_TEXTS:
        given = getattr(grid, field)
        if field in ARGUMENTS:
            of_arguments: dict[str, list[str]] = {}
            name = ""
            for text in given:
                before, mark, value = text.partition("=")
                if mark and before.isidentifier():
                    name = before
                elif not name:
                    raise UsageError(f"{flag(field)} {text}: write it as name=value, and more values after it")
                else:
                    value = text
                of_arguments.setdefault(name, []).append(value)
            found |= {f"{field}.{name}": tuple(dict.fromkeys(values)) for name, values in of_arguments.items()}
        elif given:
            found[field] = tuple(dict.fromkeys(given))
    return found


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
