"""Whether two runs compute the same: hand-made losses and gradients, limits worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.tuning import equality
from tests.analysis.tuning.computations import computed


def test_a_difference_is_relative_to_the_loss_and_to_each_gradient():
    """GIVEN a loss of 2.0 against 2.2, a weight's gradient (3, 4) against (3, 4.5) THEN 10% and 0.5 / 5"""
    found = equality.difference(computed(), computed((2.2, 1.0), (3.0, 4.5)))
    assert found.losses == pytest.approx([0.1, 0.0])
    assert found.gradients == pytest.approx([0.1, 0.1])
    assert found.worst == ("weight", "weight")


def test_a_gradient_that_is_next_to_nothing_counts_against_all():
    """GIVEN a bias with a gradient of 1e-9 that doubles THEN it counts against a thousandth of all, 5 / 1000"""
    found = equality.difference(computed(bias=1e-9), computed(bias=2e-9))
    assert found.gradients == pytest.approx([1e-9 / 5e-3] * 2)


def test_numbers_that_were_not_kept_show_in_the_norm():
    """GIVEN the same samples and another norm THEN the norms' difference counts"""
    other = computed()
    other.norms[0, 0] = 6.0
    assert equality.difference(computed(), other).gradients[0] == pytest.approx(1 / 5)


def test_samples_stand_for_the_whole_gradient():
    """GIVEN a fourth of a gradient kept, whose norm is 10 THEN what is apart in it is scaled up to the whole"""
    original, other = computed(bias=0.0), computed(weight=(3.0, 4.5), bias=0.0)
    for one in (original, other):
        one.norms[:, 0] = 10.0
    assert equality.difference(original, other).gradients == pytest.approx([0.5 * 2 / 10] * 2)


@pytest.mark.parametrize(
    ("nudge", "before", "after", "loss", "gradient"),
    [
        (0.0, "fp32", "fp32", 1.3e-6, 1.3e-5),  # what assert_close allows
        (1e-6, "fp32", "fp32", 16e-6, 16e-6),  # sixteen times what rounding does
        (1.0, "fp32", "fp32", 1.3e-4, 1.3e-3),  # a hundred times what assert_close allows, and no more
        (1e-6, "fp32", "bf16", 1.6e-2, 0.16),
        (1e-7, "fp32", "tf32", 16e-7 * 8192, 16e-7 * 8192),  # 2^13: TF32 keeps 11 bits of 24
        (0.0, "bf16", "fp32", 1.6e-2, 0.16),  # the coarser of the two decides
        (1e-15, "fp64", "fp32", 16e-15 * 2**29, 1.3e-5),
    ],
)
def test_limits_follow_what_rounding_does(nudge, before, after, loss, gradient):
    nudged = equality.Difference(np.array([nudge]), np.array([nudge]), ("weight",))
    of_losses, of_gradients = equality.limits(nudged, before, after)
    assert of_losses == pytest.approx([loss])
    assert of_gradients == pytest.approx([gradient])


def test_the_same_bits_are_identical():
    found = equality.check(computed(), computed(), computed())
    assert found.identical
    assert found.same


def test_a_difference_within_rounding_is_the_same_and_no_more():
    """GIVEN nudged losses that differ by 1e-6 THEN 10e-6 is the same and 20e-6 is not, in the step that it happens"""
    nudged = computed((2.0, 1.000001))
    assert equality.check(computed(), computed((2.0, 1.00001)), nudged).same
    found = equality.check(computed(), computed((2.0, 1.00002)), nudged)
    assert not found.same
    assert found.step == 1
    assert found.why == "the loss of step 2 differs by 2.0e-05 (at most 1.6e-05)"


def test_a_gradient_that_differs_is_named():
    found = equality.check(computed(), computed(bias=12.12), computed())
    assert not found.same
    assert found.why == "the gradient of bias in step 1 differs by 1% (at most 1.3e-05)"


def test_what_is_no_number_is_not_the_same():
    assert not equality.check(computed(), computed((2.0, math.nan)), computed()).same
    assert not equality.check(computed(), computed(bias=math.inf), computed()).same


def test_other_parameters_are_not_the_same():
    found = equality.check(computed(), computed(names=("weight", "shift")), computed())
    assert not found.same
    assert "other parameters" in found.why


def test_outputs_without_a_loss_are_compared_as_gradients_are():
    """GIVEN a forward pass, which has no loss THEN its outputs count"""
    fields: dict[str, Any] = {"names": ("output 0", "output 1")}
    original = computed((math.nan, math.nan), **fields)
    assert equality.check(original, computed((math.nan, math.nan), **fields), original).same
    found = equality.check(original, computed((math.nan, math.nan), bias=13.0, **fields), original)
    assert found.why.startswith("output 1 in step 1 differs by 8.3%")


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (((4, 2),), ((8, 2),), ""),
        (((4, 2), (4,), (3, 3)), ((8, 2), (8,), (3, 3)), ""),
        (((4, 2), ()), ((8, 2), ()), ""),
        (((4, 2),), ((4, 2),), "its batch has not 2 times the rows: 4x2 in place of 4x2"),
        (((4, 2),), ((12, 2),), "its batch has not 2 times the rows: 12x2 in place of 4x2"),
        (((4, 2), (4,)), ((8, 2), (6,)), "its batch has not 2 times the rows: 8x2, 6 in place of 4x2, 4"),
        (((4, 2),), ((8, 1),), "its batch has not 2 times the rows: 8x1 in place of 4x2"),
        (((4, 2),), ((8, 2), (8,)), "its batch has not 2 times the rows: 8x2, 8 in place of 4x2"),
        ((), (), "its batch has not 2 times the rows: no tensor in place of no tensor"),
        (((),), ((),), "its batch has not 2 times the rows: a number in place of a number"),
    ],
)  # fmt: skip
def test_a_larger_batch_has_the_rows_that_it_says(before, after, why):
    found = equality.check_batch(computed(batch=before), computed((7.0, 6.0), bias=3.0, batch=after), 2)
    assert (found.same, found.why) == (not why, why)
    assert not found.identical


def test_a_larger_batch_is_of_the_same_parameters_and_of_numbers():
    larger = computed(batch=((8, 2),), names=("weight", "other"))
    assert equality.check_batch(computed(), larger, 2).why == "it has other parameters"
    for lost in (computed((math.nan, 1.0), batch=((8, 2),)), computed(bias=math.inf, batch=((8, 2),))):
        assert equality.check_batch(computed(), lost, 2).why == "its loss or a gradient is no number"
    forward = computed((math.nan, math.nan))
    assert equality.check_batch(forward, computed((math.nan, math.nan), batch=((8, 2),)), 2).same


def test_another_precision_is_said():
    found = equality.check(computed(), computed((2.01, 1.0), precision="bf16"), computed())
    assert found.same
    assert found.changes_precision
    assert found.loss == pytest.approx(0.005)
