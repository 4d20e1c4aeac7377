"""MemoryNotes: what a run under `--profiler memory` knows of its tensors, beside its recording (`memory.json`).

A recording has addresses and sizes. Which of them are parameters, gradients or the optimizer's state, and what each
block keeps for backward, only the run can say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FILE = "memory.json"
"""Name of the file in the run's folder."""

HeldKind = Literal["parameters", "gradients", "optimizer state", "batch and constants"]
Moment = Literal["before", "backward", "after"]
"""Of a recorded step: before it begins, when backward is over, and when the step is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One storage that the run can name."""

    address: int
    """Of the storage's first byte, as the allocator's events have it."""
    size: int
    """Bytes of the storage."""
    kind: HeldKind
    name: str
    """The parameter's qualified name (`layers.3.attn.q_proj.weight`); for Adam's state with its key: `... exp_avg`."""
    scope: str
    """The module it belongs to (`layers.3.attn.q_proj`); empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All storages that can be named at one moment of a recorded step."""

    step: int
    """Among the recorded ones, from 0."""
    moment: Moment
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedOperation:
    """What one kind of operation of one module keeps for backward."""

    scope: str
    """The innermost module whose forward ran (`layers.3.attn.q_proj`)."""
    operation: str
    """The autograd node that keeps it (`MmBackward0`), or what could be found of it."""
    shape: tuple[int, ...]
    dtype: str
    size: int
    """Bytes of the storage; parameters and what is already counted for another operation are left out."""
    address: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNotes:
    """All of it. Bytes are those of storages, each counted once."""

    format_version: int = 1
    inventories: tuple[Inventory, ...] = ()
    saved: tuple[SavedOperation, ...] = ()
    """By saved-tensor hooks, in one step that was not recorded."""
