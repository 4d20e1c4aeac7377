"""Hand-built traces for tests: a test states what happened when, and gets a Trace."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perfkit.trace.chrome.recording import recording
from perfkit.trace.columns import (
    MISSING,
    Arguments,
    AutogradFlows,
    DeviceEvents,
    DeviceKind,
    HostKind,
    HostRanges,
    ReadFacts,
    Thread,
    Trace,
    column_dtype,
)

ENGINE = "autograd::engine::evaluate_function: "


@dataclass
class TraceBuilder:
    """Collects ranges and events; times are ns. Thread 0 is the main thread."""

    metadata: dict[str, Any] = field(default_factory=dict)
    """The fields of a Kineto file other than its events."""
    facts: ReadFacts = field(default_factory=ReadFacts)
    names: dict[str, int] = field(default_factory=dict)
    host: list[dict[str, int]] = field(default_factory=list)
    device: list[dict[str, int]] = field(default_factory=list)
    arguments: dict[Arguments, int] = field(default_factory=dict)
    threads: int = 1

    def _name(self, text: str) -> int:
        return self.names.setdefault(text, len(self.names))

    def range(self, name: str, start: int, end: int, kind: HostKind = HostKind.OP, **columns: Any) -> TraceBuilder:
        """Add a host range; `columns` sets thread, correlation, sequence, forward_thread."""
        self.threads = max(self.threads, columns.get("thread", 0) + 1)
        defaults = {"thread": 0, "correlation": MISSING, "external_id": MISSING, "sequence": MISSING}
        forward = 0 if "sequence" in columns else MISSING
        defaults |= {"forward_thread": forward, "order": len(self.host), "frame": MISSING, "arguments": MISSING}
        row = defaults | columns
        self.host.append(row | {"name": self._name(name), "kind": int(kind), "start": start, "end": end})
        return self

    def call(
        self,
        name: str,
        start: int,
        end: int,
        shapes: list[Any],
        dtypes: list[str] | str = "float",
        values: list[str] | None = None,
        strides: list[Any] | None = None,
        **columns: Any,
    ) -> TraceBuilder:
        """Add an operator and its arguments' shapes. One type is that of all tensors; what has no shape is a number."""
        dtypes = ["Scalar" if shape == [] else dtypes for shape in shapes] if isinstance(dtypes, str) else dtypes
        said = Arguments(*("" if part is None else json.dumps(part) for part in (shapes, dtypes, strides, values)))
        return self.range(name, start, end, arguments=self.arguments.setdefault(said, len(self.arguments)), **columns)

    def collective(self, start: int, end: int, message: list[Any]) -> TraceBuilder:
        """Add PyTorch's operator round a collective; `message` as in Arguments.collective."""
        said = Arguments("", "", "", "", json.dumps(message))
        code = self.arguments.setdefault(said, len(self.arguments))
        return self.range("record_param_comms", start, end, arguments=code)

    def annotation(self, name: str, start: int, end: int, **columns: Any) -> TraceBuilder:
        """Add a user's range."""
        return self.range(name, start, end, HostKind.ANNOTATION, **columns)

    def step(self, number: int, start: int, end: int) -> TraceBuilder:
        """Add a profiled step."""
        return self.annotation(f"ProfilerStep#{number}", start, end)

    def module(self, path: str, start: int, end: int, **columns: Any) -> TraceBuilder:
        """Add a module's range as perfkit writes it."""
        return self.range(f"perfkit::{path}", start, end, **columns)

    def node(
        self, name: str, start: int, end: int, sequence: int, *, thread: int = 0, forward: int = 1
    ) -> TraceBuilder:
        """Add a backward node inside the autograd engine's range, which is 2 ns longer."""
        columns: Any = {"thread": thread, "sequence": sequence, "forward_thread": forward}
        self.range(ENGINE + name, start, end + 2, **columns)
        return self.range(name, start + 1, end + 1, **columns)

    def event(
        self,
        name: str,
        start: int,
        end: int,
        kind: DeviceKind = DeviceKind.KERNEL,
        annotation: str = "",
        **columns: Any,
    ) -> TraceBuilder:
        """Add a device event; `columns` sets device, stream, correlation, bytes, graph_node."""
        defaults = dict.fromkeys(
            ("correlation", "external_id", "process", "bytes", "graph_node", "annotation"), MISSING
        )
        row = {"device": 0, "stream": 7} | defaults | columns
        if annotation:
            row["annotation"] = self._name(annotation)
        self.device.append(row | {"name": self._name(name), "kind": int(kind), "start": start, "end": end})
        return self

    def launched(self, name: str, at: int, start: int, end: int, *, thread: int = 0, **columns: Any) -> TraceBuilder:
        """Add a kernel and the call that launched it, which starts at `at` and takes 1 ns."""
        correlation = 1000 + len(self.device)
        self.range("cudaLaunchKernel", at, at + 1, HostKind.RUNTIME, thread=thread, correlation=correlation)
        return self.event(name, start, end, correlation=correlation, **columns)

    def build(self) -> Trace:
        """The trace."""
        flows = AutogradFlows(np.empty(0, np.int64), np.empty(0, bool), np.empty(0, np.int32), np.empty(0, np.int64))
        return Trace(
            source="built by a test",
            names=tuple(self.names),
            threads=tuple(Thread(pid=1, tid=1 + index) for index in range(self.threads)),
            host=_columns(HostRanges, self.host),
            device=_columns(DeviceEvents, self.device),
            flows=flows,
            recording=recording(self.metadata),
            facts=self.facts,
            arguments=tuple(self.arguments),
        )


def device_step() -> TraceBuilder:
    """A step of 100 ns: two kernels of 10 and 20 ns in a module, a copy of 5 ns at the same time, and 5 ns outside."""
    b = TraceBuilder().step(0, 0, 100).module("net", 0, 90).range("aten::mm", 5, 40, sequence=1)
    b.launched("gemm", 10, 100, 110).launched("gemm", 12, 110, 130)
    b.launched("Memcpy", 50, 115, 120, kind=DeviceKind.MEMCPY)
    return b.launched("stray", 95, 195, 200)


def host_step() -> TraceBuilder:
    """A step of 100 ns without a device: an operator of 30 ns in a module of 90 ns."""
    return TraceBuilder().step(0, 0, 100).module("net", 0, 90).range("aten::mm", 10, 40)


def saying(trace: Trace, **said: Any) -> Trace:
    """The trace with these fields of its Recording, as if its file had stated them."""
    return dataclasses.replace(trace, recording=dataclasses.replace(trace.recording, **said))


def _columns(kind: Any, rows: list[dict[str, int]]) -> Any:
    names = [f.name for f in dataclasses.fields(kind)]
    return kind(*(np.array([row[name] for row in rows], dtype=column_dtype(name)) for name in names))
