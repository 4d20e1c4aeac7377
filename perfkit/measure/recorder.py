"""The only module that writes run records; it also rewrites the records of runs under nsys."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.measure import environment, loop, memory_limit
from perfkit.measure.loop import Measured, Observer
from perfkit.schema import record as records
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Transformer
from perfkit.schema.record import Failure, RunRecord, Status

WRITING = "writing the trace"
"""The phase of a profiled run after its last step."""
_LONGEST = 500
"""Characters that a record keeps of an error that is not perfkit's."""
_NO_FUSED_KERNEL = "No available kernel"
"""PyTorch's message if the chosen attention backend does not support the inputs; only PyTorch knows which do."""


class Recorder:
    """Assembles the record from what the loop has measured and what each observer adds, and writes it.

    The record is written when the run is over and, under a profiler, also before the trace: writing a trace takes long,
    and a batch system that has sent SIGTERM may not wait for it.
    """

    def __init__(
        self, config: RunConfig, folder: Path, observers: Sequence[Observer], *, of_others: bool = False
    ) -> None:
        """`of_others`: the steps are somebody else's loop, where any error ends a run as a signal does."""
        self._of_others = of_others
        self.measured = Measured()
        self.observers = [*observers]
        """Observers, the outermost first; a run adds its own."""
        self.available = 0
        """Bytes available when the run began."""
        self._config, self._folder = config, folder
        self._created = datetime.now().astimezone().isoformat(timespec="seconds")
        self.environment = environment.collect(config)

    def write(self, error: BaseException | None) -> RunRecord:
        """Write the record so far; `error` is the error that ended the steps, or None.

        Raises UnsavedError if the record cannot be written, and `error` itself if it is not a result.
        """
        status, failure = self._end(error)
        record = RunRecord(
            config=self._config,
            environment=self.environment,
            created=self._created,
            status=status,
            steps=tuple(self.measured.steps),
            warmup=tuple(self.measured.warmup),
            failure=failure,
            ended_by=self.measured.ended_by,
        )
        for observer in self.observers:
            record = observer.add_to(record)
        records.save(record, self._folder)
        return record

    def write_before_the_trace(self) -> None:
        """Write the record so far, with all other observers closed. If this fails, the final write reports it."""
        with suppress(records.UnsavedError):
            self.write(sys.exception())
        if self.measured.ended_by:
            self.measured.step, self.measured.phase = None, WRITING

    def close(self) -> None:
        """Close all observers."""
        loop.close(self.observers)

    def _end(self, error: BaseException | None) -> tuple[Status, Failure | None]:
        """Return the status of a run and its failure, if any. Raises the error that ended it if it is not a result."""
        if error is None:
            return "ok", None
        where = self.measured.where
        number = signals.by(error) if isinstance(error, KeyboardInterrupt) else signals.first()
        if number is not None:
            text = f"interrupted by {number.name} in {where}"
            return "interrupted", Failure(phase=where, message=text, signal=number.name)
        if _NO_FUSED_KERNEL in str(error) and isinstance(self._config.workload, Transformer):
            backend = self._config.workload.sdpa_backend
            raise UsageError(
                f"--sdpa-backend {backend} has no kernel for this shape, precision and device: use --sdpa-backend auto"
            ) from error
        if not memory_limit.is_out_of_memory(error):
            if self._of_others:
                return "interrupted", Failure(phase=where, message=f"{type(error).__name__}: {error}"[:_LONGEST])
            raise error
        return "oom", memory_limit.failure(self._config.step.device, error, where, self.available)


_NOTHING: Mapping[str, str] = {}


def completed(
    record: RunRecord, folder: Path, artifacts: Mapping[str, str] = _NOTHING, *, failure: Failure | None = None
) -> RunRecord:
    """Rewrite a saved record with the artifacts now in the folder, or with the reason why some are missing.

    Raises UnsavedError if the record cannot be written.
    """
    if failure is not None:
        record = dataclasses.replace(record, status="interrupted", failure=failure)
    record = dataclasses.replace(record, artifacts={**record.artifacts, **artifacts})
    records.save(record, folder)
    return record
