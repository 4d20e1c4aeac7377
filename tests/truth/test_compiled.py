"""torch.compile: a block at a time, annotated without a break; and a whole model, split by direction only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from tests.truth.models import Block, Net
from tests.truth.recording import STEPS, Training, record_training
from tests.truth.verdict import assert_right, opened_scopes
from tests.truth.witness import Witness

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def test_compiled_blocks(tmp_path: Path) -> None:
    """GIVEN each block compiled WHEN annotated THEN one graph without a break serves both, and each has its own time"""
    witness = Witness()
    model = Net(Block(), Block(), named=lambda name: witness.scope(name) if "layers" in name else nullcontext())
    model.layer_names = True
    for layer in model.layers:
        layer.compile()
    recording = record_training(model, tmp_path, witness=witness, whole=(Block,), gradients=True)
    verdict = assert_right(recording)
    assert verdict.right["accumulation"] == STEPS * len(list(model.parameters()))
    assert opened_scopes(recording) == witness.calls
    assert (counters["stats"]["unique_graphs"], dict(counters["graph_break"])) == (1, {})
    names = [recording.attribution.host.name_of(row) for row in range(len(recording.trace.host))]
    assert names.count("CompiledFunctionBackward") == 2 * STEPS


class _WholeModel(Training):
    def forward(self) -> Tensor:
        with self.phase("forward"), self.witness.scope("Net"):
            logits: Tensor = self.model(self.batch[0])
        return logits


def test_compiled_model(tmp_path: Path) -> None:
    """GIVEN the whole model compiled WHEN attributed THEN all of it is the model's, forward and backward apart"""
    model = Net(Block())
    model.compile()
    recording = record_training(model, tmp_path, training=_WholeModel, whole=(Net,), gradients=True)
    assert_right(recording)
    assert opened_scopes(recording) == recording.witness.calls
    assert (counters["stats"]["unique_graphs"], dict(counters["graph_break"])) == (1, {})
    assert set(recording.attribution.paths) == {"Net", "loss", "optimizer", "zero_grad"}
