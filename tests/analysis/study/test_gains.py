"""Q8 and Q16 on times by hand."""

from __future__ import annotations

import pytest

from perfkit.analysis.study.gains import COMPILATION, PRECISION
from perfkit.analysis.study.question import UnansweredError
from tests.analysis.study.cases import SCOPE, results, rows, step, table, taken


def test_bf16_beside_fp32():
    """GIVEN 20 ms against 8 in forward 8 / 4 and backward 12 / 4, and 100 MiB against 80; and two profiled
    passes with 60% of their time in bf16 matmuls, 10 calls each"""
    full, half, profiled = PRECISION.needs(SCOPE)
    dtypes = table(
        "roofline", steps=2, category=["matmul", "matmul", "softmax", "other"],
        precision=["bf16", "bf16", "fp32", None], count=[12, 8, 2, 2], total_ns=[400, 200, 300, 100],
    )  # fmt: skip
    found = results(
        taken(full, (step(8, 12), step(8, 12)), tensors=100 * 2**20),
        taken(half, (step(4, 4), step(4, 4)), tensors=80 * 2**20),
        taken(profiled, tables={"roofline/forward": dtypes}),
    )

    # WHEN
    answer = PRECISION.answer(SCOPE, found)

    # THEN
    assert answer.sentence.startswith(
        "tiny takes 8.000 ms a training step in bf16 and 20.00 ms in fp32, 2.50 times as fast, with 0.80 times"
        " the memory"
    )
    ratios, types = answer.tables
    assert [(row["phase"], row["speedup"]) for row in rows(ratios)] == [
        ("step", pytest.approx(2.5)), ("forward", pytest.approx(2.0)), ("backward", pytest.approx(3.0)),
    ]  # fmt: skip
    assert rows(types) == [
        {"category": "matmul", "precision": "bf16", "count": 10.0, "share": pytest.approx(0.6)},
        {"category": "softmax", "precision": "fp32", "count": 1.0, "share": pytest.approx(0.3)},
    ]


def test_a_loss_has_its_own_cause():
    full, half, _ = PRECISION.needs(SCOPE)
    found = results(taken(full, (step(4, 4),) * 2), taken(half, (step(8, 8),) * 2))
    sentence = PRECISION.answer(SCOPE, found).sentence
    assert "0.50 times as fast" in sentence
    assert "this CPU has no fast bf16" in sentence


def test_compiling_has_its_own_time_and_is_repaid():
    """GIVEN steps of 10 ms that become 8, after a first one of 1,008 ms: 1 s of compiling, repaid after 500 steps"""
    plain, compiled, *_ = COMPILATION.needs(SCOPE)
    found = results(
        taken(plain, (step(10), step(10))), taken(compiled, (step(8), step(8)), warmup=(step(1008), step(8)))
    )

    # WHEN
    answer = COMPILATION.answer(SCOPE, found)

    # THEN
    assert answer.sentence.startswith(
        "compiled: tiny forward 1.25 times as fast (10.00 ms to 8.000 ms, compiling 1.000 s); compiling joins"
    )
    of_step = next(row for row in rows(answer.tables[0]) if row.get("phase") == "step")
    assert (of_step["repaid"], of_step["speedup"]) == (500.0, pytest.approx(1.25))
    assert rows(answer.tables[0])[-1]["outcome"] == "not run"


def test_a_difference_within_the_spread_is_none():
    """GIVEN ten steps of 10 to 19 ms, and ten that are each 0.1 ms shorter: their medians' intervals overlap"""
    plain, compiled, *_ = COMPILATION.needs(SCOPE)
    series = [tuple(step(10 + number - less) for number in range(10)) for less in (0.0, 0.1)]
    found = results(taken(plain, series[0]), taken(compiled, series[1], warmup=(step(1000),)))
    sentence = COMPILATION.answer(SCOPE, found).sentence
    assert "1.01 times as fast, which the spread of the steps does not tell from 1" in sentence
    assert "and what that saves is too little here to be seen; one process of each" in sentence
    assert "repaid" not in rows(COMPILATION.answer(SCOPE, found).tables[0])[0]  # by chance is not by a gain


@pytest.mark.parametrize("question", [PRECISION, COMPILATION])
def test_without_pairs_there_is_no_answer(question):
    with pytest.raises(UnansweredError):
        question.answer(SCOPE, results())
    with pytest.raises(UnansweredError, match="no pair"):
        question.answer(SCOPE, results(*(taken(config) for config in question.needs(SCOPE)[1::2])))
