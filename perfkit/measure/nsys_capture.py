"""A run that Nsight Systems records: what it shows nsys, and what it says of how nsys was called."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nvtx
import psutil
import torch

from perfkit.measure import nsys_program
from perfkit.measure.nsys_program import under_nsys
from perfkit.schema.range_names import MEASURE, NVTX_DOMAIN


@contextmanager
def captured(device: str) -> Iterator[None]:
    """Round the measured steps: what nsys's capture ranges wait for, so that warm-up stays out of the report.

    `--capture-range=nvtx --nvtx-capture=measure@perfkit` (nvtx registers its strings; nsys looks at no others) and,
    on a GPU, `--capture-range=cudaProfilerApi`. Does nothing where nsys is not there.
    """
    if not under_nsys():
        yield
        return
    with contextlib.ExitStack() as stack:
        if device != "cpu":
            torch.cuda.synchronize(device)  # nothing launched before the capture may end inside it
            torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
            stack.callback(torch.cuda.profiler.stop)
        stack.enter_context(nvtx.annotate(message=MEASURE.nvtx_text, domain=NVTX_DOMAIN))
        yield


def advice(device: str) -> list[str]:
    """What to change of how nsys was called, before time is spent; lines, none where nothing is to be said."""
    if not under_nsys():
        return []
    path, called = _caller()
    nsys = nsys_program.find(path)
    if nsys is None:
        return []
    lines = []
    if problem := nsys_program.pair_problem(nsys, nsys_program.nvtx_version()):
        lines.append(f"warning: {problem}; the report will name no module and no step")
    if not _has_capture_range(called):
        best = [*nsys_program.profile_command(nsys, device), *_itself()]
        best[0] = "nsys"
        lines.append("under nsys; this records the measured steps alone, with all that the tables need:")
        lines.append("  " + shlex.join(best))
    return lines


def _caller() -> tuple[str | None, list[str]]:
    """Path and command line of the nsys that this process runs under; None and nothing where it cannot be seen."""
    with contextlib.suppress(psutil.Error):
        for parent in psutil.Process().parents():
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


def _itself() -> list[str]:
    """This process's own command line, with the interpreter by its short name."""
    return [Path(sys.executable).name, *sys.orig_argv[1:]]
