"""What kind of work a kernel does. The operator that launched it decides first, the kernel's own name second.

Both tables are ordered: the first pattern that matches wins, so special cases stand above general ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

MATMUL = "matmul"
CONVOLUTION = "convolution"
ATTENTION = "attention"
SOFTMAX = "softmax"
NORMALISATION = "normalisation"
ELEMENTWISE = "elementwise"
REDUCTION = "reduction"
EMBEDDING = "embedding/gather"
LOSS = "loss"
OPTIMIZER = "optimizer"
COPY = "copy/cast"
MEMSET = "memset"
COMMUNICATION = "communication"
RANDOM = "random"
OTHER = "other"
HOST = "host"
"""Host time between operators, in a trace without a device."""


ALL = (
    MATMUL, CONVOLUTION, ATTENTION, SOFTMAX, NORMALISATION, ELEMENTWISE, REDUCTION, EMBEDDING, LOSS, OPTIMIZER,
    COPY, MEMSET, COMMUNICATION, RANDOM, OTHER, HOST,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression, searched in a name, and the category it stands for."""

    regex: re.Pattern[str]
    category: str


def _patterns(*rows: tuple[str, str]) -> tuple[Pattern, ...]:
    return tuple(Pattern(re.compile(regex), category) for category, regex in rows)


# Operators as PyTorch names them (aten/src/ATen/native/native_functions.yaml; torch.optim's fused and foreach ops).
# The name is matched without its namespace, without a trailing underscore, in lower case.
_OPERATORS = _patterns(
    (COMMUNICATION, r"^(nccl|gloo|all_?reduce|all_?gather|reduce_?scatter|broadcast_coalesced|all_?to_?all|_c10d_functional)"),
    (OPTIMIZER, r"^_fused_(adam|adamw|adagrad|sgd)"),
    (ATTENTION, r"attention|^_flash_|^_efficient_|flex_attention|fmha"),
    (SOFTMAX, r"softmax"),
    (LOSS, r"nll_loss|cross_entropy|_loss(_|$)|^kl_div|^ctc_"),
    (CONVOLUTION, r"conv\d?d?|convolution|miopen_conv|cudnn_conv"),
    (NORMALISATION, r"layer_norm|batch_norm|group_norm|instance_norm|rms_norm"),
    (EMBEDDING, r"^embedding|^gather|^index|^_index|^take|^scatter|^masked_select|^nonzero|^_unsafe_index"),
    (MATMUL, r"^(mm|bmm|addmm|baddbmm|addbmm|matmul|linear|mv|addmv|dot|vdot|einsum|inner|ger)$|_scaled_mm|_int_mm|_addmm|_grouped_mm|addmm"),
    (RANDOM, r"^(normal|uniform|bernoulli|rand|randn|randint|randperm|dropout|native_dropout|exponential|multinomial|random)"),
    (COPY, r"^(copy|_to_copy|to|contiguous|clone|cat|stack|_reshape_alias|_foreach_copy|constant_pad_nd|repeat|split_with_sizes_copy|flip|roll)$"),
    (REDUCTION, r"^(sum|mean|max|min|amax|amin|argmax|argmin|prod|norm|linalg_vector_norm|_foreach_norm|std|var|var_mean|std_mean|any|all|cumsum|cumprod|logsumexp|topk|sort|aminmax)$"),
    (MEMSET, r"^(zero|fill|zeros|_foreach_zero)$"),
    (OTHER, r"pool|upsample|grid_sampl|interpolate"),
    # Inductor's own kernels, which are named by what they fuse: matched above by their weightiest part, else as loops.
    (REDUCTION, r"^triton_(red|per)_|_fused_.*(sum|mean|max|norm)"),
    (ELEMENTWISE, r"^triton_poi_|^(graph_\d+_)?cpp_fused_"),
)  # fmt: skip

_ELEMENTWISE_OPERATORS = re.compile(
    r"^(_foreach_)?(add|sub|rsub|mul|div|pow|sqrt|rsqrt|exp|exp2|log|log2|neg|abs|square|reciprocal|sin|cos|tan|tanh|sigmoid"
    r"|silu|gelu|relu|leaky_relu|elu|mish|hardswish|softplus|clamp|clamp_min|clamp_max|where|masked_fill|addcmul|addcdiv|lerp"
    r"|lerp_scalar|maximum|minimum|eq|ne|lt|le|gt|ge|logical_and|logical_or|logical_not|bitwise_and|bitwise_or|bitwise_not"
    r"|threshold|erf|sign|floor|ceil|round|trunc|remainder|isnan|isinf|isfinite|tril|triu|arange|linspace"
    r"|polar|view_as_real|ones_like|complex|atan2|_amp_foreach_non_finite_check_and_unscale|_amp_update_scale)(_backward(_data)?)?$"
)

# Kernels as libraries name them. Sources: NVIDIA cuBLAS, cuDNN and CUTLASS kernel names in real traces (nvjet since
# CUDA 12.8; ampere_/turing_/volta_ and xmma before), FlashAttention, xFormers, PyTorch's ATen/native/cuda, Inductor's
# triton_<kind>_fused_<ops> naming (torch/_inductor/codegen/triton.py), AMD Tensile (Cijk_), Composable Kernel, MIOpen,
# NCCL and RCCL (ncclKernel_ until 2.18, ncclDevKernel_ since). Matched in lower case.
_KERNELS = _patterns(
    (COMMUNICATION, r"^(nccl|rccl)|cross_device_reduce|nvshmem|multimem_all_reduce|one_shot_all_reduce"),
    (ATTENTION, r"flash|fmha|attention|sdpa|aotriton|attn_fwd|attn_bwd|mha_(fwd|bwd)|bwd_kernel_dk|cudnn_generated_fort_native_sdpa"),
    (SOFTMAX, r"softmax"),
    (LOSS, r"nll_loss|cross_entropy|crossentropy"),
    (OPTIMIZER, r"multi_tensor_apply.*(adam|sgd|lamb)|fused_?adam|adamw"),
    (CONVOLUTION, r"conv|wgrad|dgrad|fprop|winograd|im2col|col2im|implicit_gemm|igemm|miopen"),
    (NORMALISATION, r"layer_?norm|batch_?norm|group_?norm|rms_?norm|bn_(fw|bw)|norm_(fwd|bwd)|welford"),
    (MATMUL, r"gemm|nvjet|cutlass|xmma|cublas|cijk_|gemv|splitk|ampere_.*_tn|turing_.*_tn|volta_.*_tn|hopper_.*_tn"
             r"|s\d+(16816|1688|884)|_mm_|triton_tem_fused|triton_mm|ck::kernel_gemm|wvsplitk|dot_kernel|matmul"),
    (EMBEDDING, r"embedding|gather|scatter|index(_|Elementwise|Select|ing)|indexselect|take_|nonzero|masked_select|sort_by_key"),
    (RANDOM, r"philox|curand|distribution_|dropout|bernoulli|random"),
    (REDUCTION, r"reduce_kernel|reduction|reduce_|triton_red_|triton_per_|cub::.*reduce|scan|topk|radix|sort|norm_kernel|block_reduce"),
    (MEMSET, r"fill_?functor|memset|zero_kernel"),
    (COPY, r"copy_kernel|direct_copy|catarray|cat_array|transpose|memcpy|cast|copy_device|tensor_permute|_to_copy"),
    (OTHER, r"pool|upsample|grid_sampl|interpolate"),
    (ELEMENTWISE, r"elementwise|vectorized|pointwise|triton_poi_|unrolled|foreach|multi_tensor_apply|silu|gelu|relu|tril|triu|binary_|unary_|rotary|rope"),
)  # fmt: skip


@cache
def of_operator(name: str) -> str | None:
    """Category by the operator's name, None where the name says nothing."""
    base = name.rpartition("::")[2].lower().rstrip("_")
    if name.startswith("autograd::engine") or not base:
        return None
    found = _first(_OPERATORS, base)
    if found is None and _ELEMENTWISE_OPERATORS.match(base):
        return ELEMENTWISE
    return found


@cache
def of_kernel(name: str) -> str | None:
    """Category by the kernel's name, None for a name that is not known."""
    return _first(_KERNELS, name.lower())


def _first(patterns: tuple[Pattern, ...], text: str) -> str | None:
    return next((pattern.category for pattern in patterns if pattern.regex.search(text)), None)


def category(kernel: str, operator: str | None, *, in_optimizer: bool) -> str:
    """Category of a kernel launched by an operator (None where the trace has none).

    Inside the optimizer's step everything is the optimizer's: its additions are not the model's.
    """
    if in_optimizer:
        return OPTIMIZER
    by_operator = of_operator(operator) if operator else None
    by_kernel = of_kernel(kernel)
    if by_kernel == COMMUNICATION:
        return COMMUNICATION
    # A dtype conversion or a layout copy inside a matmul or a convolution is a copy, whoever asked for it.
    if by_operator in (MATMUL, CONVOLUTION) and by_kernel in (COPY, MEMSET, REDUCTION):
        return by_kernel
    return by_operator or by_kernel or OTHER


def is_known(kernel: str, operator: str | None) -> bool:
    """False for a kernel that neither table places: it counts as `other` for want of a pattern."""
    return of_kernel(kernel) is not None or (operator is not None and of_operator(operator) is not None)
