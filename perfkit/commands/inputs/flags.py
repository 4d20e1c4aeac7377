"""A configuration from a line of `perfkit run`'s flags."""

from __future__ import annotations

import shlex
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig

_DEFAULT = RunConfig()


def config_of(line: str) -> RunConfig:
    """The configuration that `perfkit run LINE` would measure. Raises UsageError where it would refuse the flags."""
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
            f"'{line}': {_first_line(error)}; give flags of perfkit run that say what to measure"
        ) from error
    except ValueError as error:  # of shlex: a quotation that does not end
        raise UsageError(f"'{line}': {error}") from error
    assert isinstance(config, RunConfig)
    return config


def _taken(config: Annotated[RunConfig, Parameter(name="*")] = _DEFAULT) -> RunConfig:
    """Take the flags."""
    return config


def _first_line(error: CycloptsError) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
