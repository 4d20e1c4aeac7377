"""A run under Nsight Systems: its capture range for nsys, and its advice on how to call nsys."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nvtx
import psutil
import torch

from perfkit.measure.loop import Observer, StepId
from perfkit.measure.nsys import program as nsys_program
from perfkit.measure.nsys.program import Nsys, under_nsys
from perfkit.schema.range_names import MEASURE, NVTX_DOMAIN


class Capture(Observer):
    """Marks the measured steps for nsys's capture ranges, so that warm-up stays out of the report.

    `--capture-range=nvtx --nvtx-capture=measure@perfkit` (nvtx registers its strings, as nsys requires) and,
    on a GPU, `--capture-range=cudaProfilerApi`. For a run under nsys only.
    """

    def __init__(self, device: str, *, cuda: Any = torch.cuda, annotate: Any = nvtx.annotate) -> None:
        self._device, self._cuda = device, cuda
        self._range = annotate(message=MEASURE.nvtx_text, domain=NVTX_DOMAIN)
        self._open = contextlib.ExitStack()

    def before(self, step: StepId) -> None:
        """Open the capture range before the first measured step."""
        if step != StepId("measured", 0):
            return
        if self._device != "cpu":
            self._cuda.synchronize(self._device)  # no earlier kernel may end inside the capture
            self._cuda.profiler.start()
            self._open.callback(self._cuda.profiler.stop)
        self._open.enter_context(self._range)

    def close(self) -> None:
        """Close the capture range, if it is open."""
        self._open.close()


@dataclass(frozen=True, slots=True)
class Call:
    """How a process was started under nsys."""

    nsys: Nsys
    arguments: tuple[str, ...]
    """nsys's own command line; empty if it cannot be read."""
    itself: tuple[str, ...]
    """The process's own command line, with the interpreter's short name."""
    nvtx: str | None
    """Version of the package nvtx."""


def call(parents: Callable[[], Sequence[Any]] = lambda: psutil.Process().parents()) -> Call | None:
    """How this process was called; None if it does not run under nsys, or if that nsys cannot be found."""
    if not under_nsys():
        return None
    path, arguments = _caller(parents)
    nsys = nsys_program.find(path)
    if nsys is None:
        return None
    return Call(nsys, tuple(arguments), _itself(sys.executable, sys.orig_argv), nsys_program.nvtx_version())


def advice(device: str, call: Call | None) -> list[str]:
    """Lines that say, before the run starts, what to change in the call of nsys; empty if nothing."""
    if call is None:
        return []
    lines = []
    if problem := nsys_program.pair_problem(call.nsys, call.nvtx):
        lines.append(f"warning: {problem}; the report will contain no modules and no steps")
    if not _has_capture_range(call.arguments):
        best = [*nsys_program.profile_command(call.nsys, device), *call.itself]
        best[0] = "nsys"
        lines.append("under nsys; this command records only the measured steps, with everything that the tables need:")
        lines.append("  " + shlex.join(best))
    return lines


def _caller(parents: Callable[[], Sequence[Any]]) -> tuple[str | None, list[str]]:
    """Path and command line of the nsys that this process runs under; None and an empty list if it cannot be read."""
    with contextlib.suppress(psutil.Error):
        for parent in parents():
            if parent.name() == "nsys":
                return parent.exe() or None, parent.cmdline()
    return None, []


def _has_capture_range(called: Sequence[str]) -> bool:
    """Whether an nsys command line, up to its application, names a capture range."""
    for argument in called:
        if argument.startswith(("--capture-range", "-c")):
            return True
        if "perfkit" in argument or Path(argument).name.startswith("python"):
            return False
    return False


def _itself(executable: str, called: Sequence[str]) -> tuple[str, ...]:
    """A process's command line with the interpreter's short name."""
    return Path(executable).name, *called[1:]
