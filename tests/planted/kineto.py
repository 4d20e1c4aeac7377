"""Writes what a Machine did as a file of torch.profiler: events, arrows, and what such a file says of itself."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.planted.machine import AUTOGRAD, MAIN, Happened

BASE_US = 4_458_676_000_000
_CBID = {
    "cudaLaunchKernel": 211, "cudaMemcpyAsync": 41, "cudaStreamSynchronize": 131, "cudaDeviceSynchronize": 165,
    "cudaEventRecord": 135, "cudaStreamWaitEvent": 147,
}  # fmt: skip
"""CUPTI's numbers of the calls."""
_H100: dict[str, Any] = {
    "id": 0, "name": "NVIDIA H100 80GB HBM3", "totalGlobalMem": 85_017_755_648, "computeMajor": 9, "computeMinor": 0,
    "maxThreadsPerBlock": 1024, "maxThreadsPerMultiprocessor": 2048, "regsPerBlock": 65536, "warpSize": 32,
    "sharedMemPerBlock": 49152, "numSms": 132, "regsPerMultiprocessor": 65536, "sharedMemPerBlockOptin": 232448,
    "sharedMemPerMultiprocessor": 233472,
}  # fmt: skip
_MULTIPROCESSORS = 132
_SLOTS = _MULTIPROCESSORS * 4
"""Blocks of 256 threads of 64 registers that fit at once: the model knows no tiles, so that kernels fill
their waves."""


def document(happened: list[Happened]) -> dict[str, Any]:
    """The file's content: host ranges by start, then calls and device work, as Kineto has them."""
    host = [one for one in happened if one.category in ("cpu_op", "user_annotation")]
    device = [one for one in happened if one.category not in ("cpu_op", "user_annotation")]
    events = [_complete(one, {"Record function id": 0, "Ev Idx": index}) for index, one in enumerate(host)]
    events += _forward_backward(host)
    for one in device:
        events += [_complete(one, _device_args(one)), *_arrow(one)]
    events += _annotations_on_device(happened)
    return {
        "schemaVersion": 1,
        "deviceProperties": [_H100],
        "record_shapes": 1,
        "cuda_runtime_version": 12080,
        "cuda_driver_version": 12080,
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": 1_751_410_836_000_000_000,
        "traceEvents": events + list(_names(happened)),
    }


def write(happened: list[Happened], file: Path) -> None:
    """Write it, gzipped where the name says so; the same events give the same bytes."""
    text = json.dumps(document(happened)).encode()
    file.write_bytes(gzip.compress(text, mtime=0) if file.suffix == ".gz" else text)


def _us(ns: int) -> float:
    return BASE_US + ns / 1000


def _complete(one: Happened, more: dict[str, Any]) -> dict[str, Any]:
    process = MAIN if one.category in ("cpu_op", "user_annotation", "cuda_runtime") else 0
    return {
        "ph": "X", "cat": one.category, "name": one.name, "pid": process, "tid": one.place,
        "ts": _us(one.start), "dur": (one.end - one.start) / 1000, "args": one.args | more,
    }  # fmt: skip


def _device_args(one: Happened) -> dict[str, Any]:
    if one.category == "cuda_runtime":
        return {"cbid": _CBID[one.name]}
    if one.category == "gpu_memcpy":
        return {"context": 1, "memory bandwidth (GB/s)": one.args["bytes"] / (one.end - one.start)}
    grid = _SLOTS * max(1, (one.end - one.start) // 100_000)
    launched = {"grid": [grid, 1, 1], "block": [256, 1, 1], "registers per thread": 64, "shared memory": 0}
    return {
        "context": 1,
        "queued": 0,
        "blocks per SM": grid / _MULTIPROCESSORS,
        "warps per SM": grid * 8 / _MULTIPROCESSORS,
    } | launched


def _arrow(one: Happened) -> list[dict[str, Any]]:
    """From a call to what it launched."""
    shared = {"id": one.args["correlation"], "ts": _us(one.start), "cat": "ac2g", "name": "ac2g", "tid": one.place}
    if one.category == "cuda_runtime":
        return [{"ph": "s", "pid": MAIN} | shared] if one.name in ("cudaLaunchKernel", "cudaMemcpyAsync") else []
    return [{"ph": "f", "bp": "e", "pid": 0} | shared]


def _forward_backward(host: list[Happened]) -> list[dict[str, Any]]:
    """From an operation to the node of its number."""
    forward, arrows = {}, []
    for one in host:
        number = one.args.get("Sequence number")
        if number is None or one.name.startswith("autograd::"):
            continue
        shared = {"id": number, "pid": MAIN, "tid": one.place, "ts": _us(one.start), "cat": "fwdbwd", "name": "fwdbwd"}
        if not one.args["Fwd thread id"]:
            forward[number] = {"ph": "s"} | shared
        elif number in forward:
            arrows += [forward[number], {"ph": "f", "bp": "e"} | shared]
    return arrows


def _annotations_on_device(happened: list[Happened]) -> list[dict[str, Any]]:
    """Kineto repeats a user's ranges on the streams, from the first to the last of what they launched."""
    found = []
    calls = {one.args["correlation"]: one for one in happened if one.category == "cuda_runtime"}
    work = [
        (calls[one.args["correlation"]].start, one) for one in happened if one.category.startswith(("kernel", "gpu"))
    ]
    for one in happened:
        if one.category != "user_annotation":
            continue
        inside = [piece for at, piece in work if one.start <= at <= one.end]
        for stream in sorted({piece.place for piece in inside}):
            start = min(piece.start for piece in inside if piece.place == stream)
            end = max(piece.end for piece in inside if piece.place == stream)
            shown = Happened("gpu_user_annotation", one.name, start, end, stream)
            found.append(_complete(shown, {"External id": one.args["External id"]}))
    return found


def _names(happened: list[Happened]) -> Iterator[dict[str, Any]]:
    streams = sorted({one.place for one in happened if one.category in ("kernel", "gpu_memcpy")})
    for process, name, labels in ((MAIN, "python", "CPU"), (0, "python", "GPU 0")):
        yield _metadata("process_name", process, 0, name=name)
        yield _metadata("process_labels", process, 0, labels=labels)
    for thread, name in ((MAIN, "python"), (AUTOGRAD, "pt_autograd_0")):
        yield _metadata("thread_name", MAIN, thread, name=f"thread {thread} ({name})")
    for stream in streams:
        yield _metadata("thread_name", 0, stream, name=f"stream {stream} ")


def _metadata(kind: str, process: int, thread: int, **args: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "ts": _us(0), "pid": process, "tid": thread, "args": args}
