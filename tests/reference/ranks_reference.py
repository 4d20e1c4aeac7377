"""Collectives of ranks by the rules of docs/many_ranks.md, slowly and from the JSON text: for comparison only.

Nothing of perfkit is used: a rank's calls are read with Python's own JSON reader and decimals, matched one after the
other, and what they waited is subtracted by hand. Times are whole nanoseconds of each rank's own clock.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

ASKED = ("allreduce", "allgather", "reduce_scatter", "broadcast")
"""What asks gloo for a collective: PyTorch's operators `c10d::...` with one of these in their names."""


@dataclass(frozen=True)
class Call:
    """One collective of one rank."""

    key: Hashable
    """What all participants agree on, the step among it."""
    start: int
    end: int


@dataclass(frozen=True)
class Match:
    """One collective of several ranks."""

    spans: dict[int, tuple[int, int]]
    """Rank -> start and end."""

    @property
    def transfer(self) -> int:
        """As long as the shortest participant was in it."""
        return min(end - start for start, end in self.spans.values())

    @property
    def wait(self) -> dict[int, int]:
        """The rest, by rank."""
        return {rank: end - start - self.transfer for rank, (start, end) in self.spans.items()}


def matched(ranks: Sequence[Sequence[Call]]) -> tuple[list[Match], int]:
    """The n-th call of a key of each rank that has it; and the calls of keys whose ranks disagree, or are alone."""
    found, alone = [], 0
    for key in {call.key for calls in ranks for call in calls}:
        own = {}
        for rank, calls in enumerate(ranks):
            mine = sorted((call.start, call.end) for call in calls if call.key == key)
            if mine:
                own[rank] = mine
        counts = {len(mine) for mine in own.values()}
        if len(own) < 2 or len(counts) > 1:
            alone += sum(len(mine) for mine in own.values())
            continue
        found += [Match({rank: mine[turn] for rank, mine in own.items()}) for turn in range(counts.pop())]
    return found, alone


def calls_of(path: Path) -> list[Call]:
    """The collectives of a rank's trace: kernels of NCCL where there are any, else ranges of gloo."""
    text = path.read_bytes()
    trace = json.loads(gzip.decompress(text) if path.suffix == ".gz" else text, parse_float=Decimal)
    base = int(trace.get("baseTimeNanoseconds", 0))
    events = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
    for event in events:
        event["start"] = base + int(Decimal(event["ts"]) * 1000)
        event["end"] = base + int((Decimal(event["ts"]) + Decimal(event["dur"])) * 1000)
    kernels = [event for event in events if event.get("cat") == "kernel" and event["name"].startswith("nccl")]
    return [_of_kernel(kernel, events) for kernel in kernels] if kernels else _of_gloo(events)


def _of_kernel(kernel: dict[str, Any], events: list[dict[str, Any]]) -> Call:
    (launch,) = [event for event in events if event.get("cat") == "cuda_runtime"
                 and event["args"]["correlation"] == kernel["args"]["correlation"]]  # fmt: skip
    (said,) = [event for event in events if event["name"] == "record_param_comms"
               and event["start"] <= launch["start"] < event["end"]]  # fmt: skip
    about = tuple(sorted((name, str(value)) for name, value in said["args"].items()))
    return Call((about, _step(launch["start"], events)), kernel["start"], kernel["end"])


def _of_gloo(events: list[dict[str, Any]]) -> list[Call]:
    ranges = sorted((e["start"], e["end"], e["name"], _shape(e)) for e in events if e["name"].startswith("gloo:"))
    asked = sorted(
        (event["start"], event["name"]) for event in events
        if event["name"].startswith("c10d::") and any(word in event["name"] for word in ASKED)
    )  # fmt: skip
    assert len(asked) == len(ranges), "gloo takes in turn what it is asked for"
    return [
        Call((name, shape, operator, _step(begun, events)), start, end)
        for (start, end, name, shape), (begun, operator) in zip(ranges, asked, strict=True)
    ]


def _shape(event: dict[str, Any]) -> str:
    """Sizes and types: gloo's two threads may begin a float and a bool of as many elements in either order."""
    said = event.get("args", {})
    return f"{said.get('Input Dims')} {said.get('Input type')}"


def _step(time: int, events: list[dict[str, Any]]) -> str:
    inside = [e["name"] for e in events if e["name"].startswith("ProfilerStep#") and e["start"] <= time < e["end"]]
    return inside[0] if inside else "outside"
