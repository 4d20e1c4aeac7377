"""What calls do, by their names: names as CUDA, HIP, Level Zero and others spell them."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.calls import Call, begins_capture, ends_capture, kind_of, tracer_of, waits_for_device

KERNELS = (
    "cudaLaunchKernel", "cudaLaunchKernel_ptsz", "cudaLaunchKernelExC", "cudaLaunchCooperativeKernel", "cudaLaunch",
    "cudaLaunchCooperativeKernelMultiDevice", "cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel",
    "cuLaunch", "cuLaunchGrid", "cuLaunchGridAsync", "hipLaunchKernel", "hipExtLaunchKernel", "hipModuleLaunchKernel",
    "hipExtModuleLaunchKernel", "hipHccModuleLaunchKernel", "hipLaunchByPtr", "hipLaunchCooperativeKernel",
    "hipExtLaunchMultiKernelMultiDevice", "urEnqueueKernelLaunch", "zeCommandListAppendLaunchKernel", "cnInvokeKernel",
    "runFunction - job_prep_and_submit_for_execution",
)  # fmt: skip
COPIES = (
    "cudaMemcpyAsync", "cudaMemcpy", "cudaMemcpy2DAsync", "cudaMemcpyPeerAsync", "cuMemcpyHtoDAsync_v2",
    "hipMemcpyDtoD", "hipMemcpyWithStream", "urEnqueueUSMMemcpy", "zeCommandListAppendMemoryCopy",
    "enqueueCommand memcpyHtoDAsync",
)  # fmt: skip
MEMSETS = ("cudaMemsetAsync", "cuMemsetD32Async", "hipMemset", "urEnqueueUSMFill")
GRAPHS = ("cudaGraphLaunch", "cuGraphLaunch_ptsz", "hipGraphLaunch")
NONE = (
    "cudaLaunchHostFunc", "cuLaunchHostFunc", "cudaGraphAddKernelNode", "cudaGraphExecMemcpyNodeSetParams",
    "cudaGraphInstantiate", "cudaFuncSetAttribute", "cudaStreamSynchronize", "cudaMalloc", "cudaMemGetInfo",
    "cudaEventRecord", "hipStreamGetCaptureInfo", "cudaMemPrefetchAsync", "synchronizeStream",
    "cudaOccupancyMaxActiveBlocksPerMultiprocessor",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, Call.KERNEL) for name in KERNELS),
        *((name, Call.COPY) for name in COPIES),
        *((name, Call.MEMSET) for name in MEMSETS),
        *((name, Call.GRAPH) for name in GRAPHS),
        *((name, None) for name in NONE),
    ],
)
def test_a_name_says_what_work_the_call_gives(name, kind):
    assert kind_of(name) is kind


@pytest.mark.parametrize("prefix", ["cuda", "cu", "hip"])
def test_captures_begin_and_end(prefix):
    assert begins_capture(f"{prefix}StreamBeginCapture")
    assert begins_capture(f"{prefix}StreamBeginCapture_v2")
    assert begins_capture(f"{prefix}StreamBeginCaptureToGraph")
    assert ends_capture(f"{prefix}StreamEndCapture")
    for other in ("StreamIsCapturing", "StreamGetCaptureInfo_v2", "ThreadExchangeStreamCaptureMode"):
        assert not begins_capture(prefix + other)
        assert not ends_capture(prefix + other)


def test_waits_for_the_whole_device():
    assert all(map(waits_for_device, ("cudaDeviceSynchronize", "hipDeviceSynchronize", "cuCtxSynchronize")))
    assert not any(map(waits_for_device, ("cudaStreamSynchronize", "cudaEventSynchronize", "synchronize")))


@pytest.mark.parametrize(
    ("name", "tracer"),
    [("cudaLaunchKernel", "CUPTI"), ("cuLaunchKernel", "CUPTI"), ("hipLaunchKernel", "roctracer"),
     ("urEnqueueKernelLaunch", "its tracing library")],
)  # fmt: skip
def test_the_library_that_records_the_device(name, tracer):
    assert tracer_of(name) == tracer


def test_labels_are_those_of_the_table():
    assert [kind.label for kind in Call] == ["kernel launch", "copy", "memset", "graph launch"]
