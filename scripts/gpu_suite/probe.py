"""Describes this machine as JSON on one line: the Python, the packages, PyTorch, the GPU. It is a separate process, so
that the suite itself never holds a CUDA context."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from typing import Any

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

PACKAGES = (
    "torch", "triton", "numpy", "pandas", "scipy", "einops", "nvtx", "msgspec", "isal", "cyclopts", "rich", "psutil",
    "nvidia-ml-py", "lazy-loader", "pyarrow", "platformdirs", "tensorboard", "torch-tb-profiler", "pytest",
    "pytest-timeout", "hypothesis",
)  # fmt: skip


def versions() -> dict[str, str | None]:
    """Installed versions; None where a package has no metadata here (absent, or only a folder on PYTHONPATH)."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def gpu() -> dict[str, Any] | None:
    """The first GPU that PyTorch sees."""
    if torch is None or not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "count": torch.cuda.device_count(),
    }


def describe() -> dict[str, Any]:
    """The whole description."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
        "torch": None if torch is None else str(torch.__version__),
        "cuda": None if torch is None else torch.version.cuda,
        "cudnn": None if torch is None else torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "gpu": gpu(),
    }


if __name__ == "__main__":
    print(json.dumps(describe()))
    sys.exit(0)
