"""Q4 to Q7 on tables of traces by hand."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.study.kernels import BESIDES, MIX, SERVING, SOFTMAX, TOP_KERNEL, inference, training
from perfkit.analysis.study.question import Taken, UnansweredError
from tests.analysis.study.cases import SCOPE, results, rows, table, taken

FORWARD, STEP = inference(SCOPE, "tiny"), training(SCOPE, "tiny")
MS = 1_000_000


def kernels(**total_ms: float):
    """Ten calls of each in every one of two steps."""
    steps = 2
    total = sum(total_ms.values())
    return table(
        "kernels", steps=steps, short_name=list(total_ms), category=["matmul"] * len(total_ms),
        count=[10 * steps] * len(total_ms), total_ns=[ms * MS for ms in total_ms.values()],
        share=[ms / total for ms in total_ms.values()],
    )  # fmt: skip


def test_the_longest_in_forward_and_with_backward():
    """GIVEN two passes with 12 ms of a and 8 of b, and two training steps with 30 of a and 50 of b"""
    found = results(
        taken(FORWARD, tables={"kernels/forward": kernels(a=12, b=8)}),
        taken(STEP, tables={"kernels": kernels(a=30, b=50)}),
    )

    # WHEN
    answer = TOP_KERNEL.answer(SCOPE, found)

    # THEN
    assert answer.sentence.startswith(
        "tiny: in forward a takes most, 6.000 ms a pass (60.0%), in 10 calls; in a training step it is b, 25.00 ms"
        " (62.5%), in 10 calls; the count says"
    )
    assert answer.advice == f"perfkit analyze {found[FORWARD].folder} --phase forward --table kernels work_layers"
    assert [row["seconds"] for row in rows(answer.tables[0])] == pytest.approx([0.006, 0.004])


def test_the_same_kernel_is_called_the_same_and_the_rest_is_a_row():
    many = {f"k{number}": 20.0 - number for number in range(10)}
    found = results(
        taken(FORWARD, tables={"kernels/forward": kernels(**many)}), taken(STEP, tables={"kernels": kernels(**many)})
    )
    answer = TOP_KERNEL.answer(SCOPE, found)
    assert "in a training step it is the same" in answer.sentence
    of_forward = rows(answer.tables[0])
    assert (len(of_forward), of_forward[-1]["name"]) == (9, "2 others")
    assert sum(row["share"] for row in of_forward) == pytest.approx(1.0)
    assert of_forward[-1]["seconds"] == pytest.approx((12 + 11) / 2 / 1e3)


def test_a_trace_without_work_has_no_answer():
    empty = kernels()
    found = results(taken(FORWARD, tables={"kernels/forward": empty}), taken(STEP, tables={"kernels": empty}))
    with pytest.raises(UnansweredError, match="no work"):
        TOP_KERNEL.answer(SCOPE, found)


def test_besides_matmuls_each_kind_has_its_modules():
    """GIVEN of 100 ns 50 of matmul, 30 elementwise (20 in norms, 10 in the MLP), 8 of softmax, 2 of copies, and 10 of
    the host, which are neither"""
    serving = table(
        SERVING, category=["matmul", "elementwise", "elementwise", "host", "softmax", "copy"],
        scope=["head", "layers.*.norm", "layers.*.mlp", "head", "layers.*.attn", "head"],
        total_ns=[50, 20, 10, 10, 8, 2],
    )  # fmt: skip
    answer = BESIDES.answer(SCOPE, results(taken(FORWARD, tables={f"{SERVING}/forward": serving})))
    assert answer.sentence.startswith(
        "tiny: 40.0% of forward is computation other than matrix multiplies: elementwise 30.0% (layers.*.norm 67%,"
        " layers.*.mlp 33%); softmax 8.00% (layers.*.attn 100%); 10.0% is none, but what the host does"
    )
    assert [row["category"] for row in rows(answer.tables[0])] == ["matmul", "elementwise", "host", "softmax", "copy"]


def test_the_share_of_matmuls_in_inference_and_in_training():
    """GIVEN 71% of inference, 52% of a training step, in which the optimizer has 20%"""
    one = table("categories", category=["matmul", "softmax"], total_ns=[71, 29])
    other = table("categories", category=["matmul", "softmax", "optimizer"], total_ns=[52, 28, 20])
    serving = table(SERVING, category=["optimizer"] * 2, scope=["head", "embedding"], total_ns=[15, 5])
    found = results(
        taken(FORWARD, tables={"categories": one}), taken(STEP, tables={"categories": other, SERVING: serving})
    )

    # WHEN
    answer = MIX.answer(SCOPE, found)

    # THEN
    assert answer.sentence.startswith(
        "tiny: matmuls take 71.0% of inference and 52.0% of a training step; optimizer grows most, from 0.00% to 20.0%"
        " (in training it serves head 75%, embedding 25%);"
    )
    assert {row["category"]: row["change"] for row in rows(answer.tables[0])} == pytest.approx(
        {"matmul": -0.19, "softmax": -0.01, "optimizer": 0.2}
    )


def test_a_size_without_a_result_does_not_take_the_others_answer():
    """GIVEN tiny, and small for which there was no time THEN Q4 and Q5 answer for tiny, and say so of small"""
    two = dataclasses.replace(SCOPE, sizes=("small", "tiny"))
    serving = table(SERVING, category=["matmul", "softmax"], scope=["head", "attn"], total_ns=[60, 40])
    found = results(
        taken(FORWARD, tables={"kernels/forward": kernels(a=12), f"{SERVING}/forward": serving}),
        taken(STEP, tables={"kernels": kernels(a=12)}),
        Taken(config=inference(two, "small"), outcome="skipped", seconds=60.0),
    )
    for question in (TOP_KERNEL, BESIDES):
        answer = question.answer(two, found)
        assert answer.sentence.startswith("tiny: ")
        assert "small forward profiled has no result (skipped, about 60 s)" in answer.sentence
        assert found[FORWARD].folder in answer.advice


def test_a_lacking_run_of_the_mix_is_a_row():
    two = dataclasses.replace(SCOPE, sizes=("tiny", "small"))
    mix = table("categories", category=["matmul"], total_ns=[1])
    there = [taken(config, tables={"categories": mix}) for config in (FORWARD, STEP)]
    lacking = Taken(config=training(two, "small"), outcome="skipped", seconds=60.0)
    answer = MIX.answer(two, results(*there, taken(inference(two, "small")), lacking))
    assert rows(answer.tables[0])[-1]["outcome"] == "skipped, about 60 s"
    with pytest.raises(UnansweredError):
        MIX.answer(SCOPE, results())


def attention(**parts: tuple[int, int, int]):
    return table(
        "attention", steps=1, phase=["forward"] * len(parts), part=list(parts),
        total_ns=[part[0] for part in parts.values()], flops=[part[1] for part in parts.values()],
        bytes=[part[2] for part in parts.values()],
    )  # fmt: skip


def test_softmax_beside_the_matmuls():
    """GIVEN matmuls of 300 ns, 6,400 FLOP and 640 B, softmax of 200 ns, 250 FLOP and 500 B"""
    parts = attention(**{"scores and weighted sum": (300, 6400, 640), "softmax": (200, 250, 500)})
    found = results(taken(FORWARD, tables={"attention/forward": parts}))
    answer = SOFTMAX.answer(SCOPE, found)
    assert answer.sentence.startswith(
        "tiny: attention's matmuls do 25.6 times the FLOPs of softmax in 1.50 times its time: softmax does 0.50 FLOP"
        " for each byte that it moves, and the matmuls 10"
    )
    assert [row["intensity"] for row in rows(answer.tables[0])] == [10.0, 0.5]


def test_fused_attention_hides_its_softmax():
    found = results(taken(FORWARD, tables={"attention/forward": attention(fused=(1, 1, 1))}))
    with pytest.raises(UnansweredError, match="--attention eager"):
        SOFTMAX.answer(SCOPE, found)
    with pytest.raises(UnansweredError):
        SOFTMAX.answer(SCOPE, results())
