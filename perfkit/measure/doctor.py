"""What this machine can measure, and what to install for the rest."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pynvml

from perfkit.measure import environment
from perfkit.measure.environment import HERE, Machine
from perfkit.measure.nsys import program as nsys_program
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

State = Literal["yes", "no", "partly"]


@dataclass(frozen=True, slots=True)
class Ability:
    """A row of the table: one capability of this machine."""

    topic: str
    state: State
    found: str
    """What was found, with versions."""
    finding: Finding | None = None
    """What is missing, if anything."""


def examine(machine: Machine = HERE) -> list[Ability]:
    """Examine everything that a run may use. Changes nothing; takes 1 to 2 s."""
    checks: tuple[Callable[[Machine], Ability], ...] = (
        _python, _torch, _cpu, _gpu, _nvml, _nsys, _nvtx, _compiler, _tensorboard, _counters,
    )  # fmt: skip
    return [check(machine) for check in checks]


def _lacking(rule: Rule, topic: str, state: State, found: str, text: str) -> Ability:
    """A finding about something missing or incomplete. `text` says what that means or what to do."""
    return Ability(
        topic, state, found, Finding(rule, f"{topic}: {text}", evidence=(Evidence("doctor", {"topic": topic}),))
    )


def _python(_: Machine) -> Ability:
    return Ability("python", "yes", f"{platform.python_version()} on {platform.platform()}")


def _torch(machine: Machine) -> Ability:
    torch = machine.torch
    build = torch.version.cuda or torch.version.hip
    kind = f"CUDA {build}" if torch.version.cuda else f"ROCm {build}" if build else "CPU build"
    return Ability("torch", "yes", f"{torch.__version__} ({kind}), {torch.get_num_threads()} threads")


def _cpu(machine: Machine) -> Ability:
    memory, cores = machine.memory(), len(machine.allowed_cpus())
    free = f"{units.size(memory.available)} of {units.size(memory.total)} free"
    return Ability("cpu", "yes", f"{environment.cpu_model(machine)}, {cores} CPUs, {free}")


NO_GPU = Rule("no-gpu", "machine", "PyTorch has no GPU")


def _gpu(machine: Machine) -> Ability:
    cuda = machine.torch.cuda
    if cuda.is_available():
        names = []
        for index in range(cuda.device_count()):
            properties = cuda.get_device_properties(index)
            capability = f"{properties.major}.{properties.minor}"
            names.append(f"{properties.name} ({units.size(properties.total_memory)}, capability {capability})")
        return Ability("gpu", "yes", "; ".join(names))
    driver = environment.nvidia_driver(machine)
    if driver is None:
        means = "everything runs on the CPU: perfkit measures times but no GPU kernels"
        return _lacking(NO_GPU, "gpu", "no", "no NVIDIA driver", means)
    means = "install a CUDA build of PyTorch to use the GPU"
    return _lacking(NO_GPU, "gpu", "no", f"driver {driver}, but PyTorch sees no device", means)


NO_NVML = Rule("no-nvml", "machine", "clocks, power and throttling cannot be read")


def _nvml(machine: Machine) -> Ability:
    nvml = machine.nvml
    try:
        nvml.nvmlInit()
        with contextlib.ExitStack() as stack:
            stack.callback(nvml.nvmlShutdown)
            driver, count = nvml.nvmlSystemGetDriverVersion(), nvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        means = "install NVIDIA's driver to read clocks, power and throttling"
        return _lacking(NO_NVML, "nvml", "no", f"{error}", means)
    return Ability("nvml", "yes", f"driver {driver}, {count} devices")


NO_NSYS = Rule("no-nsys", "machine", "Nsight Systems is missing or reports no version")


def _nsys(_: Machine) -> Ability:
    nsys = nsys_program.find()
    if nsys is None:
        return _lacking(NO_NSYS, "nsys", "no", "not on PATH", nsys_program.HOW_TO_GET_IT)
    if not nsys.version:
        return _lacking(NO_NSYS, "nsys", "partly", f"{nsys.path} reports no version", "reinstall Nsight Systems")
    return Ability("nsys", "yes", nsys.version_text)


NO_NVTX = Rule("no-nvtx", "machine", "NVTX ranges are disabled, or this nsys cannot record them")


def _nvtx(machine: Machine) -> Ability:
    installed = environment.package_version("nvtx", machine)
    version = installed or "not installed as a package"
    if not machine.has_module("nvtx") or os.environ.get("NVTX_DISABLE"):
        return _lacking(NO_NVTX, "nvtx", "no", f"{version}, disabled by NVTX_DISABLE", "unset NVTX_DISABLE")
    nsys = nsys_program.find()
    problem = nsys and nsys_program.pair_problem(nsys, installed)
    return _lacking(NO_NVTX, "nvtx", "partly", version, problem) if problem else Ability("nvtx", "yes", version)


NO_COMPILER = Rule("no-compiler", "machine", "torch.compile finds no compiler")


def _compiler(machine: Machine) -> Ability:
    topic = "torch.compile"
    if machine.torch.cuda.is_available():
        if not machine.has_module("triton"):
            means = "pip install triton, or use --compile off"
            return _lacking(NO_COMPILER, topic, "no", "no Triton", means)
        return Ability(topic, "yes", f"Triton {environment.package_version('triton', machine) or ''}".strip())
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    if compiler is None:
        return _lacking(NO_COMPILER, topic, "no", "no C++ compiler", "install g++, or use --compile off")
    return Ability(topic, "yes", compiler)


NO_TENSORBOARD = Rule("no-tensorboard", "machine", "TensorBoard or its profiler plugin is missing")


def _tensorboard(machine: Machine) -> Ability:
    versions = {name: environment.package_version(name, machine) for name in ("tensorboard", "torch-tb-profiler")}
    missing = [name for name, version in versions.items() if version is None]
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "not installed"
    if missing:
        return _lacking(NO_TENSORBOARD, "tensorboard", "no", found, f"pip install {' '.join(missing)}")
    return Ability("tensorboard", "yes", found)


MISSING_COUNTERS = Rule("missing-counters", "machine", "some counters that explain noise cannot be read")


def _counters(machine: Machine) -> Ability:
    paths = {"scheduler delay": "proc/self/schedstat", "pressure": "proc/pressure/cpu", "steal": "proc/stat"}
    missing = [name for name, path in paths.items() if not os.access(machine.root / path, os.R_OK)]
    if missing:
        found, means = f"missing: {', '.join(missing)}", "perfkit can explain less of the noise"
        return _lacking(MISSING_COUNTERS, "noise counters", "partly", found, means)
    return Ability("noise counters", "yes", ", ".join(paths))
