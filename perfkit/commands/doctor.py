"""`perfkit doctor`: what this machine can measure, what to install, and on demand what its devices can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import Parameter

from perfkit import signals
from perfkit.analysis.costs.hardware import measured
from perfkit.analysis.reports import peaks
from perfkit.commands.console import show
from perfkit.commands.console.progress import StageProgress, going_on
from perfkit.errors import UsageError
from perfkit.schema import ceilings
from perfkit.schema.ceilings import Ceilings
from perfkit.schema.parts.step import Step
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """What to measure instead of examining the machine."""

    measure_peaks: bool = False
    """Measure the fastest matrix products in each precision and the fastest copy, and save them for the analysis."""
    device: str = "auto"
    """For --measure-peaks: auto, cpu, cuda or cuda:N. auto is the GPU if there is one."""
    num_threads: int | None = None
    """For --measure-peaks on a CPU: threads, which must be those of the runs to be judged; default: PyTorch's own."""
    peaks_file: Path | None = None
    """For --measure-peaks: save here; default: a file for this device in the user's cache, where the analysis looks."""

    def __post_init__(self) -> None:
        Step(device=self.device, num_threads=self.num_threads)  # which refuses what is none
        asked = self.device != "auto" or self.num_threads is not None or self.peaks_file is not None
        if asked and not self.measure_peaks:
            raise UsageError("--device, --num-threads and --peaks-file need --measure-peaks")


_DEFAULT = DoctorOptions()


def _examine() -> Sequence[Any]:
    with going_on("looking at this machine"):
        with signals.at_once():
            from perfkit.measure import doctor

        return doctor.examine()


def _measure(device: str, threads: int | None, on_stage: Callable[[str], None]) -> Ceilings:
    with signals.at_once(), going_on("loading PyTorch"):
        from perfkit.measure import ceilings as bench

    return bench.measure(device, on_stage, threads=threads)


def execute(
    options: Annotated[DoctorOptions, Parameter(name="*")] = _DEFAULT,
    *,
    examine: Annotated[Callable[[], Sequence[Any]], Parameter(parse=False)] = _examine,
    measure: Annotated[Callable[[str, int | None, Callable[[str], None]], Ceilings], Parameter(parse=False)] = _measure,
) -> int:
    """Say what this machine can measure (GPU, nsys, NVML, versions), and what to install for the rest."""
    if options.measure_peaks:
        _show_peaks(options, measure)
        return 0
    rows = examine()
    frame = pd.DataFrame(
        [(ability.topic, ability.state, ability.found) for ability in rows], columns=["topic", "ready", "found"]
    )
    table = Table(
        "doctor", "What this machine can measure", tuple(map(Column, frame.columns)), frame, pinned=len(frame)
    )
    findings = tuple(ability.finding for ability in rows if ability.finding is not None)
    show.print_reports([Report("this machine", {}, (table,), findings=findings)], top=None)
    return 0


def _show_peaks(options: DoctorOptions, measure: Callable[[str, int | None, Callable[[str], None]], Ceilings]) -> None:
    """Measure, show and save. What was measured is shown even where it cannot be saved."""
    with StageProgress() as progress:
        found = measure(options.device, options.num_threads, progress.stage)
    show.print_reports([peaks.report(found)], top=None)
    path = options.peaks_file or measured.default_path(found.device_name, found.threads)
    ceilings.save(found, path)
    print(f"\nsaved in {path}")
