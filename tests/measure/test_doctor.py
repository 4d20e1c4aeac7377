"""What a machine can measure, on machines of paper: each answer, and what it advises."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from perfkit.measure import doctor
from perfkit.measure.environment import Machine
from perfkit.measure.nsys import program as nsys_program


def said(found: doctor.Ability) -> str:
    """The finding's sentence after its topic, which is in the evidence too; empty where there is none."""
    if found.finding is None:
        return ""
    topic, _, text = found.finding.what.partition(": ")
    assert (topic, found.finding.evidence[0].key) == (found.topic, {"topic": found.topic})
    return text


def test_everything_that_a_run_may_use_is_looked_at():
    found = doctor.examine()
    assert [one.topic for one in found] == [
        "python", "torch", "cpu", "gpu", "nvml", "nsys", "nvtx", "torch.compile", "tensorboard", "noise counters",
    ]  # fmt: skip
    assert all(one.found for one in found)


@pytest.mark.parametrize(
    ("cuda", "hip", "build"), [("12.4", None, "(CUDA 12.4)"), (None, "6.1", "(ROCm 6.1)"), (None, None, "(CPU build)")]
)
def test_pytorch_is_named_with_its_build(cuda, hip, build):
    version = SimpleNamespace(cuda=cuda, hip=hip)
    torch = SimpleNamespace(version=version, __version__="2.13.0", get_num_threads=lambda: 3)
    assert doctor._torch(Machine(torch=torch)).found == f"2.13.0 {build}, 3 threads"


def test_the_cpu_has_the_cores_that_this_process_may_use():
    memory = SimpleNamespace(available=3 * 2**30, total=2**34)
    found = doctor._cpu(Machine(allowed_cpus=lambda: {0, 5, 7}, memory=lambda: memory)).found
    assert found.endswith(", 3 CPUs, 3.0 GiB of 16.0 GiB free")


def with_gpus(*names: str) -> Any:
    """PyTorch, as far as it is asked for GPUs: those of these names, of capability 8.0, 9.0, ..."""
    gpus = [
        SimpleNamespace(name=name, total_memory=2**36, major=8 + index, minor=0) for index, name in enumerate(names)
    ]
    cuda = SimpleNamespace(
        is_available=lambda: bool(gpus), device_count=lambda: len(gpus), get_device_properties=gpus.__getitem__
    )
    return SimpleNamespace(cuda=cuda)


def test_each_gpu_is_named():
    found = doctor._gpu(Machine(torch=with_gpus("A100", "H100")))
    assert (found.state, found.finding) == ("yes", None)
    assert found.found == "A100 (64.0 GiB, capability 8.0); H100 (64.0 GiB, capability 9.0)"


@pytest.mark.parametrize(("driver", "advice"), [(None, "runs on the CPU"), ("580.65.06", "CUDA build of PyTorch")])
def test_without_a_gpu_the_advice_depends_on_the_driver(tmp_path, driver, advice):
    if driver:
        (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
        (tmp_path / "proc/driver/nvidia/version").write_text(f"NVRM version: NVIDIA UNIX  {driver}  Release Build")
    found = doctor._gpu(Machine(tmp_path, torch=with_gpus()))
    assert found.state == "no"
    assert advice in said(found)
    assert (driver or "no NVIDIA driver") in found.found


class Nvml:
    """NVML of a machine with two GPUs; a call may fail."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[str] = []
        self._failing = failing

    def __getattr__(self, name: str) -> Callable[[], object]:
        def call() -> object:
            self.calls.append(name)
            if name == self._failing:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
            return {"nvmlSystemGetDriverVersion": "580.65.06", "nvmlDeviceGetCount": 2}.get(name)

        return call


def test_nvml_is_asked_and_left():
    nvml = Nvml()
    assert doctor._nvml(Machine(nvml=nvml)) == doctor.Ability("nvml", "yes", "driver 580.65.06, 2 devices")
    assert (nvml.calls[0], nvml.calls[-1]) == ("nvmlInit", "nvmlShutdown")


@pytest.mark.parametrize(("failing", "is_left"), [("nvmlInit", False), ("nvmlDeviceGetCount", True)])
def test_without_nvml_what_it_would_give_is_said(failing, is_left):
    nvml = Nvml(failing)
    found = doctor._nvml(Machine(nvml=nvml))
    assert found.state == "no"
    assert ("nvmlShutdown" in nvml.calls) is is_left
    assert "clocks, power and throttling" in said(found)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a program the only ones on PATH; each says the same, whatever it is asked."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(*names: str, says: str = "") -> Path:
        for name in names:
            (tmp_path / name).write_text(f"#!/bin/sh\necho '{says}'\n")
            (tmp_path / name).chmod(0o755)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("version", "state", "there", "advice"),
    [
        (None, "no", "not on PATH", nsys_program.HOW_TO_GET_IT),
        ("", "partly", "{folder}/nsys reports no version", "reinstall Nsight Systems"),
        ("2025.1.3", "yes", "2025.1.3", ""),
    ],
)
def test_nsys_is_there_with_its_version(on_path, version, state, there, advice):
    folder = on_path(*["nsys"] * (version is not None), says=version)
    found = doctor._nsys(Machine())
    assert (found.topic, found.state, found.found) == ("nsys", state, there.format(folder=folder))
    assert said(found) == advice


@pytest.mark.parametrize(
    ("there", "disabled", "nsys", "state", "advice"),
    [
        (True, "", None, "yes", ""),
        (True, "", "2025.1", "yes", ""),
        (True, "", "2022.4", "partly", "pip install nvtx==0.2.11"),
        (True, "1", None, "no", "unset NVTX_DISABLE"),
        (False, "", None, "no", "unset NVTX_DISABLE"),
    ],
)
def test_nvtx_is_there_is_not_switched_off_and_goes_with_nsys(
    on_path, monkeypatch, there, disabled, nsys, state, advice
):
    # GIVEN
    on_path(*["nsys"] * (nsys is not None), says=nsys)
    monkeypatch.setenv("NVTX_DISABLE", disabled)

    # THEN
    found = doctor._nvtx(Machine(has_module=lambda _: there, version=lambda _: "0.2.14"))
    assert found.state == state
    assert found.found.startswith("0.2.14")
    assert said(found).startswith(advice) if not nsys else advice in said(found)
    assert bool(said(found)) is (state != "yes")


def installed(**versions: str) -> Callable[[str], str]:
    """Versions of packages, of which there are no others."""

    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    return version


def test_an_nvtx_that_is_no_package_has_no_version(on_path, monkeypatch):
    monkeypatch.delenv("NVTX_DISABLE", raising=False)
    assert doctor._nvtx(Machine(version=installed())) == doctor.Ability("nvtx", "yes", "not installed as a package")


@pytest.mark.parametrize(("triton", "state"), [(True, "yes"), (False, "no")])
def test_a_gpu_compiles_with_triton(triton, state):
    machine = Machine(
        torch=with_gpus("H100"),
        has_module=lambda name: name == "triton" and triton,
        version=installed(triton="3.2"),
    )
    found = doctor._compiler(machine)
    assert (found.state, found.found) == (state, "Triton 3.2" if triton else "no Triton")
    assert ("pip install triton" in said(found)) is not triton


@pytest.mark.parametrize(
    ("wanted", "there", "found"),
    [
        (None, ["g++", "clang++"], "g++"),
        (None, ["clang++"], "clang++"),
        ("icpx", ["icpx", "g++"], "icpx"),
        (None, [], None),
    ],
)
def test_a_cpu_compiles_with_a_cpp_compiler(on_path, monkeypatch, wanted, there, found):
    # GIVEN
    folder = on_path(*there)
    if wanted is None:
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", wanted)

    # THEN
    told = doctor._compiler(Machine(torch=with_gpus()))
    assert (told.state, told.found) == (("yes", str(folder / found)) if found else ("no", "no C++ compiler"))
    assert ("install g++" in said(told)) is (found is None)


@pytest.mark.parametrize(
    ("versions", "state", "found", "advice"),
    [
        ({"tensorboard": "2.19", "torch_tb_profiler": "0.4"}, "yes", "tensorboard 2.19, torch-tb-profiler 0.4", ""),
        ({"tensorboard": "2.19"}, "no", "tensorboard 2.19", "pip install torch-tb-profiler"),
        ({}, "no", "not installed", "pip install tensorboard torch-tb-profiler"),
    ],
)
def test_tensorboard_needs_both_packages(versions, state, found, advice):
    told = doctor._tensorboard(Machine(version=installed(**versions)))
    assert (told.topic, told.state, told.found, said(told)) == ("tensorboard", state, found, advice)


@pytest.mark.parametrize(
    ("missing", "state", "found"),
    [
        ([], "yes", "scheduler delay, pressure, steal"),
        (["proc/pressure/cpu"], "partly", "missing: pressure"),
        (["proc/self/schedstat", "proc/stat"], "partly", "missing: scheduler delay, steal"),
    ],
)
def test_counters_that_are_missing_are_named(tmp_path, missing, state, found):
    for name in {"proc/self/schedstat", "proc/pressure/cpu", "proc/stat"}.difference(missing):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    told = doctor._counters(Machine(tmp_path))
    assert (told.state, told.found, bool(said(told))) == (state, found, bool(missing))
