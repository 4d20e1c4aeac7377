"""A cell as the configuration of a run, and back."""

from __future__ import annotations

import dataclasses
import hashlib

import msgspec

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.attention import BUILD, INPUT, Cell
from perfkit.schema.parts.measurement import Measurement
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import Own


def config_of(cell: Cell, device: str, passes: int, warmup: int, threads: int | None = None) -> RunConfig:
    """The run that measures a cell: `passes` times forward and backward, a CPU operation in so many threads."""
    said = {name: value for name, value in dataclasses.asdict(cell).items() if value is not None}
    arguments = tuple(f"{name}={value}" for name, value in said.items())
    step = Step(
        pass_type="forward-backward",
        device=device,
        num_threads=threads,
        precision="tf32" if cell.precision == "tf32" else "fp32",
    )  # of anything but tf32 the tensors are, and nothing is cast
    return RunConfig(
        workload=Own(name="attention", model=BUILD, model_arg=arguments, input=INPUT),
        step=step,
        measurement=Measurement(warmup_steps=warmup, measure_steps=passes),
    )


def key_of(cell: Cell, config: RunConfig) -> str:
    """Names a run among all: the same for the same flags, on any machine."""
    digest = hashlib.sha256("\0".join(config.flags()).encode()).hexdigest()[:8]
    return f"{cell.implementation}_{cell.sequence}x{cell.width}_{digest}"


def cell_of(config: RunConfig) -> Cell:
    """The cell that a run measured. Raises UsageError for a run of anything else."""
    own = config.workload
    if not isinstance(own, Own) or own.model != BUILD:
        raise UsageError(f"{own.name}: no run of attention alone")
    said = dict(argument.split("=", 1) for argument in own.model_arg)
    return msgspec.convert(said | {"causal": said.get("causal") == "True"}, Cell, strict=False)
