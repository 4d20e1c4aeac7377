"""Grids: which configurations they ask for, and which they cannot have."""

from __future__ import annotations

import pytest

from perfkit.commands.inputs.grid import expand
from perfkit.schema.config import RunConfig


def test_a_grid_is_every_combination_once():
    # WHEN
    expansion = expand({"model_size": ("tiny", "small"), "context_length": (16, 32), "seed": (3,)})

    # THEN
    shapes = [(c.transformer.model_size, c.step.context_length, c.step.seed) for c in expansion.configs]
    assert shapes == [("tiny", 16, 3), ("tiny", 32, 3), ("small", 16, 3), ("small", 32, 3)]
    assert expansion.varied == ("model_size", "context_length")
    assert expansion.refused == ()


def test_an_empty_grid_is_the_default_configuration():
    assert expand({}).configs == (RunConfig(),)


def test_a_combination_that_cannot_work_comes_with_its_reason():
    # WHEN
    expansion = expand({"pass_type": ("forward", "train"), "optimizer": ("adamw", "adamw-fused"), "seed": (1,)})

    # THEN
    assert len(expansion.configs) == 3
    [refused] = expansion.refused
    assert refused.flags == "--pass-type forward --optimizer adamw-fused"
    assert refused.reason.startswith("--optimizer adamw-fused needs --pass-type train")


@pytest.mark.parametrize(("switch", "optimizer"), [(True, "adamw"), (False, "adamw-fused")])
def test_a_refused_switch_is_said_as_on_or_off(switch, optimizer):
    [refused] = expand({"pass_type": ("forward",), "optimizer": (optimizer,), "checkpoint": (switch,)}).refused
    said = "on" if switch else "off"
    assert refused.flags == f"--pass-type forward --optimizer {optimizer} --checkpoint {said}"


def test_a_grid_over_arguments_of_an_own_model():
    """GIVEN two arguments with two values and a precision WHEN expanded THEN each combination names its own"""
    # WHEN
    expansion = expand({"model": ("m:a",), "model_arg.b": ("2", "1"), "input": ("m:i",), "input_arg.n": ("4", "x"),
                        "precision": ("fp32", "bf16")})  # fmt: skip

    # THEN
    assert expansion.varied == ("model_arg.b", "input_arg.n", "precision")
    said = [(c.value("model_arg.b"), c.value("input_arg.n"), c.step.precision) for c in expansion.configs]
    assert said[:3] == [(2, 4, "fp32"), (2, 4, "bf16"), (2, "x", "fp32")]
    assert len(set(said)) == 8
    assert expansion.configs[0].flags()[:8] == [
        "--model", "m:a", "--model-arg", "b=2", "--input", "m:i", "--input-arg", "n=4"]  # fmt: skip


def test_a_refused_argument_is_said_as_it_is_typed():
    [refused] = expand({"model_arg.b": ("2",)}).refused
    assert (refused.flags, refused.reason[:25]) == ("--model-arg b=2", "--model-arg b=2 needs --m")
