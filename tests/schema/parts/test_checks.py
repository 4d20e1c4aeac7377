"""What every part of a configuration refuses alike."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from perfkit.errors import UsageError
from perfkit.schema.parts.checks import check_choices, check_counts, flag


def test_a_field_is_named_as_its_flag():
    assert flag("batch_size") == "--batch-size"


@pytest.mark.parametrize("value", [1, 2**31 - 1, None])
def test_a_count_from_one_to_below_2_to_the_31_is_taken(value):
    """GIVEN a count in its limits, or left open WHEN checked THEN nothing is raised"""
    check_counts(SimpleNamespace(batch_size=value), ["batch_size"])


@pytest.mark.parametrize(("value", "limit"), [(0, "at least 1"), (-1, "at least 1"), (2**31, "below 2147483648")])
def test_a_count_beyond_its_limits_is_refused(value, limit):
    """GIVEN a part whose second count is beyond the limits WHEN checked THEN the error has its flag and the limit"""
    part = SimpleNamespace(num_layers=1, batch_size=value)
    with pytest.raises(UsageError, match=f"^--batch-size {value}: must be {limit}$"):
        check_counts(part, ["num_layers", "batch_size"])


def test_a_value_that_is_no_choice_is_refused():
    """GIVEN a part with a word that is none of its choices WHEN checked THEN the error names them in their order"""
    choices = {"optimizer": ("sgd", "adamw"), "attention": ("eager", "sdpa")}
    with pytest.raises(UsageError, match=r"^--attention flash: choose from eager, sdpa$"):
        check_choices(SimpleNamespace(optimizer="adamw", attention="flash"), choices)
    check_choices(SimpleNamespace(optimizer="sgd", attention=None), choices)
