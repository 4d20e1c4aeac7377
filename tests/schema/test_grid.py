"""Grids: which configurations they ask for, and which they cannot have."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from cyclopts.exceptions import CycloptsError
from docstring_parser import parse_from_object

from perfkit.cli import build_app
from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.grid import Grid, expand, values


def grid(**fields: Any) -> Any:
    """A grid, whose fields are made from those of a configuration, which no type checker can follow."""
    made: Any = Grid
    return made(**fields)


def test_a_grid_has_every_field_of_a_configuration():
    assert [field.name for field in dataclasses.fields(grid())] == [
        field.name for field in dataclasses.fields(RunConfig)
    ]


def test_a_grid_is_every_combination_once():
    # WHEN
    expansion = expand(values(grid(model_size=("tiny", "small", "tiny"), context_length=(16, 32), seed=(3,))))

    # THEN
    shapes = [(config.model_size, config.context_length, config.seed) for config in expansion.configs]
    assert shapes == [("tiny", 16, 3), ("tiny", 32, 3), ("small", 16, 3), ("small", 32, 3)]
    assert expansion.varied == ("model_size", "context_length")
    assert expansion.refused == ()


def test_an_empty_grid_is_the_default_configuration():
    assert expand(values(grid())).configs == (RunConfig(),)


@pytest.mark.parametrize(
    ("asked", "wanted"), [((), [True]), (("on",), [True]), (("off",), [False]), (("off", "on"), [False, True])]
)
def test_a_switch_is_on_off_or_both(asked, wanted):
    expansion = expand(values(grid(checkpoint=asked)))
    assert [config.checkpoint for config in expansion.configs] == wanted


def test_a_flag_without_a_value_is_refused():
    with pytest.raises(UsageError, match="--batch-size needs a value"):
        values(grid(batch_size=()))


def test_a_combination_that_cannot_work_comes_with_its_reason():
    # WHEN
    expansion = expand(values(grid(pass_type=("forward", "train"), optimizer=("adamw", "adamw-fused"), seed=(1,))))

    # THEN
    assert len(expansion.configs) == 3
    [refused] = expansion.refused
    assert refused.flags == "--pass-type forward --optimizer adamw-fused"
    assert refused.reason.startswith("--optimizer adamw-fused needs --pass-type train")


def test_every_value_of_a_flag_with_a_converter_is_converted():
    (_, bound, _) = build_app().parse_args(["sweep", "--target-cv", "1%", "0.05"])
    assert bound.arguments["grid"].target_ci == (0.01, 0.05)


@pytest.mark.parametrize(
    ("flags", "field", "wanted"),
    [
        (["--num-threads", "1", "2"], "num_threads", (1, 2)),  # of a field that may be None, its other type
        (["--model-sizes", "tiny", "small"], "model_size", ("tiny", "small")),
        (["--checkpoint", "off", "on"], "checkpoint", ("off", "on")),
    ],
)
def test_a_flag_takes_several_values_of_its_fields_type(flags, field, wanted):
    (_, bound, _) = build_app().parse_args(["sweep", *flags])
    assert getattr(bound.arguments["grid"], field) == wanted


@pytest.mark.parametrize("flags", [["--num-threads", "many"], ["--model-size", "giant"], ["--checkpoint", "maybe"]])
def test_a_value_of_another_type_is_refused(flags):
    with pytest.raises(CycloptsError):
        build_app().parse_args(["sweep", *flags], exit_on_error=False, print_error=False)


@pytest.mark.parametrize(("switch", "optimizer"), [("on", "adamw"), ("off", "adamw-fused")])
def test_a_refused_switch_is_said_as_on_or_off(switch, optimizer):
    [refused] = expand(values(grid(checkpoint=(switch,), pass_type=("forward",), optimizer=(optimizer,)))).refused
    assert refused.flags == f"--pass-type forward --optimizer {optimizer} --checkpoint {switch}"


def test_every_flag_has_the_help_of_its_field():
    hints = typing.get_type_hints(Grid, include_extras=True)
    [own] = {typing.get_args(hints["batch_size"])[-1].help}
    assert own in {" ".join((text.description or "").split()) for text in parse_from_object(RunConfig).params}
    assert all(typing.get_args(hint)[-1].help for hint in hints.values())
    assert "None where none was asked for" in (Grid.__doc__ or "")
