"""Lifetimes from a profiler's trace, and from what a run notes of its memory beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import ALWAYS, LABELS, STILL, Kind, Lifetimes
from perfkit.analysis.memory.recorded import account, live, tables, trace
from perfkit.errors import UsageError
from perfkit.schema.memory.notes import Held, Inventory, MemoryNotes
from perfkit.trace.columns import MISSING, HostKind, Trace
from perfkit.trace.detail_columns import MemoryEvents
from tests.builders import TraceBuilder

CPU, CUDA = 0, 1


def recorded(events: Iterable[tuple[int, int, int]], *, device: int = CPU) -> MemoryEvents:
    """Events of one thread: time, address, bytes (negative for frees)."""
    rows = list(events)
    time, address, size = (np.array([row[at] for row in rows], np.int64) for at in range(3))
    nothing = np.full(len(rows), MISSING, np.int64)
    return MemoryEvents(
        thread=np.zeros(len(rows), np.int32), time=time, device_type=np.full(len(rows), device, np.int32),
        device=np.full(len(rows), 0 if device else MISSING, np.int32), bytes=size, address=address,
        allocated=nothing, reserved=nothing,
    )  # fmt: skip


def step() -> Trace:
    """A step of perfkit's: forward of two layers and the loss, then backward, then the optimizer."""
    built = TraceBuilder().range("perfkit.step::0", 0, 1000, HostKind.ANNOTATION)
    for name, start, end in (("forward", 10, 300), ("backward", 310, 600), ("optimizer", 610, 990)):
        built.range(f"perfkit.phase::{name}", start, end, HostKind.ANNOTATION)
    built.module("layers.0", 20, 100).range("aten::mm", 30, 90, sequence=7).range("aten::empty", 40, 50)
    built.module("layers.1", 110, 200).range("aten::add", 120, 190)
    return built.node("MmBackward0", 320, 400, 7).range("aten::mm", 330, 390).build()


def lifetimes(events: MemoryEvents, notes: MemoryNotes | None = None) -> Lifetimes:
    traced = step()
    return trace.lifetimes(traced, attribute(traced), events, notes)


EVENTS = (
    (5, 1, 8), (45, 10, 100), (125, 20, 50), (126, 21, 5), (180, 21, -5), (340, 30, 70), (395, 10, -100),
    (580, 20, -50), (700, 40, 9), (800, 30, -70),
)  # fmt: skip


def test_pieces_are_attributed_by_the_ranges_round_them():
    """GIVEN allocations in two layers, in a node of the first, and in the optimizer, THEN each has that place."""
    lives = lifetimes(recorded(EVENTS))
    rows = zip(
        lives.address.tolist(), tables.texts(lives.scope, lives.scopes), tables.texts(lives.operator, lives.operators),
        [Phase(phase).label for phase in lives.phase], lives.step.tolist(), [LABELS[Kind(kind)] for kind in lives.kind],
        strict=True,
    )  # fmt: skip
    assert list(rows)[1:] == [
        (10, "layers.0", "aten::mm", "forward", 0, "activations"),
        (20, "layers.1", "aten::add", "forward", 0, "activations"),
        (21, "layers.1", "aten::add", "forward", 0, "temporaries"),
        (30, "layers.0", "MmBackward0", "backward", 0, "gradients"),
        (40, "optimizer", "", "optimizer", 0, "optimizer state"),
    ]  # fmt: skip
    assert lives.time.tolist() == [time for time, _, _ in EVENTS]
    assert account.the_peak(lives) == live.Peak(MISSING, 8 + 100 + 50 + 70, 5)


def test_a_free_that_follows_no_allocation_counts_on_a_gpu_alone():
    """On a CPU PyTorch has the sizes of such frees from earlier recordings, and not always of the same piece."""
    events = [(20, 1, -900), (30, 2, 10)]
    on_gpu = lifetimes(recorded(events, device=CUDA))
    assert (on_gpu.size.tolist(), on_gpu.begin.tolist()) == ([900, 10], [ALWAYS, 1])
    assert lifetimes(recorded(events)).size.tolist() == [10]


def test_events_are_ordered_by_time():
    """GIVEN a file that has the free before the allocation, THEN they are paired by their times."""
    lives = lifetimes(recorded([(50, 1, -10), (40, 1, 10)]))
    assert (lives.begin.tolist(), lives.end.tolist()) == ([0], [1])


def test_allocations_without_addresses_are_refused():
    events = dataclasses.replace(recorded([(20, 1, 10)]), address=np.array([MISSING]))
    with pytest.raises(UsageError, match="no addresses"):
        lifetimes(events)


def held(address: int, size: int, kind: str, scope: str = "") -> Held:
    return Held(address=address, size=size, kind=kind, name="", scope=scope)  # type: ignore[arg-type]


def test_inventories_name_pieces_and_what_lived_before():
    """GIVEN inventories before the step and after backward, THEN what no event allocated is a row, once, and what was
    allocated is of the kind that they say; at an address that was used before, the piece that lives at that moment."""
    events = [(45, 50, 3), (60, 50, -3), (340, 50, 70), (700, 50, -70), (710, 50, 4)]
    before = (
        held(1, 500, "parameters", "layers.0"),
        held(2, 900, "optimizer state", "layers.0"),
        held(3, 4, "batch and constants"),
    )
    notes = MemoryNotes(inventories=(
        Inventory(step=0, moment="before", held=before),
        Inventory(step=0, moment="backward", held=(*before, held(50, 70, "gradients", "layers.1"))),
        Inventory(step=9, moment="before", held=(held(77, 77, "parameters"),)),
    ))  # fmt: skip
    lives = lifetimes(recorded(events), notes)
    rows = zip(
        lives.address.tolist(), lives.size.tolist(), [LABELS[Kind(kind)] for kind in lives.kind],
        tables.texts(lives.scope, lives.scopes), lives.begin.tolist(), lives.end.tolist(), strict=True,
    )  # fmt: skip
    assert list(rows) == [
        (1, 500, "parameters", "layers.0", ALWAYS, STILL), (2, 900, "optimizer state", "layers.0", ALWAYS, STILL),
        (3, 4, "batch and constants", "", ALWAYS, STILL), (50, 3, "temporaries", "layers.0", 0, 1),
        (50, 70, "gradients", "layers.1", 2, 3), (50, 4, "optimizer state", "optimizer", 4, STILL),
    ]  # fmt: skip
    assert account.the_peak(lives).bytes == 500 + 900 + 4 + 70
    assert lives.reasons == ()


def test_what_an_inventory_names_of_another_size_stays_as_it_was_told():
    """GIVEN an address with a piece of 70 B where the run held 60, THEN the piece is not what the run named."""
    notes = MemoryNotes(inventories=(Inventory(step=0, moment="backward", held=(held(30, 60, "parameters"),)),))
    lives = lifetimes(recorded([(340, 30, 70)]), notes)
    assert lives.kind.tolist() == [Kind.GRADIENTS]
