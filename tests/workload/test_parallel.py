"""Ranks that share a step: together they compute what one process does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn

from perfkit.errors import UsageError
from perfkit.workload import parallel
from perfkit.workload.parallel import ParallelWorkload
from perfkit.workload.step import StepWorkload, TransformerWorkload
from tests.runs import quick

RANKS, STEPS = 2, 3
TOLERANCE = 1e-5
"""Relative to the largest of a gradient, and of losses: fp32 sums in another order. Seen: 1e-6."""
MODEL = {"num_layers": 2, "pass_type": "train"}


def _trained(workload: StepWorkload) -> tuple[Tensor, list[dict[str, Tensor]], dict[str, Tensor]]:
    """Losses, gradients of each step, and what the weights are then."""
    losses, gradients, loss = [], [], workload.loss

    def noted(made: Any) -> Tensor:
        losses.append(loss(made))
        return losses[-1]

    workload.loss = noted  # type: ignore[method-assign]
    for _ in range(STEPS):
        workload.step(lambda _: None)
        gradients.append({name: _whole(one.grad) for name, one in workload.model.named_parameters()})
    weights = {name: _whole(one) for name, one in workload.model.named_parameters()}
    return torch.stack(losses).detach(), gradients, weights


def _whole(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def _differs(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def _rank(rank: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # the name of the machine need not be known to it
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    alone, own, weights = _trained(TransformerWorkload(quick(batch_size=4, **MODEL)))
    for how, batch in (("ddp", 2), ("fsdp", 2), ("tp", 4)):
        shared = ParallelWorkload(quick(batch_size=batch, parallel=how, **MODEL))
        losses, gradients, trained = _trained(shared)
        if how != "tp":  # each rank's loss is of its own sequences
            dist.all_reduce(losses)
            losses /= RANKS
        assert _differs(losses, alone) < TOLERANCE, how
        for step in range(STEPS):
            assert gradients[step].keys() == own[step].keys(), "modules have the names that they have in one process"
            for name, gradient in gradients[step].items():
                assert _differs(gradient, own[step][name]) < TOLERANCE, (how, step, name)
        assert max(_differs(trained[name], weights[name]) for name in weights) < 1e-3, (
            how
        )  # AdamW divides by small roots
        held = sum(_here(one).nbytes for one in shared.model.parameters())
        parts = {"ddp": 1, "fsdp": RANKS, "tp": RANKS}[how]
        inside = sum(one.nbytes for block in shared.model.layers for one in block.parameters() if one.dim() == 2)
        whole = sum(one.nbytes for one in shared.model.parameters())
        assert held == (whole - inside + inside // parts if how == "tp" else whole // parts), how
    dist.destroy_process_group()


def _here(parameter: Tensor) -> Tensor:
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


@pytest.mark.slow
def test_two_ranks_compute_what_one_process_does(tmp_path: Path):
    """GIVEN 4 sequences, 2 for each rank, or heads and columns shared THEN losses, gradients and weights are equal"""
    spawn(_rank, (str(tmp_path),), nprocs=RANKS)


def test_heads_and_columns_must_divide_by_the_ranks():
    config = quick(parallel="tp", num_heads=2, d_ff=64)
    parallel.check(config, 2)
    with pytest.raises(UsageError, match="--num-heads 2 does not divide by 3 ranks"):
        parallel.check(config, 3)
    with pytest.raises(UsageError, match="--d-ff 63 does not divide by 2 ranks"):
        parallel.check(quick(parallel="tp", d_ff=63), 2)
    parallel.check(quick(parallel="ddp", num_heads=2), 3)
