"""What a run shows the nsys that records it, and says of how it was called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest

from perfkit.measure.loop import StepId
from perfkit.measure.nsys import capture as nsys_capture
from perfkit.measure.nsys import program as nsys_program
from perfkit.measure.nsys.capture import Call, Capture
from perfkit.measure.nsys.program import Nsys
from tests.runs import sample

BY_HAND = ["nsys", "profile", "-t", "nvtx", "python", "-m", "perfkit.run"]


def call(arguments: list[str] = BY_HAND, nvtx: str | None = "0.2.11") -> Call:
    itself = ["python", "-m", "perfkit.run", "--model-size", "tiny"]
    return Call(Nsys("/opt/nsys", (2022, 4, 2)), tuple(arguments), tuple(itself), nvtx)


class FakeCuda:
    """torch.cuda and NVTX by name: what happens to ranges and the CUDA profiler, in order."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.profiler = SimpleNamespace(
            start=lambda: self.journal.append("start"), stop=lambda: self.journal.append("stop")
        )

    def synchronize(self, device: str) -> None:
        self.journal.append(f"synchronize {device}")

    @contextmanager
    def annotate(self, *, message: str, domain: str) -> Iterator[None]:
        self.journal.append(f"{message}@{domain} begins")
        yield
        self.journal.append("ends")


def captured(device: str, *steps: StepId) -> list[str]:
    """What a capture does round some steps."""
    cuda = FakeCuda()
    capture = Capture(device, cuda=cuda, annotate=cuda.annotate)
    for step in steps:
        capture.before(step)
        cuda.journal.append(str(step))
        capture.after(step, sample())
    capture.close()
    return cuda.journal


WARMUP, FIRST, SECOND = StepId("warm-up", 0), StepId("measured", 0), StepId("measured", 1)


def test_a_capture_on_a_cpu_is_a_range_round_the_measured_steps():
    assert captured("cpu", WARMUP, FIRST, SECOND) == [
        "warm-up step 1", "measure@perfkit begins", "measured step 1", "measured step 2", "ends",
    ]  # fmt: skip


def test_a_capture_on_a_gpu_is_the_cuda_profilers_too():
    assert captured("cuda:1", FIRST) == [
        "synchronize cuda:1", "start", "measure@perfkit begins", "measured step 1", "ends", "stop",
    ]  # fmt: skip


def test_a_run_that_measures_nothing_captures_nothing():
    assert captured("cuda", WARMUP) == ["warm-up step 1"]


def test_without_nsys_nothing_is_said(monkeypatch):
    monkeypatch.delenv("NSYS_PROFILING_SESSION_ID", raising=False)
    monkeypatch.delenv("NVTX_INJECTION64_PATH", raising=False)
    assert nsys_capture.call() is None
    assert nsys_capture.advice("cuda", None) == []


def test_the_call_is_read_where_nsys_can_be_found(monkeypatch, tmp_path):
    # GIVEN an nsys that says its version
    monkeypatch.setenv("NSYS_PROFILING_SESSION_ID", "1")
    nsys = tmp_path / "nsys"
    nsys.write_text("#!/bin/sh\necho NVIDIA Nsight Systems version 2022.4.2.1\n")
    nsys.chmod(0o755)

    # WHEN
    found = nsys_capture.call(lambda: [Parent("nsys", str(nsys))])

    # THEN
    assert found is not None
    assert (found.nsys.path, found.nsys.version) == (str(nsys), (2022, 4, 2, 1))
    assert (found.arguments, found.nvtx) == (("nsys", "profile"), nsys_program.nvtx_version())
    assert found.itself == ("python" + found.itself[0].removeprefix("python"), *sys.orig_argv[1:])


def test_the_best_command_is_said_where_warm_up_is_recorded():
    first, command = nsys_capture.advice("cuda", call())
    assert first.startswith("under nsys; ")
    assert command.startswith("  nsys profile --trace=cuda,nvtx,osrt,cublas,cudnn --sample=none ")
    assert "--nvtx-capture=measure@perfkit" in command
    assert command.endswith(" -m perfkit.run --model-size tiny")


@pytest.mark.parametrize("flag", ["-c", "-c=nvtx", "--capture-range=cudaProfilerApi", "--capture-range"])
def test_nothing_is_said_where_the_capture_has_a_range(flag):
    assert nsys_capture.advice("cpu", call([*BY_HAND[:4], flag, *BY_HAND[4:]])) == []


def test_a_flag_of_the_application_is_no_capture_range():
    assert nsys_capture.advice("cpu", call([*BY_HAND, "-c"]))


def test_the_pair_that_records_no_range_is_said_first():
    warning = nsys_capture.advice("cpu", call(nvtx="0.2.13"))[0]
    assert warning.startswith("warning: nsys 2022.4.2 records no ranges of nvtx 0.2.13: pip install nvtx==0.2.11")


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
def test_the_nsys_that_this_process_runs_under_is_the_nearest(parents, caller):
    assert nsys_capture._caller(lambda: parents) == caller


def test_a_system_that_does_not_tell_has_no_caller():
    def fail() -> list[Parent]:
        raise psutil.AccessDenied

    assert nsys_capture._caller(fail) == (None, [])


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


def test_a_process_calls_itself_by_the_short_name_of_its_interpreter():
    called = ["/opt/bin/python3.11", "-m", "perfkit.run"]
    assert nsys_capture._itself("/opt/bin/python3.11", called) == ("python3.11", "-m", "perfkit.run")
