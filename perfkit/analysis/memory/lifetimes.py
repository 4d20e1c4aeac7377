"""Lifetimes: every piece of memory of a recording, from its allocation to its end, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.trace.columns import Bytes, Int32s, Int64s

ALWAYS = np.iinfo(np.int64).min
"""In `Lifetimes.begin`: it lived before the first event."""
STILL = np.iinfo(np.int64).max
"""In `Lifetimes.end`: it lives after the last event."""


class Kind(IntEnum):
    """What memory is for."""

    PARAMETERS = 0
    GRADIENTS = 1
    OPTIMIZER = 2
    CONSTANTS = 3
    """Batch, buffers and constants."""
    ACTIVATIONS = 4
    """Made in forward or loss, and kept for backward."""
    TEMPORARIES = 5
    """Freed in the phase in which it was made."""
    WORKSPACES = 6
    """Of libraries: cuBLAS, cuDNN."""
    UNKNOWN = 7
    """The recording does not tell."""


LABELS = {
    Kind.PARAMETERS: "parameters",
    Kind.GRADIENTS: "gradients",
    Kind.OPTIMIZER: "optimizer state",
    Kind.CONSTANTS: "batch and constants",
    Kind.ACTIVATIONS: "activations",
    Kind.TEMPORARIES: "temporaries",
    Kind.WORKSPACES: "workspaces",
    Kind.UNKNOWN: "not told",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one device's events in one phase."""

    device: int
    first: int
    """Number of its first event."""
    last: int
    """Number of its last one."""
    phase: Phase
    step: int
    """MISSING where unknown."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """One row a piece of memory. Moments are numbers of events: rows of the recording's events, device by device.

    Bytes count from the event of the allocation (included) to that of the free's completion (excluded).
    """

    device: Int32s
    address: Int64s
    size: Int64s
    """Requested bytes."""
    begin: Int64s
    """Number of the allocating event; ALWAYS before the first."""
    end: Int64s
    """Number of the event that ended it; STILL after the last."""
    kind: Bytes
    """Kind."""
    scope: Int32s
    """Index into `scopes`: the layer that made it; MISSING where unknown."""
    phase: Bytes
    """attribution's Phase in which it was made; OTHER where unknown."""
    step: Int32s
    """The step in which it was made; MISSING where unknown."""
    operator: Int32s
    """Index into `operators`: what made it; MISSING where unknown."""
    stack: Int32s
    """Row of the recording's stacks, and of `places`; MISSING where there is none."""
    scopes: tuple[str, ...]
    operators: tuple[str, ...]
    time: Int64s
    """ns of each event, by its number; without times the number itself."""
    places: tuple[str, ...] = ()
    """Of each stack the innermost line of the user's program, `model.py(432): attention`, and its caller's after
    ` < `; empty where there is none."""
    spans: tuple[Span, ...] = ()
    """The phases, one after the other; empty where nothing tells them."""
    reasons: tuple[str, ...] = ()
    """Why rows are of kind UNKNOWN or without a scope, a sentence each."""

    def __len__(self) -> int:
        return len(self.size)

    @property
    def has_times(self) -> bool:
        """Whether the recording says when its events happened."""
        return not np.array_equal(self.time, np.arange(len(self.time)))

    def alive(self, moment: int) -> npt.NDArray[np.bool_]:
        """Rows that live just after the event of this number."""
        return (self.begin <= moment) & (self.end > moment)
