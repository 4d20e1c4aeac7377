"""Describes the machine of a run. A value that cannot be read is None, never a guess."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pynvml
import torch

from perfkit import __version__
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Environment

_GIT_TIMEOUT_S = 10
_LIBRARIES = ("numpy", "einops", "nvtx", "triton")
_VARIABLES = re.compile(
    r"^(CUDA_|CUBLAS_|NVIDIA_|HIP_|HSA_|ROCR_|PYTORCH_|TORCH(?!ELASTIC_)|OMP_|MKL_|KMP_|GOMP_|NCCL_|NVTX_|LD_PRELOAD$|MALLOC_"
    r"|GLOO_|WORLD_SIZE$)"
)


def _allowed_cpus() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@dataclass(frozen=True, slots=True)
class Machine:
    """Sources of information about a machine; tests replace some of them."""

    root: Path = Path("/")
    """Root of /proc and /sys."""
    torch: Any = torch
    allowed_cpus: Callable[[], set[int]] = _allowed_cpus
    version: Callable[[str], str] = importlib.metadata.version
    """Version of a package by name; raises PackageNotFoundError if it is not installed."""
    has_module: Callable[[str], bool] = _has_module
    """Whether a module can be imported."""
    memory: Callable[[], Any] = psutil.virtual_memory
    """Bytes of memory, from psutil."""
    nvml: Any = pynvml
    """The module."""
    platform: Any = platform
    """The module."""
    system: str = sys.platform


HERE = Machine()


def collect(config: RunConfig, machine: Machine = HERE) -> Environment:
    """Describe this machine and this process as they will be under a resolved configuration."""
    device, cpu = config.step.device, cpu_model(machine)
    on_gpu = device != "cpu"
    torch = machine.torch
    properties = torch.cuda.get_device_properties(device) if on_gpu else None
    return Environment(
        perfkit=__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),
        os=platform.platform(),
        hostname=platform.node(),
        device=device,
        device_name=properties.name if properties else cpu,
        device_memory=properties.total_memory if properties else machine.memory().total,
        cpu_model=cpu,
        cpu_count=len(machine.allowed_cpus()),
        num_threads=config.step.num_threads or torch.get_num_threads(),
        cpus_online=os.cpu_count(),
        governor=governor(machine),
        cuda=torch.version.cuda or torch.version.hip,
        cudnn=torch.backends.cudnn.version() if on_gpu else None,
        driver=nvidia_driver(machine) if on_gpu else None,
        compute_capability=f"{properties.major}.{properties.minor}" if properties else None,
        git_commit=git_commit(Path.cwd()),
        argv=tuple(map(_text, sys.argv[1:])),
        variables={_text(name): _text(value) for name, value in sorted(os.environ.items()) if _VARIABLES.match(name)},
        libraries={name: version for name in _LIBRARIES if (version := package_version(name, machine)) is not None},
    )


def _text(raw: str) -> str:
    r"""Make text from the system fit for a UTF-8 file: a byte that is not UTF-8 becomes its escape `\udcff`."""
    return raw.encode("utf-8", "backslashreplace").decode()


def cpu_model(machine: Machine = HERE) -> str:
    """The CPU's name as the system reports it."""
    try:
        text = (machine.root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else machine.platform.processor() or machine.platform.machine()


def governor(machine: Machine = HERE) -> str | None:
    """Linux's frequency governor of the CPUs this process may use, `none` if there is none to choose.

    None if the system does not report it, or if the CPUs have different governors.
    """
    if not machine.system.startswith("linux"):
        return None
    cpus = machine.root / "sys/devices/system/cpu"
    files = [cpus / f"cpu{cpu}" / "cpufreq" / "scaling_governor" for cpu in machine.allowed_cpus()]
    try:
        governors = {file.read_text(encoding="ascii").strip() for file in files if file.parent.exists()}
    except (OSError, UnicodeDecodeError):
        return None
    if not governors:
        return "none"
    return governors.pop() if len(governors) == 1 else None


def gpu_uuid(device: str, machine: Machine = HERE) -> str | None:
    """The GPU's UUID in NVML's form, which CUDA_VISIBLE_DEVICES does not affect; None on a CPU."""
    return None if device == "cpu" else f"GPU-{machine.torch.cuda.get_device_properties(device).uuid}"


def nvidia_driver(machine: Machine = HERE) -> str | None:
    """The NVIDIA driver's version, from the kernel module."""
    try:
        text = (machine.root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"\b(\d{3}\.\d+(?:\.\d+)*)\b", text)
    return match[1] if match else None


def git_commit(folder: Path, path: str | None = None, timeout_s: float = _GIT_TIMEOUT_S) -> str | None:
    """Commit checked out in `folder`, with a + if there are uncommitted changes; None if git does not report it.

    `path` is the search path for git; default: PATH.
    """
    git = shutil.which("git", path=path)
    if git is None:
        return None

    def ask(*arguments: str) -> str | None:
        command = [git, "--no-optional-locks", *arguments]
        try:
            answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout_s)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit, changes = ask("rev-parse", "HEAD"), ask("status", "--porcelain", "--untracked-files=no")
    if not commit or changes is None:
        return None
    return commit + ("+" if changes else "")


def package_version(name: str, machine: Machine = HERE) -> str | None:
    """The version of a package, or None if it is not installed."""
    try:
        return machine.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
