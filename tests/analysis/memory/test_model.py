"""The formula by itself: what must hold whatever the numbers are. tests/measure/test_estimate.py has the numbers."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from typing import Any

import pytest

from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.reports import memory as memory_report
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import estimate as memory
from perfkit.schema.parts.workloads import SIZES

GIB = 2**30


def estimate(device: str = "cuda", **fields: Any):
    return memory_model.estimate(RunConfig.of(**fields).resolved(device))


@pytest.mark.parametrize(
    ("size", "forward", "backward", "train"),
    [("small", 0.61, 3.19, 4.15), ("medium", 1.76, 8.28, 11.43), ("large", 3.84, 15.90, 23.12)],
)
def test_peaks_of_the_sizes_are_pinned(size, forward, backward, train):
    """GiB at batch 4, context 512, eager fp32. The traced step gives the same; a change here is a change of model."""
    found = [estimate(model_size=size, pass_type=p).peak / GIB for p in ("forward", "forward-backward", "train")]
    assert found == pytest.approx([forward, backward, train], abs=0.01)


def test_what_stays_is_counted_exactly():
    # WHEN
    found = estimate(model_size="2.7B", pass_type="train")

    # THEN the peak is in the optimizer, whose roots are one more set of parameters
    parameters = SIZES["2.7B"].parameters(10_000)
    assert found.where == "optimizer"
    assert found.part(memory.PARAMETERS) == found.part(memory.GRADIENTS) == 4 * parameters
    assert found.part(memory.WORKING) == 4 * parameters
    assert found.part(memory.OPTIMIZER) == 8 * parameters + 4 * (9 * 32 + 3)
    assert found.first_step == found.peak


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, "backward of loss"),
        ({"vocab_size": 100}, "backward of layers.11.mlp"),
        ({"vocab_size": 100, "context_length": 2048}, "backward of layers.11.attn.softmax"),
        ({"vocab_size": 100, "checkpoint": True}, "backward of layers.0.mlp"),
        ({"pass_type": "forward"}, "forward of layers.0.attn.scores"),
        ({"pass_type": "forward", "vocab_size": 100_000}, "forward of head"),
        ({"pass_type": "train", "batch_size": 1, "context_length": 32}, "optimizer"),
    ],
)
def test_the_place_of_the_peak(fields, where):
    assert estimate(model_size="small", **fields).where == where


@pytest.mark.parametrize(
    ("checkpoint", "where", "residual"),
    [(False, "layers.11.mlp", 12 * 2 - 1), (True, "layers.0.mlp", 2 - 1)],  # a block has two norms
)
def test_the_first_blocks_input_is_the_embeddings_output(checkpoint, where, residual):
    found = estimate(model_size="small", vocab_size=100, batch_size=4, context_length=512, checkpoint=checkpoint)
    stream = 4 * 4 * 512 * SIZES["small"].d_model
    assert found.where == f"backward of {where}"
    assert (found.part(memory.EMBEDDING), found.part(memory.RESIDUAL)) == (stream, residual * stream)


@pytest.mark.parametrize(("precision", "embedding"), [("fp32", 1), ("bf16", 0)])
def test_without_gradients_a_blocks_input_is_the_embeddings_output_in_the_first_block_only(precision, embedding):
    """Under autocast the peak is in the last block, behind all copies of weights."""
    found = estimate(model_size="small", vocab_size=100, batch_size=4, context_length=512, pass_type="forward",
                     precision=precision)  # fmt: skip
    stream = 4 * 4 * 512 * SIZES["small"].d_model
    assert found.part(memory.EMBEDDING) == embedding * stream
    assert found.part(memory.RESIDUAL) == (1 - embedding) * stream


@pytest.mark.parametrize("pass_type", ["forward", "forward-backward", "train"])
def test_more_of_anything_is_never_less(pass_type):
    base = {"model_size": "small", "pass_type": pass_type}
    for field, values in {
        "batch_size": (1, 2, 5, 64),
        "context_length": (16, 100, 512, 4096),
        "vocab_size": (10, 10_000, 10**6),
        "num_layers": (1, 2, 7, 100),
        "d_ff": (1, 100, 10_000),
    }.items():
        peaks = [estimate(**{**base, field: value}).peak for value in values]
        assert peaks == sorted(set(peaks)), field


def test_passes_optimizers_and_checkpointing_are_ordered():
    def peak(**fields: Any) -> int:
        return estimate(model_size="large", vocab_size=1000, **fields).peak

    assert peak(pass_type="forward") < peak(checkpoint=True) < peak() < peak(pass_type="train")
    fused = peak(pass_type="train", optimizer="adamw-fused", checkpoint=True)
    assert fused < peak(pass_type="train", optimizer="adamw-foreach", checkpoint=True)
    assert peak(attention="sdpa") < peak()
    assert peak(precision="tf32") == peak()


def test_pytorchs_own_optimizer_is_foreach_on_a_gpu_and_a_loop_on_a_cpu():
    fields = {"model_size": "small", "pass_type": "train", "batch_size": 1, "context_length": 16}
    assert estimate("cuda", **fields).peak == estimate("cuda", optimizer="adamw-foreach", **fields).peak
    assert estimate("cpu", **fields).peak < estimate("cpu", optimizer="adamw-foreach", **fields).peak


def test_parts_add_up_and_none_is_negative():
    for attention, precision, checkpoint, device in itertools.product(
        ("eager", "sdpa"), ("fp32", "bf16"), (False, True), ("cpu", "cuda")
    ):
        found = estimate(device, model_size="tiny", attention=attention, precision=precision, checkpoint=checkpoint)
        assert sum(found.parts.values()) == found.peak
        assert set(found.parts) <= set(memory.PARTS)
        assert all(size > 0 for size in found.parts.values())


def test_every_part_is_explained():
    assert set(memory.MEANING) == set(memory.PARTS)


def test_many_configurations_make_one_table():
    # GIVEN
    configs = [RunConfig.of(model_size=size).resolved("cuda") for size in ("small", "large")]
    traced = dataclasses.replace(memory_model.estimate(configs[0]), method="traced")

    # WHEN
    plain = memory_report.estimate_table(configs)
    full = memory_report.estimate_table(configs, 16 * GIB, [traced])

    # THEN
    assert "traced_bytes" not in plain.frame
    assert list(full.frame["verdict"]) == ["fits", "borderline"]
    assert full.frame["difference"][0] == 0
    assert full.frame["peak_bytes"][1] == memory_model.estimate(configs[1]).peak


def test_pytorch_is_not_needed():
    code = (
        "import sys; from perfkit.analysis.memory.fit import predict; from perfkit.schema.config import RunConfig;"
        "predict(RunConfig().resolved('cuda')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
