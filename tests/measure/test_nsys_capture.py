"""What a run shows the nsys that records it, and says of how it was called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import nvtx
import pytest
import torch

from perfkit.measure import nsys_capture, nsys_program
from perfkit.measure.nsys_program import Nsys

BY_HAND = ["nsys", "profile", "-t", "nvtx", "python", "-m", "perfkit.run"]


@pytest.fixture
def _under_nsys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSYS_PROFILING_SESSION_ID", "1")
    monkeypatch.setattr(nsys_program, "find", lambda path=None: Nsys("/opt/nsys", (2022, 4, 2)))
    monkeypatch.setattr(nsys_capture, "_caller", lambda: ("/opt/nsys", BY_HAND))


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to ranges and the CUDA profiler, in order."""
    events: list[str] = []

    @contextmanager
    def annotate(*, message: str, domain: str) -> Iterator[None]:
        events.append(f"{message}@{domain} begins")
        yield
        events.append("ends")

    monkeypatch.setattr(nvtx, "annotate", annotate)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append(f"synchronize {device}"))
    monkeypatch.setattr(torch.cuda.profiler, "start", lambda: events.append("start"))
    monkeypatch.setattr(torch.cuda.profiler, "stop", lambda: events.append("stop"))
    return events


@pytest.mark.usefixtures("_under_nsys")
def test_a_capture_on_a_cpu_is_a_range(journal):
    with nsys_capture.captured("cpu"):
        journal.append("steps")
    assert journal == ["measure@perfkit begins", "steps", "ends"]


@pytest.mark.usefixtures("_under_nsys")
def test_a_capture_on_a_gpu_is_the_cuda_profilers_too(journal):
    with nsys_capture.captured("cuda:1"):
        journal.append("steps")
    assert journal == ["synchronize cuda:1", "start", "measure@perfkit begins", "steps", "ends", "stop"]


@pytest.mark.usefixtures("_under_nsys")
def test_a_capture_ends_with_an_error(journal):
    with pytest.raises(KeyboardInterrupt), nsys_capture.captured("cuda"):
        raise KeyboardInterrupt
    assert journal[-1] == "stop"


def test_without_nsys_nothing_happens(journal, monkeypatch):
    monkeypatch.delenv("NSYS_PROFILING_SESSION_ID", raising=False)
    monkeypatch.delenv("NVTX_INJECTION64_PATH", raising=False)
    with nsys_capture.captured("cuda"):
        pass
    assert journal == []
    assert nsys_capture.advice("cuda") == []


@pytest.mark.usefixtures("_under_nsys")
def test_the_best_command_is_said_where_warm_up_is_recorded(monkeypatch):
    monkeypatch.setattr(nsys_program, "nvtx_version", lambda: "0.2.11")
    monkeypatch.setattr("sys.orig_argv", ["/x/python", "-m", "perfkit.run", "--model-size", "tiny"])
    first, command = nsys_capture.advice("cuda")
    assert first.startswith("under nsys; ")
    assert command.startswith("  nsys profile --trace=cuda,nvtx,osrt,cublas,cudnn --sample=none ")
    assert "--nvtx-capture=measure@perfkit" in command
    assert command.endswith(" -m perfkit.run --model-size tiny")


@pytest.mark.usefixtures("_under_nsys")
@pytest.mark.parametrize("flag", ["-c", "-c=nvtx", "--capture-range=cudaProfilerApi", "--capture-range"])
def test_nothing_is_said_where_the_capture_has_a_range(monkeypatch, flag):
    monkeypatch.setattr(nsys_program, "nvtx_version", lambda: "0.2.11")
    called = [*BY_HAND[:4], flag, *BY_HAND[4:]]
    monkeypatch.setattr(nsys_capture, "_caller", lambda: ("/opt/nsys", called))
    assert nsys_capture.advice("cpu") == []


@pytest.mark.usefixtures("_under_nsys")
def test_a_flag_of_the_application_is_no_capture_range(monkeypatch):
    called = [*BY_HAND, "-c"]
    monkeypatch.setattr(nsys_capture, "_caller", lambda: ("/opt/nsys", called))
    assert nsys_capture.advice("cpu")


@pytest.mark.usefixtures("_under_nsys")
def test_the_pair_that_records_no_range_is_said_first(monkeypatch):
    monkeypatch.setattr(nsys_program, "nvtx_version", lambda: "0.2.13")
    warning = nsys_capture.advice("cpu")[0]
    assert warning.startswith("warning: nsys 2022.4.2 records no range of nvtx 0.2.13: pip install nvtx==0.2.11")


class Parent:
    """A process that this one runs under."""

    def __init__(self, name: str, exe: str = "") -> None:
        self._name, self._exe = name, exe

    def name(self) -> str:
        return self._name

    def exe(self) -> str:
        return self._exe

    def cmdline(self) -> list[str]:
        return [self._name, "profile"]


@pytest.mark.parametrize(
    ("parents", "caller"),
    [
        ([Parent("sh"), Parent("nsys", "/opt/nsys"), Parent("nsys", "/other")], ("/opt/nsys", ["nsys", "profile"])),
        ([Parent("nsys")], (None, ["nsys", "profile"])),  # of another user: its path cannot be seen
        ([Parent("sh", "/bin/sh")], (None, [])),
        ([], (None, [])),
    ],
)
def test_the_nsys_that_this_process_runs_under_is_the_nearest(monkeypatch, parents, caller):
    monkeypatch.setattr(nsys_capture.psutil, "Process", lambda: SimpleNamespace(parents=lambda: parents))
    assert nsys_capture._caller() == caller


def test_a_system_that_does_not_tell_has_no_caller(monkeypatch):
    def fail() -> None:
        raise nsys_capture.psutil.AccessDenied

    monkeypatch.setattr(nsys_capture.psutil, "Process", lambda: SimpleNamespace(parents=fail))
    assert nsys_capture._caller() == (None, [])


@pytest.mark.parametrize(
    ("called", "there"),
    [
        (["nsys", "profile", "--capture-range=nvtx", "python"], True),
        (["nsys", "profile", "-c", "nvtx", "python"], True),
        (["nsys", "profile", "python", "-c", "pass"], False), (["nsys", "profile", "/opt/bin/python3.11", "-c"], False),
        (["nsys", "profile", "/opt/perfkit", "--capture-range=x"], False), (["nsys", "profile"], False), ([], False),
    ],
)  # fmt: skip
def test_options_of_the_application_are_not_those_of_nsys(called, there):
    assert nsys_capture._has_capture_range(called) is there


def test_a_process_calls_itself_by_the_short_name_of_its_interpreter(monkeypatch):
    monkeypatch.setattr(nsys_capture.sys, "executable", "/opt/bin/python3.11")
    monkeypatch.setattr(nsys_capture.sys, "orig_argv", ["/opt/bin/python3.11", "-m", "perfkit.run"])
    assert nsys_capture._itself() == ["python3.11", "-m", "perfkit.run"]
