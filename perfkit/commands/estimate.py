"""`perfkit run --estimate`: what a step would hold at its peak, and whether that fits, without running it."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from perfkit import signals
from perfkit.analysis.memory import allocator
from perfkit.analysis.memory import fit as memory_fit
from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.reports import memory as memory_report
from perfkit.analysis.reports import run as run_report
from perfkit.commands.console import show
from perfkit.commands.console.progress import StageProgress, going_on, tell
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own


def execute(config: RunConfig, *, memory: int | None, fit: bool, output: Path | None) -> int:
    """Print the estimate of one configuration. Where `memory` is given, it is a GPU's, so `auto` means a GPU."""
    if isinstance(config.workload, Own):
        raise UsageError(
            "--estimate has a formula for perfkit's own Transformer alone: leave out --model, or record what the model"
            " takes with --profiler memory"
        )
    with signals.at_once(), going_on("loading PyTorch"):
        from perfkit.measure import estimate

    device = (
        "cuda" if config.step.device == "auto" and memory is not None else estimate.choose_device(config.step.device)
    )
    resolved = config.resolved(device)
    available = memory if memory is not None else estimate.available(device)
    if fit and available is None:
        raise UsageError(
            f"--fit needs the memory of --device {config.step.device}, which is unknown: add e.g. --memory 16GB"
        )
    tell(run_report.headline(resolved))
    each = allocator.workspace(estimate.capability(), os.environ.get("CUBLAS_WORKSPACE_CONFIG"))
    formula = memory_model.estimate(resolved, each)
    workspaces = allocator.workspaces(resolved.step.pass_type != "forward", each)
    with StageProgress() as progress:
        progress.stage("tracing the step on fake tensors")
        traced = estimate.estimate(resolved, beside=functools.partial(allocator.beside, workspaces=workspaces))
    proposed = None
    if fit and available is not None:
        fits = memory_fit.predict(resolved, available).verdict == "fits"
        proposed = [] if fits else memory_fit.proposals(resolved, available)
    report = memory_report.report(resolved, formula, traced, available, proposed)
    if output is not None:
        files.write(output, report.only(report.main_table.name))
    show.print_reports([report], top=None)
    return 0
