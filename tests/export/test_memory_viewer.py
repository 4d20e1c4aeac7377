"""Recordings for PyTorch's viewer, read by its own functions."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import Kind, Lifetimes
from perfkit.analysis.memory.recorded import snapshot as snapshots
from perfkit.export import memory_viewer
from perfkit.trace.snapshot.columns import Snapshot
from tests.analysis.memory.lives import Piece, lives_of
from tests.analysis.memory.recorded import training
from tests.analysis.memory.recorded.snapshots import columns, event, pickled

_memory_viz: Any = pytest.importorskip("torch.cuda._memory_viz")


def written(lives: Lifetimes, snapshot: Snapshot | None = None) -> tuple[bytes, dict[str, Any]]:
    file = io.BytesIO()
    memory_viewer.write(lives, snapshot, file)
    return file.getvalue(), pickle.loads(file.getvalue())


def live_bytes(document: dict[str, Any]) -> int:
    """The peak of a viewer: what its segments hold that no event made, and what events make and free."""
    events = [one for trace in document["device_traces"] for one in trace]
    made = {one["addr"] for one in events if one["action"] == "alloc"}
    blocks = [block for segment in document["segments"] for block in segment["blocks"]]
    held = sum(one["requested_size"] for one in blocks if one["state"] != "inactive" and one["address"] not in made)
    signs = [{"alloc": 1, "free_completed": -1}.get(one["action"], 0) * one["size"] for one in events]
    return held + int(np.cumsum([0, *signs]).max())


def test_a_snapshot_is_written_as_it_was_with_what_each_piece_is_for():
    """GIVEN a step whose peak is 10,308 B (tests/analysis/memory/recorded/test_tables.py) THEN so much lives in it."""
    raw = training.step()
    snapshot = columns(raw)
    data, document = written(snapshots.lifetimes(snapshot), snapshot)
    assert next(pickletools.genops(data))[1] == 4  # the protocol: its viewer shows an empty page for 5
    names = ("action", "addr", "size", "stream", "frames")
    assert [[one[name] for name in names] for one in document["device_traces"][0]] == [
        [one[name] for name in names] for one in raw["device_traces"][0]
    ]
    assert live_bytes(document) == 10_308
    scores = next(one for one in document["device_traces"][0] if one["size"] == 64)
    assert scores["user_metadata"] == "activations, block 0, forward"


def test_its_own_functions_read_it():
    raw = pickled([event("alloc", 0, 512), event("oom", 7, 2**30), event("free_completed", 0, 512)], blocks=[])
    snapshot = columns(raw)
    _, document = written(snapshots.lifetimes(snapshot), snapshot)
    assert "OutOfMemoryError # 1.0GiB requested, 7.0B free" in _memory_viz.trace(document)
    for plot in (_memory_viz.trace_plot, _memory_viz.segment_plot):
        assert "snapshot.pickle" in plot(document)
    _, document = written(snapshots.lifetimes(columns(training.step())), columns(training.step()))
    assert "segments" in _memory_viz.segsum(document)


def test_a_trace_of_a_cpu_is_written_too():
    """GIVEN 100 B that live throughout and 50 from event 1 to 3 THEN 150 live at most, and the layer is the stack."""
    pieces = (
        Piece(100, kind=Kind.PARAMETERS, device=-1),
        Piece(50, 1, 3, Kind.ACTIVATIONS, "mlp", Phase.FORWARD, "aten::mm", device=-1),
    )
    _, document = written(lives_of(*pieces))
    assert live_bytes(document) == 150
    actions = [(one["action"], one["size"]) for one in document["device_traces"][0]]
    assert actions == [("alloc", 50), ("free_requested", 50), ("free_completed", 50)]
    assert [frame["name"] for frame in document["device_traces"][0][0]["frames"]] == ["aten::mm", "mlp"]
    assert "alloc" not in _memory_viz.trace(document)
    assert "snapshot.pickle" in _memory_viz.trace_plot(document)
