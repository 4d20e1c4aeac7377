"""Findings of a run -> the changes that can be tried by flags or from outside, and those that cannot, with the reason.

A change is tried only where a finding advises it. What a finding says of its own code, and what `perfkit run` has no
option for, is listed: nobody has to wonder why it was not tried.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perfkit.analysis.runs import conditions
from perfkit.analysis.tuning import larger_batch
from perfkit.errors import UsageError
from perfkit.schema.config import FIELDS, RunConfig
from perfkit.schema.finding import Finding
from perfkit.schema.parts import checks
from perfkit.schema.parts.workloads import Own


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a configuration."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of RunConfig and their new values; `apply` is one name more of `Own.apply`, `input_arg` one argument of
    --input in place of the one of its name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the process."""

    @property
    def touches(self) -> frozenset[str]:
        """What it sets: two changes that set the same cannot be had together."""
        of_fields = (
            f"{name} {value.rstrip('0123456789')}" if name in _OF_OWN_FIELDS else name
            for name, value in self.fields.items()
        )
        return frozenset((*of_fields, *self.environment))

    def of(self, config: RunConfig) -> RunConfig:
        """The configuration with the change. Raises UsageError where it cannot work."""
        of_own = {name: value for name, value in self.fields.items() if name in _OF_OWN_FIELDS}
        changed = config.changed(**{name: value for name, value in self.fields.items() if name not in of_own})
        own = config.workload
        if not of_own:
            return changed
        if not isinstance(own, Own):
            raise UsageError(f"{checks.flag(next(iter(of_own)))} is for a model of your own: leave it out")
        applied = (*own.apply, *([of_own["apply"]] if "apply" in of_own else []))
        given = _replaced(own.input_arg, of_own["input_arg"]) if "input_arg" in of_own else own.input_arg
        workload = msgspec.structs.replace(own, apply=applied, input_arg=given)
        return RunConfig(workload=workload, step=changed.step, measurement=changed.measurement)

    def plus(self, other: Change) -> Change:
        """Both. They set different things, or are both of `apply`, which only `Plan.of` can join."""
        return Change({**self.fields, **other.fields}, {**self.environment, **other.environment})


_OF_OWN_FIELDS = ("apply", "input_arg")


def _replaced(arguments: Sequence[str], argument: str) -> tuple[str, ...]:
    """Arguments (`name=value`) with another in the place of the one of its name, or after them."""
    name = argument.partition("=")[0]
    kept = tuple(argument if text.partition("=")[0] == name else text for text in arguments)
    return kept if argument in kept else (*kept, argument)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A change to try."""

    name: str
    """The flags that say it, as in `--optimizer adamw-fused`; for people and for a command line."""
    changes: tuple[Change, ...]
    """One, or those of the best together."""
    rules: tuple[str, ...] = ()
    """Rules whose findings advise it; empty where the user asked for it."""
    predicted: float | None = None
    """The share of the recorded step that those findings say is to be gained, as it is shown with them: the largest,
    since findings may overlap. Both are of one recording: what slowed that, its profiler or other programs, cancels."""
    at_least: bool = False
    """Whether that is the least to be gained."""
    times: int = 1
    """How many times the rows its batch has: a step of it does the work of so many of the original's."""

    def of(self, config: RunConfig) -> RunConfig:
        """The configuration with all its changes. Raises UsageError where they cannot work."""
        for change in self.changes:
            config = change.of(config)
        return config

    @property
    def environment(self) -> dict[str, str]:
        """Variables that its processes need."""
        return {name: value for change in self.changes for name, value in change.environment.items()}

    @property
    def touches(self) -> frozenset[str]:
        """What it sets."""
        return frozenset().union(*(change.touches for change in self.changes))


@dataclass(frozen=True, slots=True)
class Unapplied:
    """A change that is advised, and that nothing here can make."""

    what: str
    why: str
    rule: str
    cost_ns: float | None = None
    """What its finding has at stake."""


def candidates(
    config: RunConfig,
    findings: Iterable[Finding],
    modules: Collection[str] = (),
    fits: larger_batch.Fits = lambda *_: False,
) -> tuple[list[Candidate], list[Unapplied]]:
    """What to try of a resolved configuration, most to gain first, and what cannot be tried.

    modules: classes of the model's modules, as far as they are known; and DataLoader, where a change of one counts.
    fits: whether a larger batch does.
    """
    by_name: dict[str, Candidate] = {}
    unapplied = []
    situation = _situation(config, modules)
    for finding in findings:
        advised = [change for change, when in ADVICE.get(finding.rule.id, ()) if when(situation)]
        if finding.rule.id in OF_NOISE:
            advised = [*_named(finding.advice)]
        elif not finding.rule.asks_for_change:
            continue
        of_batch, kept = larger_batch.advised(config, fits) if finding.rule.id in larger_batch.RULES else ([], [])
        found = [(change, 1) for change in _possible(config, advised)]
        found += [(Change(fields), times) for fields, times in of_batch]
        for change, times in found:
            name = spelled(config, change) if times == 1 else larger_batch.spelled(change.fields)
            known = by_name.get(name, Candidate(name, (change,)))
            share = finding.at_stake.share
            if share is not None and times > 1:
                share *= 1 - 1 / times  # what does not grow with the batch is there once in so many steps
            gains = [gain for gain in (known.predicted, share) if gain is not None]
            rules, at_least = (*known.rules, finding.rule.id), known.at_least or finding.rule.costs_more
            by_name[name] = Candidate(name, (change,), rules, max(gains, default=None), at_least, times)
        if not found and finding.rule.asks_for_change:
            reason = REASONS.get(finding.rule.id, "a change of your code")
            unapplied.append(Unapplied(finding.advice or finding.what, reason, finding.rule.id, finding.at_stake.ns))
        beside = BESIDE.get(finding.rule.id, ()) if not situation.on_gpu else ()
        said = {one.what for one in unapplied}
        unapplied += [Unapplied(what, why, finding.rule.id) for what, why in (*beside, *kept) if what not in said]
    return sorted(by_name.values(), key=lambda one: -(one.predicted or 0)), unapplied


def _named(advice: str) -> Iterator[Change]:
    """What the advice against a cause of noise names and a process can be given: threads, settings of the allocator."""
    for threads in re.findall(r"--num-threads (\d+)", advice):
        yield Change({"num_threads": int(threads)})
    if settings := dict(re.findall(r"\b(MALLOC_\w+)=(\d+)", advice)):
        yield Change(environment=settings)


def asked_for(config: RunConfig, given: Sequence[tuple[str, RunConfig]], usual: RunConfig) -> list[Candidate]:
    """Changes that the user names by flags: each with the configuration that these flags describe.

    usual: the same configuration without these flags. Raises UsageError for flags that change nothing, or that cannot
    work with the configuration, or that make it another computation than one of so many times the batch.
    """
    found = []
    for flags, described in given:
        other = next((name for name in _WORK if described.value(name) != usual.value(name)), None)
        if other is not None:
            raise _another(flags, other)
        named = {text.partition("=")[0] for text in flags.split()}  # also what is a default, and not the run's
        values = {name: value for name, value in described.flat().items() if name in FIELDS}
        fields = {name: value for name, value in values.items()
                  if value != usual.value(name) or checks.flag(name) in named}  # fmt: skip
        changes = [Change(fields)] if fields else []
        own, before = described.workload, usual.workload
        if isinstance(own, Own) and isinstance(before, Own):
            changes += [Change({"apply": name}) for name in own.apply[len(before.apply) :]]
            changes += [Change({"input_arg": text}) for text in own.input_arg if text not in before.input_arg]
        changed = Candidate(flags, tuple(changes)).of(config)
        if changed == config:
            raise UsageError(f"--also '{flags}': changes nothing of this run")
        times = larger_batch.times_of(config, changed)
        if times is None:
            raise _another(flags, "input_arg" if isinstance(own, Own) else "batch_size")
        found.append(Candidate(flags, tuple(changes), times=times))
    return found


_WORK = ("model", "model_arg", "input", *(name for name in conditions.WORK if name != "batch_size"))
"""What a change must not touch; of the batch there may be more."""


def _another(flags: str, name: str) -> UsageError:
    return UsageError(
        f"--also '{flags}': {checks.flag(name)} makes it another computation, which perfkit sweep measures; only a"
        " batch of a whole number of times the rows is tried"
    )


def _possible(config: RunConfig, changes: Iterable[Change]) -> Iterator[Change]:
    """Those that work with the configuration and change it."""
    for change in changes:
        try:
            changed = change.of(config)
        except UsageError:
            continue
        if changed != config or change.environment:
            yield change


@dataclass(frozen=True, slots=True)
class _Situation:
    """What decides which changes of a rule's advice can be tried."""

    own: bool
    on_gpu: bool
    in_16_bits: bool
    modules: frozenset[str]


def _situation(config: RunConfig, modules: Collection[str]) -> _Situation:
    in_16_bits = config.step.precision in ("bf16", "fp16")
    return _Situation(isinstance(config.workload, Own), config.step.device != "cpu", in_16_bits, frozenset(modules))


When = Callable[[_Situation], bool]


def _always(_: _Situation) -> bool:
    return True


def _compiled(*, own_only: bool = False) -> tuple[tuple[Change, When], ...]:
    """The whole model, and its blocks, where it is known to have some."""
    return (
        (Change({"compile": "model"}), lambda s: s.own or not own_only),
        (Change({"compile": "block"}), lambda s: "ModuleList" in s.modules if s.own else not own_only),
    )


_GRAPHS: tuple[tuple[Change, When], ...] = (
    (Change({"compile": "model", "compile_mode": "reduce-overhead"}), lambda s: s.on_gpu),
)
"""CUDA graphs, which torch.compile records and replays."""
_OF_GPUS: When = lambda s: s.on_gpu  # noqa: E731 - as its neighbours in the table
_OF_OWN: When = lambda s: s.own  # noqa: E731
_OF_LOADERS: When = lambda s: "DataLoader" in s.modules  # noqa: E731
_PINNED = (Change({"apply": "pin-memory"}), lambda s: s.on_gpu and "DataLoader" in s.modules)
ADVICE: Mapping[str, tuple[tuple[Change, When], ...]] = {
    "eager-attention": (
        (Change({"attention": "sdpa"}), lambda s: not s.own),
        *(
            (Change({"attention": "sdpa", "sdpa_backend": backend}), lambda s: not s.own and s.on_gpu and s.in_16_bits)
            for backend in ("flash", "cudnn")
        ),
        (Change({"apply": "sdpa"}), lambda s: s.own and any(name.endswith("Attention") for name in s.modules)),
        *_compiled(own_only=True),
    ),
    "sdpa-math": ((Change({"sdpa_backend": "auto"}), lambda s: not s.own),),
    "unused-tensor-cores": ((Change({"precision": "tf32"}), _OF_GPUS), (Change({"precision": "bf16"}), _OF_GPUS)),
    "unfused-optimizer": (
        (Change({"optimizer": "adamw-fused"}), _always),
        (Change({"optimizer": "adamw-foreach"}), _OF_GPUS),
    ),
    "elementwise-chains": _compiled(),
    "tiny-kernels": (*_compiled(), *_GRAPHS),
    "launch-bound": (*_compiled(), *_GRAPHS),
    "concatenations": _compiled(),
    "repeated-casts": _compiled(),
    "recomputation": (
        (Change({"checkpoint": False, "checkpoint_every": 0, "checkpoint_nested": False}), lambda s: not s.own),
        (Change({"apply": "no-checkpointing"}), _OF_OWN),
    ),
    "garbage-collection": ((Change({"gc": "off"}), _always),),
    "anomaly-mode": ((Change({"apply": "no-anomaly"}), _OF_OWN),),
    "data-loader": (*((Change({"apply": f"workers-{count}"}), _OF_LOADERS) for count in (2, 4)), _PINNED),
    "blocking-copies": (_PINNED,),
    "double-precision": ((Change({"apply": "float32"}), _OF_OWN),),
    "layout-copies": (
        (Change({"apply": "channels-last"}), lambda s: s.own and bool({"Conv2d", "ConvTranspose2d"} & s.modules)),
    ),
    "allocator-calls": ((Change(environment={"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}), _OF_GPUS),),
    "launch-blocking": ((Change(environment={"CUDA_LAUNCH_BLOCKING": "0"}), _always),),
}
"""Rule -> what its advice is in flags of `perfkit run`, or from outside, and where it can be tried."""

OF_NOISE = frozenset(("too-many-threads", "lost-every-step"))
"""Rules of noise whose advice can be tried: what they cost is in every step."""
REASONS = {
    "data-loader": "tried of a DataLoader that --input returns, and by --clock wall, since workers are other processes",
    "blocking-copies": "tried of a DataLoader that --input returns: of one batch, which stays, copies are in your code",
    "odd-shapes": "another shape is another computation: perfkit sweep measures shapes",
    "unused-tensor-cores": "needs a GPU with tensor cores",
    "zeroed-gradients": "perfkit's own step lets go of gradients: what fills them with zeros is in your code",
    "uneven-layers": "it names where to look, and no change",
    "hot-spot": "it names where to look, and no change",
    "slow-first-step": "it is about the recording: no step gains by it",
    "python-stacks": "it is about the recording: no step gains by it",
    "lower-clocks": "a setting of the machine",
}
"""Rule -> why nothing here can follow its advice; of others: a change of the user's code."""
BESIDE = dict.fromkeys(("launch-bound", "tiny-kernels"), (("CUDA graphs", "needs a GPU"),))
"""Rule -> what it advises besides, which is not applied without a GPU, and why."""


def spelled(config: RunConfig, change: Change) -> str:
    """A change as flags, with variables before them: `--optimizer adamw-fused`."""
    asked, kept = change.of(config).flags(), config.flags()
    pairs, before = _pairs(asked), _pairs(kept)
    flags = [text for text in pairs if text not in before]
    names = {text.split()[0] for text in pairs}
    gone = [f"without {text}" for text in before if text.split()[0] not in names]
    variables = [f"{name}={shlex.quote(value)}" for name, value in change.environment.items()]
    return " ".join([*variables, *flags, *gone])


def _pairs(flags: Sequence[str]) -> list[str]:
    """Flags, each with its values."""
    found: list[str] = []
    for text in flags:
        if text.startswith("--") or not found:
            found.append(text)
        else:
            found[-1] += f" {shlex.quote(text)}"
    return found


def shortest(config: RunConfig) -> list[str]:
    """Flags of a resolved configuration, without those that its others imply."""
    short = config
    if not isinstance(config.workload, Own):
        for name in ("d_model", "d_ff", "num_layers", "num_heads"):
            short = _without(short, name, config)
    short = _without(short, "context_length", config)
    return short.flags()


def _without(short: RunConfig, name: str, whole: RunConfig) -> RunConfig:
    """The configuration without a value of one field, where it resolves to the same; else as it was."""
    try:
        tried = short.changed(**{name: None})
        return tried if tried.resolved(whole.step.device) == whole else short
    except UsageError:
        return short
