"""What kind of work a kernel does. The operator that launched it decides first, the kernel's own name second.

Both tables are ordered: the first pattern that matches wins, so special cases stand above general ones. No pattern
looks further than 500 characters from where it begins, so that a long name takes no longer than many short ones, and
none looks beyond LOOKED_AT.
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


LOOKED_AT = 8192
"""Characters of a name; the longest in the traces at hand has 5,123. All patterns together read 6 MB/s."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression, searched in a name in lower case, and the category it stands for."""

    category: str
    regex: re.Pattern[str]
    source: str
    """Where names of this kind come from."""


def _patterns(*rows: tuple[str, str, str]) -> tuple[Pattern, ...]:
    return tuple(Pattern(category, re.compile(regex), source) for category, source, regex in rows)


_ATEN = "PyTorch, aten/src/ATen/native/native_functions.yaml"
_ATEN_CUDA = "PyTorch, aten/src/ATen/native/cuda"
_INDUCTOR = "PyTorch, torch/_inductor/codegen: triton_<kind>_fused_<operators>, cpp_fused_<operators>"

# The name without its namespace and without a trailing underscore.
OPERATORS = _patterns(
    (COMMUNICATION, "PyTorch, torch/csrc/distributed/c10d and its functional collectives",
        r"^(nccl|gloo|all_?reduce|all_?gather|reduce_?scatter|broadcast_coalesced|all_?to_?all|_c10d_functional"
        r"|multimem_|(one|two)_shot_)"),
    (OPTIMIZER, "PyTorch, torch.optim with fused=True", r"^_fused_(adam|adamw|adagrad|sgd)"),
    (ATTENTION, f"{_ATEN}; FlashAttention and xFormers as libraries",
        r"attention|^_flash_|^_efficient_|flex_attention|fmha"),
    (SOFTMAX, _ATEN, r"softmax"),
    (LOSS, _ATEN, r"nll_loss|cross_entropy|_loss(_|$)|^kl_div|^ctc_"),
    (CONVOLUTION, _ATEN, r"conv\d?d?|convolution|miopen_conv|cudnn_conv"),
    (NORMALISATION, _ATEN, r"layer_norm|batch_norm|group_norm|instance_norm|rms_norm"),
    (EMBEDDING, _ATEN,
        r"^embedding|^gather|^index|^_index|^take|^scatter|^masked_select|^nonzero|^_unsafe_index"),
    (MATMUL, _ATEN,
        r"^(mm|bmm|addmm|baddbmm|addbmm|matmul|linear|mv|addmv|dot|vdot|einsum|inner|ger)$"
        r"|_scaled_mm|_int_mm|_addmm|_grouped_mm|addmm"),
    (RANDOM, _ATEN,
        r"^(normal|uniform|bernoulli|rand|randn|randint|randperm|dropout|native_dropout|exponential|multinomial|random)"),
    (COPY, _ATEN,
        r"^(copy|_to_copy|to|contiguous|clone|cat|stack|_reshape_alias|_foreach_copy|constant_pad_nd|repeat"
        r"|split_with_sizes_copy|flip|roll)$"),
    (REDUCTION, _ATEN,
        r"^(sum|mean|max|min|amax|amin|argmax|argmin|prod|norm|linalg_vector_norm|_foreach_norm|std|var|var_mean"
        r"|std_mean|any|all|cumsum|cumprod|logsumexp|topk|sort|aminmax)$"),
    (MEMSET, _ATEN, r"^(zero|fill|zeros|_foreach_zero)$"),
    (OTHER, _ATEN, r"pool|upsample|grid_sampl|interpolate"),
    # Inductor's kernels are named by what they fuse: matched above by their weightiest part, else as loops.
    (REDUCTION, _INDUCTOR, r"^triton_(red|per)_|_fused_.{0,500}(sum|mean|max|norm)"),
    (ELEMENTWISE, _INDUCTOR, r"^triton_poi_|^(graph_\d+_)?cpp_fused_"),
    (ELEMENTWISE, _ATEN,
        r"^(_foreach_)?(add|sub|rsub|mul|div|pow|sqrt|rsqrt|exp|exp2|log|log2|neg|abs|square|reciprocal|sin|cos|tan"
        r"|tanh|sigmoid|silu|gelu|relu|leaky_relu|elu|mish|hardswish|softplus|clamp|clamp_min|clamp_max|where"
        r"|masked_fill|addcmul|addcdiv|lerp|lerp_scalar|maximum|minimum|eq|ne|lt|le|gt|ge|logical_and|logical_or"
        r"|logical_not|bitwise_and|bitwise_or|bitwise_not|threshold|erf|sign|floor|ceil|round|trunc|remainder|isnan"
        r"|isinf|isfinite|tril|triu|arange|linspace|polar|view_as_real|ones_like|complex|atan2"
        r"|_amp_foreach_non_finite_check_and_unscale|_amp_update_scale)(_backward(_data)?)?$"),
)  # fmt: skip
"""By operator, ordered: the first that matches decides."""

KERNELS = _patterns(
    (COMMUNICATION, "NCCL: ncclKernel_ until 2.18, ncclDevKernel_ since; RCCL, which keeps NCCL's names or has its own",
        r"^(nccl|rccl)"),
    (COMMUNICATION, "vLLM, csrc/custom_all_reduce.cuh", r"cross_device_reduce"),
    (COMMUNICATION, "PyTorch, symmetric memory (torch/csrc/distributed/c10d); NVSHMEM",
        r"nvshmem|multimem_|(one|two)_shot_(all_reduce|reduce_scatter)"),
    (ATTENTION, "FlashAttention, csrc/flash_attn", r"flash|mha_(fwd|bwd)"),
    (ATTENTION, "xFormers and PyTorch's copy of it: fmha_cutlassF, fmha_cutlassB; Composable Kernel: FmhaFwdKernel",
        r"fmha|attention"),
    (ATTENTION, "cuDNN: cudnn_generated_fort_native_sdpa", r"sdpa"),
    (ATTENTION, "AOTriton (ROCm), tritonsrc: attn_fwd, bwd_kernel_dk_dv", r"aotriton|attn_fwd|attn_bwd|bwd_kernel_dk"),
    (SOFTMAX, f"{_ATEN_CUDA}/SoftMax.cu; {_INDUCTOR}", r"softmax"),
    (LOSS, f"{_ATEN_CUDA}/Loss.cu; Liger's and Apex's fused losses", r"nll_loss|cross_?entropy"),
    (OPTIMIZER, f"{_ATEN_CUDA}/fused_adam_impl.cu; Apex, csrc/multi_tensor_adam.cu",
        r"multi_tensor_apply.{0,500}(adam|sgd|lamb)|fused_?adam|adamw"),
    (NORMALISATION, f"{_ATEN_CUDA}/layer_norm_kernel.cu, Normalization.cuh, RowwiseMoments; {_INDUCTOR}",
        r"layer_?norm|batch_?norm|group_?norm|rms_?norm|gammabeta|welford"),
    (NORMALISATION, "cuDNN: bn_fw_tr_1C11, bn_bw_1C11", r"bn_(fw|bw)"),
    (NORMALISATION, "Transformer Engine: normalization::ln_fwd_kernel, rmsnorm_bwd",
        r"normalization::|norm_(fwd|bwd)|\bln_(fwd|bwd)"),
    (COPY, "cuDNN: nchwToNhwcKernel; MIOpen: batched_transpose", r"nchwtonhwc|nhwctonchw|batched_transpose"),
    (CONVOLUTION, "cuDNN: fprop, dgrad, wgrad, winograd, fft2d, implicit_gemm, scudnn, cask_cudnn; PyTorch: im2col",
        r"conv|wgrad|dgrad|fprop|winograd|fft2d_|im2col|col2im|implicit_gemm|scudnn|cask_cudnn"),
    (CONVOLUTION, "MIOpen: igemm_fwd_gtcx3, miopenSp3AsmConv", r"igemm|miopen"),
    (MATMUL, "cuBLAS: nvjet since CUDA 12.8; ampere_, turing_, volta_, hopper_ and gemv before",
        r"nvjet|cublas|gemv|splitk|dot_kernel|(ampere|turing|volta|hopper)_.{0,500}_tn|s\d+(16816|1688|884)"),
    (MATMUL, "CUTLASS, and xmma as cuBLAS and cuDNN have it", r"cutlass|xmma"),
    (MATMUL, "AMD Tensile and hipBLASLt: Cijk_; Composable Kernel: ck::kernel_gemm; vLLM for ROCm: wvSplitK",
        r"cijk_|ck::kernel_gemm|wvsplitk"),
    (MATMUL, "Whoever names it so: DeepGEMM, Marlin, Triton's examples; Inductor's templates (triton_tem_fused_mm)",
        r"gemm|matmul|_mm_|triton_tem_fused|triton_mm|fused_moe"),
    (EMBEDDING, f"{_ATEN_CUDA}/Embedding.cu, EmbeddingBackwardKernel.cu, Indexing.cu, ScatterGatherKernel.cu",
        r"embedding|krn_partial|gather|scatter|index(_|elementwise|select|ing)|take_|nonzero|masked_select|sort_by_key"),
    (RANDOM, f"{_ATEN_CUDA}/DistributionTemplates.h, Dropout.cu; cuRAND",
        r"philox|curand|distribution_|dropout|bernoulli|random"),
    (REDUCTION, f"{_ATEN_CUDA}/Reduce.cuh, ScanUtils.cuh, Sort.cu; CUB; {_INDUCTOR}",
        r"reduce_kernel|reduction|reduce_|triton_red_|triton_per_|cub::.{0,500}reduce|scan|topk|radix|sort|norm_kernel"
        r"|block_reduce"),
    (MEMSET, f"{_ATEN_CUDA}/FillKernel.cu; CUDA's own", r"fill_?functor|memset|zero_kernel"),
    (COPY, f"{_ATEN_CUDA}/Copy.cu, Shape.cu (CatArrayBatchedCopy)",
        r"copy_kernel|direct_copy|catarray|cat_array|transpose|memcpy|cast|copy_device|tensor_permute|_to_copy"),
    (OTHER, _ATEN_CUDA, r"pool|upsample|grid_sampl|interpolate"),
    (ELEMENTWISE, f"{_ATEN_CUDA}/CUDALoops.cuh, ForeachFunctors.cuh; {_INDUCTOR}; vLLM's activations and rotary kernels",
        r"elementwise|vectorized|pointwise|triton_poi_|unrolled|foreach|multi_tensor_apply|silu|gelu|relu|tril|triu"
        r"|binary_|unary_|rotary|rope"),
)  # fmt: skip
"""By the kernel's own name, ordered: the first that matches decides. For kernels whose operator has no category."""


@cache
def of_operator(name: str) -> str | None:
    """Category by the operator's name, None where the name has none."""
    base = name.rpartition("::")[2].lower().rstrip("_")
    if name.startswith("autograd::engine"):
        return None
    return _first(OPERATORS, base)


@cache
def of_kernel(name: str) -> str | None:
    """Category by the kernel's name, None for a name that is not known."""
    return _first(KERNELS, name.lower())


def is_communication(name: str) -> bool:
    """Whether a kernel is a collective's."""
    return any(
        pattern.category == COMMUNICATION and pattern.regex.search(name[:LOOKED_AT].lower()) for pattern in KERNELS
    )


def _first(patterns: tuple[Pattern, ...], text: str) -> str | None:
    return next((pattern.category for pattern in patterns if pattern.regex.search(text, 0, LOOKED_AT)), None)


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
    """False for a kernel that neither table places: it counts as `other` because no pattern matches."""
    return of_kernel(kernel) is not None or (operator is not None and of_operator(operator) is not None)
