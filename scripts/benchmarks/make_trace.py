"""Write a plausible Kineto trace of a training run, of any size.

    python -m scripts.benchmarks.make_trace --events 2000000 OUT.json[.gz]

The trace has nested nn.Module frames, operators with sequence numbers, backward nodes on their own thread, runtime
launches, kernels, copies and both kinds of flow arrows, in ns resolution. Their order is Kineto's: first all host
ranges by start, then launches and device work. The same arguments give the same bytes. `--events` counts complete
events (ph X) but not arrows and metadata. The script needs the standard library only.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from scripts.benchmarks import make_trace_model as model
from scripts.benchmarks.make_trace_model import KERNELS, Module, Op

PID, AUTOGRAD_THREAD, STREAM = 4242, 4301, 7
BASE_NS = 1_755_000_000_000_000_000
START_NS = 3_100_000_000_000_000
LAYERS = 24


@dataclass(frozen=True, slots=True)
class Made:
    """What a generated trace holds; a reader must find the same."""

    events: int
    steps: int
    kernels: int
    kernel_time_ns: int
    backward_nodes: int
    """Number of backward nodes with a sequence number."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A backward node to run: its autograd name and the sequence number that leads to its forward operation."""

    name: str
    sequence: int


def _us(ns: int) -> str:
    return f"{ns // 1000}.{ns % 1000:03d}"


def _numbers(sequence: int, forward_thread: int) -> str:
    return f'"Sequence number": {sequence}, "Fwd thread id": {forward_thread}, '


class _Recording:
    """Writes one recording; holds its clocks, its counters and its output."""

    def __init__(self, host: IO[str], device: IO[str], seed: int) -> None:
        self._host = host
        self._device = device
        draw = random.Random(seed)
        self._durations = [draw.randint(400, 3_000) for _ in range(4096)]
        self._kernel_durations = [draw.randint(3_000, 60_000) for _ in range(4093)]
        self._lines: list[str] = []
        self._drawn = 0
        self.now = START_NS
        self.gpu_free = START_NS
        self.thread = PID
        self.sequence = 0
        self.correlation = 10_000
        self.python_id = 0
        self.external_id = 0
        self.kernels = 0
        self.kernel_time = 0
        self.events = 0
        self.backward_nodes = 0
        self.tape: list[_Node] = []

    def _tick(self) -> int:
        self._drawn += 1
        self.now += self._durations[self._drawn & 4095]
        return self.now

    def _slot(self) -> int:
        """Reserve the place of a range's text, which is known only when the range ends; parents precede children."""
        self._lines.append("")
        self.events += 1
        return len(self._lines) - 1

    def flush(self) -> None:
        """Write the complete ranges."""
        self._host.writelines(self._lines)
        self._lines.clear()

    def _end(self, slot: int, category: str, name: str, start: int, args: str) -> None:
        """Fill in the text of a range that ends now."""
        self._lines[slot] = (
            f'  {{\n    "ph": "X", "cat": "{category}", "name": "{name}", "pid": {PID}, "tid": {self.thread},\n'
            f'    "ts": {_us(start)}, "dur": {_us(self._tick() - start)},\n'
            f'    "args": {{\n      {args}\n    }}\n  }},\n'
        )

    def _flow_end(self, flow: int, letter: str, at: int) -> None:
        """One end of a forward-backward arrow."""
        binding = ', "bp": "e"' if letter == "f" else ""
        self._lines.append(
            f'  {{\n    "ph": "{letter}", "id": {flow}, "pid": {PID}, "tid": {self.thread}, "ts": {_us(at)},\n'
            f'    "cat": "fwdbwd", "name": "fwdbwd"{binding}\n  }},\n'
        )

    def op(self, op: Op) -> None:
        """Write an operator and everything inside it. An operator that autograd records uses up a sequence number."""
        self.external_id += 1
        external = self.external_id
        slot, start = self._slot(), self._tick()
        numbers = _numbers(self.sequence, 0) if op.peeks else ""
        if op.node is not None:
            self.tape.append(_Node(op.node, self.sequence))
            self._flow_end(self.sequence, "s", start)
            self.sequence += 1
        for inner in op.inner:
            self.op(inner)
        if op.kernel is not None:
            self._launch(op.kernel, external)
        self._end_op(slot, op.name, start, external, numbers)

    def _end_op(self, slot: int, name: str, start: int, external: int, numbers: str = "") -> None:
        args = f'"External id": {external}, "Record function id": 0, {numbers}"Ev Idx": {external}'
        self._end(slot, "cpu_op", name, start, args)

    def _launch(self, kernel: str, external: int) -> None:
        self.correlation += 1
        start = self._tick()
        ended = self._tick()
        begun = max(self.gpu_free, ended + 1_500)
        duration = self._kernel_durations[self.correlation % 4093]
        self.gpu_free = begun + duration + 900
        self.events += 2
        self.kernels += 1
        self.kernel_time += duration
        self._device.write(
            f'  {{\n    "ph": "X", "cat": "kernel", "name": "{KERNELS[kernel]}", "pid": 0, "tid": {STREAM},\n'
            f'    "ts": {_us(begun)}, "dur": {_us(duration)},\n    "args": {{\n      "External id": {external}, '
            f'"queued": 0, "device": 0, "context": 1, "stream": {STREAM}, "correlation": {self.correlation}, '
            '"registers per thread": 128, "shared memory": 49152, "blocks per SM": 2.424242, '
            '"warps per SM": 19.393940, "grid": [320, 1, 1], "block": [256, 1, 1], '
            '"est. achieved occupancy %": 30\n    }\n  },\n'
            f'  {{\n    "ph": "f", "id": {self.correlation}, "pid": 0, "tid": {STREAM}, "ts": {_us(begun)},\n'
            '    "cat": "ac2g", "name": "ac2g", "bp": "e"\n  },\n'
            f'  {{\n    "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": {PID}, '
            f'"tid": {self.thread},\n'
            f'    "ts": {_us(start)}, "dur": {_us(ended - start)},\n    "args": {{\n      "External id": {external}, '
            f'"cbid": 211, "correlation": {self.correlation}\n    }}\n  }},\n'
            f'  {{\n    "ph": "s", "id": {self.correlation}, "pid": {PID}, "tid": {self.thread}, "ts": {_us(start)},\n'
            '    "cat": "ac2g", "name": "ac2g"\n  },\n'
        )

    def module(self, module: Module, parent: int) -> None:
        """Write a module's forward: its frame, the Python frame inside it, and its calls."""
        self.python_id += 2
        own = self.python_id
        outer, start = self._slot(), self._tick()
        inner, inner_start = self._slot(), self._tick()
        for child in module.children:
            if isinstance(child, Op):
                self.op(child)
            else:
                self.module(child, own + 1)
        frame = f"model.py({module.line}): forward"
        self._end(inner, "python_function", frame, inner_start, f'"Python id": {own + 1}, "Python parent id": {own}')
        self._end(
            outer, "python_function", f"nn.Module: {module.name}", start,
            f'"Python id": {own}, "Python parent id": {parent}, "Python module id": {module.number}',
        )  # fmt: skip

    def backward(self) -> None:
        """Run all nodes of the tape in reverse order on autograd's thread."""
        self.thread = AUTOGRAD_THREAD
        for node in reversed(self.tape):
            self._node(node)
        self.tape.clear()
        self.thread = PID

    def _node(self, node: _Node) -> None:
        self.backward_nodes += 1
        self._evaluate(node.name, model.BACKWARD[node.name], node.sequence)
        if node.name in model.ACCUMULATES:
            self._evaluate("torch::autograd::AccumulateGrad", (Op("aten::detach"),), None)

    def _evaluate(self, name: str, ops: tuple[Op, ...], sequence: int | None) -> None:
        """Write a node that the autograd engine runs: two nested ranges with its name around its operators."""
        self.external_id += 2
        external = self.external_id
        numbers = "" if sequence is None else _numbers(sequence, 1)
        outer, start = self._slot(), self._tick()
        inner, inner_start = self._slot(), self._tick()
        if sequence is not None:
            self._flow_end(sequence, "f", inner_start)
        for op in ops:
            self.op(op)
        self._end_op(inner, name, inner_start, external, numbers)
        self._end_op(outer, f"autograd::engine::evaluate_function: {name}", start, external - 1, numbers)

    def annotation(self, slot: int, name: str, start: int) -> None:
        """Write a user's range that ends now."""
        self.external_id += 1
        self._end(slot, "user_annotation", name, start, f'"External id": {self.external_id}, "Record function id": 0')

    def step(self, number: int, root: Module) -> None:
        """One training step: forward, loss, backward, optimizer; the host waits for the device at the end."""
        slot, start = self._slot(), self._tick()
        self.module(root, 0)
        for op in model.LOSS:
            self.op(op)
        self.backward()
        optimizer, optimizer_start = self._slot(), self._tick()
        for op in model.OPTIMIZER:
            self.op(op)
        self.annotation(optimizer, "Optimizer.step#AdamW.step", optimizer_start)
        self.now = max(self.now, self.gpu_free)
        self.annotation(slot, f"ProfilerStep#{number}", start)
        self.flush()


_HEAD = {
    "schemaVersion": 1,
    "deviceProperties": [
        {
            "id": 0, "name": "NVIDIA H100 80GB HBM3 (generated)", "totalGlobalMem": 84929347584, "computeMajor": 9,
            "computeMinor": 0, "maxThreadsPerBlock": 1024, "maxThreadsPerMultiprocessor": 2048, "warpSize": 32,
            "numSms": 132,
        }
    ],
    "distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 1},
    "with_stack": 1,
    "displayTimeUnit": "ms",
    "baseTimeNanoseconds": BASE_NS,
}  # fmt: skip


def write_trace(path: Path, events: int, *, layers: int = LAYERS, seed: int = 1) -> Made:
    """Write at least `events` complete events, in whole steps. A name that ends in .gz is compressed."""
    draft = path.with_name(path.name + ".part")
    with _opened(draft, compressed=path.suffix == ".gz") as host, tempfile.TemporaryFile("w+") as device:
        host.write(json.dumps(_HEAD)[:-1] + ',\n"traceEvents": [\n')
        recording = _Recording(host, device, seed)
        root = model.transformer(layers)
        steps = 0
        while recording.events < events:
            recording.step(steps, root)
            steps += 1
        device.seek(0)
        shutil.copyfileobj(device, host, 1 << 20)
        host.write(
            f'  {{\n    "ph": "M", "name": "thread_name", "ts": {_us(START_NS)}, "pid": {PID}, "tid": {PID},\n'
            '    "args": {\n      "name": "thread main (python)"\n    }\n  }\n],\n"traceName": "generated"\n}\n'
        )
    draft.replace(path)
    return Made(recording.events, steps, recording.kernels, recording.kernel_time, recording.backward_nodes)


def _opened(path: Path, *, compressed: bool) -> IO[str]:
    if not compressed:
        return path.open("w", encoding="utf-8")
    packed = gzip.GzipFile(filename="", fileobj=path.open("wb"), mode="wb", compresslevel=6, mtime=0)
    return io.TextIOWrapper(packed, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("path", type=Path)
    chosen = parser.parse_args()
    print(write_trace(chosen.path, chosen.events, layers=chosen.layers, seed=chosen.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
