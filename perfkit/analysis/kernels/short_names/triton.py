"""Kernels that Inductor generated, by the operators that they fuse: `mul + silu · triton pointwise`."""

from __future__ import annotations

from perfkit.analysis.kernels.short_names.forms import Form
from perfkit.regex import Regex

_NAME = Regex(
    r"^(?:graph_\d+_)?(triton|cpp)_(?:(poi|red|per|tem|for|spl|unk|mm|bmm|flex_attention|flex_decoding)(?![a-z]))?_?(?:fused_?)?(.*?)(?:_(\d+))?(?:_{1,3}\d+d[\dcde]*)?$"
)
_KINDS = {
    "poi": "pointwise",
    "red": "reduction",
    "per": "persistent reduction",
    "tem": "template",
    "for": "foreach",
    "spl": "split scan",
}
_TEMPLATES = ("mm", "bmm", "flex_attention", "flex_decoding")
_OPERATOR = Regex(
    "|".join(
        sorted(
            (
                "_to_copy", "_unsafe_view", "_unsafe_index_put", "_unsafe_index", "_softmax_backward_data", "_log_softmax_backward_data", "_softmax", "_log_softmax", "_safe_softmax",
                "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit_functional",
                "_native_batch_norm_legit", "native_batch_norm_backward", "native_batch_norm", "native_layer_norm_backward", "native_layer_norm", "native_group_norm_backward",
                "native_group_norm", "native_dropout_backward", "native_dropout", "threshold_backward", "sigmoid_backward", "tanh_backward", "gelu_backward", "silu_backward",
                "relu_backward", "embedding_dense_backward", "embedding_backward", "select_backward", "select_scatter", "slice_backward", "slice_scatter", "index_put", "index_add",
                "index_select", "masked_fill", "scatter_add", "convolution_backward", "max_pool2d_with_indices_backward", "max_pool2d_with_indices", "avg_pool2d", "adaptive_avg_pool2d",
                "nll_loss_forward", "nll_loss_backward", "cross_entropy_loss", "mse_loss_backward", "mse_loss", "convert_element_type", "constant_pad_nd", "split_with_sizes", "as_strided",
                "zeros_like", "ones_like", "full_like", "new_zeros", "new_full", "rand_like", "bitwise_and", "bitwise_or", "bitwise_not", "logical_and", "logical_or", "logical_not",
                "clamp_min", "clamp_max", "unsafe_view", "layer_norm", "rms_norm", "_fused_rms_norm_backward", "_fused_rms_norm", "batch_norm", "group_norm", "leaky_relu", "hardswish_backward", "hardtanh_backward",
                "scalar_tensor", "floor_divide", "masked_scatter", "fake_quantize_per_tensor_affine", "quantize_per_tensor", "dequantize_per_tensor", "var_mean", "grid_sampler_2d",
                "upsample_nearest2d", "upsample_bilinear2d", "lift_fresh_copy", "lift_fresh", "log_softmax", "flex_attention_backward", "flex_attention", "scaled_dot_product_attention", "repeat_interleave",
                "_scaled_mm", "_weight_norm_interface", "inductor_lookup_seed", "inductor_random", "inductor_seeds", "all_reduce", "all_gather_into_tensor", "reduce_scatter_tensor", "wait_tensor",
            ),
            key=len, reverse=True,
        )
    )
    + r"|[A-Za-z0-9]+"
)  # fmt: skip
"""Operators whose names have several words (native_functions.yaml, torch/_inductor); any other is one word."""
_VIEWS = frozenset({
    "unsafe_view", "view", "reshape", "expand", "permute", "transpose", "t", "squeeze", "unsqueeze", "select", "slice", "alias", "detach",
    "split", "unbind", "split_with_sizes", "as_strided", "lift_fresh_copy", "lift_fresh",
})  # fmt: skip
"""They move nothing; shown only where a kernel fuses nothing else."""
_MOST = 6


def form(name: str) -> Form | None:
    """Of a generated kernel's name; None for any other."""
    match = _NAME.match(name)
    if match is None or not (match[2] or "fused" in name or name.startswith(("triton_", "cpp_fused"))):
        return None
    language, kind, rest, number = match.groups()
    if rest.isdigit():
        rest, number = "", rest
    if kind is None and "fused" not in name and rest.strip("_"):
        return None  # a person's triton_something
    operators = [operator.lstrip("_") for operator in dict.fromkeys(_OPERATOR.findall(rest))]  # fmt: skip
    work = [operator for operator in operators if operator not in _VIEWS] or operators
    if kind in _TEMPLATES:
        work, kind = [kind, *work], "tem"
    what = " + ".join(work[:_MOST]) + (
        f" + {len(work) - _MOST} more"
        if len(work) > _MOST + 1
        else " + " + work[_MOST]
        if len(work) == _MOST + 1
        else ""
    )
    how = " ".join(filter(None, (language, _KINDS.get(kind or "", ""))))
    views = tuple(operator for operator in operators if operator not in work)
    return Form(
        f"{what} · {how}" if what else f"{how} kernel",
        (*(f"no. {number}" for _ in [0] if number), *work[_MOST:], *views),
    )
