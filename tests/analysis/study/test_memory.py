"""Q9 to Q11: peaks by stage and context, and the residual stream, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.study.memory import CONTEXTS, RESIDUAL, TIMELINE
from perfkit.analysis.study.question import Scope, UnansweredError
from tests.analysis.study.cases import SCOPE, results, rows, table, taken

MIB = 2**20


def stages(**peaks: int):
    return table(
        "phases", phase=list(peaks), peak_bytes=[peak * MIB for peak in peaks.values()],
        where=[f"{name} of loss" for name in peaks],
    )  # fmt: skip


def test_the_peak_of_each_stage_and_of_forward_alone():
    """GIVEN 100 MiB in forward, 150 in backward and 80 in the optimizer, and 50 where forward is all"""
    alone, whole = TIMELINE.needs(SCOPE)
    found = results(
        taken(alone, tables={"phases": stages(forward=50)}),
        taken(whole, tables={"phases": stages(forward=100, backward=150, optimizer=80)}),
    )
    answer = TIMELINE.answer(SCOPE, found)
    assert answer.sentence.startswith(
        "tiny: a training step peaks at 150.0 MiB in backward of loss (forward 100.0 MiB, backward 150.0 MiB and"
        " optimizer 80.0 MiB), 3.0 times the 50.0 MiB of forward alone"
    )
    assert answer.advice == f"perfkit memory {found[whole].folder} --plot memory_timeline"
    with pytest.raises(UnansweredError):
        TIMELINE.answer(SCOPE, results())


def test_contexts_are_measured_where_they_are_short_and_predicted_beyond():
    """GIVEN what was measured at context 128: the row has it beside the prediction, and 2,048 has that alone"""
    needs = CONTEXTS.needs(SCOPE)
    found = results(*(taken(config, tensors=151 * MIB) for config in needs))

    # WHEN
    answer = CONTEXTS.answer(SCOPE, found)

    # THEN
    assert len(needs) == 4
    assert "151.0 MiB at context 128 (measured) and" in answer.sentence
    assert "at context 2,048 (predicted)" in answer.sentence
    found_rows = rows(answer.tables[0])
    assert [row["outcome"] for row in found_rows] == ["ok"] * 4 + ["predicted"] * 4
    whole = next(row for row in found_rows if row["pass"] == "train" and row["context"] == 128)
    assert whole["predicted_bytes"] == pytest.approx(150.2 * MIB, rel=0.001)  # docs/questions.md traced the same


def test_on_a_gpu_every_context_is_run():
    scope = dataclasses.replace(SCOPE, device="cuda", sizes=("small",))
    assert {config.resolved("cuda").step.context_length for config in CONTEXTS.needs(scope)} == {128, 2048}


def test_the_residual_stream_by_its_formula():
    """GIVEN batch 4, context 512 and widths of 768 and 2560: 4 x 512 x 768 x 4 B = 6 MiB, and 20 MiB"""
    scope = Scope(sizes=("small", "2.7B"))
    answer = RESIDUAL.answer(scope, results())
    assert answer.sentence.startswith(
        "small: the residual stream is 6 MiB: batch 4 x context 512 x d_model 768 x 4 B; 2.7B: the residual stream is"
        " 20 MiB: batch 4 x context 512 x d_model 2,560 x 4 B"
    )
    assert [row["bytes"] for row in rows(answer.tables[0])] == [6 * MIB, 20 * MIB]
