"""The peak memory of a step as a formula: arithmetic on the configuration, without PyTorch, in a millisecond.

A step's memory is P + G + O (parameters, gradients made so far, the optimizer's state), what forward kept and
backward has not freed yet, and working buffers. Backward frees block by block what forward kept, and makes gradients as
it goes. Blocks are alike, so what is held at any given moment of block k is a straight line in k, and the largest is
at an end: the last block, or the first. `peak` evaluates the moments of those two, of the head and the loss, and of
the optimizer, and takes the largest. The terms are in `terms`, what a block keeps in
`forms`; docs/memory.md derives them.

On a GPU the same sums over the blocks of the caching allocator say what it rounds up, and cuBLAS's workspaces and the
CUDA context stand beside them (`allocator`). torch.compile is not covered: it keeps less.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from perfkit.analysis.memory import allocator
from perfkit.analysis.memory.forms import BlockForm
from perfkit.analysis.memory.terms import (
    Amounts,
    Sizes,
    attention_forward,
    block_backward,
    bytes_of,
    head_backward,
    head_saved,
    saved,
)
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import estimate as memory
from perfkit.schema.memory.estimate import Beside, MemoryEstimate

_STEP_COUNT_BYTES = 4
"""AdamW keeps a step count for each parameter tensor, in fp32."""
_LOSS_BYTES = 4
"""The loss, one fp32 number, and its gradient, with which backward begins."""


@dataclass(frozen=True, slots=True)
class _Point:
    """A moment of the whole step."""

    phase: str
    module: str
    parts: Amounts

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def estimate(config: RunConfig, workspace: int | None = None) -> MemoryEstimate:
    """The peak of a steady step of a resolved configuration.

    `workspace` is what cuBLAS takes a thread, in bytes (`allocator.workspace`); default: on a GPU older than Hopper.
    """
    points = list(_points(config, Sizes(config)))
    highest = max(range(len(points)), key=lambda number: points[number].total)
    peak = points[highest]
    state = _optimizer_state(config, Sizes(config))
    # Adam's state is made at the start of the first optimizer step.
    first = max(point.total - (state if point.phase != "optimizer" else 0) for point in points)
    parts = {part: peak.parts[part] for part in memory.PARTS if peak.parts.get(part)}
    return MemoryEstimate(
        method="formula",
        parts=parts,
        phase=peak.phase,
        module=peak.module,
        first_step=first,
        beside=None if config.step.device == "cpu" else _beside(config, highest, parts, workspace),
    )


def _beside(config: RunConfig, highest: int, parts: Amounts, workspace: int | None) -> Beside:
    """The same sum over the allocator's blocks. What is reserved depends on the order of allocations: not said."""
    blocks = next(itertools.islice(_points(config, Sizes(config, allocator.block_of)), highest, None)).parts
    return Beside(
        rounding={part: blocks[part] - size for part, size in parts.items()},
        workspaces=allocator.workspaces(config.step.pass_type != "forward", workspace),
        context=allocator.CUDA_CONTEXT,
    )


def _points(config: RunConfig, s: Sizes) -> Iterator[_Point]:
    if config.step.pass_type == "forward":
        yield from _forward(config, s)
        return
    always = _always(config, s) + Counter({memory.LOGITS: s.v + _LOSS_BYTES})  # the step holds both to its end
    yield from _loss_forward(config, s, always)
    yield from _backward(config, s, always)
    if config.step.pass_type == "train":
        made = {memory.GRADIENTS: s.weights, memory.WORKING: _optimizer_working(config, s)}
        yield _Point("optimizer", "", _sum((always, made)))


def _always(config: RunConfig, s: Sizes) -> Counter[str]:
    """Bytes held from the step's beginning to its end."""
    batch = 2 * s.ids  # tokens and targets
    mask = s.hidden if s.attention == "eager" else 0
    return Counter(
        {
            memory.PARAMETERS: s.weights,
            memory.OPTIMIZER: _optimizer_state(config, s),
            memory.CONSTANTS: batch + mask + 2 * s.angles,
        }
    )


def _optimizer_state(config: RunConfig, s: Sizes) -> int:
    if config.step.pass_type != "train":
        return 0
    tensors = 9 * config.transformer.shape.num_layers + 3
    return 2 * s.weights + _STEP_COUNT_BYTES * tensors


def after_forward(config: RunConfig, form: BlockForm) -> MemoryEstimate:
    """What is there when forward ends and everything is kept for a backward that has not begun; without a loss.

    Of blocks of any form (`forms`): in fp32, since nothing is known of how another block casts.
    """
    s, blocks = Sizes(config), Sizes(config, allocator.block_of)
    held, taken = (_after_forward(sizes, form) for sizes in (s, blocks))
    rounding = {part: taken[part] - size for part, size in held.items()}
    workspaces = allocator.workspaces(has_backward=False)
    beside = Beside(rounding=rounding, workspaces=workspaces, context=allocator.CUDA_CONTEXT)
    return MemoryEstimate(
        method="formula", parts=held, phase="forward", module="head", first_step=sum(held.values()), beside=beside
    )


def _after_forward(s: Sizes, form: BlockForm) -> Counter[str]:
    always = {memory.PARAMETERS: s.weights, memory.CONSTANTS: 2 * s.ids + 2 * s.angles}
    blocks = {part: s.layers * size for part, size in bytes_of(form.block, s).items()}
    return _sum((always, blocks, bytes_of(form.head, s)))


def _optimizer_working(config: RunConfig, s: Sizes) -> int:
    """What `optimizer.step()` works on.

    foreach: the square roots of all second moments at once; for-loop: the root and the denominator of one parameter,
    and the denominator of the one before; fused: nothing. PyTorch's own choice is foreach on CUDA and the loop on a CPU
    (`torch.optim.optimizer._default_to_fused_or_foreach`, PyTorch 2.13).
    """
    if config.step.optimizer == "adamw-fused":
        return 0
    if config.step.optimizer == "adamw-foreach" or config.step.device != "cpu":
        return s.weights
    # The loop's variables keep one parameter's denominator until the next one has its root and its own.
    return max(2 * s.table + s.gain, 3 * s.wide, 3 * s.square)


def _loss_forward(config: RunConfig, s: Sizes, always: Amounts) -> Iterator[_Point]:
    """The end of forward. Only with checkpointing under autocast can it be the peak.

    Autocast holds all its copies of weights until its context ends, after the loss, whatever backward will need.
    """
    weights = _LOSS_BYTES  # the sum of the targets' weights, which cross-entropy divides by
    now = {memory.WEIGHT_COPIES: s.layers * s.block_copies, memory.LOGITS: weights + (s.V if s.autocast else 0)}
    kept = _after_blocks(config, s)
    kept[memory.WEIGHT_COPIES] = 0
    yield _Point("loss", "loss", _sum((always, kept, head_saved(s), now)))


def _after_blocks(config: RunConfig, s: Sizes) -> Counter[str]:
    """What all blocks keep when forward is over: all they save, or the inputs of checkpointed groups."""
    group = config.step.checkpoint_group
    return _kept(s, inputs=-(-s.layers // group)) if group else _kept(s, whole=s.layers)


def _below(config: RunConfig, s: Sizes, block: int) -> Counter[str]:
    """What the blocks below keep when this block's backward begins.

    Of a checkpointed group that is being worked on, all its blocks were computed again and keep all they save; nested,
    each keeps its input only. The input of the group's first block is the group's.
    """
    group = config.step.checkpoint_group
    if not group:
        return _kept(s, whole=block)
    groups, inside = divmod(block, group)
    return _kept(s, inputs=groups + inside) if config.step.checkpoint_nested else _kept(s, groups, inside)


def _kept(s: Sizes, inputs: int = 0, whole: int = 0) -> Counter[str]:
    """Inputs of so many blocks, and all that others save. The first block's input is the embedding's output."""
    kept = Counter({part: whole * size for part, size in saved(s).items()})
    kept[memory.RESIDUAL] += inputs * s.U
    if inputs or whole:
        kept[memory.RESIDUAL] -= s.U
        kept[memory.EMBEDDING] += s.U
    return kept


def _ends(config: RunConfig, s: Sizes) -> Iterator[int]:
    """Blocks at which a straight line in the number of the block may end: the first and the last one of a group, in the
    last group, in the one before it (the last one may be shorter), and in the first."""
    group = config.step.checkpoint_group or s.layers
    count = -(-s.layers // group)
    for number in sorted({count - 1, max(0, count - 2), 0}, reverse=True):
        first = number * group
        yield from dict.fromkeys((min(first + group, s.layers) - 1, first))


def _backward(config: RunConfig, s: Sizes, always: Amounts) -> Iterator[_Point]:
    always = _sum((always, {memory.WORKING: _LOSS_BYTES}))
    everything = _after_blocks(config, s)
    for moment in head_backward(s):
        held = {memory.WORKING: moment.working, memory.GRADIENTS: moment.made}
        yield _Point("backward", moment.module, _sum((always, everything, moment.kept, held)))
    group = config.step.checkpoint_group
    for block in _ends(config, s):
        below = _sum((always, _below(config, s, block)))
        done = s.table + s.gain + (s.layers - 1 - block) * s.block_weights
        is_last = group and (block == s.layers - 1 or block % group == group - 1)
        for moment in block_backward(s, just_computed=bool(is_last or config.step.checkpoint_nested)):
            held = {memory.WORKING: moment.working, memory.GRADIENTS: done + moment.made}
            kept = moment.kept if block else _from_embedding(moment.kept, s)
            yield _Point("backward", f"layers.{block}.{moment.module}", _sum((below, kept, held)))
    made = {memory.WORKING: s.U, memory.GRADIENTS: s.weights}
    yield _Point("backward", "embedding", _sum((always, made)))


def _from_embedding(kept: Amounts, s: Sizes) -> Amounts:
    """The first block's own input counts as the embedding's."""
    return _sum((kept, {memory.RESIDUAL: -s.U, memory.EMBEDDING: s.U}))


def _forward(config: RunConfig, s: Sizes) -> Iterator[_Point]:
    """Without gradients nothing is kept and blocks are equal, but for autocast's copies of weights, which add up."""
    layers = config.transformer.shape.num_layers
    block = layers - 1 if s.autocast else 0
    inside = f"layers.{block}."
    before = _always(config, s) + Counter({memory.WEIGHT_COPIES: block * s.block_copies})
    stream = memory.RESIDUAL if block else memory.EMBEDDING  # a block's input
    square, wide = s.copied(s.square), s.copied(s.wide)
    attending = {stream: s.U, memory.NORMS: s.U, memory.PROJECTIONS: 3 * s.u, memory.ROPE: 2 * s.u}
    attending[memory.WEIGHT_COPIES] = 3 * square
    for module, size in attention_forward(s):
        yield _Point("forward", inside + module, _sum((before, attending, {memory.ATTENTION: size})))
    projected = {memory.ATTENTION: s.u, memory.MIXED: 2 * s.u, memory.ROPE: -2 * s.u, memory.WEIGHT_COPIES: square}
    yield _Point("forward", inside + "attn.output_proj", _sum((before, attending, projected)))
    mlp = Counter({memory.NORMS: s.U, memory.RESIDUAL: s.U}) + Counter({stream: s.U})
    product = {memory.MLP: 3 * s.f, memory.WEIGHT_COPIES: 4 * square + 2 * wide}
    yield _Point("forward", inside + "mlp", _sum((before, mlp, product)))
    down = {memory.MLP: s.f + s.u, memory.WEIGHT_COPIES: s.block_copies}
    yield _Point("forward", inside + "mlp.down_proj", _sum((before, mlp, down)))
    if s.autocast and config.step.device == "cpu":
        # A CPU's sum of fp32 and 16 bits makes an fp32 copy of the latter, inside the operator.
        summed = {memory.MLP: s.u, memory.RESIDUAL: 2 * s.U, memory.WEIGHT_COPIES: s.block_copies}
        yield _Point("forward", f"layers.{block}", _sum((before, {stream: s.U}, {memory.RESIDUAL: s.U}, summed)))
    logits = {memory.LOGITS: s.v + (s.u if s.autocast else 0), memory.RESIDUAL: s.U, memory.NORMS: s.U}
    copies = {memory.WEIGHT_COPIES: (layers - block) * s.block_copies + s.copied(s.table)}
    yield _Point("forward", "head", _sum((before, logits, copies)))


def _sum(amounts: Iterable[Amounts]) -> Counter[str]:
    total: Counter[str] = Counter()
    for amount in amounts:
        total.update(amount)
    return total
