"""The description of the machine: read, not guessed, and always fit to be saved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
