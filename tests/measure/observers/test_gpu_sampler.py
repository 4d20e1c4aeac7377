"""The process that samples a GPU, against an NVML on paper."""

from __future__ import annotations

import io
import os
import sys
from types import SimpleNamespace
from typing import Any

import msgspec
import pynvml
import pytest

from perfkit.measure.observers import gpu_sampler
from perfkit.measure.observers.gpu_sampler import Reader
from perfkit.schema.probes import GpuSample


class NVMLError(Exception):
    pass


class FakeNvml:
    """NVML that answers from a table, and refuses what is not in it."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.ready = False

    def nvmlInit(self) -> None:
        self.ready = True

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if not self.ready:
            raise NVMLError("Uninitialized")
        return f"handle of {uuid}"

    def __getattr__(self, name: str):
        def ask(handle: str, *_: object) -> object:
            assert handle == "handle of GPU-1"
            if name not in self.answers:
                raise NVMLError("Not Supported")
            return self.answers[name]

        return ask


def process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


RECORDED = {
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(free=70, total=80, used=10),
    "nvmlDeviceGetPowerUsage": 695_500,
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=98, memory=40),
    "nvmlDeviceGetClockInfo": 1755,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 4,
    "nvmlDeviceGetTemperature": 66,
    "nvmlDeviceGetComputeRunningProcesses": [process(7, 5), process(8, 3), process(9, None)],
}


def test_a_sample_has_every_value_in_its_unit():
    found = Reader(FakeNvml(**RECORDED), "GPU-1", own_pid=7).read()
    assert msgspec.structs.replace(found, at_s=0.0) == GpuSample(
        at_s=0.0, sm_mhz=1755, reasons=4, power_w=695.5, power_limit_w=700.0, temperature_c=66, utilization=98,
        free_bytes=70, total_bytes=80, other_processes=2, other_bytes=3,
    )  # fmt: skip


def test_what_the_driver_does_not_support_is_unknown_not_zero():
    found = Reader(FakeNvml(), "GPU-1", own_pid=7).read()
    assert found == GpuSample(at_s=found.at_s)


@pytest.mark.parametrize(
    ("processes", "others"),
    [([], (0, 0)), ([process(7, 5)], (0, 0)), ([process(4711, 5)], (None, None))],
    ids=["nobody yet", "only we", "a container, where our number is another"],
)
def test_other_processes_are_counted_only_where_ours_can_be_told(processes, others):
    nvml = FakeNvml(nvmlDeviceGetComputeRunningProcesses=processes)
    found = Reader(nvml, "GPU-1", own_pid=7).read()
    assert (found.other_processes, found.other_bytes) == others


def test_samples_are_lines_until_the_parent_closes_the_pipe():
    # GIVEN a pipe that closes with the third sample
    stop, keep = os.pipe()

    class Closing(Reader):
        taken = 0

        def read(self) -> GpuSample:
            self.taken += 1
            if self.taken == 3:
                os.close(keep)
            return super().read()

    # WHEN
    out = io.BytesIO()
    with os.fdopen(stop, "rb") as pipe:
        gpu_sampler.sample_until_closed(Closing(FakeNvml(**RECORDED), "GPU-1", 7), out, pipe, period_s=0.001)

    # THEN
    lines = out.getvalue().splitlines()
    assert [msgspec.json.decode(line, type=GpuSample).sm_mhz for line in lines] == [1755] * 3


def test_a_machine_without_nvml_ends_the_sampler_and_not_the_run(capsys):
    def fail(*_: object) -> Reader:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    assert gpu_sampler.main(["GPU-1", "7"], fail) == 1
    assert "NVML" in capsys.readouterr().err


def test_the_process_writes_samples_of_its_gpu_until_its_input_ends(monkeypatch, capsysbinary):
    # GIVEN a parent that closes the pipe while the first sample is taken
    stop, keep = os.pipe()

    class Closing(FakeNvml):
        def nvmlDeviceGetTemperature(self, *_: object) -> int:
            os.close(keep)
            return 66

    with os.fdopen(stop, encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)

        # WHEN
        code = gpu_sampler.main(["GPU-1", "7"], lambda _, *who: Reader(Closing(**RECORDED), *who))

    # THEN its own process is 7, and 8 and 9 are others
    one = msgspec.json.decode(capsysbinary.readouterr().out, type=GpuSample)
    assert (code, one.sm_mhz, one.temperature_c, one.other_processes) == (0, 1755, 66, 2)
