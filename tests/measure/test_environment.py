"""The description of the machine: read, not guessed, and always fit to be saved."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch

from perfkit.measure import environment
from perfkit.schema.record import Environment
from tests.runs import quick


def test_this_machine_is_described():
    # WHEN
    found = environment.collect(quick())

    # THEN
    assert (found.device, found.torch) == ("cpu", torch.__version__)
    assert found.device_name == found.cpu_model
    assert found.cpu_count >= 1
    assert found.device_memory is not None
    assert found.device_memory > 2**28
    assert (found.driver, found.compute_capability, found.cudnn) == (None, None, None)
    assert set(found.libraries) >= {"numpy", "einops", "nvtx"}


@pytest.mark.parametrize(
    ("governors", "expected"),
    [({0: "schedutil", 1: "schedutil"}, "schedutil"), ({0: "performance", 1: "powersave"}, None), ({}, "none"),
     ({0: "performance", 7: "powersave"}, "performance")],
    ids=["one", "two", "a machine without", "another CPU's"],
)  # fmt: skip
def test_the_governor_is_that_of_the_cpus_the_run_may_use(governors, expected, tmp_path, monkeypatch):
    """GIVEN a process that may use CPUs 0 and 1 of a Linux machine THEN theirs is read, where it is one"""
    for cpu, text in governors.items():
        (tmp_path / f"cpu{cpu}" / "cpufreq").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "cpufreq" / "scaling_governor").write_text(f"{text}\n")
    monkeypatch.setattr(environment, "_CPUS", tmp_path)
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(environment.sys, "platform", "linux")
    assert environment.governor() == expected


def test_another_system_than_linux_has_no_governor_to_read(monkeypatch):
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    assert environment.governor() is None


def test_threads_are_those_of_the_run_not_of_the_moment():
    # GIVEN
    torch.set_num_threads(2)

    # THEN
    assert environment.collect(quick(num_threads=1)).num_threads == 1
    assert environment.collect(quick(num_threads=None)).num_threads == 2


def test_variables_that_matter_are_kept_and_no_others(monkeypatch):
    # GIVEN
    for name in ("CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "OMP_NUM_THREADS", "LD_PRELOAD"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("MY_CUDA_", "x")

    # WHEN
    kept = environment.collect(quick()).variables

    # THEN
    assert {"CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "OMP_NUM_THREADS", "LD_PRELOAD"} <= set(kept)
    assert not {"AWS_SECRET_ACCESS_KEY", "MY_CUDA_", "PATH"} & set(kept)


def test_bytes_that_are_no_text_do_not_stand_in_the_way_of_saving(monkeypatch):
    # GIVEN what Python makes of the bytes `a\xff`
    monkeypatch.setenv("CUDA_X", "a\udcff")
    monkeypatch.setattr(sys, "argv", ["perfkit", "run", "b\udcff"])

    # WHEN
    found = environment.collect(quick())

    # THEN
    assert found.variables["CUDA_X"] == "a\\udcff"
    assert found.argv == ("run", "b\\udcff")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Environment) == found


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "_GIT_TIMEOUT_S", 200)  # git may take as long as it likes
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_the_commit_is_named_and_changes_are_marked(repository):
    # GIVEN
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "untracked").write_text("")
    assert environment.git_commit(repository) == commit

    # WHEN
    (repository / "file").write_text("two")

    # THEN
    assert environment.git_commit(repository) == commit + "+"


def test_without_a_repository_a_commit_or_git_there_is_no_commit(tmp_path, monkeypatch):
    # GIVEN
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.git_commit(tmp_path) is None

    # WHEN
    git(tmp_path, "init", "--quiet")
    assert environment.git_commit(tmp_path) is None
    monkeypatch.setattr(environment.shutil, "which", lambda _: None)

    # THEN
    assert environment.git_commit(tmp_path) is None


@pytest.mark.parametrize("slow", ["rev-parse", "status"])
def test_a_git_that_takes_too_long_is_not_waited_for(repository, monkeypatch, slow):
    # GIVEN
    run = subprocess.run

    def asked(command: list[str], **options: object):
        if slow in command:
            raise subprocess.TimeoutExpired(command, 10)
        return run(command, **options)

    monkeypatch.setattr(environment.subprocess, "run", asked)

    # THEN neither a commit nor a clean one is guessed
    assert environment.git_commit(repository) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
         "GCC version:  gcc version 12.3.0", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@host)", "580.65.06"),
        ("something else", None),
    ],
)  # fmt: skip
def test_the_driver_is_read_from_its_kernel_module(monkeypatch, text, version):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert environment.nvidia_driver() == version


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU, on a machine that has none."""
    properties = SimpleNamespace(name="H100", total_memory=2**36, major=9, minor=1, uuid="1-2-3")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90100)
    monkeypatch.setattr(environment, "nvidia_driver", lambda: "580.65.06")


@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_described_by_its_properties():
    found = environment.collect(dataclasses.replace(quick(), device="cuda:1"))
    assert (found.device, found.device_name, found.device_memory) == ("cuda:1", "H100", 2**36)
    assert (found.compute_capability, found.cudnn, found.driver) == ("9.1", 90100, "580.65.06")
    assert found.cpu_model != "H100"
    assert environment.gpu_uuid("cuda:1") == "GPU-1-2-3"


@pytest.mark.usefixtures("gpu")
def test_a_cpu_run_has_nothing_of_a_gpu():
    found = environment.collect(quick())
    assert (found.compute_capability, found.cudnn, found.driver) == (None, None, None)
    assert environment.gpu_uuid("cpu") is None


@pytest.mark.parametrize(("cuda", "hip", "shown"), [("12.4", None, "12.4"), (None, "6.1", "6.1"), (None, None, None)])
def test_the_build_of_pytorch_is_that_of_cuda_or_rocm(monkeypatch, cuda, hip, shown):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert environment.collect(quick()).cuda == shown


def test_cpus_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: {1, 5, 9})
    assert environment.collect(quick()).cpu_count == 3


@pytest.mark.parametrize(
    ("text", "processor", "machine", "model"),
    [
        ("processor: 0\nmodel name\t: EPYC 9654 \nmodel name\t: other\n", "x", "y", "EPYC 9654"),
        ("processor: 0\n", "arm", "aarch64", "arm"),
        ("", "", "aarch64", "aarch64"),
        (None, "", "arm64", "arm64"),
    ],
)
def test_the_cpu_is_called_what_the_system_calls_it(monkeypatch, text, processor, machine, model):
    def read(*_: object, **__: object) -> str:
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(environment.platform, "processor", lambda: processor)
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    assert environment.cpu_model() == model


def test_a_machine_without_the_driver_has_no_version_of_it(monkeypatch):
    def fail(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    assert environment.nvidia_driver() is None


def test_a_library_that_is_missing_is_left_out(monkeypatch):
    def version(name: str) -> str:
        if name == "triton":
            raise environment.importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(environment.importlib.metadata, "version", version)
    assert environment.collect(quick()).libraries == {"numpy": "1.0", "einops": "1.0", "nvtx": "1.0"}
