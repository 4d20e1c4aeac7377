"""`torchrun ... perfkit run --parallel ...`: this process is one rank of a job."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import signals
from perfkit.commands.console.progress import going_on
from perfkit.errors import InterruptedRunError, OutOfMemoryError, PerfkitError, UsageError
from perfkit.launch.torchrun import Place
from perfkit.schema.config import RunConfig
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.record import RunRecord

if TYPE_CHECKING:
    from perfkit.measure.loop import Observer


def resolve(config: RunConfig, place: Place) -> RunConfig:
    """The configuration of this rank, on a GPU of its own where there are GPUs.

    Raises UsageError where this many ranks cannot share the model or the machine; all of them raise it.
    """
    if config.step.device.startswith("cuda:"):
        raise UsageError(f"--device {config.step.device}: each rank has a GPU of its own: leave out the number")
    with signals.at_once(), going_on("loading PyTorch"):
        from perfkit.measure import runner
        from perfkit.measure.ranks import session
        from perfkit.workload import parallel

    resolved = runner.resolve(config)
    parallel.check(resolved, place.ranks)
    if resolved.step.device == "cpu":
        return resolved
    session.check_devices(place, resolved.step.device)
    step = dataclasses.replace(resolved.step, device=f"cuda:{place.local_rank}")
    return dataclasses.replace(resolved, step=step)


def measure(
    place: Place, config: RunConfig, make_folder: Callable[[], Path], run: Callable[[Path], RunRecord]
) -> tuple[RunRecord, Path]:
    """Measure with all other ranks; the job's record from rank 0, from any other its own, and the job's folder."""
    from perfkit.measure.ranks import job, session

    with session.joined(place, config.step.device) as joined:
        folder = job.folder_of(joined, make_folder)
        try:
            return job.measure(joined, folder, run), folder
        except KeyboardInterrupt as error:
            saved = f"what was measured is saved in {folder}" if any(folder.rglob(RECORD_FILE)) else "nothing is saved"
            raise InterruptedRunError(signals.by(error), f" (rank {place.rank}); {saved}") from error


def run(config: RunConfig, folder: Path, observers: Sequence[Observer]) -> RunRecord:
    """Measure this rank's share."""
    from perfkit.measure import runner
    from perfkit.workload.parallel import ParallelWorkload

    return runner.run(config, folder, observers, build=ParallelWorkload)


def failure(record: RunRecord, folder: Path, place: Place) -> PerfkitError | None:
    """What to say of a rank that did not take all its steps; None where it did."""
    if record.failure is None:
        return None
    kind = OutOfMemoryError if record.status == "oom" else PerfkitError
    if not place.is_first:
        return kind(f"rank {place.rank}: {record.failure.message}")
    done = f"{len(record.steps)} of {record.config.measurement.most_steps}"
    return kind(f"{record.failure.message}; {done} measured steps saved in {folder}")
