"""Which annotations stand for a part of the user's program, by name (rule 9)."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import UNATTRIBUTED
from tests.analysis.attribution.whereabouts import attributed, where
from tests.builders import TraceBuilder


@pytest.mark.parametrize(
    "name",
    [
        "ProfilerStep#3", "nccl:all_reduce", "gloo:broadcast", "Optimizer.other",
        "DistributedDataParallel.forward", "record_param_comms", "Torch-Compiled Region: 0/0",
        "## Call CompiledFxGraph x ##", "CompiledFunction", "TorchDynamo Cache Lookup", "AOTDispatcher Runtime Wrapper",
        "Pregraph bytecode", "graph_0_inductor_wrapper_call", "perfkit.step::0", "perfkit:x", "hccl:all_to_all",
        "ucc:all_reduce", "mpi:barrier", "xccl:broadcast", "rccl:all_reduce", "mccl:all_reduce", "cncl:all_reduce",
        "c10d::allreduce_", "_c10d_functional::wait_tensor", "DataParallel.forward", "FullyShardedDataParallel.forward",
        "ncclAllReduce", "ncclGroupEnd()", "cublasSgemm_v2", "cublasLtMatmul", "cudnnConvolutionForward",
        "cub::DeviceScan::ExclusiveSum", "thrust::sort",
    ],
)  # fmt: skip
def test_annotations_that_stand_for_no_part_of_a_model(name):
    b = TraceBuilder().annotation(name, 0, 50).range("work", 10, 20).annotation("mine", 60, 90).range("other", 70, 80)
    found = where(attributed(b))
    assert (found["work"], found["other"]) == (UNATTRIBUTED, "mine")


@pytest.mark.parametrize(
    "name",
    [
        "FSDP::pre_forward (layers.0)", "FullyShardedDataParallel._post_backward_hook", "Optimizer", "my nccl: part",
        "accl", "cudnn", "cuboid::volume", "entire_frame_compile (dynamo_timed)", "/layer1/conv1/Conv + /relu/Relu",
    ],
)  # fmt: skip
def test_annotations_that_only_look_like_wrappers(name):
    assert where(attributed(TraceBuilder().annotation(name, 0, 50).range("work", 10, 20)))["work"] == name


def test_a_collectives_wrapper_round_everything_hides_nothing():
    """GIVEN a wrapper of 1,000 ns round a range of 900 WHEN attributed THEN the range is the only scope, named alone"""
    b = TraceBuilder().annotation("hccl:all_to_all", 0, 1000).annotation("## forward ##", 10, 910)
    found = attributed(b.range("aten::mm", 20, 520))
    assert (found.paths, where(found)["aten::mm"]) == (("## forward ##",), "## forward ##")
