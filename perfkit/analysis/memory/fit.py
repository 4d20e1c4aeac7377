"""Whether a configuration fits into a memory, and the nearest ones that do, by the formula of `memory_model`."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from perfkit.analysis.memory import model as memory_model
from perfkit.schema.config import RunConfig
from perfkit.schema.memory.estimate import MemoryEstimate
from perfkit.schema.parts.workloads import SIZES

FitVerdict = Literal["fits", "borderline", "will not fit"]

FITS_BELOW = 0.90
FITS_NOT_ABOVE = 1.05
"""(peak + overhead) / memory, below and above which the verdict is clear. A guess, to be calibrated on a GPU:
between the two, fragmentation decides, which is not counted here."""

_SMALLER_AFTER_FAILURE = 0.8
"""After running out of memory, a proposal has at most this share of the failed configuration's predicted peak: where
the estimate said it would fit, the estimate is not enough."""
_SHORTEST_CONTEXT = 32
_HALVINGS = 20

_Changes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a step of a configuration will hold, and whether that fits."""

    config: RunConfig
    peak_bytes: int
    first_step_bytes: int
    where: str
    """Of the peak: `backward of layers.11.mlp`."""
    memory_bytes: int | None
    """What it is to fit into; None where that is not known."""
    beside_bytes: int = 0
    """What a GPU holds besides the tensors: rounding, cuBLAS's workspaces, the CUDA context."""

    @property
    def share(self) -> float | None:
        """(peak + overhead) / memory."""
        return None if not self.memory_bytes else (self.peak_bytes + self.beside_bytes) / self.memory_bytes

    @property
    def verdict(self) -> FitVerdict | None:
        """None where the memory is not known."""
        return None if self.share is None else verdict_of(self.share)


def verdict_of(share: float) -> FitVerdict:
    """What it means to need this share of a memory."""
    if share < FITS_BELOW:
        return "fits"
    return "borderline" if share <= FITS_NOT_ABOVE else "will not fit"


def predict(config: RunConfig, memory: int | None = None) -> Prediction:
    """The peak of a resolved configuration by the formula, and whether it fits into `memory` bytes. Takes 1 ms."""
    return judge(config, memory_model.estimate(config), memory)


def judge(config: RunConfig, estimate: MemoryEstimate, memory: int | None = None) -> Prediction:
    """What an estimate says of whether a configuration fits."""
    context = estimate.beside.context if estimate.beside else 0  # on a CPU, available memory is counted with PyTorch
    beside = estimate.allocated - estimate.peak + context
    return Prediction(config, estimate.peak, estimate.first_step, estimate.where, memory, beside)


def best_group(config: RunConfig, *, nested: bool = False) -> int:
    """The number of blocks to checkpoint together that has the lowest peak by the formula; the smallest of equals.

    Two groups of one size keep twice the inputs of one of double the size, and half of what it computes again: more
    blocks a group than the root of their number cost more of the one than they save of the other.
    """
    most = math.isqrt(config.transformer.shape.num_layers - 1) + 1
    return min(range(1, most + 1), key=lambda group: memory_model.estimate(_grouped(config, group, nested)).peak)


def _grouped(config: RunConfig, group: int, nested: bool) -> RunConfig:
    return config.changed(checkpoint=False, checkpoint_every=group, checkpoint_nested=nested)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration that fits."""

    flags: tuple[str, ...]
    """To add to the command line, each with its value."""
    gives_up: str
    prediction: Prediction

    @property
    def command(self) -> str:
        """The flags to paste."""
        return " ".join(self.flags)


@dataclass(frozen=True, slots=True)
class _Step:
    """One change, or none, along one axis. Its cost is its place on the axis: later ones give up more."""

    changes: _Changes
    flags: tuple[str, ...] = ()
    gives_up: str = ""


_NONE = _Step({})


def proposals(config: RunConfig, memory: int, *, count: int = 8, peak_below: float | None = None) -> list[Proposal]:
    """The nearest configurations that clearly fit into `memory`, those that give up least first.

    Ranked by the worst that they give up: another model, a shorter context, a smaller batch, precision, time, the
    parts of attention in a profile, nothing. A proposal that gives up at least as much as another in every respect is
    not listed.
    """
    cheapest: list[tuple[tuple[int, ...], Proposal]] = []
    for cost, steps in _combinations(config):
        if any(all(a <= b for a, b in zip(other, cost, strict=True)) for other, _ in cheapest):
            continue
        proposal = _fitting(config, steps, memory, peak_below)
        if proposal is not None:
            cheapest.append((cost, proposal))
        if len(cheapest) == count:
            break
    return [proposal for _, proposal in sorted(cheapest, key=lambda item: item[0])]


def two_changes(config: RunConfig, memory: int, *, peak_below: float | None = None) -> tuple[str, ...]:
    """The two nearest configurations that fit, as flags.

    Where the parameters alone do not fit, one of the two is the next smaller model and the other a still smaller one.
    """
    commands = [proposal.command for proposal in proposals(config, memory, count=2, peak_below=peak_below)]
    smaller = (_fitting(config, (step,), memory, peak_below) for step in _models(config) if step.flags)
    rest = (proposal.command for proposal in smaller if proposal is not None and proposal.command not in commands)
    return (*commands, *itertools.islice(rest, 1)) if len(commands) == 1 else tuple(commands)


def _fitting(config: RunConfig, steps: Sequence[_Step], memory: int, peak_below: float | None) -> Proposal | None:
    """The configuration after these steps; None where it does not clearly fit, or its peak is not below the limit."""
    changed = config.changed(**{k: v for step in steps for k, v in step.changes.items()})
    if _least(changed) >= FITS_BELOW * memory:
        return None
    prediction = predict(changed, memory)
    if prediction.verdict != "fits" or (peak_below is not None and prediction.peak_bytes >= peak_below):
        return None
    flags = tuple(flag for step in steps for flag in step.flags)
    return Proposal(flags, "; ".join(step.gives_up for step in steps if step.gives_up) or "nothing", prediction)


def _least(config: RunConfig) -> int:
    """Parameters, gradients and Adam's moments: memory that only a smaller model reduces."""
    return {"forward": 4, "forward-backward": 8, "train": 16}[config.step.pass_type] * config.transformer.parameters


def suggestions(config: RunConfig, available: int) -> tuple[str, ...]:
    """After running out of memory: two changes that would have fitted into what was available, as flags."""
    below = _SMALLER_AFTER_FAILURE * predict(config).peak_bytes
    return two_changes(config, available, peak_below=below)


def _combinations(config: RunConfig) -> Iterator[tuple[tuple[int, ...], tuple[_Step, ...]]]:
    """All that is tried, each with its costs, in order of what it gives up; the configuration itself is not there."""
    models, contexts, batches, *cheap = (
        list(enumerate(axis(config)))
        for axis in (_models, _contexts, _batches, _precisions, _checkpoints, _attentions, _optimizers)
    )
    near = itertools.product(models[:1], contexts, batches, *cheap)
    smaller = itertools.product(models[1:], contexts[:1], batches[:1], *cheap)
    smallest = itertools.product(models[1:], contexts, batches[-1:], *(axis[-1:] for axis in cheap))
    for tried in itertools.chain(near, smaller, smallest):
        cost, steps = zip(*tried, strict=True)
        if any(cost):
            yield cost, steps


def _contexts(config: RunConfig) -> Iterator[_Step]:
    yield _NONE
    length = config.step.context_length or 0
    while length // 2 >= _SHORTEST_CONTEXT:
        length //= 2
        text = f"context {config.step.context_length} -> {length}"
        yield _Step({"context_length": length}, (f"--context-length {length}",), text)


def _batches(config: RunConfig) -> Iterator[_Step]:
    yield _NONE
    batch = config.step.batch_size
    while batch > 1:
        batch //= 2
        steps = -(-config.step.batch_size // batch)
        text = f"batch {config.step.batch_size} -> {batch} ({steps} to accumulate)"
        yield _Step({"batch_size": batch}, (f"--batch-size {batch}",), text)


def _precisions(config: RunConfig) -> Iterator[_Step]:
    yield _NONE
    if config.step.precision in ("fp32", "tf32"):
        yield _Step({"precision": "bf16"}, ("--precision bf16",), "precision")


def _checkpoints(config: RunConfig) -> Iterator[_Step]:
    """Checkpointing block by block; in groups, and again inside them, where that has less memory by the formula."""
    yield _NONE
    if config.step.pass_type == "forward" or config.step.checkpoint_group:
        return
    yield _Step({"checkpoint": True}, ("--checkpoint",), "time")
    least = memory_model.estimate(_grouped(config, 1, nested=False)).peak
    for nested in (False, True):
        tried = _grouped(config, best_group(config, nested=nested), nested)
        if memory_model.estimate(tried).peak < least:
            least = memory_model.estimate(tried).peak
            flags = (f"--checkpoint-every {tried.step.checkpoint_every}", *(("--checkpoint-nested",) * nested))
            changes = {"checkpoint_every": tried.step.checkpoint_every, "checkpoint_nested": nested}
            yield _Step(changes, flags, "more time" if nested else "time")


def _attentions(config: RunConfig) -> Iterator[_Step]:
    yield _NONE
    if config.transformer.attention == "eager":
        yield _Step({"attention": "sdpa"}, ("--attention sdpa",), "attention's parts in a profile")


def _optimizers(config: RunConfig) -> Iterator[_Step]:
    yield _NONE
    if config.step.pass_type == "train" and config.step.optimizer != "adamw-fused":
        yield _Step({"optimizer": "adamw-fused"}, ("--optimizer adamw-fused",))


def _models(config: RunConfig) -> Iterator[_Step]:
    """The model itself, then smaller ones: the next sizes, or, for a custom shape, each number halved."""
    yield _NONE
    smaller: list[str] = []
    own = config.transformer.shape
    if own == SIZES.get(config.transformer.name):
        smaller = [name for name, shape in SIZES.items() if shape.d_model < own.d_model]
        for name in reversed(smaller):
            changes = {"model_size": name, **dataclasses.asdict(SIZES[name])}
            yield _Step(changes, (f"--model-size {name}",), f"the model: {name}")
    if smaller and not _mostly_vocabulary(config):
        return
    for changes in _halved(config):
        flags = tuple(f"--{field.replace('_', '-')} {value}" for field, value in changes.items())
        yield _Step(changes, flags, "the model: " + ", ".join(flag[2:] for flag in flags))


def _halved(config: RunConfig) -> Iterator[dict[str, int]]:
    """Numbers of the model halved, each by itself, then all; then halved again.

    The vocabulary is one of them where it is most of the model.
    """
    shape = config.transformer.shape
    pairs = 2 * shape.num_heads  # the width is a multiple of these
    numbers = {"num_layers": shape.num_layers, "d_ff": shape.d_ff, "d_model": shape.d_model}
    if _mostly_vocabulary(config):
        numbers = {"vocab_size": config.transformer.vocab_size, **numbers}
    for divisor in (2**power for power in range(1, _HALVINGS)):
        values = {
            field: max(pairs, number // divisor // pairs * pairs) if field == "d_model" else max(1, number // divisor)
            for field, number in numbers.items()
        }
        smaller = {field: value for field, value in values.items() if value < numbers[field]}
        yield from ({field: value} for field, value in smaller.items())
        if len(smaller) > 1:
            yield smaller


def _mostly_vocabulary(config: RunConfig) -> bool:
    model = config.transformer
    return 4 * model.vocab_size * model.shape.d_model > model.parameters
