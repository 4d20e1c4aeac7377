"""Gradients are accumulated for a parameter, and so for its module, whatever ran before: by perfkit's marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from perfkit.analysis.attribution.scopes import How
from perfkit.workload.annotate import annotate
from tests.truth.models import Block, Checkpointed, FusedProjections, HeadFirst, Net
from tests.truth.recording import STEPS, Recording, Training, record, record_training
from tests.truth.verdict import assert_right, judge
from tests.truth.witness import Witness

ACCUMULATE = "torch::autograd::AccumulateGrad"
MARK = "perfkit.grad::"


def _how(recording: Recording) -> list[How]:
    """How each parameter's accumulation was found."""
    attribution = recording.attribution
    return [How(value) for value in attribution.ranges.how[attribution.host.matching(lambda name: name == ACCUMULATE)]]


@pytest.mark.parametrize(
    ("model", "wrong"),
    [(Net(FusedProjections(), Block()), {"layers.0"}), (HeadFirst(), {"embedding"})],
    ids=["weights of modules that do not run", "owned by one module, used last by another"],
)
def test_marks_are_right_where_the_neighbour_is_wrong(model: nn.Module, wrong: set[str], tmp_path: Path) -> None:
    """GIVEN a gradient that another module's node completes WHEN recorded without marks THEN it goes to that module;
    WHEN recorded with them THEN to the parameter's"""
    for path in ("without", "with"):
        (tmp_path / path).mkdir()
    # WHEN
    without = record_training(model, tmp_path / "without")
    # THEN
    verdict = judge(without)
    accumulations = [text for text in verdict.wrong if text.startswith("accumulation")]
    assert all("AccumulateGrad" in text for text in verdict.wrong if not text.startswith("operation"))
    assert {text.split("('")[1].split("'")[0] for text in accumulations} == wrong
    assert set(_how(without)) == {How.ACCUMULATE}

    # WHEN
    recording = record_training(model, tmp_path / "with", gradients=True)
    # THEN
    assert_right(recording)
    assert set(_how(recording)) == {How.PARAMETER}


@pytest.mark.parametrize("kind", ["plain", "non-reentrant", "reentrant"])
def test_marks_among_other_hooks(kind: str, tmp_path: Path) -> None:
    """GIVEN marks, tied and frozen weights, and checkpoints WHEN attributed THEN every accumulation of a parameter has
    one, and is no scope and no operator"""
    layers: list[nn.Module] = [Block(), Block(), Block()]
    layers[1].requires_grad_(False)
    if kind != "plain":
        layers = [Checkpointed(layer, reentrant=kind == "reentrant") for layer in layers]
    model = Net(*layers)
    model.head.weight = model.embedding.weight
    recording = record_training(model, tmp_path, gradients=True)
    assert_right(recording)
    wanted = sum(parameter.requires_grad for parameter in model.parameters())
    assert _how(recording).count(How.PARAMETER) == wanted * STEPS
    host, attribution = recording.attribution.host, recording.attribution
    marks = np.flatnonzero(host.matching(lambda name: name.startswith(MARK)))
    assert len(marks) == wanted * STEPS
    assert [attribution.paths[path] for path in attribution.ranges.path[marks]] == [
        host.name_of(row).removeprefix(MARK) for row in marks.tolist()
    ]


def test_no_mark_is_left_behind(tmp_path: Path) -> None:
    """GIVEN an annotation with marks WHEN removed THEN no parameter has a hook of its, and no trace a mark"""
    model = Net(Block())
    annotation = annotate(model, gradients=True).install()
    assert all(len(parameter._post_accumulate_grad_hooks) == 1 for parameter in model.parameters())
    annotation.remove()
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())
    witness = Witness()
    recording = record(Training(model, witness), witness, tmp_path)
    assert not [name for name in recording.trace.names if name.startswith("perfkit.grad")]
