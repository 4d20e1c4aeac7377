"""The description of the machine: read, not guessed, and always fit to be saved."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch

from perfkit.measure import environment
from perfkit.measure.environment import Machine
from perfkit.schema.record import Environment
from tests.runs import quick

DRIVER = "proc/driver/nvidia/version"
PATIENT = 200.0
"""git may take as long as it likes."""


def place(root: Path, name: str, text: str) -> Machine:
    """A machine whose /proc and /sys are in a folder, with a file in it."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return Machine(root)


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
def test_the_governor_is_that_of_the_cpus_the_run_may_use(governors, expected, tmp_path):
    """GIVEN a process that may use CPUs 0 and 1 of a Linux machine THEN theirs is read, where it is one"""
    for cpu, text in governors.items():
        place(tmp_path, f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor", f"{text}\n")
    assert environment.governor(Machine(tmp_path, allowed_cpus=lambda: {0, 1}, system="linux")) == expected


def test_another_system_than_linux_has_no_governor_to_read():
    assert environment.governor(Machine(system="darwin")) is None


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
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_the_commit_is_named_and_changes_are_marked(repository):
    # GIVEN
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "untracked").write_text("")
    assert environment.git_commit(repository, timeout_s=PATIENT) == commit

    # WHEN
    (repository / "file").write_text("two")

    # THEN
    assert environment.git_commit(repository, timeout_s=PATIENT) == commit + "+"


def test_without_a_repository_a_commit_or_git_there_is_no_commit(tmp_path, monkeypatch):
    # GIVEN
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.git_commit(tmp_path) is None

    # WHEN
    git(tmp_path, "init", "--quiet")
    assert environment.git_commit(tmp_path) is None

    # THEN
    assert environment.git_commit(tmp_path, path=str(tmp_path)) is None


@pytest.mark.parametrize("broken", ["rev-parse", "status"])
def test_a_git_that_does_not_answer_leaves_nothing_to_guess(tmp_path, broken):
    """GIVEN one that fails in one of the two questions THEN neither a commit nor a clean one is guessed"""
    git = tmp_path / "git"
    git.write_text(f'#!/bin/sh\ncase "$*" in *{broken}*) exit 1;; *rev-parse*) echo abc;; esac\n')
    git.chmod(0o755)
    assert environment.git_commit(tmp_path, path=str(tmp_path), timeout_s=PATIENT) is None
    git.write_text('#!/bin/sh\ncase "$*" in *rev-parse*) echo abc;; esac\n')
    assert environment.git_commit(tmp_path, path=str(tmp_path), timeout_s=PATIENT) == "abc"


def test_a_git_that_takes_too_long_is_not_waited_for(tmp_path):
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nexec sleep 300\n")
    git.chmod(0o755)
    assert environment.git_commit(tmp_path, path=str(tmp_path), timeout_s=0.01) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
         "GCC version:  gcc version 12.3.0", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@host)", "580.65.06"),
        ("something else", None),
    ],
)  # fmt: skip
def test_the_driver_is_read_from_its_kernel_module(tmp_path, text, version):
    assert environment.nvidia_driver(place(tmp_path, DRIVER, text)) == version


class Torch:
    """PyTorch on a machine with one GPU, as far as a description asks it."""

    __version__ = "2.13.0"

    def __init__(self, cuda: str | None = "12.4", hip: str | None = None) -> None:
        properties = SimpleNamespace(name="H100", total_memory=2**36, major=9, minor=1, uuid="1-2-3")
        self.version = SimpleNamespace(cuda=cuda, hip=hip)
        self.cuda = SimpleNamespace(get_device_properties=lambda device: {"cuda:1": properties}[device])
        self.backends = SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 90100))

    def get_num_threads(self) -> int:
        return 3


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    place(tmp_path, DRIVER, "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build")
    return Machine(tmp_path, Torch())


def test_a_gpu_is_described_by_its_properties(machine):
    found = environment.collect(quick().changed(device="cuda:1"), machine)
    assert (found.device, found.device_name, found.device_memory) == ("cuda:1", "H100", 2**36)
    assert (found.compute_capability, found.cudnn, found.driver) == ("9.1", 90100, "580.65.06")
    assert found.cpu_model != "H100"
    assert environment.gpu_uuid("cuda:1", machine) == "GPU-1-2-3"


def test_a_cpu_run_has_nothing_of_a_gpu(machine):
    found = environment.collect(quick(), machine)
    assert (found.compute_capability, found.cudnn, found.driver) == (None, None, None)
    assert environment.gpu_uuid("cpu", machine) is None


@pytest.mark.parametrize(("cuda", "hip", "shown"), [("12.4", None, "12.4"), (None, "6.1", "6.1"), (None, None, None)])
def test_the_build_of_pytorch_is_that_of_cuda_or_rocm(cuda, hip, shown):
    assert environment.collect(quick(), Machine(torch=Torch(cuda, hip))).cuda == shown


def test_cpus_are_those_that_this_process_may_use():
    assert environment.collect(quick(), Machine(allowed_cpus=lambda: {1, 5, 9})).cpu_count == 3


@pytest.mark.parametrize(
    ("text", "processor", "hardware", "model"),
    [
        ("processor: 0\nmodel name\t: EPYC 9654 \nmodel name\t: other\n", "x", "y", "EPYC 9654"),
        ("processor: 0\n", "arm", "aarch64", "arm"),
        ("", "", "aarch64", "aarch64"),
        (None, "", "arm64", "arm64"),
    ],
)
def test_the_cpu_is_called_what_the_system_calls_it(tmp_path, text, processor, hardware, model):
    if text is not None:
        place(tmp_path, "proc/cpuinfo", text)
    names = SimpleNamespace(processor=lambda: processor, machine=lambda: hardware)
    assert environment.cpu_model(Machine(tmp_path, platform=names)) == model


def test_a_machine_without_the_driver_has_no_version_of_it(tmp_path):
    assert environment.nvidia_driver(Machine(tmp_path)) is None


def test_the_version_of_a_package_is_its_own_and_none_where_it_is_missing():
    assert environment.package_version("numpy") == importlib.metadata.version("numpy")
    assert environment.package_version("no-such-package-at-all") is None


def test_a_library_that_is_missing_is_left_out():
    def version(name: str) -> str:
        if name == "triton":
            raise PackageNotFoundError(name)
        return "1.0"

    found = environment.collect(quick(), Machine(version=version)).libraries
    assert found == {"numpy": "1.0", "einops": "1.0", "nvtx": "1.0"}
