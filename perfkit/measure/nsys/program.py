"""Finds nsys and its options, and builds the command line to record a run. Runs only its version and help."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from perfkit.errors import UsageError
from perfkit.measure.nsys.process import MARK
from perfkit.schema.range_names import MEASURE, NVTX_DOMAIN

HOW_TO_GET_IT = "install Nsight Systems (scripts/install-nsys; Debian: nsight-systems in non-free)"

_ANSWER_TIMEOUT_S = 60
_FIRST_NVTX_WITHOUT_OLD_NSYS = (0, 2, 12)
"""From this nvtx version on, nsys 2022 and 2023 record no range (NVIDIA/NVTX issue 126)."""
_FIRST_NSYS_WITH_NEW_NVTX = (2024, 1)
_LAST_NVTX_FOR_ALL = "0.2.11"
_INJECTED = re.compile(r"LD_PRELOAD|NSYS_|QUADD_|NVTX_INJECTION|CUDA_INJECTION")
"""Variables through which nsys injects itself into an application; a query for its help must not have them."""


@dataclass(frozen=True, slots=True)
class Nsys:
    """An nsys, with the version and options that it reports."""

    path: str
    version: tuple[int, ...]
    """(2022, 4, 2, 1); empty if nsys does not report it."""
    help: str = ""
    """Help of `nsys profile`; empty if nsys prints none, and then every option is assumed to exist."""

    @property
    def version_text(self) -> str:
        """The version as text: 2022.4.2.1."""
        return ".".join(map(str, self.version))

    def has(self, option: str) -> bool:
        """Whether `nsys profile` knows an option (`--trace`) or a value (`cudnn`)."""
        return not self.help or re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", self.help) is not None


def under_nsys() -> bool:
    """True when Nsight Systems started this process."""
    return any(name in os.environ for name in ("NSYS_PROFILING_SESSION_ID", "NVTX_INJECTION64_PATH"))


def find(path: str | None = None, patience_s: float = _ANSWER_TIMEOUT_S) -> Nsys | None:
    """The nsys at `path`, or the one on PATH; None if there is none. `patience_s` limits each query."""
    program = path or shutil.which("nsys")
    if program is None:
        return None
    version = re.search(r"\b(\d{4}(?:\.\d+)+)", _answer(patience_s, program, "--version"))
    return Nsys(
        program,
        tuple(map(int, version[1].split("."))) if version else (),
        _answer(patience_s, program, "profile", "--help"),
    )


def _answer(patience_s: float, *command: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not _INJECTED.match(name)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=patience_s,
            env=variables, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def nvtx_version(version: Callable[[str], str] = importlib.metadata.version) -> str | None:
    """Version of the package nvtx, or None if it is not installed as a package."""
    try:
        return version("nvtx")
    except importlib.metadata.PackageNotFoundError:
        return None


def pair_problem(nsys: Nsys, nvtx: str | None) -> str | None:
    """Why this nsys records no range of this nvtx, and what to change; None if it does record them."""
    parts = tuple(int(part) for part in re.findall(r"\d+", nvtx or "")[:3])
    if not nsys.version or nsys.version >= _FIRST_NSYS_WITH_NEW_NVTX or parts < _FIRST_NVTX_WITHOUT_OLD_NSYS:
        return None
    return (
        f"nsys {nsys.version_text} records no ranges of nvtx {nvtx}:"
        f" pip install nvtx=={_LAST_NVTX_FOR_ALL}, or install nsys 2024.1 or newer"
    )


def prepare(
    find: Callable[[], Nsys | None] = find, nvtx_version: Callable[[], str | None] = nvtx_version
) -> Nsys | None:
    """The nsys to use; None in the measuring process, which perfkit has started under nsys.

    Raises UsageError if there is no nsys, or if it would record no ranges.
    """
    if MARK in os.environ:
        return None
    if under_nsys():
        raise UsageError("--profiler nsys starts nsys itself: drop it, or run perfkit without `nsys profile`")
    if os.environ.get("NVTX_DISABLE"):
        raise UsageError("--profiler nsys: NVTX_DISABLE is set, so there are no ranges to record: unset it")
    nsys = find()
    if nsys is None:
        raise UsageError(f"--profiler nsys: nsys is not on PATH; {HOW_TO_GET_IT}")
    if problem := pair_problem(nsys, nvtx_version()):
        raise UsageError(f"--profiler nsys: {problem}")
    return nsys


def profile_command(nsys: Nsys, device: str, output: str | None = None) -> list[str]:
    """`nsys profile` with the best options to record a run on `device`; the caller appends the application.

    docs/nsys.md gives the purpose and cost of each option. Options that this nsys does not know are left out.
    """
    traces = ["nvtx", "osrt"]
    if device != "cpu":
        traces = ["cuda", *traces, *(name for name in ("cublas", "cudnn") if nsys.has(name))]
    wanted = {
        "--trace": ",".join(traces),
        "--sample": "none",
        # With its default, nsys 2022.4 sometimes waits forever in some containers.
        "--cpuctxsw": "none",
    }
    if device != "cpu":
        wanted["--cuda-graph-trace"] = "node"
    if nsys.has("--capture-range-end"):  # without it, nsys ends the application with the range
        wanted["--capture-range"] = "nvtx"
        wanted["--nvtx-capture"] = f"{MEASURE.nvtx_text}@{NVTX_DOMAIN}"
        wanted["--capture-range-end"] = "stop"
    if output is not None:
        wanted |= {"--force-overwrite": "true", "--output": output.replace("%", "%%")}  # % begins a pattern
    return [nsys.path, "profile", *(f"{option}={value}" for option, value in wanted.items() if nsys.has(option))]
