"""What a machine can measure, on machines of paper: each answer, and what it advises."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace

import pytest
import torch

from perfkit.measure import doctor
from perfkit.measure.nsys import program as nsys_program
from perfkit.measure.nsys.program import Nsys


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
def test_pytorch_is_named_with_its_build(monkeypatch, cuda, hip, build):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    found = doctor._torch()
    assert build in found.found
    assert str(torch.__version__) in found.found


def test_the_cpu_has_the_cores_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * 2**30, total=2**34))
    assert doctor._cpu().found.endswith(", 3 CPUs, 3.0 GiB of 16.0 GiB free")


def test_each_gpu_is_named(monkeypatch):
    # GIVEN
    names = ["A100", "H100"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda index: SimpleNamespace(name=names[index], total_memory=2**36, major=8 + index, minor=0),
    )

    # THEN
    found = doctor._gpu()
    assert (found.state, found.finding) == ("yes", None)
    assert found.found == "A100 (64.0 GiB, capability 8.0); H100 (64.0 GiB, capability 9.0)"


@pytest.mark.parametrize(("driver", "advice"), [(None, "runs on the CPU"), ("580.65.06", "CUDA build of PyTorch")])
def test_without_a_gpu_the_advice_depends_on_the_driver(monkeypatch, driver, advice):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.environment, "nvidia_driver", lambda: driver)
    found = doctor._gpu()
    assert found.state == "no"
    assert advice in said(found)
    assert (driver or "no NVIDIA driver") in found.found


def test_nvml_is_asked_and_left(monkeypatch):
    # GIVEN
    calls: list[str] = []
    for name, answer in (("nvmlInit", None), ("nvmlShutdown", None), ("nvmlSystemGetDriverVersion", "580.65.06"),
                         ("nvmlDeviceGetCount", 2)):  # fmt: skip
        monkeypatch.setattr(doctor.pynvml, name, lambda name=name, answer=answer: (calls.append(name), answer)[1])

    # THEN
    assert doctor._nvml() == doctor.Ability("nvml", "yes", "driver 580.65.06, 2 devices")
    assert (calls[0], calls[-1]) == ("nvmlInit", "nvmlShutdown")


def test_without_nvml_what_it_would_give_is_said(monkeypatch):
    def fail() -> None:
        raise doctor.pynvml.NVMLError(doctor.pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(doctor.pynvml, "nvmlInit", fail)
    found = doctor._nvml()
    assert found.state == "no"
    assert "clocks, power and throttling" in said(found)


@pytest.mark.parametrize(
    ("nsys", "state", "there", "advice"),
    [
        (None, "no", "not on PATH", nsys_program.HOW_TO_GET_IT),
        (Nsys("/opt/nsys", ()), "partly", "/opt/nsys gives no version", "reinstall Nsight Systems"),
        (Nsys("/opt/nsys", (2025, 1, 3)), "yes", "2025.1.3", ""),
    ],
)
def test_nsys_is_there_with_its_version(monkeypatch, nsys, state, there, advice):
    monkeypatch.setattr(nsys_program, "find", lambda: nsys)
    found = doctor._nsys()
    assert (found.topic, found.state, found.found, said(found)) == ("nsys", state, there, advice)


@pytest.mark.parametrize(
    ("there", "disabled", "nsys", "state", "advice"),
    [
        (True, "", None, "yes", ""),
        (True, "", Nsys("nsys", (2025, 1)), "yes", ""),
        (True, "", Nsys("nsys", (2022, 4)), "partly", "pip install nvtx==0.2.11"),
        (True, "1", None, "no", "unset NVTX_DISABLE"),
        (False, "", None, "no", "unset NVTX_DISABLE"),
    ],
)
def test_nvtx_is_there_is_not_switched_off_and_goes_with_nsys(monkeypatch, there, disabled, nsys, state, advice):
    # GIVEN
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _: there or None)
    monkeypatch.setattr(nsys_program, "nvtx_version", lambda: "0.2.14")
    monkeypatch.setattr(nsys_program, "find", lambda: nsys)
    monkeypatch.setenv("NVTX_DISABLE", disabled)

    # THEN
    found = doctor._nvtx()
    assert found.state == state
    assert found.found.startswith("0.2.14")
    assert said(found).startswith(advice) if not nsys else advice in said(found)
    assert bool(said(found)) is (state != "yes")


def test_an_nvtx_that_is_no_package_has_no_version(monkeypatch):
    monkeypatch.setattr(nsys_program, "nvtx_version", lambda: None)
    monkeypatch.setattr(nsys_program, "find", lambda: None)
    monkeypatch.delenv("NVTX_DISABLE", raising=False)
    assert doctor._nvtx() == doctor.Ability("nvtx", "yes", "not installed as a package")


@pytest.mark.parametrize(("triton", "state"), [(True, "yes"), (False, "no")])
def test_a_gpu_compiles_with_triton(monkeypatch, triton, state):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: (name == "triton" and triton) or None)
    monkeypatch.setattr(doctor, "_version", {"triton": "3.2"}.get)
    found = doctor._compiler()
    assert (found.state, found.found) == (state, "Triton 3.2" if triton else "no Triton")
    assert ("pip install triton" in said(found)) is not triton


@pytest.mark.parametrize(
    ("wanted", "there", "found"),
    [
        (None, {"g++": "/bin/g++", "clang++": "/bin/clang++"}, "/bin/g++"),
        (None, {"clang++": "/bin/clang++"}, "/bin/clang++"),
        ("icpx", {"icpx": "/opt/icpx", "g++": "/bin/g++"}, "/opt/icpx"),
        (None, {}, None),
    ],
)
def test_a_cpu_compiles_with_a_cpp_compiler(monkeypatch, wanted, there, found):
    # GIVEN
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", there.get)
    if wanted is None:
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", wanted)

    # THEN
    told = doctor._compiler()
    assert (told.state, told.found) == (("yes", found) if found else ("no", "no C++ compiler"))
    assert ("install g++" in said(told)) is (found is None)


@pytest.mark.parametrize(
    ("versions", "state", "found", "advice"),
    [
        ({"tensorboard": "2.19", "torch-tb-profiler": "0.4"}, "yes", "tensorboard 2.19, torch-tb-profiler 0.4", ""),
        ({"tensorboard": "2.19"}, "no", "tensorboard 2.19", "pip install torch-tb-profiler"),
        ({}, "no", "not installed", "pip install tensorboard torch-tb-profiler"),
    ],
)
def test_tensorboard_needs_both_packages(monkeypatch, versions, state, found, advice):
    monkeypatch.setattr(doctor, "_version", versions.get)
    told = doctor._tensorboard()
    assert (told.topic, told.state, told.found, said(told)) == ("tensorboard", state, found, advice)


def test_the_version_of_a_package_is_its_own_and_none_where_it_is_missing():
    assert doctor._version("numpy") == importlib.metadata.version("numpy")
    assert doctor._version("no-such-package-at-all") is None


@pytest.mark.parametrize(
    ("missing", "state", "found"),
    [
        ([], "yes", "scheduler delay, pressure, steal"),
        (["/proc/pressure/cpu"], "partly", "missing: pressure"),
        (["/proc/self/schedstat", "/proc/stat"], "partly", "missing: scheduler delay, steal"),
    ],
)
def test_counters_that_are_missing_are_named(monkeypatch, missing, state, found):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: path not in missing)
    told = doctor._counters()
    assert (told.state, told.found, bool(said(told))) == (state, found, bool(missing))
