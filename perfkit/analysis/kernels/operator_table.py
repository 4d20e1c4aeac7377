"""Operators by name: without their namespace and without a trailing underscore."""

from __future__ import annotations

from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.patterns import table

_ATEN = "PyTorch, aten/src/ATen/native/native_functions.yaml"

COLLECTIVES = frozenset({"c10d", "_c10d_functional", "_c10d_functional_autograd", "c10d_functional", "symm_mem"})
"""Namespaces of PyTorch (torch/csrc/distributed/c10d) in which every operator is a collective."""

OPERATORS = table(
    (kinds.COMMUNICATION, "PyTorch's backends, and the operator round every collective of c10d",
        r"^(nccl|gloo|ucc|mpi|xccl|hccl|record_param_comms|all_?reduce|all_?gather|reduce_?scatter|broadcast_coalesced"
        r"|all_?(to|2)_?all|_c10d_functional|multimem_|(one|two)_shot_)"),
    (kinds.OPTIMIZER, "PyTorch, torch.optim with fused=True", r"^_fused_(adam|adamw|adagrad|sgd)"),
    (kinds.ATTENTION, f"{_ATEN}; FlashAttention and xFormers as libraries",
        r"attention|^_flash_|^_efficient_|flex_attention|fmha"),
    (kinds.SOFTMAX, _ATEN, r"softmax"),
    (kinds.LOSS, _ATEN, r"nll_loss|cross_entropy|_loss(_|$)|^kl_div|^ctc_"),
    (kinds.CONVOLUTION, _ATEN, r"conv\d?d?|convolution|miopen_conv|cudnn_conv"),
    (kinds.NORMALISATION, _ATEN, r"layer_norm|batch_norm|group_norm|instance_norm|rms_norm"),
    (kinds.EMBEDDING, _ATEN,
        r"^embedding|^gather|^index|^_index|^take|^scatter|^masked_select|^nonzero|^_unsafe_index|^repeat_interleave"),
    (kinds.MATMUL, _ATEN,
        r"^(mm|bmm|addmm|baddbmm|addbmm|matmul|linear|mv|addmv|dot|vdot|einsum|inner|ger)$"
        r"|_scaled_mm|_int_mm|_addmm|_grouped_mm|addmm|pack_mm$"),
    (kinds.RANDOM, _ATEN,
        r"^(normal|uniform|bernoulli|rand|randn|randint|randperm|dropout|native_dropout|exponential|multinomial|random)"),
    (kinds.QUANTISATION, f"{_ATEN}: quantize_per_tensor, fake_quantize, dequantize", r"quantize"),
    (kinds.CAST, _ATEN,
        r"^(copy|_to_copy|to|contiguous|clone|cat|stack|_reshape_alias|_foreach_copy|constant_pad_nd|repeat"
        r"|split_with_sizes_copy|flip|roll|_chunk_cat|type_as)$"),
    (kinds.REDUCTION, _ATEN,
        r"^(sum|mean|max|min|amax|amin|argmax|argmin|prod|norm|linalg_vector_norm|_foreach_norm|std|var|var_mean"
        r"|std_mean|any|all|cumsum|cumprod|logsumexp|topk|sort|aminmax)$"),
    (kinds.MEMSET, _ATEN, r"^(zero|fill|zeros|full|new_zeros|new_full|_foreach_zero)$"),
    (kinds.POOLING, _ATEN, r"pool|upsample|grid_sampl|interpolate"),
    (kinds.ELEMENTWISE, _ATEN,
        r"^(_foreach_)?(add|sub|rsub|mul|div|pow|sqrt|rsqrt|exp|exp2|log|log2|neg|abs|square|reciprocal|sin|cos|tan"
        r"|tanh|sigmoid|silu|gelu|relu|leaky_relu|elu|mish|hardswish|softplus|clamp|clamp_min|clamp_max|where"
        r"|masked_fill|addcmul|addcdiv|lerp|lerp_scalar|maximum|minimum|eq|ne|lt|le|gt|ge|logical_and|logical_or"
        r"|logical_not|bitwise_and|bitwise_or|bitwise_not|threshold|erf|sign|floor|ceil|round|trunc|remainder|isnan"
        r"|isinf|isfinite|tril|triu|arange|linspace|polar|view_as_real|ones_like|complex|atan2|logit|nan_to_num|log1p"
        r"|expm1|log_sigmoid|glu|prelu|hardtanh|floor_divide|fmod|_amp_foreach_non_finite_check_and_unscale|_amp_update_scale)"
        r"(_forward|_backward(_data)?)?$"),
)  # fmt: skip
"""Ordered: the first that matches decides."""
