"""A second, slow and simple reading of a well-formed Chrome trace: plain `json`, Decimal, Python lists."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import msgspec
import numpy as np

from perfkit.trace.columns import AutogradFlows, DeviceEvents, HostRanges, Trace, column_dtype

HOST = {"cpu_op": 0, "user_annotation": 1, "python_function": 2, "cuda_runtime": 3, "cuda_driver": 3}
DEVICE = {"kernel": 0, "gpu_memcpy": 1, "gpu_memset": 2, "mtia_ccp_events": 0}


def nanoseconds(microseconds: Any) -> int:
    return int((Decimal(microseconds) * 1000).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def rows(trace_events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Every row of every column set, with names and (pid, tid) spelled out."""
    found: dict[str, list[dict[str, Any]]] = {"host": [], "device": [], "flows": []}
    for position, event in enumerate(trace_events):
        ph, cat, args = event.get("ph"), event.get("cat"), event.get("args") or {}
        if ph in ("s", "f") and cat == "fwdbwd":
            found["flows"].append(
                {
                    "flow": event["id"],
                    "is_start": ph == "s",
                    "thread": (event["pid"], event["tid"]),
                    "time": nanoseconds(event["ts"]),
                }
            )
        if ph != "X" or (cat not in HOST and cat not in DEVICE):
            continue
        start = nanoseconds(event["ts"])
        timed = {"name": event["name"], "start": start, "end": start + nanoseconds(event["dur"])}
        if cat in HOST:
            order = args.get("Ev Idx", position)
            args = args if HOST[cat] != 2 else {}  # a frame of Python is no call: it has neither numbers nor arguments
            sequence = args.get("Sequence number", -1)
            found["host"].append(
                timed
                | {
                    "kind": HOST[cat],
                    "thread": (event["pid"], event["tid"]),
                    "correlation": args.get("correlation", -1) if HOST[cat] == 3 else -1,
                    "external_id": args.get("External id", -1),
                    "sequence": sequence,
                    "forward_thread": args.get("Fwd thread id", 0) if sequence >= 0 else -1,
                    "order": order,
                    "frame": None,
                    "arguments": arguments(args),
                }
            )
        else:
            found["device"].append(
                timed
                | {
                    "kind": DEVICE[cat],
                    "device": (args.get("device"), event["pid"]),
                    "stream": args.get("stream", event["tid"]),
                    "correlation": args.get("correlation", -1),
                    "external_id": args.get("External id", -1),
                    "process": -1,
                    "bytes": args.get("bytes", -1),
                    "graph_node": args.get("graph node id", -1),
                    "annotation": args.get("annotation"),
                }
            )
    number_devices(found["device"])
    return found


def arguments(args: dict[str, Any]) -> tuple[Any, ...] | None:
    """What is said of an operator's arguments."""
    keys = ("Input Dims", "Input type", "Input Strides", "Concrete Inputs")
    of_collective = (
        "Collective name",
        "In msg nelems",
        "Out msg nelems",
        "Group size",
        "dtype",
        "Process Group Name",
        "Process Group Ranks",
    )
    message = [args.get(key) for key in of_collective] if "Collective name" in args else None
    said = (*(args.get(key) for key in keys), message)
    return said if any(key in args for key in (*keys, "Collective name")) else None


def number_devices(events: list[dict[str, Any]]) -> None:
    """A device's number, or, where events of that number have another pid, one above all."""
    said = [event["device"] for event in events]
    of_pid = {pid: {index for index, other in said if other == pid and index is not None} for _, pid in said}
    devices = []
    for event in events:
        index, pid = event["device"]
        if index is None:
            index = min(of_pid[pid]) if len(of_pid[pid]) == 1 else pid
        devices.append((index, pid))
    next_number = max((index for index, _ in devices), default=0) + 1
    numbers: dict[tuple[int, int], int] = {}
    for device in devices:
        if device not in numbers and device[0] in [index for index, _ in numbers]:
            numbers[device], next_number = next_number, next_number + 1
        numbers.setdefault(device, device[0])
    for event, device in zip(events, devices, strict=True):
        event["device"] = numbers[device]


def trace_rows(trace: Trace) -> dict[str, list[dict[str, Any]]]:
    """The same of a Trace that the reader made."""
    return {
        "host": list(_spelled_out(trace, trace.host)),
        "device": list(_spelled_out(trace, trace.device)),
        "flows": list(_spelled_out(trace, trace.flows)),
    }


def _spelled_out(trace: Trace, columns: HostRanges | DeviceEvents | AutogradFlows) -> Iterator[dict[str, Any]]:
    lists: dict[str, list[Any]] = {}
    for field in dataclasses.fields(columns):
        column = getattr(columns, field.name)
        assert column.dtype == column_dtype(field.name), field.name
        lists[field.name] = column.tolist()
    if "name" in lists:
        lists["name"] = [trace.names[code] for code in lists["name"]]
    for column in {"annotation", "frame"} & lists.keys():
        lists[column] = [trace.names[code] if code >= 0 else None for code in lists[column]]
    if "arguments" in lists:
        told = [msgspec.structs.astuple(texts) for texts in trace.arguments]
        spelled = [tuple(json.loads(text) if text else None for text in texts) for texts in told]
        lists["arguments"] = [spelled[code] if code >= 0 else None for code in lists["arguments"]]
    if "thread" in lists:
        lists["thread"] = [(trace.threads[code].pid, trace.threads[code].tid) for code in lists["thread"]]
    for values in zip(*lists.values(), strict=True):
        yield dict(zip(lists, values, strict=True))


def parsed(text: bytes) -> Any:
    return json.loads(text, parse_float=Decimal, strict=False)


def ignored(trace_events: list[dict[str, Any]]) -> dict[str, int]:
    """Events without a row, by category; metadata events (ph M) are not events."""
    found: Counter[str] = Counter()
    for event in trace_events:
        ph, cat = event.get("ph"), event.get("cat")
        kept = (ph == "X" and (cat in HOST or cat in DEVICE)) or (ph in ("s", "f") and cat == "fwdbwd")
        if not kept and ph != "M":
            found[cat or ("events without a category" if ph == "X" else f"ph {ph}")] += 1
    return dict(found)


def equal(left: Trace, right: Trace) -> bool:
    """Whether two readings of the same events agree in every column."""
    return (
        left.names == right.names
        and left.arguments == right.arguments
        and left.threads == right.threads
        and all(
            np.array_equal(getattr(getattr(left, part), f.name), getattr(getattr(right, part), f.name))
            for part in ("host", "device", "flows")
            for f in dataclasses.fields(getattr(left, part))
        )
    )
