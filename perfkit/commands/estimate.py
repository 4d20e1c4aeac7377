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
from perfkit.analysis.reports import traced_memory
from perfkit.commands.console import show
from perfkit.commands.console.progress import StageProgress, going_on, tell
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own


def execute(config: RunConfig, *, memory: int | None, fit: bool, output: Path | None) -> int:
    """Print the estimate of one configuration. Where `memory` is given, it is a GPU's, so `auto` means a GPU."""
    is_own = isinstance(config.workload, Own)
    if is_own and fit:
        raise UsageError(
            "--fit proposes flags of perfkit's own Transformer, and --model has its own: use --estimate, and perfkit"
            " sweep --estimate for several values of --model-arg"
        )
    with signals.at_once(), going_on("loading PyTorch"):
        from perfkit.measure import estimate
        from perfkit.measure.calls import Calls

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
    calls = Calls()
    workspaces = allocator.workspaces(resolved.step.pass_type != "forward", each)
    with StageProgress() as progress:
        progress.stage("tracing the step on fake tensors")
        traced = estimate.estimate(
            resolved, beside=functools.partial(allocator.beside, workspaces=workspaces), calls=calls if is_own else None
        )
    proposed = None
    if fit and available is not None:
        fits = memory_fit.predict(resolved, available).verdict == "fits"
        proposed = [] if fits else memory_fit.proposals(resolved, available)
    if is_own:
        report = traced_memory.report(resolved, traced, calls.counted, available)
    else:
        formula = memory_model.estimate(resolved, each)
        report = memory_report.report(resolved, formula, traced, available, proposed)
    if output is not None:
        files.write(output, report.only(report.main_table.name))
    show.print_reports([report], top=None)
    return 0
