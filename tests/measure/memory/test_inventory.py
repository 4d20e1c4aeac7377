"""What a workload's storages are, by address."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from perfkit.measure.memory import inventory
from perfkit.workload.step import TransformerWorkload
from tests.runs import FakeWorkload, quick

ADAM = {"exp_avg", "exp_avg_sq", "step"}


def test_each_storage_of_a_step_has_its_kind_its_name_and_its_module():
    """GIVEN a train step WHEN it is over THEN each parameter has a gradient and Adam's three, and all lie apart"""
    workload = TransformerWorkload(quick(pass_type="train"))
    fresh = Counter(held.kind for held in inventory.held(workload, "cpu"))
    workload.step(lambda _: None)

    # WHEN
    held = inventory.held(workload, "cpu")

    # THEN: 9 weights a block, the embedding, the last norm, the head; tokens, targets, mask, cosines, sines
    assert fresh == {"parameters": 12, "batch and constants": 5}
    assert Counter(one.kind for one in held) == {
        "parameters": 12, "gradients": 12, "optimizer state": 36, "batch and constants": 5,
    }  # fmt: skip
    assert len({one.address for one in held}) == len(held)
    weight = workload.model.get_parameter("layers.0.attn.q_proj.weight")
    of_weight = [one for one in held if one.scope == "layers.0.attn.q_proj"]
    assert {(one.kind, one.name) for one in of_weight} == {
        ("parameters", "layers.0.attn.q_proj.weight"), ("gradients", "layers.0.attn.q_proj.weight"),
        *(("optimizer state", f"layers.0.attn.q_proj.weight {key}") for key in ADAM),
    }  # fmt: skip
    assert (weight.data_ptr(), 4 * weight.numel()) in {(one.address, one.size) for one in of_weight}


def test_tied_weights_a_scaler_and_lists_of_tensors_are_counted_once_each():
    """GIVEN a workload of one's own, with tied weights, a view of one, a batch in a list, a tensor elsewhere"""
    workload: Any = FakeWorkload(quick())
    first, second = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    workload.model = torch.nn.Sequential(first, second)
    workload.batch = [torch.zeros(3), first.weight[1:], torch.zeros(3, device="meta"), torch.zeros(0)]
    workload.scaler = torch.amp.GradScaler("cpu")
    workload.scaler.scale(torch.ones(1))

    # WHEN
    held = inventory.held(workload, "cpu")

    # THEN
    assert [(one.kind, one.name, one.size) for one in held] == [
        ("parameters", "0.weight", 64), ("batch and constants", "batch", 12),
        ("batch and constants", "scaler", 4), ("batch and constants", "scaler", 4),
    ]  # fmt: skip
    assert inventory.held(workload, "cuda:1") == ()
