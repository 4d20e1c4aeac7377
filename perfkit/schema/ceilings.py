"""Ceilings: what `perfkit doctor --measure-peaks` measured of a device, as it goes to disk. Raw samples.

The producer writes it, the analysis reads it, and neither imports the other.

History of the format (readers keep loading every version listed here):

1  first version
"""

from __future__ import annotations

import re
import statistics
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.schema import limits

FORMAT_VERSION = 1

Precision = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp16-acc16", "fp8", "fp8-acc16", "int8", "fp4"]
"""Types of a matrix product's inputs. Sums are in fp32 (int32 for int8, fp64 for fp64); in fp16 with `acc16`, which
GeForce cards do at twice the rate. tf32 is fp32 inputs on tensor cores."""

_Positive = Annotated[float, msgspec.Meta(gt=0)]


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One operation, timed several times."""

    size: int
    """Of a matrix product: n of its n x n matrices. Of a copy: bytes of the tensor."""
    work: _Positive
    """FLOPs of a product (2 n^3), or bytes that a copy reads and writes (twice the tensor)."""
    samples_s: Annotated[tuple[_Positive, ...], msgspec.Meta(min_length=1)]
    """Seconds of one operation, in the order measured."""
    cpu_share: float | None = None
    """On a CPU: CPU time that this process got, of what its threads could have had; below 1 where others ran too."""

    @property
    def per_second(self) -> float:
        """FLOP/s or B/s of the median sample."""
        return self.work / statistics.median(self.samples_s)

    @property
    def cv(self) -> float:
        """Standard deviation (n - 1) of the samples over their mean; 0 for one sample."""
        if len(self.samples_s) < 2:
            return 0.0
        return statistics.stdev(self.samples_s) / statistics.fmean(self.samples_s)


class Ceilings(msgspec.Struct, frozen=True, kw_only=True):
    """The fastest that matrix products and copies ran on a device."""

    device: str
    """cpu, cuda or cuda:N."""
    device_name: str
    """GPU or CPU model."""
    device_memory: int | None
    """Bytes."""
    multiprocessors: int | None
    """None of a CPU."""
    threads: int | None
    """PyTorch's threads on a CPU; None of a GPU."""
    hostname: str
    torch: str
    created: str
    """Local time with offset, ISO 8601."""
    matmul: dict[Precision, Timing]
    copy: Timing
    skipped: dict[Precision, str] = msgspec.field(default_factory=dict)
    """Precisions that were not measured, and why."""
    kind: Literal["perfkit.ceilings"] = "perfkit.ceilings"
    format_version: int = FORMAT_VERSION


class _Header(msgspec.Struct):
    kind: str = ""
    format_version: int = 0


def file_name(device_name: str, threads: int | None = None) -> str:
    """The name of the file for a device; for a CPU, with the number of threads: `amd-epyc-2-threads.json`."""
    name = re.sub(r"[^a-z0-9]+", "-", device_name.lower())[:100].strip("-") or "unnamed"
    return name + (f"-{threads}-threads" if threads is not None else "") + ".json"


def save(ceilings: Ceilings, path: Path) -> None:
    """Write the file in one step (a crash leaves the old file or the new one). Makes its folder, for this user alone.

    Raises UsageError where it cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    data = msgspec.json.format(msgspec.json.encode(ceilings), indent=2) + b"\n"
    with signals.held():
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_bytes(data)
            draft.replace(path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise UsageError(f"{path}: cannot be saved: {error.strerror}; choose another --peaks-file") from error


def load(path: Path) -> Ceilings:
    """Read the file. Raises UsageError when it is missing, of a later version, or not such a file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; perfkit doctor --measure-peaks writes it") from error
    again = "measure again with perfkit doctor --measure-peaks"
    try:
        _check_header(msgspec.json.decode(data, type=_Header))
        ceilings = msgspec.json.decode(data, type=Ceilings)
        limits.check_json(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UsageError) as error:
        raise UsageError(f"{path}: not readable as measured peaks ({error}): {again}") from error
    return ceilings


def _check_header(header: _Header) -> None:
    if header.kind != "perfkit.ceilings":
        raise UsageError("it holds something else")
    if not 1 <= header.format_version <= FORMAT_VERSION:
        raise UsageError(f"its format is {header.format_version}, and this perfkit reads up to {FORMAT_VERSION}")
