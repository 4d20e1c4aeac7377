"""Snapshots by hand: as PyTorch pickles them, and as perfkit's columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perfkit.trace.columns import MISSING
from perfkit.trace.snapshot.columns import (
    ACTIONS,
    Action,
    AllocatorEvents,
    Annotation,
    Blocks,
    BlockState,
    Frame,
    Segments,
    Snapshot,
    Stacks,
)

STATES = {
    "inactive": BlockState.INACTIVE,
    "active_allocated": BlockState.ACTIVE,
    "active_pending_free": BlockState.AWAITING_FREE,
}
CALL = "lib/torch/nn/modules/module.py(1): _call_impl"
ENGINE = "torch::autograd::Engine::thread_main()"
ADAM = "lib/torch/optim/adamw.py(9): step"
MAIN = "train.py(1): <module>"


def event(action: str, address: int, size: int, *stack: str, **more: Any) -> dict[str, Any]:
    """An event; frames are texts such as `model.py(3): forward`, innermost first."""
    return {
        "action": action,
        "addr": address,
        "size": size,
        "stream": 0,
        "frames": [_frame(text) for text in stack],
    } | more


def block(address: int, size: int, *, state: str = "active_allocated", rounded: int = 0) -> dict[str, Any]:
    """A block of a segment."""
    return {"address": address, "size": rounded or size, "requested_size": size, "state": state, "frames": []}


def pickled(
    *devices: Iterable[dict[str, Any]], blocks: Iterable[dict[str, Any]] = (), device: int = 0, total: int = 0
) -> dict[str, Any]:
    """A snapshot as `torch.cuda.memory._snapshot` returns it: the events of each device, and one segment at the end."""
    held = list(blocks)
    segment = {"device": device, "address": 0, "total_size": total or sum(one["size"] for one in held), "blocks": held}
    return {"device_traces": [list(events) for events in devices], "segments": [segment]}


def columns(raw: dict[str, Any], annotations: Sequence[Annotation] = ()) -> Snapshot:
    """The same as perfkit's columns."""
    frames: dict[tuple[str, str, int], int] = {}
    stacks: dict[tuple[int, ...], int] = {}
    texts: dict[str, int] = {}

    def stack(of: list[dict[str, Any]]) -> int:
        codes = [frames.setdefault((one["name"], one["filename"], one["line"]), len(frames)) for one in of]
        return stacks.setdefault(tuple(codes), len(stacks)) if codes else MISSING

    def text(of: str) -> int:
        return texts.setdefault(of, len(texts)) if of else MISSING

    rows = [
        (
            ACTIONS.get(one["action"], Action.OTHER), device, one.get("time_us", 0) * 1000, one["addr"], one["size"],
            one["stream"], stack(one["frames"]), text(one.get("user_metadata", "")), MISSING,
        )
        for device, events in enumerate(raw["device_traces"]) for one in events
    ]  # fmt: skip
    kinds: tuple[Any, ...] = (
        np.uint8, np.int32, np.int64, np.int64, np.int64, np.int64, np.int32, np.int32, np.int32,
    )  # fmt: skip
    events = AllocatorEvents(*(np.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)))
    held = [
        (number, one["address"], one["size"], one["requested_size"], STATES[one["state"]], stack(one["frames"]))
        for number, segment in enumerate(raw["segments"]) for one in segment["blocks"]
    ]  # fmt: skip
    kinds = (np.int32, np.int64, np.int64, np.int64, np.uint8, np.int32)
    blocks = Blocks(*(np.array([row[at] for row in held], kind) for at, kind in enumerate(kinds)))
    return Snapshot(
        path=Path("snapshot.pickle"), events=events, segments=_segments(raw["segments"]), blocks=blocks,
        stacks=Stacks(
            np.cumsum([0, *map(len, stacks)], dtype=np.int64),
            np.array([frame for codes in stacks for frame in codes], np.int32),
        ),
        frames=tuple(Frame(*frame) for frame in frames), texts=tuple(texts), annotations=tuple(annotations),
        has_times=bool(events.time.any()),
    )  # fmt: skip


def _segments(raw: list[dict[str, Any]]) -> Segments:
    def column(key: str, kind: Any) -> Any:
        return np.array([segment.get(key, 0) for segment in raw], kind)

    return Segments(
        device=column("device", np.int32), address=column("address", np.int64), total=column("total_size", np.int64),
        allocated=column("allocated_size", np.int64), active=column("active_size", np.int64),
        requested=column("requested_size", np.int64), stream=column("stream", np.int64),
        is_large=column("is_large", np.uint8), is_expandable=column("is_expandable", np.uint8),
        pool=column("pool", np.int32), stack=np.full(len(raw), MISSING, np.int32),
    )  # fmt: skip


def _frame(text: str) -> dict[str, Any]:
    file, separator, rest = text.partition(".py(")
    if not separator:
        return {"name": text, "filename": "??", "line": 0}
    line, _, name = rest.partition("): ")
    return {"name": name, "filename": f"{file}.py", "line": int(line)}
