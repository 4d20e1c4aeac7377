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
from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Finding
from perfkit.schema.parts import checks
from perfkit.schema.parts.workloads import Own


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a configuration."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of RunConfig and their new values; `apply` is one name more of `Own.apply`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the process."""

    @property
    def touches(self) -> frozenset[str]:
        """What it sets: two changes that set the same cannot be had together."""
        return frozenset(
            f"apply {value.rstrip('0123456789')}" if name == "apply" else name for name, value in self.fields.items()
        ) | {*self.environment}

    def of(self, config: RunConfig) -> RunConfig:
        """The configuration with the change. Raises UsageError where it cannot work."""
        fields = {name: value for name, value in self.fields.items() if name != "apply"}
        changed = config.changed(**fields)
        if "apply" not in self.fields:
            return changed
        own = config.workload
        if not isinstance(own, Own):
            raise UsageError("--apply is for a model of your own: leave it out")
        applied = (*own.apply, self.fields["apply"])
        workload = msgspec.structs.replace(own, apply=applied)
        return RunConfig(workload=workload, step=changed.step, measurement=changed.measurement)

    def plus(self, other: Change) -> Change:
        """Both. They set different things, or are both of `apply`, which only `Plan.of` can join."""
        return Change({**self.fields, **other.fields}, {**self.environment, **other.environment})


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
    config: RunConfig, findings: Iterable[Finding], modules: Collection[str] = ()
) -> tuple[list[Candidate], list[Unapplied]]:
    """What to try of a resolved configuration, most to gain first, and what cannot be tried.

    modules: classes of the model's modules, as far as they are known; and DataLoader, where a change of one counts.
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
        found = [*_possible(config, advised)]
        for change in found:
            name = spelled(config, change)
            known = by_name.get(name, Candidate(name, (change,)))
            gains = [gain for gain in (known.predicted, finding.at_stake.share) if gain is not None]
            rules, at_least = (*known.rules, finding.rule.id), known.at_least or finding.rule.costs_more
            by_name[name] = Candidate(name, (change,), rules, max(gains, default=None), at_least)
        if not found and finding.rule.asks_for_change:
            reason = REASONS.get(finding.rule.id, "a change of your code")
            unapplied.append(Unapplied(finding.advice or finding.what, reason, finding.rule.id, finding.at_stake.ns))
        unapplied += [Unapplied(what, why, finding.rule.id) for what, why in BESIDE.get(finding.rule.id, ())]
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
    work with the configuration, or that make it another computation.
    """
    found = []
    for flags, described in given:
        values = described.flat().items()
        fields = {name: value for name, value in values if name != "apply" and value != usual.value(name)}
        if other := next((name for name in fields if name in conditions.WORK), None):
            raise UsageError(
                f"--also '{flags}': {checks.flag(other)} makes it another computation, which perfkit sweep measures"
            )
        changes = [Change(fields)] if fields else []
        if isinstance(described.workload, Own) and isinstance(usual.workload, Own):
            changes += [Change({"apply": name}) for name in described.workload.apply[len(usual.workload.apply) :]]
        one = Candidate(flags, tuple(changes))
        if one.of(config) == config:
            raise UsageError(f"--also '{flags}': changes nothing of this run")
        found.append(one)
    return found


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
    "tiny-kernels": _compiled(),
    "launch-bound": _compiled(),
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
    "few-tiles": "another batch is another computation: perfkit sweep --batch-size measures it, by tokens a second",
    "unused-tensor-cores": "needs a GPU with tensor cores",
    "zeroed-gradients": "perfkit's own step lets go of gradients: what fills them with zeros is in your code",
    "uneven-layers": "it names where to look, and no change",
    "hot-spot": "it names where to look, and no change",
    "slow-first-step": "it is about the recording: no step gains by it",
    "python-stacks": "it is about the recording: no step gains by it",
    "lower-clocks": "a setting of the machine",
}
"""Rule -> why nothing here can follow its advice; of others: a change of the user's code."""
BESIDE = {
    "launch-bound": (("CUDA graphs", "perfkit run has no option for them: torch.compile(mode='reduce-overhead')"),),
    "tiny-kernels": (
        ("a larger batch", "another batch is another computation: perfkit sweep --batch-size, by tokens a second"),
    ),
}
"""Rule -> what it advises besides, which is not applied, and why."""


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
