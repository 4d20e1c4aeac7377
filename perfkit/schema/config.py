"""RunConfig: what is measured and how. The single source of the CLI flags, the Python API and the saved record.

It has three parts. Field names are unique among them, so that a flag, a column of a sweep's results and a keyword of
`RunConfig.of` name a field without its part: FIELDS says which part it belongs to.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from perfkit.errors import UsageError
from perfkit.schema.checks import SIZE_LIMIT, check_choices, check_counts, flag
from perfkit.schema.workloads import Own, Transformer

PassType = Literal["forward", "forward-backward", "train"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Optimizer = Literal["adamw", "adamw-foreach", "adamw-fused"]
CompileMode = Literal["off", "model", "block"]
AnnotateMode = Literal["auto", "on", "off"]
Profiler = Literal["none", "torch", "nsys"]
Switch = Literal["on", "off"]

_STEP_CHOICES = {
    "pass_type": get_args(PassType),
    "precision": get_args(Precision),
    "optimizer": get_args(Optimizer),
    "compile": get_args(CompileMode),
}
_MEASUREMENT_CHOICES = {
    "profiler": get_args(Profiler),
    "annotate": get_args(AnnotateMode),
    "gc": get_args(Switch),
}

_SEED_LIMIT = 2**63

_FEWEST_FOR_TARGET = 20
"""Simulated coverage of a 95% interval that was stopped at: 94.4 to 96.2% from 20 samples on, 92.0% from 5 on."""
_MOST_STEPS = 10_000
_MOST_SECONDS = 300.0

_CONTEXT_LENGTH = {"tiny": 128}  # every other size: 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step does. A workload of the caller's own reads here what it is to do.

    Raises UsageError where a combination cannot work.
    """

    pass_type: PassType = "forward-backward"
    """forward (no gradient), forward-backward (cross-entropy on random tokens), train (and an AdamW step)."""
    batch_size: int = 4
    """Sequences per step."""
    context_length: int | None = None
    """Tokens per sequence; default: 128 for tiny, else 512."""
    precision: Precision = "fp32"
    """fp32; tf32 (fp32 with TensorFloat-32 matmuls); bf16 or fp16 autocast (fp16 with a gradient scaler)."""
    optimizer: Optimizer = "adamw"
    """For --pass-type train: PyTorch's own choice of implementation, or the foreach or fused one."""
    compile: CompileMode = "off"
    """torch.compile: off, the whole model, or block by block (which keeps block names in a profile)."""
    checkpoint: bool = False
    """Recompute each block's activations in backward instead of keeping them."""
    seed: int = 0
    """Seed of the weights and the tokens."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    num_threads: int | None = None
    """Threads PyTorch uses inside one CPU operation; default: PyTorch's own choice."""

    def __post_init__(self) -> None:
        check_choices(self, _STEP_CHOICES)
        check_counts(self, ("batch_size", "context_length", "num_threads"))
        if not 0 <= self.seed < _SEED_LIMIT:
            raise UsageError(f"--seed {self.seed}: must be 0 or more, and below 2^63")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"--device {self.device}: choose auto, cpu, cuda or cuda:N")
        if self.optimizer != "adamw" and self.pass_type != "train":
            raise UsageError(
                f"--optimizer {self.optimizer} needs --pass-type train: no other pass has an optimizer step"
            )
        if self.checkpoint and self.pass_type == "forward":
            raise UsageError("--checkpoint needs a backward pass: choose --pass-type forward-backward or train")
        if self.device == "cpu" and self.precision == "tf32":
            raise UsageError("--precision tf32 exists on NVIDIA GPUs only: use --precision fp32 or bf16 on a CPU")

    @property
    def tokens(self) -> int:
        """batch x context, of a resolved Transformer's step."""
        assert self.context_length is not None, "resolve the configuration first"
        return self.batch_size * self.context_length


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How often steps are measured, and what watches them.

    Raises UsageError where a combination cannot work.
    """

    warmup_steps: int = 5
    """Steps before measuring, kept and shown separately; obeyed exactly."""
    measure_steps: int = 10
    """Steps to measure; obeyed exactly (with --target-ci: the fewest, and never below 20)."""
    target_ci: float | None = None
    """Measure until the mean's 95% interval is within 1% (or 0.01) of it; --target-cv is another name for it."""
    max_time: float | None = None
    """With --target-ci: start no further step after this many seconds of measured steps; default: 300."""
    max_steps: int | None = None
    """With --target-ci: measure at most this many steps; default: 10000."""
    profiler: Profiler = "none"
    """none: plain timing; torch, nsys: the measured steps under torch.profiler or Nsight Systems, with tables."""
    profile_stack: bool = False
    """Record Python stacks too (--profiler torch): larger trace, slower steps."""
    experimental_provenance: bool = False
    """Compiled kernels by the modules they come from (--compile, --profiler torch); compiles anew, by private APIs."""
    annotate: AnnotateMode = "auto"
    """Ranges named by module; auto: on when something records them (a profiler, nsys), else off."""
    autograd_nvtx: bool = False
    """Autograd's own NVTX ranges round every operator, for nsys on a GPU: a second, costlier account of backward."""
    gc: Switch = "off"
    """off: Python's garbage is collected and frozen before the loop and not collected in it; on: left alone."""

    def __post_init__(self) -> None:
        check_choices(self, _MEASUREMENT_CHOICES)
        check_counts(self, ("measure_steps", "max_steps"))
        if not 0 <= self.warmup_steps < SIZE_LIMIT:
            raise UsageError(f"--warmup-steps {self.warmup_steps}: must be 0 or more, and below {SIZE_LIMIT}")
        if self.profile_stack and self.profiler != "torch":
            raise UsageError("--profile-stack needs --profiler torch")
        self._check_target()
        if self.autograd_nvtx and self.profiler == "torch":
            raise UsageError("--autograd-nvtx is for Nsight Systems: --profiler torch sees the operators itself")

    def _check_target(self) -> None:
        if self.target_ci is None:
            for name in ("max_time", "max_steps"):
                if getattr(self, name) is not None:
                    raise UsageError(f"{flag(name)} needs --target-ci: without it --measure-steps is obeyed exactly")
            return
        if not 0 < self.target_ci < 1:
            raise UsageError(f"--target-ci {self.target_ci}: must be above 0 and below 100%, as in 1% or 0.01")
        if self.max_time is not None and not 0 < self.max_time < math.inf:
            raise UsageError(f"--max-time {self.max_time}: must be above 0 seconds")
        if self.max_steps is not None and self.max_steps < self.fewest_steps:
            raise UsageError(f"--max-steps {self.max_steps}: --target-ci measures at least {self.fewest_steps} steps")
        if self.profiler != "none":
            raise UsageError(
                f"--target-ci needs plain steps: drop --profiler {self.profiler}, or choose --measure-steps"
            )

    @property
    def fewest_steps(self) -> int:
        """Measured steps there are at least: below 20 the interval that --target-ci stops at covers too little."""
        return self.measure_steps if self.target_ci is None else max(self.measure_steps, _FEWEST_FOR_TARGET)

    @property
    def most_steps(self) -> int:
        """Measured steps there are at most."""
        return self.measure_steps if self.target_ci is None else self.max_steps or max(_MOST_STEPS, self.fewest_steps)

    @property
    def time_limit_s(self) -> float:
        """Seconds of measured steps after which none begins."""
        return math.inf if self.target_ci is None else self.max_time or _MOST_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One configuration to measure: a workload, what its step does, and how that is measured.

    `None` means "from the model size"; `resolved()` fills those in. Raises UsageError where a combination cannot work,
    before anything is allocated.
    """

    workload: Transformer | Own = dataclasses.field(default_factory=Transformer)
    step: Step = Step()
    measurement: Measurement = Measurement()

    def __post_init__(self) -> None:
        if self.measurement.experimental_provenance:
            self._check_provenance()
        if self.step.device == "cpu":
            self._check_cpu()

    def _check_provenance(self) -> None:
        if self.step.compile == "off":
            raise UsageError("--experimental-provenance needs --compile model or --compile block: nothing is compiled")
        if self.measurement.profiler != "torch":
            raise UsageError("--experimental-provenance needs --profiler torch: it is read with the trace")
        if self.measurement.annotate == "off":
            raise UsageError("--experimental-provenance needs module ranges: drop --annotate off")
        if self.measurement.warmup_steps == 0:
            raise UsageError(
                "--experimental-provenance needs --warmup-steps 1 or more: compilation ends before recording begins"
            )

    def _check_cpu(self) -> None:
        if self.measurement.autograd_nvtx:
            raise UsageError("--autograd-nvtx needs a CUDA device: PyTorch writes these ranges in CUDA builds only")
        if isinstance(self.workload, Transformer) and self.workload.sdpa_backend in ("efficient", "cudnn"):
            backend = self.workload.sdpa_backend
            raise UsageError(f"--sdpa-backend {backend} exists on GPUs only: use auto, flash or math on a CPU")

    @classmethod
    def of(cls, **fields: Any) -> RunConfig:
        """A Transformer's configuration from fields of all three parts: `RunConfig.of(model_size="tiny", seed=1)`.

        Raises TypeError for a name that no part has.
        """
        return cls().changed(**fields)

    def changed(self, **fields: Any) -> RunConfig:
        """The same configuration with other values of some fields, of whichever part.

        Raises TypeError for a name that no part has, UsageError for one of a Transformer where the workload is none.
        """
        parts = _by_part(fields)
        workload = self.transformer if parts["workload"] else self.workload
        return RunConfig(
            workload=msgspec.structs.replace(workload, **parts["workload"]),
            step=dataclasses.replace(self.step, **parts["step"]),
            measurement=dataclasses.replace(self.measurement, **parts["measurement"]),
        )

    def flat(self) -> dict[str, Any]:
        """The values of all fields, by name; of a workload of the caller's own its name, as `workload`."""
        own = isinstance(self.workload, Own)
        workload = {"workload": self.workload.name} if own else msgspec.structs.asdict(self.workload)
        return workload | dataclasses.asdict(self.step) | dataclasses.asdict(self.measurement)

    def value(self, name: str) -> Any:
        """One field's value, as `flat` has it; None where this workload has no such field."""
        if name == "workload":
            return self.workload.name if isinstance(self.workload, Own) else None
        return getattr(getattr(self, FIELDS[name].part), name, None)

    @property
    def transformer(self) -> Transformer:
        """The workload, where only perfkit's own model will do. Raises UsageError for any other."""
        if isinstance(self.workload, Own):
            raise UsageError(
                f"{self.workload.name}: a workload of your own, of which perfkit knows neither shape nor flags: "
                "pass it to measure.runner.run, or configure a Transformer"
            )
        return self.workload

    def flags(self) -> list[str]:
        """The command line that asks for this configuration: every field that differs from its default.

        Raises UsageError for a workload of the caller's own, which no command line can name.
        """
        parts = {"workload": self.transformer, "step": self.step, "measurement": self.measurement}
        arguments: list[str] = []
        for name, field in FIELDS.items():
            value = getattr(parts[field.part], name)
            if value is True:
                arguments.append(flag(name))
            elif value != field.default:
                arguments += [flag(name), str(value)]
        return arguments

    @property
    def is_resolved(self) -> bool:
        """Whether nothing of the work is left to guess."""
        return isinstance(self.workload, Own) or self.step.context_length is not None

    def resolved(self, device: str) -> RunConfig:
        """The same configuration with nothing left to guess, for `device` ("cpu", "cuda" or "cuda:N")."""
        step = dataclasses.replace(self.step, device=device)
        if isinstance(self.workload, Own):
            return dataclasses.replace(self, step=step)
        workload = self.workload.resolved(device)
        context_length = step.context_length or _CONTEXT_LENGTH.get(workload.name, 512)
        return dataclasses.replace(
            self, workload=workload, step=dataclasses.replace(step, context_length=context_length)
        )


PARTS: dict[str, type[Any]] = {"workload": Transformer, "step": Step, "measurement": Measurement}
"""The parts that have flags, in the order of the command line."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a part."""

    part: str
    """workload, step or measurement."""
    kind: Any
    """Its type."""
    default: Any


FIELDS = {
    name: Field(part, typing.get_type_hints(kind)[name], parameter.default)
    for part, kind in PARTS.items()
    for name, parameter in inspect.signature(kind).parameters.items()
}
"""Every field that is a flag, in the order of the command line."""


def _by_part(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise TypeError(f"a configuration has no field {', '.join(unknown)}")
    return {part: {name: fields[name] for name in fields if FIELDS[name].part == part} for part in PARTS}


def nested(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Fields of a Transformer's configuration by name, as a record has them: for msgspec to convert.

    Names that no part has are left out, as a reader of records leaves them out.
    """
    parts = _by_part({name: value for name, value in fields.items() if name in FIELDS})
    return parts | {"workload": {"kind": "transformer"} | parts["workload"]}
