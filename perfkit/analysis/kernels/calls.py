"""What a call into a runtime or driver does, by its name: cudaLaunchKernel, hipMemcpyWithStream, cuGraphLaunch ..."""

from __future__ import annotations

import re
from enum import IntEnum


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
    (Call.GRAPH, re.compile(r"GraphLaunch")),
    # Calls that build or change a graph (cudaGraphAddKernelNode, cudaGraphExecMemcpyNodeSetParams) give no work.
    (None, re.compile(r"Graph")),
    (Call.COPY, re.compile(r"mem(?:buffer)?cpy|memory?(?:buffer)?copy", re.IGNORECASE)),
    (Call.MEMSET, re.compile(r"memset|memory(?:buffer)?fill|membufferfill|usmfill", re.IGNORECASE)),
    # CUDA since 2007: cuLaunch, cuLaunchGrid, cudaLaunch, cuLaunchKernelEx, cudaLaunchCooperativeKernelMultiDevice;
    # HIP: hipExtModuleLaunchKernel, hipLaunchByPtr; Level Zero and Unified Runtime: zeCommandListAppendLaunchKernel,
    # urEnqueueKernelLaunch; Cambricon: cnInvokeKernel; MTIA: runFunction. Not cudaLaunchHostFunc.
    (
        Call.KERNEL,
        re.compile(r"Launch\w*Kernel|KernelLaunch|\bcu(?:da)?Launch(?:Grid(?:Async)?)?(?:_|$)|hipLaunchByPtr"
                   r"|InvokeKernel|^runFunction\b"),
    ),
)  # fmt: skip
_BEGINS_CAPTURE, _ENDS_CAPTURE = re.compile(r"StreamBeginCapture"), re.compile(r"StreamEndCapture")
_WAITS_FOR_ALL = re.compile(r"(?:Device|Ctx)Synchronize")
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


def tracer_of(name: str) -> str:
    """The vendor's library that records what such a call started."""
    return next((tracer for prefix, tracer in _TRACERS if name.startswith(prefix)), "its tracing library")
