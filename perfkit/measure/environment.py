"""What there is to know about the machine a run took place on. Nothing is guessed: what cannot be read is None."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import torch

from perfkit import __version__
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Environment

_GIT_TIMEOUT_S = 10
_CPUS = Path("/sys/devices/system/cpu")
_LIBRARIES = ("numpy", "einops", "nvtx", "triton")
_VARIABLES = re.compile(
    r"^(CUDA_|CUBLAS_|NVIDIA_|HIP_|HSA_|ROCR_|PYTORCH_|TORCH|OMP_|MKL_|KMP_|GOMP_|NCCL_|NVTX_|LD_PRELOAD$|MALLOC_)"
)


def collect(config: RunConfig) -> Environment:
    """Describe this machine and this process as they will be under a resolved configuration."""
    device, cpu = config.device, cpu_model()
    on_gpu = device != "cpu"
    properties = torch.cuda.get_device_properties(device) if on_gpu else None
    return Environment(
        perfkit=__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),
        os=platform.platform(),
        hostname=platform.node(),
        device=device,
        device_name=properties.name if properties else cpu,
        device_memory=properties.total_memory if properties else psutil.virtual_memory().total,
        cpu_model=cpu,
        cpu_count=len(os.sched_getaffinity(0)),
        num_threads=config.num_threads or torch.get_num_threads(),
        cpus_online=os.cpu_count(),
        governor=governor(),
        cuda=torch.version.cuda or torch.version.hip,
        cudnn=torch.backends.cudnn.version() if on_gpu else None,  # type: ignore[no-untyped-call]
        driver=nvidia_driver() if on_gpu else None,
        compute_capability=f"{properties.major}.{properties.minor}" if properties else None,
        git_commit=git_commit(Path.cwd()),
        argv=tuple(map(_text, sys.argv[1:])),
        variables={_text(name): _text(value) for name, value in sorted(os.environ.items()) if _VARIABLES.match(name)},
        libraries=_library_versions(),
    )


def _text(raw: str) -> str:
    r"""What the system gave us, fit for a UTF-8 file: a byte that is not UTF-8 becomes its escape `\udcff`."""
    return raw.encode("utf-8", "backslashreplace").decode()


def cpu_model() -> str:
    """The CPU's name as the system knows it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def governor() -> str | None:
    """Linux's frequency governor of the CPUs this process may use, `none` where there is none to choose.

    None where the system does not say, or the CPUs have different ones.
    """
    if not sys.platform.startswith("linux"):
        return None
    files = [_CPUS / f"cpu{cpu}" / "cpufreq" / "scaling_governor" for cpu in os.sched_getaffinity(0)]
    try:
        found = {file.read_text(encoding="ascii").strip() for file in files if file.parent.exists()}
    except (OSError, UnicodeDecodeError):
        return None
    return "none" if not found else found.pop() if len(found) == 1 else None


def gpu_uuid(device: str) -> str | None:
    """The GPU's identity as NVML spells it, whatever CUDA_VISIBLE_DEVICES renumbers; None on a CPU."""
    return None if device == "cpu" else f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def nvidia_driver() -> str | None:
    """The NVIDIA driver's version, from the kernel module."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"\b(\d{3}\.\d+(?:\.\d+)*)\b", text)
    return found[1] if found else None


def git_commit(folder: Path) -> str | None:
    """Commit checked out in `folder`, with a + where there are uncommitted changes; None where git does not say."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*arguments: str) -> str | None:
        command = [git, "--no-optional-locks", *arguments]
        try:
            answer = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=_GIT_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit, changes = ask("rev-parse", "HEAD"), ask("status", "--porcelain", "--untracked-files=no")
    if not commit or changes is None:
        return None
    return commit + ("+" if changes else "")


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
