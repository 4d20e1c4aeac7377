"""Collectives, copies and sets, and what vendors call their own."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.short_names.general import form


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "nccl all-reduce sum float ring LL"),
        ("ncclKernel_AllReduce_TREE_LL128_Sum___nv_bfloat16(ncclWorkElem)", "nccl all-reduce sum bf16 tree LL128"),
        ("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL(T)", "nccl reduce-scatter sum bf16 ring LL"),
        ("ncclDevKernel_AllGather_RING_LL(T)", "nccl all-gather ring LL"),
        ("ncclKernel_AllGather_RING_SIMPLE_Sum_int8_t(ncclWorkElem)", "nccl all-gather ring simple"),
        ("ncclDevKernel_SendRecv(T)", "nccl send/recv"),
        ("ncclDevKernel_AllReduce_Max_u64_NVLS(T)", "nccl all-reduce max uint64 nvls"),
        ("ncclDevKernel_Generic_4(T)", "nccl generic"),
        ("rcclGenericKernel", "rccl generic"),
        ("void vllm::cross_device_reduce_2stage<__nv_bfloat16, 8>(P)", "cross device reduce 2stage (bf16, 8, vllm)"),
        ("Memcpy HtoD (Pageable -> Device)", "copy host (pageable) to device"),
        ("Memcpy HtoD (Pinned -> Device)", "copy host (pinned) to device"),
        ("Memcpy DtoD (Device -> Device)", "copy device to device"),
        ("Memcpy PtoP (Device -> Device)", "copy peer to peer"),
        ("Memcpy DtoH (Device -> Unknown)", "copy device to host"),
        ("zeCommandListAppendMemoryCopy(M2D)", "copy host to device"),
        ("CopyHostToDevice", "copy host to device"),
        ("Memset (Device)", "set device memory"),
        ("Memset (Unknown)", "set unknown memory"),
        ("__amd_rocclr_fillBufferAligned.kd", "fill buffer aligned (rocclr)"),
        ("batched_transpose_32x32_half", "transpose 32x32 · half (miopen)"),
        ("__myl_MeanSubMulMeanAddSqrtDivMul_0x5f1d", "mean + sub + mul + mean + add + sqrt + div + mul (trt myelin)"),
        ("kernel_cutlass_kernel_flashinfernormkernelsrmsnormRMSNormKernel_object_at__tensorptrf16gmemalign16_0", "rms norm · half · cute dsl"),
        ("pe_exe", "pe exe"),
        ("event_wait", "event wait"),
    ],
)  # fmt: skip
def test_plain_names(name: str, short: str) -> None:
    assert form(name).text == short
