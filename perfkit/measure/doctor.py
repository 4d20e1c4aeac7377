"""What this machine can measure, and what to install for the rest."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import psutil
import pynvml
import torch

from perfkit.measure import environment
from perfkit.schema import units

State = Literal["yes", "no", "partly"]

_TOOL_TIMEOUT_S = 20
_FIRST_NVTX_WITHOUT_OLD_NSYS = (0, 2, 12)
"""From this nvtx on, nsys of 2022 and 2023 records no range (NVIDIA/NVTX issue 126)."""
_FIRST_NSYS_WITH_NEW_NVTX = (2024, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing this machine can or cannot do."""

    topic: str
    state: State
    found: str
    """What there is, with versions."""
    advice: str = ""
    """What to do about it; empty where nothing needs doing."""


def examine() -> list[Finding]:
    """Look at everything a run may use. Changes nothing; takes a second or two."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python, _torch, _cpu, _gpu, _nvml, _nsys, _nvtx, _compiler, _tensorboard, _counters,
    )  # fmt: skip
    return [check() for check in checks]


def _python() -> Finding:
    return Finding("python", "yes", f"{platform.python_version()} on {platform.platform()}")


def _torch() -> Finding:
    build = torch.version.cuda or torch.version.hip
    kind = f"CUDA {build}" if torch.version.cuda else f"ROCm {build}" if build else "CPU build"
    return Finding("torch", "yes", f"{torch.__version__} ({kind}), {torch.get_num_threads()} threads")


def _cpu() -> Finding:
    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = (
        f"{environment.cpu_model()}, {cores} CPUs, {units.size(memory.available)} of {units.size(memory.total)} free"
    )
    return Finding("cpu", "yes", found)


def _gpu() -> Finding:
    if torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            capability = f"{properties.major}.{properties.minor}"
            names.append(f"{properties.name} ({units.size(properties.total_memory)}, capability {capability})")
        return Finding("gpu", "yes", "; ".join(names))
    if environment.nvidia_driver() is None:
        return Finding(
            "gpu", "no", "no NVIDIA driver", "everything runs on the CPU: times are real, kernels are not seen"
        )
    advice = "install a CUDA build of PyTorch to use the GPU"
    return Finding("gpu", "no", f"driver {environment.nvidia_driver()}, but PyTorch sees no device", advice)


@contextlib.contextmanager
def _nvml_session() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _nvml() -> Finding:
    try:
        with _nvml_session():
            driver = pynvml.nvmlSystemGetDriverVersion()
            count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return Finding("nvml", "no", f"{error}", "clocks, power and throttling need NVIDIA's driver on this machine")
    return Finding("nvml", "yes", f"driver {driver}, {count} devices")


def nsys_version() -> tuple[int, ...] | None:
    """Version of the nsys on PATH, None where there is none or it does not say."""
    program = shutil.which("nsys")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=_TOOL_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\b(\d{4}(?:\.\d+)+)", answer.stdout)
    return tuple(int(part) for part in found[1].split(".")) if found else None


def _nsys() -> Finding:
    if shutil.which("nsys") is None:
        return Finding("nsys", "no", "not on PATH", "install Nsight Systems (Debian: nsight-systems in non-free)")
    version = nsys_version()
    if version is None:
        return Finding("nsys", "partly", f"{shutil.which('nsys')} gives no version", "reinstall Nsight Systems")
    return Finding("nsys", "yes", ".".join(map(str, version)))


def _nvtx() -> Finding:
    version = _version("nvtx") or "not installed as a package"
    if importlib.util.find_spec("nvtx") is None or os.environ.get("NVTX_DISABLE"):
        return Finding("nvtx", "no", f"{version}, switched off by NVTX_DISABLE", "unset NVTX_DISABLE")
    nsys = nsys_version()
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if nsys is not None and nsys < _FIRST_NSYS_WITH_NEW_NVTX and parts >= _FIRST_NVTX_WITHOUT_OLD_NSYS:
        advice = (
            f"nsys {'.'.join(map(str, nsys))} records no range of it: pip install nvtx==0.2.11, or take a newer nsys"
        )
        return Finding("nvtx", "partly", version, advice)
    return Finding("nvtx", "yes", version)


def _compiler() -> Finding:
    if torch.cuda.is_available():
        if importlib.util.find_spec("triton") is None:
            return Finding("torch.compile", "no", "no Triton", "pip install triton, or use --compile off")
        return Finding("torch.compile", "yes", f"Triton {_version('triton') or ''}".strip())
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    if compiler is None:
        return Finding("torch.compile", "no", "no C++ compiler", "install g++, or use --compile off")
    return Finding("torch.compile", "yes", compiler)


def _tensorboard() -> Finding:
    versions = {name: _version(name) for name in ("tensorboard", "torch-tb-profiler")}
    missing = [name for name, version in versions.items() if version is None]
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "not installed"
    return Finding(
        "tensorboard", "no" if missing else "yes", found, f"pip install {' '.join(missing)}" if missing else ""
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _counters() -> Finding:
    paths = {"scheduler delay": "/proc/self/schedstat", "pressure": "/proc/pressure/cpu", "steal": "/proc/stat"}
    missing = [name for name, path in paths.items() if not os.access(path, os.R_OK)]
    if missing:
        return Finding(
            "noise counters", "partly", f"missing: {', '.join(missing)}", "noise will be explained less well"
        )
    return Finding("noise counters", "yes", ", ".join(paths))
