"""Snapshot: what an allocator did and what it held at the end, as numpy columns. Sizes are bytes, times int64 ns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from perfkit.trace.columns import Bytes, Int32s, Int64s


class Action(IntEnum):
    """What happened. The values are perfkit's; `ACTIONS` has PyTorch's words."""

    ALLOC = 0
    FREE_REQUESTED = 1
    """The program let go of it; other streams may still use it."""
    FREE_COMPLETED = 2
    """The block is the allocator's again."""
    SEGMENT_ALLOC = 3
    """The allocator asked the driver for memory."""
    SEGMENT_FREE = 4
    SEGMENT_MAP = 5
    """An expandable segment grew."""
    SEGMENT_UNMAP = 6
    OOM = 7
    """The size is what was asked for, and the address what the device had free."""
    SNAPSHOT = 8
    OTHER = 9


ACTIONS = {action.name.lower(): action for action in Action if action is not Action.OTHER}
"""As `torch.cuda.memory._snapshot` spells them; any other word is OTHER."""


@dataclass(frozen=True, slots=True)
class AllocatorEvents:
    """One row an event, in the order in which they happened, device by device."""

    action: Bytes
    """Action."""
    device: Int32s
    time: Int64s
    """ns; 0 in every row where the file has no times (2.1 and before 2.2)."""
    address: Int64s
    size: Int64s
    """Requested bytes, for ALLOC and both FREEs; the segment's bytes for segments."""
    stream: Int64s
    stack: Int32s
    """Index into Snapshot.stacks; MISSING where there is none."""
    metadata: Int32s
    """Index into Snapshot.texts: what the user stamped it with (`_set_memory_metadata`); MISSING where empty."""
    compile_context: Int32s
    """Index into Snapshot.texts; MISSING where there is none."""

    def __len__(self) -> int:
        return len(self.action)


@dataclass(frozen=True, slots=True)
class Segments:
    """What the allocator had from the driver at the end; one row each."""

    device: Int32s
    address: Int64s
    total: Int64s
    allocated: Int64s
    """Bytes of blocks in use, rounded."""
    active: Int64s
    """The same, and blocks that other streams still use."""
    requested: Int64s
    stream: Int64s
    is_large: Bytes
    is_expandable: Bytes
    pool: Int32s
    """Number of its pool: 0 for the usual one, others for CUDA graphs and users' pools."""
    stack: Int32s

    def __len__(self) -> int:
        return len(self.device)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The pieces of the segments at the end; one row each."""

    segment: Int32s
    """Row in Segments."""
    address: Int64s
    size: Int64s
    """Rounded bytes."""
    requested: Int64s
    state: Bytes
    """BlockState."""
    stack: Int32s
    """Of its allocation; MISSING where there is none."""

    def __len__(self) -> int:
        return len(self.segment)


class BlockState(IntEnum):
    """What a block is."""

    INACTIVE = 0
    """Free."""
    ACTIVE = 1
    """In use."""
    AWAITING_FREE = 2
    """Let go of by the program, in use by other streams."""


@dataclass(frozen=True, slots=True)
class Stacks:
    """Distinct stacks, innermost frame first: frames of stack i are `frame[start[i]:start[i + 1]]`."""

    start: Int64s
    """One entry more than there are stacks."""
    frame: Int32s
    """Index into Snapshot.frames."""

    def __len__(self) -> int:
        return len(self.start) - 1

    def of(self, stack: int) -> Int32s:
        """The frames of one stack, innermost first."""
        return self.frame[self.start[stack] : self.start[stack + 1]]


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a stack."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """A `record_function` range, by `external_annotations`: on no thread, and not always nested."""

    name: str
    device: int
    start: int
    """ns; the beginning of the recording where only its end is there."""
    end: int
    """ns; the end of the recording where only its start is there."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An allocator's history and its state at the end."""

    path: Path
    events: AllocatorEvents
    segments: Segments
    blocks: Blocks
    stacks: Stacks
    frames: tuple[Frame, ...]
    texts: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    has_times: bool
    settings: Mapping[str, object] = field(default_factory=dict)
    """`allocator_settings`, as plain values; empty where the file has none."""
    entries_lost: bool = False
    """The ring buffer was full: events older than the first are missing."""
