"""`perfkit run train.py`: somebody's script, unedited, in this process."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import signals
from perfkit.commands.console.progress import going_on
from perfkit.errors import UsageError
from perfkit.schema.config import FIELDS, RunConfig
from perfkit.schema.parts.checks import flag
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import Own

if TYPE_CHECKING:
    from perfkit.measure.loop import Observer
    from perfkit.measure.nsys.program import Nsys
    from perfkit.measure.own.script import Ended
    from perfkit.schema.record import RunRecord

_UNFIT = ("target_ci", "experimental_provenance", "autograd_nvtx")


@dataclass(frozen=True, slots=True)
class Asked:
    """A script, or a module, and its own arguments."""

    path: str | None
    module: str | None
    arguments: tuple[str, ...]
    stop_after: bool

    @property
    def name(self) -> str:
        """What was typed."""
        return self.module or self.path or ""


def check(asked: Asked, config: RunConfig, unfit: Sequence[str]) -> None:
    """Raise UsageError for flags that are no script's: it has its model, step and input itself."""
    if asked.path is not None and asked.module is not None:
        raise UsageError(
            f"{asked.path} and --module {asked.module}: name one of them; what follows -- goes to the script"
        )
    if isinstance(config.workload, Own):
        raise UsageError(
            f"--model and --input are not for a script, which has its own: leave them out beside {asked.name}"
        )
    for name, about in FIELDS.items():
        value = config.value(name)
        if (about.part != "measurement" or name in _UNFIT) and value != about.default:
            raise UsageError(
                f"{flag(name)} is not for a script, which has its own model, step and input: leave it out beside"
                f" {asked.name}; the script's own flags go after --"
            )
    for name in unfit:
        raise UsageError(f"{name} is not for a script: leave it out beside {asked.name}")
    if asked.path is not None and not Path(asked.path).is_file():
        raise UsageError(f"{asked.path}: there is no such script: name a file, or a module after -m")


def run(asked: Asked, config: RunConfig, folder: Path, more: Sequence[Observer]) -> Ended:
    """Run the script to its end, and measure what the configuration says of it."""
    with signals.at_once(), going_on("loading PyTorch"):
        from perfkit.measure.own import script

    def configured(device: str) -> RunConfig:
        print(f"{asked.name}: its modules are found; {_plan(config)} on {device}", file=sys.stderr)
        own = Own(name=Path(asked.name).name)
        measurement = dataclasses.replace(config.measurement, gc="on")
        return RunConfig(workload=own, step=Step(device=device), measurement=measurement)

    watched = script.Script(configured, folder, more, stop_after=asked.stop_after)
    return script.run(watched, asked.name, asked.arguments, is_module=asked.module is not None)


def run_under_nsys(
    asked: Asked, config: RunConfig, program: Nsys, folder: Path, tell: Callable[[str], None]
) -> tuple[int, RunRecord | None]:
    """Run the script in a process of its own under nsys, which finds its steps; its exit code, and its record."""
    with signals.at_once(), going_on("loading PyTorch"):
        from perfkit.measure import estimate
        from perfkit.measure.nsys import run as nsys

    what = [asked.path] if asked.path is not None else ["--module", asked.name]
    flags = [*config.flags(), *["--stop-after"] * asked.stop_after, "--folder", str(folder)]
    own = ["--", *asked.arguments] if asked.arguments else []
    device = estimate.choose_device("auto")
    return nsys.run_script([*what, *flags, *own], program, device, folder, tell, lambda line: print(line, flush=True))


def why_empty(ended: Ended, config: RunConfig) -> str:
    """Why nothing was measured."""
    if not ended.steps:
        if ended.elsewhere:
            return "no step was measured: the optimizer stepped in another thread than the script's own: none counts"
        return "no step was measured: no optimizer of PyTorch stepped outside compiled code: its steps count"
    steps, needed = config.measurement, ended.shown + config.measurement.warmup_steps + 1
    if ended.steps >= needed:
        return "no step was measured: no module with parameters on a CPU or a CUDA GPU was called"
    return (
        f"no step was measured: the optimizer stepped {ended.steps} times, and the first to be measured would be step"
        f" {needed}, after {ended.shown} that {'shows' if ended.shown == 1 else 'show'} the modules and"
        f" {steps.warmup_steps} to warm up: choose fewer --warmup-steps"
    )


def _plan(config: RunConfig) -> str:
    steps = config.measurement
    warmup = f"{steps.warmup_steps} step{'' if steps.warmup_steps == 1 else 's'}"
    return f"{warmup} to warm up and {steps.measure_steps} to measure follow,"
