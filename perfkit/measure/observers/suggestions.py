"""What to try after running out of memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from perfkit.measure.loop import Observer
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import RunRecord

Suggest = Callable[[RunConfig, int], tuple[str, ...]]
"""Maps a configuration that ran out of memory, and the bytes that were available, to flags that would fit."""


class Suggestions(Observer):
    """Adds flags to try to the out-of-memory failure of a Transformer. The memory model is in the analysis."""

    def __init__(self, suggest: Suggest) -> None:
        self._suggest = suggest

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add suggestions to the failure."""
        failure = record.failure
        if record.status != "oom" or failure is None or failure.available is None:
            return record
        if isinstance(record.config.workload, Own) or record.config.step.parallel != "off":
            return record  # what a rank of a job holds is not known
        flags = self._suggest(record.config, failure.available)
        return dataclasses.replace(record, failure=dataclasses.replace(failure, suggestions=flags))
