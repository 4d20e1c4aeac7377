"""The terms of the memory formula: what one block keeps for backward, and what its backward needs, piece by piece.

Read off `workload.model` line by line; docs/memory.md has the derivation, and tests/measure/test_estimate.py holds
each term against the traced step. A size in capitals is in fp32, the same letter in lower case in the precision of
the matmuls: half under autocast, else the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from perfkit.analysis.memory.forms import Counts, own
from perfkit.schema.config import RunConfig
from perfkit.schema.memory.estimate import (
    ATTENTION,
    LOGITS,
    MIXED,
    MLP,
    NORMS,
    PROJECTIONS,
    RESIDUAL,
    ROPE,
    WEIGHT_COPIES,
)


class Sizes:
    """Bytes of the tensors that occur, for a resolved configuration.

    `taken` says how many bytes a tensor of so many takes: of an allocator that rounds, the sizes are those of its
    blocks, and so is every sum of them.
    """

    def __init__(self, config: RunConfig, taken: Callable[[int], int] = int) -> None:
        shape, batch, length = config.transformer.shape, config.step.batch_size, config.step.context_length
        assert length is not None, "resolve the configuration first"
        self.taken = taken
        self.autocast = config.step.precision in ("bf16", "fp16")
        self.attention = "math" if config.transformer.sdpa_backend == "math" else config.transformer.attention
        # CUDA's autocast computes softmax in fp32, the CPU's does not.
        self.wide_softmax = self.autocast and self.attention == "eager" and config.step.device != "cpu"
        self.layers = shape.num_layers
        tokens, half = batch * length, 2 if self.autocast else 1
        full = {
            "u": 4 * tokens * shape.d_model,  # (b, t, d): the residual stream
            "f": 4 * tokens * shape.d_ff,  # (b, t, f)
            "a": 4 * batch * shape.num_heads * length**2,  # (b, h, t, s): scores
            "v": 4 * tokens * config.transformer.vocab_size,  # (b, t, v): logits
        }
        self.U, self.F, self.A, self.V = (taken(size) for size in full.values())
        self.u, self.f, self.a, self.v = (taken(size // half) for size in full.values())
        self.mask = taken(4 * length**2)  # (t, s): the mask that the math backend makes for itself
        self.hidden = taken(length**2)  # (t, s): where a query must not look, bool
        self.n = taken(4 * tokens)  # one number a token: a norm's scale
        self.ids = taken(8 * tokens)  # tokens, or targets, int64
        self.r = taken(4 * batch * shape.num_heads * length)  # one number a row of scores: logsumexp
        square, wide = 4 * shape.d_model**2, 4 * shape.d_model * shape.d_ff
        table = 4 * shape.d_model * config.transformer.vocab_size
        self.square = taken(square)  # weight of q, k, v or output_proj
        self.wide = taken(wide)  # weight of gate, up or down
        self.table = taken(table)  # embedding or head
        self.gain = taken(4 * shape.d_model)  # of a norm
        self._copies = {taken(weight): taken(weight // 2) for weight in (square, wide, table)}
        angles = 4 * length * (shape.d_model // shape.num_heads) // 2
        self.angles, self.half_angles = taken(angles), taken(angles // 2)  # cosines, or sines; in 16 bits

    def copied(self, weight: int) -> int:
        """Bytes of autocast's 16-bit copy of a weight; 0 without autocast."""
        return self._copies[weight] if self.autocast else 0

    @property
    def block_weights(self) -> int:
        """A block's parameters, and so its gradients."""
        return 4 * self.square + 3 * self.wide + 2 * self.gain

    @property
    def weights(self) -> int:
        """All parameters."""
        return self.layers * self.block_weights + 2 * self.table + self.gain

    @property
    def block_copies(self) -> int:
        """Autocast's copies of a block's matrices."""
        return 4 * self.copied(self.square) + 3 * self.copied(self.wide)


Amounts = dict[str, int]
"""Part (schema.memory.estimate.PARTS) -> bytes."""


def saved(s: Sizes) -> Amounts:
    """What one block's forward keeps for its backward: perfkit's own block, see `forms.own`."""
    form = own(s.attention, autocast=s.autocast, wide_softmax=s.wide_softmax)
    return {**bytes_of(form.block, s), WEIGHT_COPIES: s.block_copies}


def bytes_of(counts: Counts, s: Sizes) -> Amounts:
    """The bytes of so many tensors of each size."""
    return {part: sum(count * getattr(s, size) for size, count in of.items()) for part, of in counts.items()}


def attention_saved(s: Sizes) -> int:
    """Kept by the operations between rope and output_proj."""
    return saved(s)[ATTENTION]


def attention_forward(s: Sizes) -> list[tuple[str, int]]:
    """Without gradients: module and bytes of the largest moments between rope and output_proj."""
    if s.attention == "sdpa":
        return [("attn.sdpa", s.u + s.r)]
    if s.attention == "math" and s.autocast:  # q, k, v are widened first
        return [("attn.sdpa", s.A + s.a + 6 * s.U + s.mask), ("attn.sdpa", 2 * s.A + 4 * s.U + s.mask)]
    if s.attention == "math":
        return [("attn.sdpa", s.A + 3 * s.U + s.mask), ("attn.sdpa", 2 * s.A + s.U + s.mask)]
    scores = s.a + 2 * s.A if s.wide_softmax else 2 * s.a
    return [("attn.scores", 2 * s.a), ("attn.softmax", scores), ("attn.weighted_sum", s.a + 2 * s.u)]


@dataclass(slots=True)
class Moment:
    """One moment of a step: what is held on top of what the caller knows."""

    module: str
    kept: Amounts
    """What is left of what forward kept."""
    working: int
    """Bytes that backward works on."""
    made: int
    """Bytes of gradients made since the ledger was opened."""


@dataclass(slots=True)
class Ledger:
    """Follows a backward pass: records moments while kept tensors are freed and gradients are made."""

    kept: Amounts
    s: Sizes
    made: int = 0
    moments: list[Moment] = field(default_factory=list)

    def at(self, module: str, working: int, *, made: int = 0) -> None:
        """A moment, with gradients that are made in it."""
        self.made += made
        self.moments.append(Moment(module, dict(self.kept), working, self.made))

    def free(self, part: str, size: int) -> None:
        """Something that forward kept is freed."""
        self.kept[part] = self.kept.get(part, 0) - size

    def linear(
        self,
        module: str,
        weight: int,
        part: str,
        *,
        before: int,
        output: int,
        after: int,
        source: int,
        summed: int | None = None,
    ) -> None:
        """Backward of a linear map: the gradients of its input (`output`) and of its weight.

        `before` is worked on before, and `source` is the saved input, of `part`. Under autocast both gradients come
        in 16 bits and are widened: `after` is worked on when the input's is, and `summed` while it is added to
        another (None where it is not).
        """
        if not self.s.autocast:
            self.at(module, before + output, made=weight)
            self.free(part, source)
            return
        copy = self.s.copied(weight)
        self.at(module, before + output + copy)
        self.free(part, source)
        self.free(WEIGHT_COPIES, copy)
        if summed is not None:
            self.at(module, summed + copy)
        self.at(module, after + copy, made=weight)

    def norm(self, module: str, *, carried: int) -> None:
        """Backward of a norm, with `carried` worked on besides the norm's own two tensors."""
        s = self.s
        if not self.s.autocast:
            self.free(NORMS, s.U)
        self.at(module, carried + 3 * s.U, made=s.gain)
        self.free(NORMS, s.U + s.n)
        self.at(module, 5 * s.U)
        self.free(RESIDUAL, s.U)


def block_backward(s: Sizes, *, just_computed: bool) -> list[Moment]:
    """The moments of one block's backward, in order. The gradient of its output (U) is there all the time.

    Moments that another always exceeds are left out: the scores, the rotation, the end of the math backend.
    """
    ledger = Ledger(saved(s), s)
    if just_computed and s.autocast:  # by a checkpoint, and the norm's fp32 output is not gone yet
        ledger.free(NORMS, -s.U)
        ledger.at("mlp.down_proj", s.U + s.u)
        ledger.free(NORMS, s.U)
    _mlp_backward(s, ledger)
    _attention_backward(s, ledger)
    _projections_backward(s, ledger)
    ledger.norm("attn_norm", carried=s.U)
    return ledger.moments


def _mlp_backward(s: Sizes, ledger: Ledger) -> None:
    cast = s.u if s.autocast else 0  # of a gradient from or to fp32
    ledger.linear(
        "mlp.down_proj", s.wide, MLP, before=s.U + cast, output=s.f, after=s.U + s.f, source=s.f
    )  # fmt: skip
    ledger.at("mlp", s.U + 3 * s.f)  # gradients of the product, of silu(gate) and of up
    ledger.free(MLP, 2 * s.f)
    source = s.u if s.autocast else 0  # in fp32 one output of the norm serves all, and is freed with the norm
    ledger.linear(
        "mlp.up_proj", s.wide, MLP, before=s.U + 2 * s.f, output=s.u, after=2 * s.U + s.f, source=source
    )  # fmt: skip
    ledger.at("mlp", 2 * s.U + 2 * s.f)
    ledger.free(MLP, s.f)
    ledger.linear(
        "mlp.gate_proj", s.wide, MLP, before=2 * s.U + s.f, output=s.u, after=2 * s.U, source=source, summed=4 * s.U
    )
    ledger.norm("mlp_norm", carried=s.U)


def _attention_backward(s: Sizes, ledger: Ledger) -> None:
    cast = s.u if s.autocast else 0
    ledger.linear(
        "attn.output_proj", s.square, MIXED, before=s.U + cast, output=s.u, after=s.U + s.u, source=s.u
    )  # fmt: skip
    if s.attention == "sdpa":
        ledger.at("attn.sdpa", s.U + 4 * s.u)  # gradients of the output, q, k, v
        ledger.free(ATTENTION, s.u + s.r)
        ledger.free(PROJECTIONS, s.u)
        ledger.free(ROPE, 2 * s.u)
    elif s.attention == "math":
        ledger.at("attn.sdpa", 3 * s.U + s.A)  # everything in fp32
        ledger.free(ATTENTION, s.U)
        ledger.at("attn.sdpa", 2 * s.U + 2 * s.A)
        ledger.free(ATTENTION, s.A + 2 * s.U)
    else:
        _eager_backward(s, ledger)
    if s.autocast:
        ledger.free(ROPE, 4 * s.half_angles)


def _eager_backward(s: Sizes, ledger: Ledger) -> None:
    ledger.at("attn.weighted_sum", s.U + 2 * s.u + s.a)
    ledger.free(ATTENTION, s.u)
    if s.wide_softmax:
        ledger.free(ATTENTION, s.a)
        ledger.at("attn.softmax", s.U + s.u + 2 * s.A)
        ledger.free(ATTENTION, s.A)
    else:
        ledger.at("attn.softmax", s.U + s.u + 2 * s.a)
        ledger.free(ATTENTION, s.a)
    ledger.free(ROPE, 2 * s.u)


def _projections_backward(s: Sizes, ledger: Ledger) -> None:
    source = s.u if s.autocast else 0
    sizes = (  # before, after, summed
        ("attn.v_proj", s.U + 3 * s.u, 2 * s.U + 2 * s.u, None),
        ("attn.k_proj", 2 * s.U + 2 * s.u, 2 * s.U + s.u, 4 * s.U + s.u),
        ("attn.q_proj", 2 * s.U + s.u, 2 * s.U, 4 * s.U),
    )
    for module, before, after, summed in sizes:
        ledger.linear(
            module, s.square, PROJECTIONS, before=before, output=s.u, after=after, source=source, summed=summed
        )  # fmt: skip


def head_saved(s: Sizes) -> Amounts:
    """What the last norm, the head and the loss keep; the logits themselves stay until the step's end."""
    return {
        RESIDUAL: s.U,
        NORMS: s.U + s.n + (0 if s.autocast else s.U),
        LOGITS: s.V + (s.u if s.autocast else 0),  # log-softmax; the head's input
        WEIGHT_COPIES: s.copied(s.table),
    }


def head_backward(s: Sizes) -> list[Moment]:
    """The moments of backward before it reaches the last block."""
    ledger = Ledger(head_saved(s), s)
    ledger.at("loss", 2 * s.V)  # gradients of the log-softmax and of the logits
    ledger.free(LOGITS, s.V)
    source = s.u if s.autocast else 0
    ledger.linear("head", s.table, LOGITS, before=s.v, output=s.u, after=s.U, source=source)
    ledger.norm("norm", carried=0)
    return ledger.moments
