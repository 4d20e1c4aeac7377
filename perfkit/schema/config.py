"""RunConfig: what is measured and how. The single source of the CLI flags, the Python API and the saved record.

It has three parts. Field names are unique among them, so that a flag, a column of a sweep's results and a keyword of
`RunConfig.of` name a field without its part: FIELDS says which part it belongs to.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import shlex
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perfkit.errors import UsageError
from perfkit.schema.parts.checks import flag
from perfkit.schema.parts.measurement import MEASURED_STEPS, Measurement
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import Own, Transformer, arguments_of

_CONTEXT_LENGTH = {"tiny": 128}  # every other size: 512


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One configuration to measure: a workload, what its step does, and how that is measured.

    `None` means "from the model size"; `resolved()` fills those in. Raises UsageError where a combination cannot work,
    before anything is allocated.
    """

    workload: Transformer | Own = field(default_factory=Transformer)
    step: Step = field(default_factory=Step)
    measurement: Measurement = field(default_factory=Measurement)

    def __post_init__(self) -> None:
        if self.measurement.experimental_provenance:
            self._check_provenance()
        if self.step.device == "cpu":
            self._check_cpu()
        if self.step.parallel != "off":
            self._check_parallel()

    def _check_provenance(self) -> None:
        if self.step.compile == "off":
            raise UsageError(
                "--experimental-provenance needs --compile model or --compile block: it attributes compiled kernels"
            )
        if self.measurement.profiler != "torch":
            raise UsageError("--experimental-provenance needs --profiler torch: it reads the trace")
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

    def _check_parallel(self) -> None:
        asked = f"--parallel {self.step.parallel}"
        if isinstance(self.workload, Own):
            raise UsageError(
                f"{asked} shares perfkit's own Transformer: start a script with your model by torchrun instead, as in"
                " torchrun --nproc-per-node 2 -m perfkit.run train.py"
            )
        if self.measurement.profiler not in ("none", "torch"):
            raise UsageError(f"{asked} needs --profiler torch or none: {self.measurement.profiler} records one process")
        if self.measurement.target_ci is not None:
            raise UsageError(f"{asked}: all ranks take the same steps: choose --measure-steps, not --target-ci")

    @classmethod
    def of(cls, **fields: Any) -> RunConfig:
        """A Transformer's configuration from fields of all three parts: `RunConfig.of(model_size="tiny", seed=1)`.

        How many steps are measured depends on the profiler, where it is not said.
        Raises TypeError for a name that no part has.
        """
        return cls().changed(**{"measure_steps": _measured_steps(fields.get("profiler")), **fields})

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
        if isinstance(self.workload, Own):
            workload = {"workload": self.workload.name, **_named(self.workload)}
        else:
            workload = msgspec.structs.asdict(self.workload)
        return workload | dataclasses.asdict(self.step) | dataclasses.asdict(self.measurement)

    def value(self, name: str) -> Any:
        """One field's value, as `flat` has it; None where this workload has no such field.

        `model_arg.hidden` is one argument of an own model's: a number, a truth, None, or else a text.
        """
        field, _, argument = name.partition(".")
        if field == "workload":
            return self.workload.name if isinstance(self.workload, Own) else None
        if field in OWN_FIELDS:
            return _value(self.workload, field, argument) if isinstance(self.workload, Own) else None
        return getattr(getattr(self, FIELDS[name].part), name, None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all values that can differ from another configuration's: of own models each argument's."""
        if not isinstance(self.workload, Own):
            return tuple(FIELDS)
        of = {field: arguments_of(getattr(self.workload, field)) for field in ARGUMENTS}
        own = ([f"{field}.{argument}" for argument in of[field]] if field in of else [field] for field in OWN_FIELDS)
        return (*itertools.chain(*own), *(name for name in FIELDS if not of_the_transformer(name)))

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

        Raises UsageError for a workload of the caller's own that no command line can name.
        """
        own = self.workload.flags() if isinstance(self.workload, Own) else []
        default = Transformer() if isinstance(self.workload, Own) else self.workload
        parts = {"workload": default, "step": self.step, "measurement": self.measurement}
        arguments = [*own]
        steps = {"measure_steps": _measured_steps(self.measurement.profiler)}
        for name, about in FIELDS.items():
            value = getattr(parts[about.part], name)
            if value is True:
                arguments.append(flag(name))
            elif value != steps.get(name, about.default):
                arguments += [flag(name), str(value)]
        return arguments

    @property
    def is_watched(self) -> bool:
        """Whether the workload is somebody's loop or script, which no flags of a model can measure again."""
        return isinstance(self.workload, Own) and self.workload.model is None

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


def _named(own: Own) -> dict[str, Any]:
    """What a command line says of a workload that it names."""
    if own.model is None:
        return {}
    said = {field: getattr(own, field) for field in OWN_FIELDS}
    return said | {field: shlex.join(said[field]) or None for field in SEVERAL}


def _value(own: Own, field: str, argument: str) -> Any:
    """What is said of one field, or of one argument there: what is no number, truth or None is its text."""
    if not argument:
        return _named(own).get(field)
    texts = getattr(own, field)
    value = arguments_of(texts).get(argument)
    if value is None or isinstance(value, bool | int | float):
        return value
    return next(text.partition("=")[2] for text in texts if text.partition("=")[0] == argument)


OWN_FIELDS = ("model", "model_arg", "input", "input_arg", "apply")
"""Fields that name a workload of the caller's own; each is a flag, `apply` of a run alone."""
ARGUMENTS = ("model_arg", "input_arg")
"""Those of them that hold arguments, each of which has a name: `model_arg.hidden`."""
SEVERAL = (*ARGUMENTS, "apply")
"""Those of them that hold several texts."""
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


def of_own(own: Mapping[str, Any], **fields: Any) -> RunConfig:
    """The configuration of a model that a command line names by OWN_FIELDS. `fields` are as of `RunConfig.of`.

    Raises UsageError for a field of the Transformer alone that is not its default.
    """
    for name, value in fields.items():
        if of_the_transformer(name) and value != FIELDS[name].default:
            raise not_beside_a_model(f"{flag(name)} {value}")
    workload = Own(name=_name_of(own), **own)
    return dataclasses.replace(RunConfig.of(**fields), workload=workload)


def of_values(values: Mapping[str, Any]) -> RunConfig:
    """The configuration of one value each by name, of a Transformer or of an own model.

    An argument of an own model is a name and a text: `{"model_arg.hidden": "512"}`. Raises UsageError as `of_own`.
    """
    own: dict[str, Any] = {}
    for name in values:
        field, _, argument = name.partition(".")
        if argument:
            own[field] = (*own.get(field, ()), f"{argument}={values[name]}")
        elif field in OWN_FIELDS:
            own[field] = values[name]
    fields = {name: value for name, value in values.items() if name in FIELDS}
    return of_own(own, **fields) if own else RunConfig.of(**fields)


def of_the_transformer(name: str) -> bool:
    """Whether only perfkit's own model has such a field."""
    return FIELDS[name].part == "workload" or name in _OF_THE_TRANSFORMER


def not_beside_a_model(what: str) -> UsageError:
    """The error for a flag of perfkit's own Transformer where the model is the caller's."""
    return UsageError(
        f"{what} is of perfkit's own Transformer: leave it out beside --model, whose callables choose the shape of"
        " model and batch (--model-arg, --input-arg)"
    )


def title_of(name: str) -> str:
    """What people call a field: `context length`; of an argument its name alone, `hidden`."""
    return name.rpartition(".")[2].replace("_", " ")


def _name_of(own: Mapping[str, Any]) -> str:
    return (own.get("model") or "own").replace(":", ".")


_OF_THE_TRANSFORMER = ("batch_size", "context_length", "checkpoint", "checkpoint_every", "checkpoint_nested")
"""Fields of a step that only perfkit's own model has."""


def _measured_steps(profiler: str | None) -> int:
    """The number of measured steps where none is asked for."""
    usual: int = FIELDS["measure_steps"].default
    return MEASURED_STEPS.get(profiler or "", usual)


def _by_part(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise TypeError(f"a configuration has no field {', '.join(unknown)}")
    return {part: {name: fields[name] for name in fields if FIELDS[name].part == part} for part in PARTS}


def nested(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Fields of a configuration by name, as `flat` has them, as a record has them: for msgspec to convert.

    Names that no part has are left out, as a reader of records leaves them out.
    """
    parts = _by_part({name: value for name, value in fields.items() if name in FIELDS})
    if own := {name: value for name, value in fields.items() if name in OWN_FIELDS and value}:
        own |= {name: shlex.split(own[name]) for name in SEVERAL if name in own}
        return parts | {"workload": {"kind": "own", "name": _name_of(own), **own}}
    return parts | {"workload": {"kind": "transformer"} | parts["workload"]}
