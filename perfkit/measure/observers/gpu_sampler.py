"""The GPU's own counters read through NVML about ten times a second, in a separate process.

A thread would share the interpreter lock with the step it observes. Time stamps are CLOCK_MONOTONIC, the clock of
StepProbes.began_s, so that samples and steps can be joined afterwards. NVML's values are averages over up to a second:
they can explain a lasting level, never one short step. The process ends when its standard input is closed, so it
cannot outlive the run.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

import msgspec
import pynvml

from perfkit.schema.probes import GpuSample

PERIOD_S = 0.1


class Reader:
    """One GPU, read through NVML (or, in tests, through a substitute)."""

    def __init__(self, nvml: Any, uuid: str, own_pid: int) -> None:
        self._nvml, self._own = nvml, own_pid
        nvml.nvmlInit()
        self._handle = nvml.nvmlDeviceGetHandleByUUID(uuid)

    def read(self) -> GpuSample:
        """Read every value; one that the driver does not support is None, never 0."""
        nvml, handle = self._nvml, self._handle
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        power, limit = (
            self._ask(question, handle)
            for question in (nvml.nvmlDeviceGetPowerUsage, nvml.nvmlDeviceGetEnforcedPowerLimit)
        )
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        count, held = self._others()
        return GpuSample(
            at_s=time.monotonic(),
            sm_mhz=self._ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            reasons=self._ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle),
            power_w=None if power is None else power / 1000,
            power_limit_w=None if limit is None else limit / 1000,
            temperature_c=self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            utilization=None if rates is None else rates.gpu,
            free_bytes=None if memory is None else memory.free,
            total_bytes=None if memory is None else memory.total,
            other_processes=count,
            other_bytes=held,
        )

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None

    def _others(self) -> tuple[int | None, int | None]:
        """Other processes on the GPU. In a container the driver reports the host's process IDs, which do not include
        ours; then the other processes cannot be told from our own."""
        processes = self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, self._handle)
        if processes is None or (processes and self._own not in [process.pid for process in processes]):
            return None, None
        others = [process for process in processes if process.pid != self._own]
        return len(others), sum(process.usedGpuMemory or 0 for process in others)


def sample_until_closed(reader: Reader, out: IO[bytes], stop: IO[bytes], period_s: float = PERIOD_S) -> None:
    """Write one sample per line until `stop` reaches its end."""
    while not select.select([stop], [], [], period_s)[0]:
        out.write(msgspec.json.encode(reader.read()) + b"\n")
        out.flush()


def main(arguments: Sequence[str], read: Callable[..., Reader] = Reader) -> int:
    """`python -m perfkit.measure.observers.gpu_sampler UUID PID`: the command that the observer in gpu.py starts."""
    uuid, own_pid = arguments
    try:
        reader = read(pynvml, uuid, int(own_pid))
    except pynvml.NVMLError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sample_until_closed(reader, sys.stdout.buffer, sys.stdin.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
