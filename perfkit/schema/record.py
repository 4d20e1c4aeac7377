"""RunRecord: everything one run measured, as it goes to disk: raw samples. Statistics are computed on reading.

History of the format (readers keep loading every version listed here):

1  first version
2  counters beside each step (`probes`) and their cost (`probing`), GPU samples (`gpu`), what ended the run (`ended_by`)
3  `config` in three parts (`workload`, `step`, `measurement`), where all fields lay side by side
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.schema import limits
from perfkit.schema.config import RunConfig, nested
from perfkit.schema.own_files import RECORD_FILE, inside
from perfkit.schema.probes import GpuSample, Probing, StepProbes, Window

FORMAT_VERSION = 3
_FIRST_NESTED = 3
"""The format whose configuration has parts."""

Status = Literal["ok", "oom", "interrupted"]
EndedBy = Literal["measure-steps", "target-ci", "max-time", "max-steps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSample:
    """One step's times, in seconds.

    wall is the synchronised host time of the whole step; phases are contiguous pieces of it by the device's own
    clock (CUDA events) or, on a CPU, the host's. The rest of wall is the final synchronisation and
    launch latency.
    """

    wall_s: Annotated[float, msgspec.Meta(gt=0)]
    phases_s: dict[str, float]
    """Keys from `range_names.STEP_PHASES`, in the order they ran; before them data, where a loader has the batches."""
    enqueue_s: float | None = None
    """GPU only: host time until the last kernel was enqueued. Near wall_s means launch-bound."""
    device_s: float | None = None
    """GPU only: time between the first and the last CUDA event."""
    cpu_s: float | None = None
    """CPU time of all the process's threads during the step."""
    probes: StepProbes | None = None
    """Counters read just outside the timed region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPeaks:
    """Peak memory over the measured steps, in bytes (writing a trace afterwards does not count)."""

    allocated: int | None = None
    """GPU: peak bytes in tensors (torch.cuda.max_memory_allocated)."""
    reserved: int | None = None
    """GPU: peak bytes the caching allocator held (torch.cuda.max_memory_reserved)."""
    tensors: int | None = None
    """CPU: peak bytes in tensors, by the profiler's events: of the measured steps where memory was recorded, else of
    one step after them. None for a workload of the caller's own that was not recorded, and in older records."""
    resident: int | None = None
    """Peak resident set of the process (Linux VmHWM; includes the interpreter and what warm-up left behind)."""

    @property
    def in_tensors(self) -> int | None:
        """Peak bytes in tensors, on whatever device; None where they were not counted."""
        return self.allocated if self.allocated is not None else self.tensors

    @property
    def headline(self) -> int | None:
        """The number shown in tables: tensors on a GPU, the resident set on a CPU."""
        return self.allocated if self.allocated is not None else self.resident


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run ended early."""

    phase: str
    """Where: `model`, `warm-up step 2, backward`, `measured step 3, forward`, `writing the trace`."""
    message: str
    signal: str | None = None
    """SIGINT (ctrl-C), SIGTERM or SIGHUP, where one interrupted the run. Older records lack it; theirs was SIGINT."""
    requested: int | None = None
    """Bytes asked for in the failing allocation, where the allocator said so."""
    available: int | None = None
    """Bytes there were."""
    suggestions: tuple[str, ...] = ()
    """Flag changes that would have fitted by the formula of memory, those that give up least first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationCost:
    """What the module ranges cost."""

    ranges: int
    """Module ranges opened in one step's forward (more with activation checkpointing, which recomputes)."""
    seconds_per_range: float
    """Measured on this machine outside the steps, with nothing recording."""
    nodes: float | None = None
    """Backward nodes with a range of their own, per step; None where backward has no ranges (all but nsys)."""
    seconds_per_node: float | None = None
    """As seconds_per_range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a run took place. Every field that could not be read is None, never a guess."""

    perfkit: str
    python: str
    torch: str
    os: str
    hostname: str
    device: str
    """Resolved: cpu, cuda or cuda:N."""
    device_name: str
    """GPU or CPU model."""
    device_memory: int | None
    """Bytes on the GPU, or of the machine."""
    cpu_model: str
    cpu_count: int
    """Logical CPUs this process may use."""
    num_threads: int
    """PyTorch's intra-op threads."""
    cpus_online: int | None = None
    """Logical CPUs of the machine; more than cpu_count where the process is pinned to some of them."""
    governor: str | None = None
    """Linux's frequency governor of these CPUs; `none` where the machine offers no choice (most virtual ones)."""
    cuda: str | None = None
    """CUDA (or ROCm) version PyTorch was built with."""
    cudnn: int | None = None
    driver: str | None = None
    compute_capability: str | None = None
    git_commit: str | None = None
    """Commit of the folder the run was started in; a trailing + means uncommitted changes."""
    argv: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables that change how PyTorch, CUDA or OpenMP behave."""
    libraries: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankResult:
    """What another rank than the first measured of a job's steps."""

    rank: int
    hostname: str
    device: str
    """As `Environment.device`."""
    device_name: str
    status: Status
    steps: tuple[StepSample, ...]
    warmup: tuple[StepSample, ...] = ()
    memory: MemoryPeaks = MemoryPeaks()
    failure: Failure | None = None
    artifacts: dict[str, str] = field(default_factory=dict)
    """As those of the record: relative to the job's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of one configuration."""

    config: RunConfig
    """Resolved: nothing left to guess."""
    environment: Environment
    created: str
    """Local time with offset, ISO 8601."""
    status: Status
    steps: tuple[StepSample, ...]
    warmup: tuple[StepSample, ...] = ()
    memory: MemoryPeaks = MemoryPeaks()
    failure: Failure | None = None
    annotation: AnnotationCost | None = None
    ended_by: EndedBy | None = None
    """The rule that ended the measured steps; None where they did not end by a rule."""
    probing: Probing | None = None
    window: Window | None = None
    """Counters over the measured steps of a run under torch.profiler, whose samples have none."""
    gpu: tuple[GpuSample, ...] = ()
    """What NVML said during the run, about ten times a second."""
    artifacts: dict[str, str] = field(default_factory=dict)
    """What else the run wrote: kind -> path relative to the record's folder (see `artifact`)."""
    ranks: tuple[RankResult, ...] = ()
    """The other ranks of a job (--parallel), in order; all else in the record is rank 0's. Empty for one process."""
    observed: dict[str, int | float | str | None] = field(default_factory=dict)
    """What observers add without a field of their own: name -> value, None where it could not be read."""
    kind: Literal["perfkit.run"] = "perfkit.run"
    format_version: int = FORMAT_VERSION


def rank_result(rank: int, saved: RunRecord, folder: str = ".") -> RankResult:
    """What the record of one rank says of it in its job's; its artifacts are in `folder`, below the job's."""
    where = saved.environment
    return RankResult(
        rank=rank, hostname=where.hostname, device=where.device, device_name=where.device_name, status=saved.status,
        steps=saved.steps, warmup=saved.warmup, memory=saved.memory, failure=saved.failure,
        artifacts={kind: str(PurePosixPath(folder) / name) for kind, name in saved.artifacts.items()},
    )  # fmt: skip


class _Header(msgspec.Struct):
    kind: str = ""
    format_version: int = 0


class UnsavedError(UsageError):
    """The record cannot be written. The error carries it, so that what was measured can still be shown."""

    def __init__(self, message: str, record: RunRecord) -> None:
        super().__init__(message)
        self.record = record


def save(record: RunRecord, folder: Path) -> Path:
    """Write the record into `folder` in one step (a crash leaves the old file or the new one) and return its path.

    Raises UnsavedError where the folder cannot be written any more.
    """
    path = folder / RECORD_FILE
    draft = path.with_suffix(".json.part")
    data = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    with signals.held():
        try:
            draft.write_bytes(data)
            draft.replace(path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()  # half a record is useless, and a full disk needs the space
            why = f"{path}: cannot be saved: {error.strerror}; choose another --traces-dir"
            raise UnsavedError(why, record) from error
    return path


def load(path: Path) -> RunRecord:
    """Read a record from its file, or from the folder it lies in.

    Raises UsageError when the file is missing, is of a later version, or is not a record.
    """
    file = path / RECORD_FILE if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; pass a run's folder or its {RECORD_FILE}") from error
    try:
        header = msgspec.json.decode(data, type=_Header)
        _check_header(header)
        record = _decoded(data, header.format_version)
        limits.check_json(data)
        if not record.config.is_resolved:
            raise UsageError("its configuration leaves open what was measured: not written by perfkit")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{file}: not a readable perfkit record: {error}") from error
    except UsageError as error:  # of the header, or of a configuration that this version refuses
        raise UsageError(f"{file}: {error}") from error
    return record


def _decoded(data: bytes, version: int) -> RunRecord:
    """A record of any format, as one of the latest."""
    if version >= _FIRST_NESTED:
        return msgspec.json.decode(data, type=RunRecord)
    fields = msgspec.json.decode(data, type=dict[str, Any])
    if isinstance(fields.get("config"), dict):
        fields["config"] = nested(fields["config"])
    return msgspec.convert(fields | {"format_version": FORMAT_VERSION}, RunRecord)


def artifact(record: RunRecord, folder: Path, kind: str) -> Path | None:
    """The path of what else a run wrote into its folder; None where it wrote nothing of the kind.

    Raises UsageError where the record, which anyone may have written, does not name a file in that folder.
    """
    if kind not in record.artifacts:
        return None
    source = f"{folder / RECORD_FILE}: artifacts.{kind}"
    path = inside(folder, record.artifacts[kind], source)
    if path.exists() and not path.is_file():
        raise UsageError(f"{source} names {record.artifacts[kind]!r}, which is not a file: name the trace itself")
    return path


def _check_header(header: _Header) -> None:
    if header.kind != "perfkit.run":  # the content of a foreign file is not shown
        kind = "another" if header.kind else "missing"
        raise UsageError(
            f"not a perfkit record (its kind is {kind}): pass a run's folder, its {RECORD_FILE}, or a trace"
        )
    if header.format_version > FORMAT_VERSION:
        raise UsageError(
            f"record format {header.format_version}, and this perfkit reads up to {FORMAT_VERSION}: upgrade perfkit"
        )
    if header.format_version < 1:
        raise UsageError(f"record format {header.format_version} never existed: not written by perfkit")


def plains(saved: RunRecord, folder: Path) -> list[RunRecord]:
    """The record of the plain steps beside a profiled run, where there is one."""
    plain = artifact(saved, folder, "plain")
    return [load(plain)] if plain is not None and plain.exists() else []
