"""The closed form of perfkit's Transformer, and what counting its recorded operators gives: equal to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.costs.flops.transformer import step_flops
from perfkit.analysis.costs.flops.work import PRODUCTS, work_of
from perfkit.analysis.kernels import kinds
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import SIZES
from perfkit.trace.load import load
from perfkit.trace.operands import operands_of
from perfkit.workload.step import TransformerWorkload

PASSES: tuple[dict[str, Any], ...] = (
    {"pass_type": "forward"},
    {"pass_type": "forward-backward"},
    {"pass_type": "forward-backward", "checkpoint": True},
)


class NoValues(TorchDispatchMode):
    """Fake tensors have no values: whoever reads one, as initialisation does to see if it is done, gets 0."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0.0
        return func(*args, **(kwargs or {}))


def resolved(**flags: Any) -> RunConfig:
    return RunConfig.of(device="cpu", **flags).resolved("cpu")


def counted(config: RunConfig, folder: Path) -> int:
    """Operations of matmuls and attention in a recorded step, on fake tensors, which need no memory."""
    with FakeTensorMode(), NoValues():
        workload = TransformerWorkload(config)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
            workload.step(lambda _: None)
    recorded.export_chrome_trace(str(folder / "step.pt.trace.json"))
    return products(folder / "step.pt.trace.json")


def products(path: Path) -> int:
    trace = load(path)
    work = work_of(operands_of(trace), attribute(trace))
    return int(work.flops[np.isin(work.kind, [kinds.ALL.index(kind) for kind in PRODUCTS])].sum())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("size", SIZES)
def test_a_forward_pass_and_a_step_count_what_the_formula_says(size: str, attention: str, tmp_path: Path) -> None:
    """GIVEN the widths of every size, two layers each WHEN recorded and counted THEN the closed form, exactly"""
    for step in PASSES:
        config = resolved(model_size=size, num_layers=2, attention=attention, **step)
        assert counted(config, tmp_path) == step_flops(config).executed


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_layer_counts(attention: str, tmp_path: Path) -> None:
    config = resolved(model_size="small", attention=attention, **PASSES[2])
    assert counted(config, tmp_path) == step_flops(config).executed


def test_a_training_step_and_an_sdpa_of_matmuls(tmp_path: Path) -> None:
    """GIVEN real tensors, an optimizer, and SDPA's backend that multiplies matrices one by one THEN the same"""
    for flags in ({"attention": "sdpa", "sdpa_backend": "math"}, {"checkpoint": True}):
        config = resolved(model_size="tiny", num_layers=1, context_length=32, pass_type="train", **flags)
        workload = TransformerWorkload(config)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
            workload.step(lambda _: None)
        recorded.export_chrome_trace(str(tmp_path / "step.pt.trace.json"))
        assert products(tmp_path / "step.pt.trace.json") == step_flops(config).executed


@pytest.mark.parametrize(("every", "nested"), [(2, False), (2, True), (5, True), (9, True)])
def test_groups_of_blocks_are_computed_again_as_counted(every: int, nested: bool, tmp_path: Path) -> None:
    """GIVEN five blocks in groups, nested or not WHEN a step is recorded THEN the closed form, exactly"""
    shape = {"model_size": "tiny", "num_layers": 5, "context_length": 32, "batch_size": 1}
    config = resolved(**shape, checkpoint_every=every, checkpoint_nested=nested)
    assert counted(config, tmp_path) == step_flops(config).executed


def test_the_terms_by_hand() -> None:
    """GIVEN 2 sequences of 8 tokens, width 4, inner width 8, 2 heads, 1 layer, 16 words: T = 16
    THEN q, k, v, output 4 x 2 T 4 4 = 2048; gate, up, down 3 x 2 T 4 8 = 3072; scores and sum 2 x 2 T 8 4 = 2048;
    head 2 T 4 16 = 2048: 9216. Backward twice that, and a matmul of 1024 more where attention is fused"""
    sizes = {"d_model": 4, "d_ff": 8, "num_heads": 2, "num_layers": 1, "vocab_size": 16, "model_size": "tiny"}
    of = {"batch_size": 2, "context_length": 8, **sizes}
    forward = step_flops(resolved(pass_type="forward", **of))
    assert (forward.forward, forward.recompute, forward.backward, forward.model) == (9216, 0, 0, 9216)
    eager = step_flops(resolved(**of))
    assert (eager.executed, eager.model) == (3 * 9216, 3 * 9216)
    fused = step_flops(resolved(attention="sdpa", checkpoint=True, **of))
    assert (fused.recompute, fused.backward) == (9216 - 2048, 2 * 9216 + 1024)
    assert fused.model == 3 * 9216


def test_pytorchs_own_counter_agrees_on_eager_attention() -> None:
    """A cross-check, not the source: it has no formula for SDPA on a CPU, and says nothing of what it does not know."""
    config = resolved(model_size="tiny", num_layers=2)
    workload = TransformerWorkload(config)
    with FlopCounterMode(display=False) as counter:
        workload.step(lambda _: None)
    assert counter.get_total_flops() == step_flops(config).executed
