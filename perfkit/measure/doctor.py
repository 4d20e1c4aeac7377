"""What this machine can measure, and what to install for the rest."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import psutil
import pynvml
import torch

from perfkit.measure import environment, nsys_program
from perfkit.schema import units

State = Literal["yes", "no", "partly"]


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


def _nsys() -> Finding:
    nsys = nsys_program.find()
    if nsys is None:
        return Finding("nsys", "no", "not on PATH", nsys_program.HOW_TO_GET_IT)
    if not nsys.version:
        return Finding("nsys", "partly", f"{nsys.path} gives no version", "reinstall Nsight Systems")
    return Finding("nsys", "yes", nsys.version_text)


def _nvtx() -> Finding:
    version = nsys_program.nvtx_version() or "not installed as a package"
    if importlib.util.find_spec("nvtx") is None or os.environ.get("NVTX_DISABLE"):
        return Finding("nvtx", "no", f"{version}, switched off by NVTX_DISABLE", "unset NVTX_DISABLE")
    nsys = nsys_program.find()
    problem = nsys and nsys_program.pair_problem(nsys, nsys_program.nvtx_version())
    return Finding("nvtx", "partly" if problem else "yes", version, problem or "")


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
