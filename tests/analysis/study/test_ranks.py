"""Q18 and Q19: what two ranks would have to move, from one rank's step by hand."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.study.question import UnansweredError
from perfkit.analysis.study.ranks import PARALLEL, SHARDED
from perfkit.analysis.study.times import train
from tests.analysis.study.cases import SCOPE, results, rows, step, taken

SMALL = dataclasses.replace(SCOPE, sizes=("small",))
PARAMETERS = 12 * (4 * 768**2 + 3 * 768 * 3072 + 2 * 768) + 2 * 10_000 * 768 + 768
RUN = taken(train(SMALL, "small"), (step(120, 200, 80), step(120, 200, 80)))


def test_gradients_hide_behind_backward():
    """GIVEN small: 128.6 M parameters, 490.7 MiB of gradients, which two ranks move once; 12 x 9 + 3 tensors, 20
    buckets of 25 MiB; backward of 200 ms"""
    answer = PARALLEL.answer(SMALL, results(RUN))
    [row] = rows(answer.tables[0])
    assert (row["gradient_bytes"], row["moved_bytes"]) == (4 * PARAMETERS, 4 * PARAMETERS)
    assert (row["tensors"], row["buckets"]) == (111, 20)
    assert row["needed_bytes"] == pytest.approx(4 * PARAMETERS / 0.2)
    assert "in 111 all-reduces by parameter, 20 by buckets of 25 MiB or 1 flat" in answer.sentence
    assert answer.sure == "derived"


def test_a_gather_hides_behind_the_block_before():
    """GIVEN small's block of 9,438,720 parameters, of which half are elsewhere; forward of 120 ms in 12 blocks"""
    [row] = rows(SHARDED.answer(SMALL, results(RUN)).tables[0])
    assert row["block_bytes"] == 4 * (4 * 768**2 + 3 * 768 * 3072 + 2 * 768)
    assert row["moved_bytes"] == row["block_bytes"] / 2
    assert row["block_s"] == pytest.approx(0.010)
    assert row["saved_bytes"] == 8 * PARAMETERS


@pytest.mark.parametrize("question", [PARALLEL, SHARDED])
def test_without_a_step_there_is_nothing_to_hide_behind(question):
    with pytest.raises(UnansweredError):
        question.answer(SMALL, results())
