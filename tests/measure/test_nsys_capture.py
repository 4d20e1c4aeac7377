"""What a run shows the nsys that records it, and says of how it was called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
