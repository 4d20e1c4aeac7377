"""Fused attention: two matmuls forward, five backward, each over all pairs of a query and a key.

Forward: scores q k^T and their weighted sum of v. Backward: the scores again, and the gradients of the weights
(do v^T), of v, q and k (Dao 2023, FlashAttention-2, arXiv 2307.08691, section 4: 4 s^2 d h forward, 2.5 times that
backward). Causal attention counts in full, as everywhere where utilisation is quoted; how much of it the mask hides is
counted beside, because fused kernels leave it out, and are faster by it than they are. Softmax is not counted.
"""

from __future__ import annotations

from math import prod

from perfkit.analysis.costs.flops.call import Call, NotToldError
from perfkit.analysis.costs.flops.formula import Counted, Formula, Level, moved
from perfkit.analysis.kernels import kinds

_HEADS_FIRST, _TOKENS_FIRST = (-3, -2), (-2, -3)
"""Where the heads and the tokens are: (batch, heads, tokens, width), or (batch, tokens, heads, width)."""


def _forward(
    first: int, layout: tuple[int, int], causal: int, lengths: tuple[int, ...] = (), *, at_end: bool = False
) -> Formula:
    """q, k and v are the arguments from `first` on; `causal` says whether there is a mask.

    The mask's corner is that of the first query and key, as SDPA has it, or `at_end` that of the last ones.

    Where there are `lengths`, the tokens are those of several sequences, and how long each is, is data.
    """
    return _formula(first, layout, causal, lengths, matmuls=(1, 1), gradients=False, at_end=at_end)


def _backward(
    first: int, layout: tuple[int, int], causal: int, lengths: tuple[int, ...] = (), *, at_end: bool = False
) -> Formula:
    """The same for the gradients of q, k and v. That of the result, and the result, are read, too."""
    return _formula(first, layout, causal, lengths, matmuls=(3, 2), gradients=True, at_end=at_end)


def _formula(
    first: int,
    layout: tuple[int, int],
    causal: int,
    lengths: tuple[int, ...],
    *,
    matmuls: tuple[int, int],
    gradients: bool,
    at_end: bool,
) -> Formula:
    """`matmuls`: how many go over the width of q and k, and how many over that of v."""
    heads, tokens = layout

    def count(call: Call) -> Counted:
        if any(call.optional(place) is not None for place in lengths):
            raise NotToldError
        q, k, v = (call.tensor(first + place) for place in range(3))
        if not 3 <= len(q.shape) == len(k.shape) == len(v.shape) or q.shape[-1] != k.shape[-1]:
            raise NotToldError
        per_pair = 2 * (matmuls[0] * q.shape[-1] + matmuls[1] * v.shape[-1])
        of_heads = prod(q.shape[:-3]) * q.shape[heads]  # of q: those of k and v may be shared by several
        queries, keys = q.shape[tokens], k.shape[tokens]
        seen = _seen_at_end if at_end or _says(call, causal, _FROM_LAST) else _seen
        hidden = queries * keys - seen(queries, keys) if _is_causal(call, causal) else 0
        out = q.like((*q.shape[:-1], v.shape[-1]))
        written = (q, k, v, out) if gradients else ()
        return Counted(
            per_pair * of_heads * queries * keys,
            moved(q, k, v, out, *written),
            per_pair * of_heads * hidden,
            2 * q.shape[-1] * of_heads * queries * keys if gradients else 0,
        )

    return Formula(kinds.ATTENTION, Level.PRODUCT, count)


def _is_causal(call: Call, place: int) -> bool:
    """A flag, or the number of a kind of mask, of which 0 is none. Where the trace does not say it, there is none."""
    try:
        return any(call.flags(place))
    except NotToldError:
        return False


_FROM_LAST = "2"
"""The kind of mask of aten::_efficient_attention_forward whose corner is that of the last query and key
(CustomMaskType in ATen/native/transformers/cuda/mem_eff_attention/kernel_forward.h); 1: of the first ones."""


def _says(call: Call, place: int, text: str) -> bool:
    return place < len(call.values) and call.values[place] == text


def _seen(queries: int, keys: int) -> int:
    """Pairs that a causal mask leaves: the first query sees one key, and each one after it one key more."""
    rows = min(queries, keys)
    return rows * (rows + 1) // 2 + (queries - rows) * keys


def _seen_at_end(queries: int, keys: int) -> int:
    """The same where the last query sees every key, and each one before it one key less."""
    rows = min(queries, keys)
    return rows * keys - rows * (rows - 1) // 2


FORMULAS = {
    "aten::scaled_dot_product_attention": _forward(0, _HEADS_FIRST, 5),
    "aten::_scaled_dot_product_flash_attention": _forward(0, _HEADS_FIRST, 4),
    "aten::_scaled_dot_product_flash_attention_for_cpu": _forward(0, _HEADS_FIRST, 4),
    "aten::_scaled_dot_product_efficient_attention": _forward(0, _HEADS_FIRST, 6),
    "aten::_scaled_dot_product_cudnn_attention": _forward(0, _HEADS_FIRST, 6),
    "aten::_scaled_dot_product_fused_attention_overrideable": _forward(0, _HEADS_FIRST, 5),
    "aten::_scaled_dot_product_flash_attention_backward": _backward(1, _HEADS_FIRST, 11),
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _backward(1, _HEADS_FIRST, 7),
    "aten::_scaled_dot_product_efficient_attention_backward": _backward(1, _HEADS_FIRST, 11),
    "aten::_scaled_dot_product_cudnn_attention_backward": _backward(1, _HEADS_FIRST, 14),
    "aten::_scaled_dot_product_fused_attention_overrideable_backward": _backward(1, _HEADS_FIRST, 13),
    "aten::_flash_attention_forward": _forward(0, _TOKENS_FIRST, 8, (3, 4), at_end=True),
    "aten::_flash_attention_backward": _backward(1, _TOKENS_FIRST, 11, (6, 7), at_end=True),
    "aten::_efficient_attention_forward": _forward(0, _TOKENS_FIRST, 9, (4, 5)),
    "aten::_efficient_attention_backward": _backward(1, _TOKENS_FIRST, 14, (6, 7)),
    "aten::_cudnn_attention_forward": _forward(0, _HEADS_FIRST, 10, (4, 5)),
    "aten::_cudnn_attention_backward": _backward(1, _HEADS_FIRST, 14, (9, 10)),
    "flash_attn::_flash_attn_forward": _forward(0, _TOKENS_FIRST, 5, at_end=True),
    "flash_attn::_flash_attn_backward": _backward(1, _TOKENS_FIRST, 11, at_end=True),
}
"""By operator; places of arguments as in PyTorch's native_functions.yaml (2.13) and flash-attn's interface (2.7), whose
masks end at the last query and key since 2.1."""
