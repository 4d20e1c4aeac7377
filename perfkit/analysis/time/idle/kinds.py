"""What a device did with its time, and why it had nothing to do. Tables and JSON spell them by their labels."""

from __future__ import annotations

from enum import IntEnum


class Kind(IntEnum):
    """What a device runs at an instant. Of work that runs at the same time the first of these has the instant."""

    COMPUTE = 0
    """Kernels, and memsets."""
    COMMUNICATION = 1
    """Exposed communication: collectives, while nothing is computed."""
    COPY = 2
    """Exposed copies: while nothing else runs."""
    IDLE = 3

    @property
    def label(self) -> str:
        """As written in tables."""
        return self.name.lower()


class Cause(IntEnum):
    """Why a device runs nothing."""

    LAUNCH_STARVED = 0
    """Nothing was queued: the host was busy, and had not yet launched what ran next."""
    BLOCKING = 1
    """Nothing was queued: the host had waited for the device, and had not launched anything since."""
    DEPENDENCY = 2
    """What ran next was queued, behind a wait for an event or for another stream."""
    DATA_LOADING = 3
    """Nothing was queued: the host was in a range of a data loader."""
    BETWEEN_STEPS = 4
    """Nothing was queued, after one step and before another."""
    OUTSIDE_STEPS = 5
    """Nothing was queued, before the first step or after the last."""
    UNKNOWN = 6
    """What ran next was queued, or its launch is not in the file, and nothing says what it waited for."""

    @property
    def label(self) -> str:
        """As written in tables."""
        return self.name.lower().replace("_", "-")
