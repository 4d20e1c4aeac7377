"""Files of a job, made by hand: each with its own names, times and steps."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

from perfkit.trace.columns import Trace
from tests.builders import TraceBuilder


def trace(number: int, steps: int = 2, slow: int = 0) -> Trace:
    """Steps of 100 ns and `slow` more, a kernel of all files and one of its own; named as torch's handler does."""
    b = TraceBuilder()
    for step in range(steps):
        at = step * 1000
        b.step(step, at, at + 100 + slow).module("net", at, at + 90)
        b.range("aten::mm", at + 5, at + 40)
        b.launched("gemm", at + 10, at + 20, at + 60 + number % 3)
        b.launched(f"own_{number}", at + 30, at + 70, at + 75 + slow)
    built = b.build()
    return dataclasses.replace(built, source=f"job/host{number // 2}_{number}.1747000000001.pt.trace.json")


def write(path: Path, number: int = 0, steps: int = 2, slow_us: float = 0) -> Path:
    """A Kineto file: steps of 1 ms and more, a module, two kernels; every seventh has one of its own."""
    events: list[dict[str, Any]] = []
    for step in range(steps):
        at = step * 2000.0
        long = 1000.0 + slow_us
        events += [
            _event("user_annotation", f"ProfilerStep#{step}", at, long),
            _event("cpu_op", "nn.Module: Net_0", at + 1, long - 10, cat="python_function"),
            _event("cpu_op", "aten::mm", at + 5, 200),
        ]
        names = ["gemm", "relu", *(["extra"] if number % 7 == 0 else [])]
        for place, name in enumerate(names):
            link = {"correlation": step * 10 + place + 1}
            events.append(_event("cuda_runtime", "cudaLaunchKernel", at + 10 + place * 10, 5, args=link))
            device = {"device": 0, "stream": 7, **link}
            events.append(
                _event(
                    "kernel", name, at + 100 + place * 300, 200.0 + number % 5 + slow_us / 3, pid=0, tid=7, args=device
                )
            )
    text = json.dumps({"distributedInfo": {"rank": number, "world_size": 64}, "traceEvents": events}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, 1) if path.suffix == ".gz" else text)
    return path


def _event(kind: str, name: str, at: float, long: float, **more: Any) -> dict[str, Any]:
    return {"ph": "X", "cat": kind, "name": name, "pid": 1, "tid": 1, "ts": at, "dur": long, **more}


def folder(path: Path, count: int) -> list[Path]:
    """So many files, of two ranks a host."""
    return [write(path / f"host{n // 2}_{n}.{1747000000000 + n}.pt.trace.json.gz", n) for n in range(count)]
