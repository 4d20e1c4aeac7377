"""Convert the members of a Kineto file other than the events to a Recording."""

from __future__ import annotations

from typing import Any

from perfkit.schema import provenance
from perfkit.trace.byte_stream import printable
from perfkit.trace.columns import LONGEST_NAME
from perfkit.trace.recording import Cpu, Device, OwnNotes, Recording, Tool, Versions

_OPTIONS = ("record_shapes", "profile_memory", "with_stack", "with_flops", "with_modules")
"""The torch.profiler arguments that it writes into the file; 1 means enabled."""
_LEVELS = ("VERBOSE", "INFO", "WARNING", "STAGE", "ERROR")
"""The keys under which libkineto writes lines of its log (ILoggerObserver.h)."""
_MOST_LINES = 10_000


def recording(members: dict[str, Any]) -> Recording:
    """Read the document's members except traceEvents. Members whose type is not the one Kineto writes are left out."""
    distributed = members.get("distributedInfo")
    distributed = distributed if isinstance(distributed, dict) else {}
    return Recording(
        tool=Tool.KINETO,
        versions=_versions(members),
        devices=_devices(members.get("deviceProperties")),
        rank=integer(distributed.get("rank")),
        world_size=integer(distributed.get("world_size")),
        options=tuple(option for option in _OPTIONS if integer(members.get(option))),
        own=_own(members.get("perfkit")),
        log=_log(members),
    )


def integer(value: object) -> int | None:
    """Return the value if it is a whole number that a column can hold."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63 else None


def _versions(members: dict[str, Any]) -> Versions:
    return Versions(
        schema=_text(members.get("schemaVersion")),
        runtime=_cuda(members.get("cuda_runtime_version")) or _hip(members.get("hip_runtime_version")),
        driver=_cuda(members.get("cuda_driver_version")) or _hip(members.get("hip_driver_version")),
        tracer=_text(members.get("cupti_version")) or _text(members.get("roctracer_version")),
    )


def _text(value: object) -> str:
    """Return a version, which is a text or a number."""
    is_one = isinstance(value, str | float) or integer(value) is not None
    return printable(str(value)) if is_one else ""


def _cuda(value: object) -> str:
    """Decode 1000 * major + 10 * minor (CUDA Runtime API, cudaRuntimeGetVersion)."""
    number = integer(value)
    return f"{number // 1000}.{number % 1000 // 10}" if number is not None and number > 0 else ""


def _hip(value: object) -> str:
    """Decode 10,000,000 * major + 100,000 * minor + patch (hip_version.h, HIP_VERSION)."""
    number = integer(value)
    if number is None or number <= 0:
        return ""
    return f"{number // 10**7}.{number % 10**7 // 10**5}.{number % 10**5}"


def _devices(properties: object) -> tuple[Device, ...]:
    """Read `deviceProperties`; entries of another shape are left out."""
    return tuple(
        Device(
            index,
            entry["name"][:LONGEST_NAME] if isinstance(entry.get("name"), str) else "",
            integer(entry.get("totalGlobalMem")),
            integer(entry.get("numSms")),
            integer(entry.get("computeMajor")),
            integer(entry.get("computeMinor")),
        )
        for entry in (properties if isinstance(properties, list) else ())
        if isinstance(entry, dict) and (index := integer(entry.get("id"))) is not None
    )


def _own(said: object) -> OwnNotes | None:
    if not isinstance(said, dict):
        return None
    modules = said.get("modules")
    tree = modules.items() if isinstance(modules, dict) else ()
    return OwnNotes(
        {path: kind for path, kind in tree if isinstance(kind, str)},
        provenance.read(said[provenance.KEY]) if provenance.KEY in said else None,
        _cpu(said.get("cpu")),
    )


def _cpu(said: object) -> Cpu | None:
    if not isinstance(said, dict):
        return None
    model, threads = said.get("model"), integer(said.get("threads"))
    return Cpu(model, threads) if isinstance(model, str) and threads is not None else None


def _log(members: dict[str, Any]) -> tuple[str, ...]:
    entries = [members.get(level) for level in _LEVELS]
    lines = [line for entry in entries for line in (entry if isinstance(entry, list) else [entry])]
    return tuple(line for line in lines if isinstance(line, str))[:_MOST_LINES]
