"""Graphs of every kind that training makes, in one thread."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from perfkit.analysis.attribution.scopes import ScopeSource
from tests.truth import models
from tests.truth.models import Block, Net
from tests.truth.recording import STEPS, Training, record_training
from tests.truth.verdict import assert_right, opened_scopes
from tests.truth.witness import Witness


def test_eager(tmp_path: Path) -> None:
    """GIVEN an ordinary step WHEN attributed THEN every row is right, and every scope was seen to open"""
    model = Net(Block(), Block())
    recording = record_training(model, tmp_path)
    verdict = assert_right(recording)
    assert verdict.right["accumulation"] == STEPS * len(list(model.parameters()))
    assert opened_scopes(recording) == recording.witness.calls
    assert recording.attribution.scope_source is ScopeSource.PERFKIT


def test_module_frames(tmp_path: Path) -> None:
    """GIVEN a recording with Python stacks and no annotation WHEN attributed THEN module frames are the scopes"""
    recording = record_training(Net(Block(), Block()), tmp_path, naming="module")
    assert_right(recording)
    assert recording.attribution.scope_source is ScopeSource.MODULE
    assert "Net_0/Block_1/Sequential_1/Linear_6" in recording.attribution.paths


def test_ranges_of_the_users_own(tmp_path: Path) -> None:
    """GIVEN plain record_function ranges, of the same names in every layer WHEN attributed THEN they are the scopes"""
    witness = Witness("annotation")
    model = Net(Block(witness.scope), Block(witness.scope), named=witness.scope)
    recording = record_training(model, tmp_path, witness=witness)
    assert_right(recording)
    assert recording.attribution.scope_source is ScopeSource.ANNOTATION
    assert set(recording.attribution.paths) >= {"block", "block/attention", "block/mlp", "embedding", "head"}


class _TwoMicroBatches(Training):
    """Gradients of two backwards are added up; they stay from step to step."""

    def __call__(self) -> None:
        for _ in range(2):
            self.backward(self.loss(self.forward()))


def test_accumulated_gradients(tmp_path: Path) -> None:
    """GIVEN two micro-batches a step and gradients that are kept WHEN attributed THEN every row is right"""
    model = Net(Block(), Block())
    verdict = assert_right(record_training(model, tmp_path, training=_TwoMicroBatches))
    assert verdict.right["accumulation"] == 2 * STEPS * len(list(model.parameters()))


def test_tied_weights(tmp_path: Path) -> None:
    """GIVEN one matrix for the embedding and the head WHEN attributed THEN its gradient goes to its first owner"""
    model = Net(Block(), Block())
    model.head.weight = model.embedding.weight
    verdict = assert_right(record_training(model, tmp_path))
    assert verdict.right["accumulation"] == STEPS * len(list(model.parameters()))


def test_frozen_layers(tmp_path: Path) -> None:
    """GIVEN frozen layers at the bottom and in the middle WHEN attributed THEN operations that share a number are told
    apart"""
    model = Net(Block(), Block(), Block(), Block())
    for frozen in (model.embedding, model.layers[0], model.layers[2]):
        frozen.requires_grad_(False)
    recording = record_training(model, tmp_path)
    assert_right(recording)
    host = recording.attribution.host
    numbers = host.sequence[recording.attribution.links.is_forward_op].tolist()
    assert max(map(numbers.count, set(numbers))) > 20  # the case is what it is meant to be


class _Autocast(Training):
    def forward(self) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward()


def test_mixed_precision(tmp_path: Path) -> None:
    """GIVEN bf16 autocast WHEN attributed THEN the casts' nodes too are the modules' that asked for them"""
    verdict = assert_right(record_training(Net(Block(), Block()), tmp_path, training=_Autocast))
    assert verdict.right["node"] > assert_right(record_training(Net(Block(), Block()), tmp_path)).right["node"]


def test_assignment_to_views(tmp_path: Path) -> None:
    """GIVEN writes into views WHEN attributed THEN nodes whose number no operation carries are linked all the same"""
    recording = record_training(Net(models.Assigning(), Block(), models.Assigning()), tmp_path)
    assert_right(recording)
    assert {"torch::autograd::CopySlices", "AsStridedBackward0"} <= set(recording.trace.names)


def test_custom_functions(tmp_path: Path) -> None:
    """GIVEN functions with a backward of their own, which runs a module again WHEN attributed THEN that is recompute"""
    recording = record_training(Net(models.Custom(), Block(), models.Custom()), tmp_path)
    assert_right(recording)
    assert opened_scopes(recording) == recording.witness.calls
    assert recording.witness.calls["layers.0.inner", "recompute"] == 2 * STEPS


def test_hooks_on_tensors(tmp_path: Path) -> None:
    """GIVEN a range opened by a tensor's hook, before its node WHEN attributed THEN the engine's range is right too"""
    assert_right(record_training(Net(models.Hooked(), Block(), models.Hooked()), tmp_path))


class _PenaltyOnGradients(Training):
    """A second backward through the first one."""

    def backward(self, loss: Tensor) -> None:
        with self.phase("backward"), self.witness.nodes_make_nodes(loss):
            gradients = torch.autograd.grad(loss, self.parameters, create_graph=True)
        with self.phase("loss", "forward"):
            penalty = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
        with self.phase("backward"):
            penalty.backward()


def test_double_backward(tmp_path: Path) -> None:
    """GIVEN a backward that is differentiated again WHEN attributed THEN both are backward, and nothing is recompute"""
    recording = record_training(Net(Block(), Block()), tmp_path, training=_PenaltyOnGradients)
    assert_right(recording)
    assert not any(phase == "recompute" for _, phase in recording.witness.calls)


class _PenaltyOnInputGradient(Training):
    """The gradient penalty of a Wasserstein critic."""

    def __call__(self) -> None:
        x = torch.randn(4, models.WIDTH, requires_grad=True)
        with self.phase("forward"):
            y = self.model(x)
        with self.phase("loss", "forward"):
            critic = y.sum()
        with self.phase("backward"), self.witness.nodes_make_nodes(critic):
            (gradient,) = torch.autograd.grad(critic, x, create_graph=True)
        with self.phase("loss", "forward"):
            loss = critic + (gradient.norm(dim=1) - 1).square().mean()
        self.backward(loss)


def test_gradient_penalty(tmp_path: Path) -> None:
    """GIVEN a penalty on the gradient of the input WHEN attributed THEN every row is right"""
    critic = nn.Sequential(nn.Linear(models.WIDTH, 32), nn.LeakyReLU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 1))
    assert_right(record_training(critic, tmp_path, training=_PenaltyOnInputGradient))
