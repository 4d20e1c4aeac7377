"""Traces of ranks that never ran, made of what one recorded: its layers' times are the work between collectives.

Each rank works, comes to an all-reduce, waits for the last, and all end together but for some microseconds; then the
rank's clock is put ahead, and made to drift. What an analysis has to find is therefore known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import account_for
from perfkit.trace.load import load

SAMPLE = Path(__file__).parents[3] / "traces/samples/tiny_train_cpu"
TRANSFER = 40_000
"""ns that an all-reduce takes once all are there."""
ELEMENTS = 1 << 18
START = 10**12


def recorded_layers() -> dict[str, int]:
    """ns a step of each layer of the recorded trace."""
    (path,) = SAMPLE.glob("*.pt.trace.json.gz")
    trace = load(path)
    account = account_for(trace, attribute(trace))
    times: dict[str, int] = {}
    for scope, total in zip(account.scope.tolist(), account.total.tolist(), strict=True):
        if account.scopes[scope].startswith("layers."):
            layer = ".".join(account.scopes[scope].split(".")[:2])
            times[layer] = times.get(layer, 0) + total // len(account.steps)
    return times


@dataclass
class Planted:
    """A job whose numbers are known."""

    ranks: int
    steps: int = 6
    noise: float = 0.0
    """Of work, relative."""
    jitter: int = 0
    """ns by which ends of one collective differ."""
    offsets: list[int] = field(default_factory=list)
    """ns by which each rank's clock is ahead at START."""
    drifts: list[float] = field(default_factory=list)
    """ns per ns."""
    slow: dict[tuple[int, str, int], int] = field(default_factory=dict)
    """ns more of (rank, layer, step)."""

    def own(self, rank: int, time: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """True times on the rank's clock."""
        offset = self.offsets[rank] if self.offsets else 0
        drift = self.drifts[rank] if self.drifts else 0.0
        return time + offset + np.rint(drift * (time - START)).astype(np.int64)

    def write(self, folder: Path, layers: dict[str, int]) -> list[Path]:
        """A Kineto file for each rank."""
        rng = np.random.default_rng(7)
        events: list[list[tuple[str, str, int, int]]] = [[] for _ in range(self.ranks)]
        clock = np.full(self.ranks, START)
        for step in range(self.steps):
            begin = clock.copy()
            for layer, ns in layers.items():
                work = np.rint(ns * (1 + self.noise * rng.random(self.ranks))).astype(np.int64)
                work += [self.slow.get((rank, layer, step), 0) for rank in range(self.ranks)]
                come = clock + work
                end = come.max() + TRANSFER
                ends = end + rng.integers(-self.jitter, self.jitter + 1, self.ranks)
                for rank in range(self.ranks):
                    events[rank] += [("compute", layer, clock[rank], come[rank]),
                                     ("exchange", layer, come[rank], ends[rank])]  # fmt: skip
                clock = np.full(self.ranks, end) if not self.jitter else ends
            for rank in range(self.ranks):
                events[rank].append(("step", str(step), begin[rank], clock[rank]))
        return [self._write_rank(folder, rank, events[rank]) for rank in range(self.ranks)]

    def _write_rank(self, folder: Path, rank: int, events: list[tuple[str, str, int, int]]) -> Path:
        made = []
        for number, (kind, name, start, end) in enumerate(events):
            own_start, own_end = self.own(rank, np.array([start, end])).tolist()
            at = {"ts": own_start / 1e3, "dur": (own_end - own_start) / 1e3}
            if kind == "step":
                made.append(_event("user_annotation", f"ProfilerStep#{name}", **at))
                continue
            launch = own_start / 1e3 + 0.5
            made.append(_event("cpu_op", f"perfkit::{name}", ts=own_start / 1e3, dur=2))
            if kind == "exchange":
                made.append(_event("cpu_op", "record_param_comms", ts=launch - 0.3, dur=1, args=_message(self.ranks)))
            kernel = "ncclDevKernel_AllReduce_Sum_f32_RING_LL" if kind == "exchange" else "sm80_gemm"
            made.append(_event("cuda_runtime", "cudaLaunchKernel", ts=launch, dur=0.1, args={"correlation": number}))
            args = {"correlation": number, "device": 0, "stream": 7}
            made.append({"ph": "X", "cat": "kernel", "name": kernel, "pid": 0, "tid": 7, **at, "args": args})
        path = folder / f"rank{rank}.pt.trace.json"
        info = {"backend": "nccl", "rank": rank, "world_size": self.ranks}
        path.write_text(json.dumps({"schemaVersion": 1, "distributedInfo": info, "traceEvents": made}))
        return path


def _event(cat: str, name: str, ts: float, dur: float, args: dict[str, object] | None = None) -> dict[str, object]:
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur, "args": args or {}}


def _message(ranks: int) -> dict[str, object]:
    return {"Collective name": "allreduce", "In msg nelems": ELEMENTS, "Out msg nelems": ELEMENTS,
            "Group size": ranks, "dtype": "Float", "Process Group Name": "0"}  # fmt: skip
