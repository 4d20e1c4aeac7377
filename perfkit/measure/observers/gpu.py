"""The GPU's own counters during a run, from a process that samples them (gpu_sampler.py)."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile

import msgspec

from perfkit.measure.loop import Observer, StepId
from perfkit.measure.observers import gpu_sampler
from perfkit.schema.probes import GpuSample
from perfkit.schema.record import RunRecord, StepSample

_CLOSE_S = 5.0
"""Seconds the process may take to end before it is killed."""


class GpuSampler(Observer):
    """Samples a GPU until it is closed. Samples are read after each step, so they are available while steps run.

    `command` is the process to start: it writes one sample per line, and ends when its standard input is closed.
    """

    def __init__(self, uuid: str, command: tuple[str, ...] | None = None, *, patience_s: float = _CLOSE_S) -> None:
        self.samples: list[GpuSample] = []
        self._patience_s = patience_s
        self._rest = b""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open for the run; a pipe would fill in a long step
        self._read = 0
        self._process = subprocess.Popen(
            command or (sys.executable, "-m", gpu_sampler.__name__, uuid, str(os.getpid())),
            stdin=subprocess.PIPE,
            stdout=self._file,
            stderr=subprocess.DEVNULL,
        )

    def after(self, step: StepId, sample: StepSample) -> None:
        """Read the samples that have arrived."""
        self._take()

    def close(self) -> None:
        """End the process and read the last samples."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._take()
        self._file.close()

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add the samples read so far."""
        return dataclasses.replace(record, gpu=tuple(self.samples))

    def _take(self) -> None:
        """Take the complete lines. The last line may be incomplete, and stays so after a kill."""
        while new := os.pread(self._file.fileno(), 1 << 20, self._read):
            self._read += len(new)
            *lines, self._rest = (self._rest + new).split(b"\n")
            self.samples += [msgspec.json.decode(line, type=GpuSample) for line in lines]
