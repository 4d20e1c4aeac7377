"""Q12 to Q14: the largest pieces, what a block keeps, and checkpoints, by hand."""

from __future__ import annotations

import math

import pytest

from perfkit.analysis.study.pieces import CHECKPOINTS, LARGEST, SAVED
from perfkit.analysis.study.question import UnansweredError
from tests.analysis.study.cases import SCOPE, results, rows, step, table, taken

[TRAIN] = LARGEST.needs(SCOPE)
MIB = 2**20


def test_the_largest_pieces_have_a_shape_and_a_place():
    largest = table(
        "largest", bytes=[20 * MIB, 20 * MIB, 5 * MIB], count=[1, 2, 1],
        kind=["activations", "temporaries", "parameters"],
        scope=["head", "loss", ""], phase=["forward", "backward", "other"], frame=["model.py:88", math.nan, math.nan],
        operator=["aten::linear", "NllLossBackward0", ""], why=["4 B x vocabulary: logits", "", ""],
    )  # fmt: skip
    answer = LARGEST.answer(SCOPE, results(taken(TRAIN, tables={"largest": largest})))
    assert answer.sentence == (
        "tiny: the largest allocations at the peak are 3 pieces of 20.0 MiB: 4 B x vocabulary: logits; the first is"
        " activations of head, made by model.py:88"
    )
    assert [row["frame"] for row in rows(answer.tables[0])] == ["model.py:88", "NllLossBackward0", ""]
    with pytest.raises(UnansweredError):
        LARGEST.answer(SCOPE, results())


def kept(gradient: int):
    return {
        "blocks": table(
            "blocks", block=["layers.*", "loss"], x=[4, 1], bytes=[400, 999], hooks_bytes=[400, 999],
            gradient_bytes=[4 * gradient, 0],
        ),
        "kept_operations": table(
            "kept_operations", block=["layers.*"] * 3 + ["loss"],
            operation=["7 others", "mlp: mul", "softmax", "nll"], bytes=[300, 240, 100, 999],
            share=[0.75, 0.6, 0.25, 1.0], rest=[True, False, False, False],
        ),
    }  # fmt: skip


def test_what_a_block_keeps_stands_beside_what_its_shape_says():
    """GIVEN tiny's block of width 128 and 512 within: 4 x 128^2 + 3 x 128 x 512 + 2 x 128 = 262,400 parameters, whose
    gradients are 1,049,600 B"""
    answer = SAVED.answer(SCOPE, results(taken(TRAIN, tables=kept(1_049_600))))
    assert answer.sentence.startswith(
        "tiny: one block keeps 100 B for backward (the hooks of saved tensors count the same bytes): mlp: mul 60.0%,"
        " softmax 25.0%; its backward makes 1.0 MiB of gradients, as the shapes say; an operation keeps what its "
        "gradient needs: a product its factors"
    )
    assert [row["bytes"] for row in rows(answer.tables[0])] == [100.0, 60.0, 25.0]
    other = SAVED.answer(SCOPE, results(taken(TRAIN, tables=kept(1_000)))).sentence
    assert "the shapes say 1.0 MiB" in other
    with pytest.raises(UnansweredError):
        SAVED.answer(SCOPE, results())


def test_the_measured_group_and_its_neighbours():
    """GIVEN two sizes of groups with 90 and 95 MiB"""
    needs = CHECKPOINTS.needs(SCOPE)
    peaks = {config.step.checkpoint_every: 90 + 5 * place for place, config in enumerate(needs)}
    found = results(*(taken(one, (step(9), step(7)), tensors=peaks[one.step.checkpoint_every] * MIB) for one in needs))

    # WHEN
    answer = CHECKPOINTS.answer(SCOPE, found)

    # THEN
    sizes = sorted(peaks)
    assert answer.sentence.startswith(
        f"tiny: groups of {sizes[0]} of 4 blocks have the lowest peak, 90.0 MiB (measured;"
    )
    assert f"groups of {sizes[1]} need 95.0 MiB" in answer.sentence
    measured = {row["blocks"]: row["step_s"] for row in rows(answer.tables[0]) if "step_s" in row}
    assert measured == dict.fromkeys(sizes, pytest.approx(0.007))
    assert [row["blocks"] for row in rows(answer.tables[0])] == [1, 2, 3, 4]


def test_without_runs_the_prediction_is_the_answer():
    assert "(predicted;" in CHECKPOINTS.answer(SCOPE, results()).sentence
