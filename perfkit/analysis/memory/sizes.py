"""Why a size: the shape that explains the bytes of a tensor, where the model's shapes are known.

A tensor of 104,857,600 bytes in a model with batch 4, 25 heads and context 512 is 4 B x batch 4 x heads 25 x
context 512 x context 512: attention scores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import Kind, Lifetimes
from perfkit.schema.config import RunConfig
from perfkit.schema.memory.notes import MemoryNotes
from perfkit.trace.columns import MISSING

Why = Callable[[int, int], str]
"""(bytes, row of Lifetimes) -> the shape that explains the size; empty where none does."""

_WIDTHS = {"fp32": (4, 8, 1), "tf32": (4, 8, 1), "bf16": (2, 4, 8, 1), "fp16": (2, 4, 8, 1)}
"""Bytes of an element, the likeliest first: activations, indices, masks."""
_OF_PARAMETERS = (Kind.PARAMETERS, Kind.GRADIENTS, Kind.OPTIMIZER)
_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "bfloat16": 2, "float16": 2, "bool": 1, "uint8": 1}

_MADE = (
    ("attention scores", "attn", "batch", "heads", "context", "context"),
    ("logits", "", "batch", "context", "vocabulary"),
    ("the MLP's hidden width", "mlp", "batch", "context", "d_ff"),
    ("as large as the residual stream", "", "batch", "context", "d_model"),
    ("a number for each row of scores", "attn", "batch", "heads", "context"),
    ("a number for each token", "", "batch", "context"),
)
_HELD = (
    ("token numbers", "", "batch", "context"),
    ("a causal mask", "attn", "context", "context"),
    ("a table of rotary positions", "rope", "context", "half of a head's width"),
)
_LASTING = (
    ("the embedding or the head", "", "vocabulary", "d_model"),
    ("a matrix of the MLP", "mlp", "d_ff", "d_model"),
    ("a projection of attention", "attn", "d_model", "d_model"),
    ("a norm's weight", "", "d_model"),
)
"""What it is, the layer that it is in, where one is typical, and its shape. The first ones are the likeliest."""


@dataclass(frozen=True, slots=True)
class _Form:
    text: str
    layer: str
    width: int
    size: int


def of_config(config: RunConfig, lives: Lifetimes) -> Why:
    """Explain by the shapes of perfkit's own Transformer. `config` must be resolved."""
    shape, step = config.transformer.shape, config.step
    assert step.context_length is not None, "resolve the configuration first"
    sizes = {
        "batch": step.batch_size, "context": step.context_length, "heads": shape.num_heads, "d_model": shape.d_model,
        "d_ff": shape.d_ff, "vocabulary": config.transformer.vocab_size,
        "half of a head's width": shape.d_model // shape.num_heads // 2,
    }  # fmt: skip
    widths = _WIDTHS[step.precision]
    lasting, held = list(_forms(_LASTING, sizes, (4,))), list(_forms(_HELD, sizes, (8, 4, 1)))
    made = [*_forms(_MADE, sizes, widths), *_forms(_HELD, sizes, widths), *_forms(_LASTING, sizes, (4, 2))]

    def why(size: int, row: int) -> str:
        kind, scope = Kind(int(lives.kind[row])), int(lives.scope[row])
        lasts = kind in _OF_PARAMETERS or lives.phase[row] == Phase.OPTIMIZER
        forms = lasting if lasts else held if kind == Kind.CONSTANTS else made
        fitting = [form for form in forms if form.size == size]
        likely = [form for form in fitting if form.width == fitting[0].width]
        layers = lives.scopes[scope].split(".") if scope != MISSING else ()
        there = [form for form in likely if form.layer in layers]
        return next((form.text for form in (*there, *likely)), "")

    return why


def _forms(meanings: tuple[tuple[str, ...], ...], sizes: dict[str, int], widths: tuple[int, ...]) -> Iterator[_Form]:
    for width in widths:
        for meaning, layer, *names in meanings:
            factors = " x ".join(f"{name} {sizes[name]:,}" for name in names)
            yield _Form(f"{width} B x {factors}: {meaning}", layer, width, width * prod(sizes[name] for name in names))


def of_notes(notes: MemoryNotes, lives: Lifetimes) -> Why:
    """Explain by the tensors that the run's hooks saw, of the same layer and size: any model's."""
    shapes: dict[tuple[str, int], dict[str, None]] = defaultdict(dict)
    for one in notes.saved:
        width = _BYTES.get(one.dtype)
        if width is not None and width * prod(one.shape) == one.size:
            text = f"{width} B x {' x '.join(map(str, one.shape))}, kept by {one.operation}"
            shapes[one.scope, one.size].setdefault(text)

    def why(size: int, row: int) -> str:
        scope = int(lives.scope[row])
        found = shapes.get((lives.scopes[scope] if scope >= 0 else "", size), {})
        return next(iter(found)) if len(found) == 1 else ""

    return why
