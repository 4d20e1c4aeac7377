"""DataParallel, and DDP's copies out of its buckets."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.program.parallel import bucket_copies, data_parallel
from tests.analysis.findings.performance.cases import found
from tests.builders import TraceBuilder


@pytest.mark.parametrize("name", ["DataParallel.forward", "nn.Module: DataParallel_0"])
def test_data_parallel(name):
    """GIVEN a broadcast whose copies take 30 of 1,000 ns THEN they are at stake"""
    b = TraceBuilder().step(0, 0, 1000).annotation(name, 0, 500)
    b.range("Broadcast", 10, 50).launched("copy", 20, 100, 130)
    b.range("aten::mm", 60, 90).launched("gemm", 70, 130, 200)
    finding = found(data_parallel, b)
    assert finding.cost.ns == 30
    assert "DistributedDataParallel" in finding.advice


@pytest.mark.parametrize(
    "name", ["DistributedDataParallel.forward", "nn.Module: FullyShardedDataParallel_0", "forward"]
)
def test_other_wrappers(name):
    b = (
        TraceBuilder()
        .step(0, 0, 1000)
        .annotation(name, 0, 500)
        .range("Broadcast", 10, 50)
        .launched("copy", 20, 100, 130)
    )
    assert found(data_parallel, b) is None


def test_gradients_copied_out_of_their_buckets():
    b = TraceBuilder().step(0, 0, 1000)
    b.range("torch.distributed.ddp.reducer::copy_bucket_to_grad", 10, 50).launched("Memcpy DtoD", 20, 100, 130)
    b.range("torch::distributed::reducer::mul_out", 60, 90).launched("mul", 70, 130, 200)
    finding = found(bucket_copies, b)
    assert finding.cost.ns == 30
    assert "gradient_as_bucket_view=True" in finding.advice


def test_gradients_that_are_views_of_their_buckets():
    b = TraceBuilder().step(0, 0, 1000)
    b.range("torch::distributed::reducer::mul_out", 60, 90).launched("mul", 70, 130, 200)
    assert found(bucket_copies, b) is None
