"""Models in the wrappers of torch.distributed, of one process, and of two that are started here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import perfkit
from perfkit import cli
from tests.measure.own.state import state

SETTLED = ("_lazy_init_ran", "_has_rebuilt_buckets", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks")
"""What the wrappers themselves change in the first step."""


@pytest.fixture(autouse=True)
def _one_process(tmp_path: Path) -> Iterator[None]:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def wrapped(wrapper: str, ranks: int = 1) -> Any:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    if wrapper == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    mesh = init_device_mesh("cpu", (ranks,))
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def trained(model: nn.Module, p: Any = None) -> list[float]:
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 8)).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if p is not None:
            p.step()
    return losses


@pytest.mark.parametrize("profiler", ["torch", "memory"])
@pytest.mark.parametrize(("wrapper", "layer"), [("ddp", "module.2"), ("fsdp2", "2")])
def test_a_wrapped_model_trains_alike_and_has_its_layers(
    wrapper: str, layer: str, profiler: Any, tmp_path: Path
) -> None:
    """GIVEN a model in a wrapper WHEN it trains inside a profile THEN losses are the same, hooks are gone"""
    plain, model = trained(wrapped(wrapper)), wrapped(wrapper)
    trained(model)
    model.load_state_dict(wrapped(wrapper).state_dict())
    before = state(model)
    with perfkit.profile(model, tmp_path / "run", profiler=profiler, warmup=1, active=2) as p:
        assert trained(model, p) == plain
    after = state(model)
    assert {key for key in before if before[key] != after.get(key) and key[-1] not in SETTLED} == set()
    assert {"forward", "backward", "optimizer"} <= set(p.record.steps[0].phases_s)
    if profiler == "torch":
        assert layer in set(p.report.table("layers").frame["scope"])


RANK = """
import sys
import torch
import torch.distributed as dist
from pathlib import Path
import perfkit
from tests.measure.own.test_wrappers import trained, wrapped

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/both", rank=rank, world_size=2)
for wrapper, where in (("ddp", "ddp"), ("fsdp2", "fsdp2"), ("ddp", f"own/run-rank{rank}")):
    model = wrapped(wrapper, 2)
    with perfkit.profile(model, folder / where, warmup=1, active=2) as p:
        trained(model, p)
dist.barrier()
dist.destroy_process_group()
"""


def test_two_processes_leave_a_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GIVEN one folder named by both WHEN it is analyzed THEN their collectives match; a path with the rank is kept"""
    command = [sys.executable, "-c", RANK]
    both = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in (0, 1)]
    try:
        assert [one.wait(100) for one in both] == [0, 0]
    finally:
        for one in both:
            one.kill()
    for wrapper, kind in (("ddp", "all_reduce"), ("fsdp2", "all_gather")):
        assert cli.main(["analyze", str(tmp_path / wrapper), "--format", "json"]) == 0
        tables = json.loads(capsys.readouterr().out)["tables"]
        assert [row["rank"] for row in tables["rank_results"]["rows"]] == [0, 1]
        assert [row["rank"] for row in tables["ranks"]["rows"]] == [0, 1]
        assert kind in {row["collective"] for row in tables["exchanges"]["rows"]}
    assert sorted(one.name for one in (tmp_path / "own").iterdir()) == ["run-rank0", "run-rank1"]
