"""The flags of configurations: one for each field, with its help, one value or several."""

from __future__ import annotations

import dataclasses
import typing

import pytest
from cyclopts import Token
from cyclopts.exceptions import CycloptsError

from perfkit.cli import build_app
from perfkit.commands.inputs.flags import Grid, RunFlags, _ratio, values
from perfkit.errors import UsageError
from perfkit.schema.config import FIELDS, OWN_FIELDS, RunConfig


@pytest.mark.parametrize(("kind", "without"), [(RunFlags, set()), (Grid, {"apply"})], ids=["run", "sweep"])
def test_every_field_of_a_configuration_is_a_flag(kind, without):
    wanted = [name for name in (*FIELDS, *OWN_FIELDS) if name not in without]
    assert [field.name for field in dataclasses.fields(kind)] == wanted


def test_flags_make_the_configuration_that_they_ask_for():
    """GIVEN flags of all three parts WHEN taken THEN each is in its part, and nothing else differs from the default"""
    # WHEN
    config = RunFlags(d_ff=64, checkpoint=True, profiler="torch").config

    # THEN
    assert config == RunConfig.of(d_ff=64, checkpoint=True, profiler="torch")
    assert RunFlags().config == RunConfig()


def test_flags_that_cannot_work_together_are_refused_at_once():
    with pytest.raises(UsageError, match="--checkpoint needs a backward pass"):
        RunFlags(checkpoint=True, pass_type="forward")


@pytest.mark.parametrize(
    ("asked", "wanted"), [((), (True,)), (("on",), (True,)), (("off",), (False,)), (("off", "on"), (False, True))]
)
def test_a_switch_is_on_off_or_both(asked, wanted):
    assert values(Grid(checkpoint=asked)) == {"checkpoint": wanted}


def test_values_are_taken_once_each():
    assert values(Grid(model_size=("tiny", "small", "tiny"))) == {"model_size": ("tiny", "small")}


def test_a_flag_without_a_value_is_refused():
    with pytest.raises(UsageError, match="--batch-size needs a value"):
        values(Grid(batch_size=()))


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


@pytest.mark.parametrize("kind", [RunFlags, Grid])
def test_every_flag_has_the_help_of_its_field(kind):
    hints = typing.get_type_hints(kind, include_extras=True)
    assert typing.get_args(hints["batch_size"])[-1].help == "Sequences per step."
    assert all(typing.get_args(hint)[-1].help for hint in hints.values())
    assert "None if its flag is not given" in (Grid.__doc__ or "")


@pytest.mark.parametrize(("typed", "ratio"), [("1%", 0.01), ("0.5%", 0.005), ("0.02", 0.02), ("1e-3", 0.001)])
def test_a_target_is_typed_as_a_percentage_or_as_a_ratio(typed, ratio):
    assert _ratio(float, [Token(value=typed)]) == pytest.approx(ratio, rel=1e-12)


@pytest.mark.parametrize("typed", ["x", "x%", "%", ""])
def test_a_target_that_is_no_number_is_refused_with_how_to_write_it(typed):
    with pytest.raises(UsageError, match=f"--target-ci {typed}: write it as 1% or 0.01"):
        _ratio(float, [Token(value=typed)])


OWN_GRID = {"model": ("m:a",), "input": ("m:b",)}


def test_each_argument_of_an_own_model_is_a_field_with_values_of_its_own():
    """GIVEN arguments in several spellings WHEN taken THEN what has no name belongs to the one before"""
    found = values(Grid(**OWN_GRID, model_arg=("hidden=1", "2", "layers=3", "hidden=4", "2"), input_arg=("n=a=b", "c"),
                        precision=("fp32",)))  # fmt: skip
    assert found == {
        "model": ("m:a",), "model_arg.hidden": ("1", "2", "4"), "model_arg.layers": ("3",), "input": ("m:b",),
        "input_arg.n": ("a=b", "c"), "precision": ("fp32",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model_arg": ("8", "a=9")}, "--model-arg 8: write it as name=value, and more values after it"),
        ({"context_length": (8, 16)}, "--context-length 8 16 is of perfkit's own Transformer: leave it out beside"),
        ({"model_size": ("tiny",)}, "--model-size tiny is of perfkit's own Transformer: leave it out beside --model"),
        ({"batch_size": (4,)}, "--batch-size 4 is of perfkit's own Transformer"),
        ({"checkpoint": ()}, "--checkpoint is of perfkit's own Transformer"),
    ],
)
def test_what_fits_no_own_model_is_refused_in_a_grid(given, message):
    with pytest.raises(UsageError, match=message):
        values(Grid(**OWN_GRID, **given))
