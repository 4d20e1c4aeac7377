"""What the points of a sweep will need: `sweep --estimate`, and the forecast before each point."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from perfkit import signals
from perfkit.analysis.memory import fit as memory_fit
from perfkit.analysis.reports import memory as memory_report
from perfkit.analysis.reports import traced_memory
from perfkit.analysis.reports.memory import COMPILE_NOT_COVERED, MEMORY_UNKNOWN
from perfkit.analysis.sweeps.rows import Forecast, Forecaster
from perfkit.commands.console.progress import StageProgress, going_on
from perfkit.launch import places
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Finding
from perfkit.schema.parts.workloads import Own
from perfkit.schema.report import Report
from perfkit.schema.table import Table


def forecaster(
    configs: Sequence[RunConfig],
    memory: int | None,
    find: Callable[[Iterable[str]], dict[str, places.Place]] = places.find,
) -> Forecaster:
    """A function that predicts by the formula whether a point fits into `memory` bytes (default: the free bytes).

    A compiled step needs less than the formula says, so no compiled point is skipped; of a model of the caller's own
    the formula knows nothing.
    """
    if all(isinstance(config.workload, Own) for config in configs):
        return lambda _: None
    print("reading the free memory of the devices", file=sys.stderr)
    with going_on("reading the free memory of the devices"):
        devices = find(config.step.device for config in configs)

    def forecast(config: RunConfig) -> Forecast | None:
        device, free = devices.get(config.step.device, ("", None))
        available = memory if memory is not None else free
        if not device or available is None:
            return None
        return forecast_of(config, device, available)

    return forecast


def forecast_of(config: RunConfig, device: str, available: int) -> Forecast:
    """What a configuration will need on a device with so many free bytes, by the formula.

    A compiled step needs less than the formula says, so it always counts as fitting.
    """
    resolved = config.resolved(device)
    predicted = memory_fit.predict(resolved, available)
    fits = predicted.verdict != "will not fit" or config.step.compile != "off"
    suggestions = () if fits else memory_fit.two_changes(resolved, available)
    return Forecast(
        peak_bytes=predicted.peak_bytes,
        available_bytes=available,
        fits=fits,
        suggestions=suggestions,
    )


def estimates(configs: Sequence[RunConfig], memory: int | None, varied: Sequence[str] = ()) -> Table:
    """The estimates of all points in one table, by the formula, if it knows the model, and traced on fake tensors.

    Where `memory` is given, it is a GPU's, so `auto` means a GPU. `varied`: the fields that the grid varies.
    """
    with signals.at_once(), going_on("loading PyTorch"):
        from perfkit.measure import estimate

    def placed(config: RunConfig) -> RunConfig:
        wants_gpu = config.step.device == "auto" and memory is not None
        return config.resolved("cuda" if wants_gpu else estimate.choose_device(config.step.device))

    resolved = [placed(config) for config in configs]
    devices = {config.step.device for config in resolved}  # each is asked once: free memory changes between queries
    available = {memory} if memory is not None else {estimate.available(device) for device in devices}
    traced = []
    with StageProgress() as progress:
        progress.stage("tracing each step on fake tensors", len(resolved))
        for config in resolved:
            traced.append(estimate.estimate(config))
            progress.advance()
    if all(isinstance(config.workload, Own) for config in configs):
        return traced_memory.table(resolved, traced, available.pop() if len(available) == 1 else None, varied)
    return memory_report.estimate_table(resolved, available.pop() if len(available) == 1 else None, traced, varied)


def report(table: Table, configs: Sequence[RunConfig]) -> Report:
    """The table of `estimates` with its findings."""
    findings = []
    if not any(column.name == "verdict" for column in table.columns):
        findings.append(
            Finding(MEMORY_UNKNOWN, "the memory to fit into is unknown, so there is no verdict", advice="--memory 16GB")
        )
    if any(config.step.compile != "off" for config in configs):
        text = "the estimate does not cover --compile: those rows show the uncompiled step, which needs more memory"
        findings.append(Finding(COMPILE_NOT_COVERED, text))
    return Report("estimates", {}, (table,), findings=tuple(findings))
