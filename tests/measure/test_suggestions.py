"""What to try after running out of memory."""

from __future__ import annotations

import pytest

from perfkit.measure.suggestions import suggestions
from perfkit.schema.config import RunConfig

GIB = 2**30
STEP = "measured step 1, backward"


def asked(phase: str = STEP, requested: int | None = GIB, available: int = 16 * GIB, **fields: object):
    return suggestions(RunConfig(**fields).resolved("cpu"), phase, requested, available)


@pytest.mark.parametrize(
    ("fields", "ideas"),
    [
        ({"model_size": "small"}, ("--checkpoint", "--batch-size 2")),
        ({"model_size": "small", "checkpoint": True}, ("--batch-size 2", "--attention sdpa")),
        ({"model_size": "small", "pass_type": "forward"}, ("--batch-size 2", "--attention sdpa")),
        ({"model_size": "small", "num_layers": 1}, ("--batch-size 2", "--attention sdpa")),
        ({"model_size": "small", "checkpoint": True, "batch_size": 1}, ("--attention sdpa", "--context-length 256")),
        (
            {"model_size": "small", "checkpoint": True, "batch_size": 1, "attention": "sdpa"},
            ("--context-length 256", "--model-size tiny"),
        ),
        (
            {"model_size": "small", "checkpoint": True, "batch_size": 1, "attention": "sdpa", "context_length": 1},
            ("--model-size tiny", "--num-layers 6"),
        ),
    ],
)
def test_in_a_step_what_gives_up_least_comes_first(fields, ideas):
    assert asked(**fields) == ideas


@pytest.mark.parametrize(
    ("fields", "ideas"),
    [
        ({"model_size": "10B"}, ("--model-size xl", "--num-layers 25")),
        ({"model_size": "xl"}, ("--model-size large", "--num-layers 24")),
        ({"model_size": "tiny"}, ("--vocab-size 5000", "--num-layers 2")),
        # a smaller size would keep the width that was asked for
        ({"model_size": "xl", "d_model": 3200}, ("--num-layers 24", "--d-model 1600")),
        ({"model_size": "tiny", "context_length": 200_000}, ("--attention sdpa", "--context-length 100000")),
    ],
)
def test_where_the_model_does_not_fit_it_is_made_smaller(fields, ideas):
    assert asked("model", **fields) == ideas


def test_a_smaller_model_is_one_that_fits():
    assert asked("model", available=GIB, model_size="10B")[0] == "--model-size small"


@pytest.mark.parametrize(
    ("phase", "fields", "ideas"),
    [
        # 64 GiB of scores where there are 16: half of it would fail as well, and so would checkpointing
        (STEP, {"context_length": 4096}, ("--attention sdpa", "--context-length 512")),
        (STEP, {"context_length": 4096, "batch_size": 256}, ("--attention sdpa", "--batch-size 32")),
        ("model", {"vocab_size": 10**9, "num_layers": 1}, ("--vocab-size 125000000", "--d-model 16")),
        ("model", {"d_model": 2**24, "num_heads": 2**10}, ("--d-model 2097152", "--num-layers 1")),
    ],
)
def test_an_allocation_larger_than_everything_is_cut_until_it_fits(phase, fields, ideas):
    batch = {"batch_size": 1, "model_size": "tiny"}
    assert asked(phase, requested=64 * GIB, **{**batch, **fields}) == ideas


@pytest.mark.parametrize(
    ("phase", "ideas"),
    [("model", ("--model-size small", "--num-layers 12")), (STEP, ("--batch-size 2", "--attention sdpa"))],
)
def test_without_a_size_in_the_message_halves_are_tried(phase, ideas):
    assert asked(phase, requested=None, model_size="medium", checkpoint=True) == ideas


@pytest.mark.parametrize("available", [0, 1])
def test_nothing_available_is_no_reason_to_fail(available):
    assert len(asked(available=available, model_size="small")) == 2


def test_what_is_suggested_is_accepted_together_with_the_rest():
    # GIVEN
    asked_for = {"model_size": "tiny", "d_model": 96, "num_heads": 6, "d_ff": 7}

    # WHEN
    ideas = suggestions(RunConfig(**asked_for).resolved("cpu"), "model", 64 * GIB, 16 * GIB)

    # THEN
    for idea in ideas:
        flag, value = idea.removeprefix("--").replace("-", "_").split()
        RunConfig(**{**asked_for, flag: int(value)}).resolved("cpu")
