"""Traces of a pipeline's ranks that never ran (GPipe): all forward passes of a step's microbatches, then all backward.

Stage k works on microbatch j when it is there and the stage is free. Messages take no time. So each rank waits for
what follows from the numbers alone, which tests work out by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FORWARD, BACKWARD = 1000, 2000
"""us that a stage works on a microbatch."""
Recorder = Literal["gloo", "nccl", "batched"]
"""batched: several messages in one kernel, of which no operator says whether it sends or receives."""


@dataclass(frozen=True)
class Work:
    """A piece of a rank's work, in us: when it began to receive what it needs, had it, and was done."""

    asked: int
    arrived: int
    done: int
    source: int | None
    """The rank that sends."""


def schedule(stages: int, microbatches: int, steps: int) -> list[list[list[Work]]]:
    """By rank, then by step: the pieces of work in their order. A rank begins to receive once it is free."""
    free, made = [0] * stages, [[[] for _ in range(steps)] for _ in range(stages)]  # type: ignore[var-annotated]
    for step in range(steps):
        for took, order in ((FORWARD, range(stages)), (BACKWARD, range(stages)[::-1])):
            there = [[0] * microbatches for _ in range(stages)]
            for before, rank in zip((None, *order), order, strict=False):
                for number in range(microbatches):
                    arrived = free[rank] if before is None else max(free[rank], there[before][number])
                    made[rank][step].append(Work(free[rank], arrived, arrived + took, before))
                    free[rank] = there[rank][number] = arrived + took
    return made


def write(folder: Path, stages: int, recorder: Recorder = "gloo", *, microbatches: int = 4, steps: int = 3,
          early: int = 0, reduce: int = 0, kept: int | None = None) -> list[Path]:  # fmt: skip
    """A Kineto file for each rank (of the first `kept`). Receives are begun `early` us before they need to be.

    `reduce`: us that NCCL takes beside the next step to reduce over all ranks, which come to it at their step's end.
    """
    paths = []
    planned = schedule(stages, microbatches, steps)
    for rank, done in enumerate(planned[:kept]):
        events: list[dict[str, Any]] = []
        begin = 0
        for number, works in enumerate(done):
            until = works[-1].done
            events.append(_event("user_annotation", f"ProfilerStep#{number}", begin, until))
            for place, work in enumerate(works):
                host = begin + 5 * place if recorder != "gloo" else work.arrived
                if work.source is not None:
                    asked = max(work.asked - early, begin)
                    events += _receive(recorder, asked, work.arrived, work.source, host, stages)
                events += _work(recorder, work.arrived, work.done, host + 3)
            if reduce:
                last = max(of_rank[number][-1].done for of_rank in planned)
                events += _reduce(until, last + reduce, stages)
            begin = until
        paths.append(folder / f"rank{rank}.pt.trace.json")
        info = {"backend": "gloo" if recorder == "gloo" else "nccl", "rank": rank, "world_size": stages}
        paths[-1].write_text(json.dumps({"schemaVersion": 1, "distributedInfo": info, "traceEvents": events}))
    return paths


def _receive(recorder: Recorder, asked: int, arrived: int, source: int, host: int, ranks: int) -> list[dict[str, Any]]:
    said = {"Concrete Inputs": ["", "", str(source), "0"], "Input Dims": [[[8, 8]], [], [], []],
            "Input type": ["TensorList", "", "Scalar", "Scalar"]}  # fmt: skip
    if recorder == "gloo":
        return [
            _event("cpu_op", "c10d::recv_", asked, min(asked + 2, arrived), args=said),
            _event("user_annotation", "gloo:recv", asked, arrived, tid=2),
        ]
    made = [_event("cpu_op", "c10d::recv_", host, host + 2, args=said)]
    if recorder == "nccl":
        made.append(_event("cpu_op", "record_param_comms", host, host + 2, args=_message("recv", ranks)))
    return made + _kernel("ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)", asked, arrived, host + 1, 20)


def _reduce(come: int, end: int, ranks: int) -> list[dict[str, Any]]:
    """Of a rank that comes at its step's end, having launched it a little before."""
    said = _event("cpu_op", "record_param_comms", come - 9, come - 7, args=_message("allreduce", ranks))
    return [said, *_kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgs)", come, end, come - 8, 21)]


def _message(name: str, ranks: int) -> dict[str, Any]:
    return {"Collective name": name, "In msg nelems": 64, "Out msg nelems": 64, "Group size": ranks,
            "dtype": "Float", "Process Group Name": "0"}  # fmt: skip


def _work(recorder: Recorder, start: int, end: int, host: int) -> list[dict[str, Any]]:
    if recorder == "gloo":
        sends = [_event("cpu_op", "c10d::send", end, end), _event("user_annotation", "gloo:send", end, end + 1500, 3)]
        return [_event("cpu_op", "aten::mm", start, end), *sends]
    return [_event("cpu_op", "aten::mm", host, host + 2), *_kernel("sm80_gemm", start, end, host + 1, 7)]


def _kernel(name: str, start: int, end: int, launched: int, stream: int) -> list[dict[str, Any]]:
    linked = {"correlation": launched}
    at = {"device": 0, "stream": stream}
    return [
        _event("cuda_runtime", "cudaLaunchKernel", launched, launched, args=linked),
        {**_event("kernel", name, start, end, stream, args=linked | at), "pid": 0},
    ]


def _event(
    cat: str, name: str, start: int, end: int, tid: int = 1, args: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": start, "dur": end - start,
            "args": args or {}}  # fmt: skip
