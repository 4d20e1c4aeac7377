"""FSDP2 on two ranks: modules that are sharded one by one, gathered before they run and again in backward."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing.spawn import spawn

from tests.truth.models import Block, Checkpointed, Net
from tests.truth.recording import record_training
from tests.truth.verdict import assert_right, opened_scopes

RANKS = 2


def _trained(rank: int, folder: str) -> None:
    """One process: train two sharded models, and compare what perfkit says with what the witness saw."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # the name of the machine need not be known to it
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    for kind in ("plain", "checkpointed"):
        layers = [Block(), Block()]
        parts = layers if kind == "plain" else [Checkpointed(layer, reentrant=False) for layer in layers]
        model = Net(*parts)
        for layer in model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        own = Path(folder, f"{kind}{rank}")
        own.mkdir()
        recording = record_training(model, own)
        verdict = assert_right(recording)
        assert verdict.right["operation"] > 1000
        assert opened_scopes(recording) == recording.witness.calls
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_gloo_available(), reason="this PyTorch has no gloo")
def test_two_ranks(tmp_path: Path) -> None:
    """GIVEN models sharded over two ranks WHEN each rank's recording is attributed THEN every row is right"""
    spawn(_trained, (str(tmp_path),), nprocs=RANKS)
    assert sorted(path.name for path in tmp_path.glob("*/recorded.pt.trace.json")) == RANKS * 2 * [
        "recorded.pt.trace.json"
    ]
