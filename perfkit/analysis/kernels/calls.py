"""What a call into a runtime or driver does, by its name: cudaLaunchKernel, hipMemcpyWithStream, cuGraphLaunch ..."""

from __future__ import annotations

import re
from enum import IntEnum

from perfkit.regex import Regex


class Call(IntEnum):
    """The kinds of calls that give a device work."""

    KERNEL = 0
    COPY = 1
    MEMSET = 2
    GRAPH = 3

    @property
    def label(self) -> str:
        """As written in tables and sentences."""
        return ("kernel launch", "copy", "memset", "graph launch")[self]


_KINDS = (
    (Call.GRAPH, Regex(r"GraphLaunch")),
    # Calls that build or change a graph (cudaGraphAddKernelNode, cudaGraphExecMemcpyNodeSetParams) give no work.
    (None, Regex(r"Graph")),
    (Call.COPY, Regex(r"mem(?:buffer)?cpy|memory?(?:buffer)?copy", re.IGNORECASE)),
    (Call.MEMSET, Regex(r"memset|memory(?:buffer)?fill|membufferfill|usmfill", re.IGNORECASE)),
    # CUDA since 2007: cuLaunch, cuLaunchGrid, cudaLaunch, cuLaunchKernelEx, cudaLaunchCooperativeKernelMultiDevice;
    # HIP: hipExtModuleLaunchKernel, hipLaunchByPtr; Level Zero and Unified Runtime: zeCommandListAppendLaunchKernel,
    # urEnqueueKernelLaunch; Cambricon: cnInvokeKernel; MTIA: runFunction. Not cudaLaunchHostFunc.
    (
        Call.KERNEL,
        Regex(r"Launch\w*Kernel|KernelLaunch|\bcu(?:da)?Launch(?:Grid(?:Async)?)?(?:_|$)|hipLaunchByPtr"
                   r"|InvokeKernel|^runFunction\b"),
    ),
)  # fmt: skip
_BEGINS_CAPTURE, _ENDS_CAPTURE = Regex(r"StreamBeginCapture"), Regex(r"StreamEndCapture")
_WAITS_FOR_ALL = Regex(r"(?:Device|Ctx)Synchronize")
_WAITS = Regex(
    # cudaStreamSynchronize, hipDeviceSynchronize, zeCommandQueueSynchronize; aclrtSynchronizeStream;
    # cnrtQueueSync; urQueueFinish
    r"Synchroni[sz]e|QueueSync(?![a-z])|QueueFinish"
    # freeing device memory or page-locked memory waits for the device's work (CUDA and HIP runtime references)
    r"|^(?:cuda|hip)Free(?:Host|Array)?$|^cuMemFree(?:Host)?(?:_v\d+)?$"
)
_PLAIN_COPY = Regex(r"^(?:cuda|cu|hip|aclrt)Memcpy(?!\w*(?:Async|Peer|DtoD))")
"""Copies between devices, and asynchronous ones, return before they are done."""
_DEVICE_WAITS = Regex(r"Stream(?:Wait(?:Event|Value\w*)|BatchMemOp)|QueueWaitEvent|EnqueueEventsWait")
_TRACERS = (("cu", "CUPTI"), ("hip", "roctracer"))


def kind_of(name: str) -> Call | None:
    """What kind of work the call gives a device; None for none."""
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), None)


def begins_capture(name: str) -> bool:
    """Whether what follows on the stream is not run, but made into a graph."""
    return _BEGINS_CAPTURE.search(name) is not None


def ends_capture(name: str) -> bool:
    """Whether the stream runs again what it is given."""
    return _ENDS_CAPTURE.search(name) is not None


def waits_for_device(name: str) -> bool:
    """Whether the call returns when its device has run everything."""
    return _WAITS_FOR_ALL.search(name) is not None


def waits_for_work(name: str) -> bool:
    """Whether the call is made to return when work of a device is done: a synchronisation, a free, a plain copy."""
    return (_WAITS.search(name) or _PLAIN_COPY.search(name)) is not None


def makes_stream_wait(name: str) -> bool:
    """Whether the call makes what a stream is given next wait, for an event or a value, while the host goes on."""
    return _DEVICE_WAITS.search(name) is not None


def tracer_of(name: str) -> str:
    """The vendor's library that records what such a call started."""
    return next((tracer for prefix, tracer in _TRACERS if name.startswith(prefix)), "its tracing library")


class Wait(IntEnum):
    """What a call of the host waits for."""

    DEVICE = 0
    """Everything that was launched before it."""
    STREAM = 1
    """What was launched before it on one stream, which the file does not name."""
    EVENT = 2
    """What was launched before an event was recorded, which the file does not name."""


_WAIT_KINDS = (
    # cudaFree and hipFree wait for the device before they give memory back (CUDA Runtime API, "cudaFree").
    (Wait.DEVICE, Regex(r"(?:Device|Ctx|Context)Synchronize|^(?:cuda|hip)Free$|^cuMemFree(?:_v2)?$")),
    (Wait.STREAM, Regex(r"StreamSynchronize")),
    (Wait.EVENT, Regex(r"EventSynchronize")),
)


def wait_of(name: str) -> Wait | None:
    """What the call waits for, on the host; None for calls that do not wait for a device, or do so only at times."""
    return next((wait for wait, pattern in _WAIT_KINDS if pattern.search(name)), None)


def returns_after_copy(name: str) -> bool:
    """Whether it is a copy whose call is said to return when the copy is done: cudaMemcpy, cuMemcpyDtoH_v2 ..."""
    return kind_of(name) is Call.COPY and "Async" not in name and "Graph" not in name
