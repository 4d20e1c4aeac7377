"""Kernels of PyTorch (aten/src/ATen/native/cuda): elementwise, reductions, softmax, norms, indexing, foreach."""

from __future__ import annotations

import re

from perfkit.analysis.kernels.short_names.forms import (
    Form,
    Name,
    brackets,
    dtype,
    first_dtype,
    joined,
    taken_apart,
    words,
)  # fmt: skip
from perfkit.regex import Regex

_WRAPPER = Regex(
    r"^(gpu_kernel_impl(_nocast)?|gpu_index_kernel|func_wrapper_t|.*_cuda_scatter_gather_internal_kernel)$"
)
_FUNCTOR = Regex(r"(Functor|Ops|Op|Func)$")
_LAMBDA = Regex(r"\{lambda\(([^{}]*)\)#(\d+)\}$")
_TAIL = Regex(r"(_+(cuda|gpu|kernel|impl|CUDA|Kernel|Impl)(?=_|$)|(CUDA)?Kernel(Impl)?|CUDA)+")
_CALLED = {
    "CUDAFunctor_add": "add", "CUDAFunctorOnSelf_add": "add scalar", "CUDAFunctorOnOther_add": "scalar add",
    "CompareEqFunctor": "equal", "plus": "add", "minus": "sub", "multiplies": "mul", "divides": "div",
    "launch_clamp_scalar": "clamp", "direct_copy_kernel_cuda": "copy", "copy_device_to_device": "copy",
    "pow_tensor_scalar_kernel_impl": "pow scalar", "pow_tensor_tensor_kernel": "pow", "float8_copy_kernel_cuda": "copy to fp8",
    "bfloat16_copy_kernel_cuda": "copy to bf16", "float16_copy_kernel_cuda": "copy to half",
    "bfloat16tofloat32_copy_kernel_cuda": "copy to float from bf16", "float16tofloat32_copy_kernel_cuda": "copy to float from half",
    "NormTwoOps": "norm 2", "NormOneOps": "norm 1", "AbsMaxOps": "norm inf", "ArgMaxOps": "argmax", "ArgMinOps": "argmin",
    "and_kernel_cuda": "all", "or_kernel_cuda": "any", "WelfordOps": "variance", "sum_functor": "sum", "max_values_kernel_cuda": "max",
    "arange_cuda_out": "arange", "TensorAssign": "", "ReduceAdd": "add", "ReduceMultiply": "mul", "ReduceMaximum": "max", "ReduceMinimum": "min", "ReduceMean": "mean",
}  # fmt: skip
"""Functions and functors whose own names do not say it."""


def operation(text: str) -> tuple[str, str]:
    """What a functor or lambda does, and to elements of which type: (`mul`, `bf16`)."""
    name = taken_apart(text)
    if name.last in ("AUnaryFunctor", "BUnaryFunctor", "BinaryFunctor") and name.arguments:
        what, inner = ("binary", "") if dtype(name.arguments[-1]) else operation(name.arguments[-1])
        scalar = {"AUnaryFunctor": f"scalar {what}", "BUnaryFunctor": f"{what} scalar"}
        return scalar.get(name.last, what), dtype(name.arguments[0]) or inner
    found = _LAMBDA.search(text)
    if found:
        wrapper = next((part for part in name.scope if _WRAPPER.match(part.partition("<")[0])), "")
        if wrapper and taken_apart(wrapper).arguments:
            return operation(taken_apart(wrapper).arguments[-1])
        given = tuple(found[1].split(","))
        own = "" if given[0] == "bool" and len(given) > 1 else dtype(given[0])  # where's condition
        return _called(name.function), own or first_dtype(given[1:]) or dtype(given[0])
    if _WRAPPER.match(name.last) and name.arguments:
        return operation(name.arguments[-1])
    return _called(name.last), first_dtype(name.arguments)


def _called(function: str) -> str:
    return (
        _CALLED[function]
        if function in _CALLED
        else words(_FUNCTOR.sub("", _TAIL.sub("", function))) or words(function)
    )


def _number_of_lambda(text: str) -> str:
    """Which of a function's lambdas: it may have one for each special case."""
    found = re.findall(r"\{lambda\([^{}]+\)#(\d+)\}", text)
    return f"lambda {found[0]}" if found and found[0] != "1" else ""


# --- elementwise ---------------------------------------------------------------------------------------------------


def elementwise(name: Name) -> Form | None:
    """add · bf16 · vectorized x4"""
    functor = next((text for text in name.arguments if not text.isdigit() and not dtype(text)), "")
    if not functor:
        return None
    numbers = [text for text in name.arguments if text.isdigit()]
    how, width = _HOW[name.last], numbers[-1] if numbers and name.last in _COUNTED else ""
    if any("LoadWithCast" in text or "StoreWithCast" in text for text in name.arguments):
        how += " cast"
    if name.last == "vectorized_elementwise_kernel":
        width = numbers[0] if numbers else ""
    what, kind = operation(functor)
    if what == "copy" and "cast" in how:
        what, kind = f"copy to {kind}", ""
    elif what.startswith("copy to"):
        what, kind = what if f" {kind}" in what else f"{what} from {kind}", ""
    details = (_number_of_lambda(functor), "cast" if "gpu_kernel_impl<" in functor else "")
    return Form(joined(what, kind, how + (f" x{width}" if width else "")), details)


_HOW = {
    "vectorized_elementwise_kernel": "vectorized", "unrolled_elementwise_kernel": "unrolled",
    "elementwise_kernel": "strided", "elementwise_kernel_manual_unroll": "strided, unrolled", "elementwise_kernel_with_index": "by index",
    "vectorized_templated_elementwise_kernel": "vectorized cast", "unrolled_elementwise_kernel_for_multi_outputs": "several outputs",
    "legacy_elementwise_kernel": "strided", "modern_elementwise_kernel": "unrolled", "index_elementwise_kernel": "",
}  # fmt: skip
_COUNTED = ("elementwise_kernel", "elementwise_kernel_manual_unroll", "legacy_elementwise_kernel")


def indexing(name: Name) -> Form:
    """index put · 4-byte"""
    text = ",".join(name.arguments)
    function = re.search(
        r"(\w+?)_(?:kernel_impl|cuda_kernel|kernel)<(?:at::native::)?([\w:]+(?:<\d+>)?)>",
        text.partition("gpu_index_kernel<")[2] or text,
    )
    return Form(joined(words(function[1]) if function else "index", dtype(function[2]) if function else ""))


def scatter_gather(name: Name) -> Form:
    """scatter add · float: the first argument of the inner kernel says which of the two it is."""
    text = ",".join(name.arguments)
    inner = re.search(r"_internal_kernel<(true|false),([\w:]+(?:<\d+>)?)>", text)
    called = re.search(r"operator\{\}<(?:at::native::)?(\w+)>", text)
    what = "scatter" if inner and inner[1] == "true" else "gather"
    return Form(joined(f"{what} {_called(called[1]) if called else ''}".strip(), dtype(inner[2]) if inner else ""))


def foreach(name: Name) -> Form | None:
    """foreach mul · float; fused optimizers by their own name."""
    parts = [taken_apart(text) for text in name.arguments]
    functors = [part for part in parts if re.search(r"(Functor|_functor|Stage\d\w*)$", part.last)]
    if not functors:
        return None
    functor = functors[0]
    kind = first_dtype(functor.arguments) or first_dtype(name.arguments)
    stem = re.sub(r"(Math|_)?(Functor|_functor)$", "", functor.last)
    depth = next((f"{part.argument(0)} lists" for part in parts if "TensorListMetadata" in part.last), "")
    if match := re.match(r"(BinaryOp|PointwiseOp|UnaryOp|TernaryOp|Copy|Zero|Lerp)(.*)$", stem):
        rest = parts[parts.index(functor) + 1 :]
        called = next((part for part in rest if part.last and not part.last.isdigit()), None)
        what = _POINTWISE.get((match[1], called.last)) if called else None
        what = what or (_called(called.last) if called and not dtype(called.last) else words(match[1]))
        if called and called.last == "Copy":
            what, kind = "copy", " from ".join(dict.fromkeys(filter(None, map(dtype, called.arguments))))
        return Form(
            joined(f"foreach {what}", kind),
            (words(match[2].replace("List", " list").replace("Scalar", " scalar")), depth),
        )
    if functor.last.startswith("Fused") or "Adam" in stem or "LAMB" in stem.upper() or "SGD" in stem.upper():
        mode = re.search(r"ADAM_MODE\)?(\d)", ",".join(functor.arguments)) or re.match(r"FusedAdam.*", functor.last)
        return Form(joined(words(stem).replace("lamb stage", "lamb stage "), kind), (mode[0] if mode else "", depth))
    return Form(joined(f"foreach {words(stem)}", kind), (depth,))


_POINTWISE = {("PointwiseOp", "multiplies"): "addcmul", ("PointwiseOp", "divides"): "addcdiv"}


# --- reductions, softmax, norms --------------------------------------------------------------------------------------


def reduction(name: Name) -> Form | None:
    """reduce mean · float"""
    inner = next((taken_apart(text) for text in name.arguments if "ReduceOp<" in text or "ReduceJitOp<" in text), None)
    if inner is None or len(inner.arguments) < 2:
        return None
    given = inner.arguments[1]
    what = (
        next((_called(word) for word in re.findall(r"\w+", given) if word in _CALLED or word.endswith("Ops")), "")
        or operation(given)[0]
    )
    size = f"{name.argument(0)}x{name.argument(1)} threads"
    return Form(joined(f"reduce {what}", dtype(inner.arguments[0])), (size, f"vt {'x'.join(inner.arguments[4:])}"))


def warp_softmax(name: Name) -> Form:
    """softmax forward (float, 1024): the logarithm of the row's length is the fourth argument."""
    flags = name.arguments[4:] if not name.last.startswith("scaled") else ()
    kind = ("log " if flags[:1] == ("true",) else "") + ("masked " if flags[1:2] == ("true",) else "") + "softmax"
    size = str(2 ** int(name.argument(3))) if name.argument(3).isdigit() and len(name.argument(3)) < 3 else ""
    types = dict.fromkeys(filter(None, map(dtype, name.arguments[:2])))
    scaled = re.match(r"(scaled\w*?_)softmax", name.last)
    kind = f"{words(scaled[1])} {kind}" if scaled else kind
    return Form(f"{kind} {_direction(name.last)}{brackets(*types, size)}")


def softmax(name: Name) -> Form:
    """softmax forward (float): a block or the whole grid for a row."""
    text = ",".join(name.arguments)
    kind = (
        ("log " if "LogSoftMax" in text or "LogSoftmax" in text else "")
        + ("spatial " if "Spatial" in name.last else "")
        + "softmax"
    )
    where = "smem" if "Smem" in name.last else "registers" if "Reg" in name.last else ""
    vector = f"x{name.argument(0)}" if name.argument(0).isdigit() else ""
    return Form(f"{kind} {_direction(name.last)}{brackets(first_dtype(name.arguments), where)}", (vector,))


def _direction(text: str) -> str:
    return "backward" if re.search(r"[Bb]ackward|bwd|Gr?adInput", text) else "forward"


_NORMS = {
    "RowwiseMomentsCUDAKernel": "row moments", "LayerNormForwardCUDAKernel": "layer norm forward, apply",
    "vectorized_layer_norm_kernel": "layer norm forward", "layer_norm_grad_input_kernel": "layer norm backward input",
    "layer_norm_grad_input_kernel_vectorized": "layer norm backward input, vectorized",
    "GammaBetaBackwardCUDAKernel": "layer norm backward gamma, beta", "cuComputePartGradGammaBeta": "layer norm backward gamma, beta, part",
    "GammaBetaBackwardSimpleCUDAKernel": "layer norm backward gamma, beta, simple", "cuComputeGradInput": "layer norm backward input",
    "cuApplyLayerNorm": "layer norm forward", "cuComputeGradGammaBeta": "layer norm backward gamma, beta", "cuApplyRMSNorm": "rms norm forward",
    "GammaBetaBackwardCUDAKernel_32x32": "layer norm backward gamma, beta, 32x32", "GammaBetaBackwardCUDAKernelTemplate": "layer norm backward gamma, beta",
    "batch_norm_backward_kernel": "batch norm backward", "batch_norm_collect_statistics_kernel": "batch norm statistics",
    "batch_norm_transform_input_kernel": "batch norm forward", "batch_norm_collect_statistics_channels_last_kernel": "batch norm statistics nhwc",
    "batch_norm_transform_input_channels_last_kernel": "batch norm forward nhwc", "batch_norm_backward_reduce_kernel": "batch norm backward reduce",
    "batch_norm_backward_elemt_kernel": "batch norm backward elementwise", "ComputeInternalGradientsCUDAKernel": "group norm internal gradients",
    "ComputeFusedParamsCUDAKernel": "group norm fused parameters",
}  # fmt: skip


def norm(name: Name) -> Form:
    """layer norm forward (float)"""
    return Form(_NORMS[name.last] + brackets(first_dtype(name.arguments)))


# --- layout, random, loss ----------------------------------------------------------------------------------------------


def cat(name: Name) -> Form:
    """cat 3d · 4-byte"""
    dims = next((f"{text}d" for text in name.arguments[2:] if text.isdigit()), "")
    how = words(name.last.removeprefix("CatArrayBatchedCopy"))
    size = "x".join([text for text in name.arguments[2:] if text.isdigit()][1:3])
    return Form(joined(f"cat {dims}".strip(), first_dtype(name.arguments), how), (size,))


def act_and_mul(name: Name) -> Form:
    """silu and mul (bf16), of vLLM, SGLang and FlashInfer: the activation is a function among the arguments."""
    given = (text for text in name.arguments if text.startswith("&") or "_kernel<" in text)
    function = next((taken_apart(text.lstrip("&")) for text in given), None)
    return Form(f"{_called(function.last) if function else 'act'} and mul" + brackets(first_dtype(name.arguments)))


def distribution(name: Name) -> Form:
    """random uniform · float"""
    found = re.search(r"(\w+?)_kernel<", ",".join(name.arguments)) or re.search(
        r"::(\w+?)_kernel", ",".join(name.arguments)
    )
    return Form(joined(f"random {words(found[1]) if found else ''}".strip(), first_dtype(name.arguments)))


def index_select(name: Name) -> Form:
    """index select, large · bf16"""
    numbers = ",".join(text for text in name.arguments if text.lstrip("-").isdigit())
    return Form(
        joined(f"index select, {'large' if 'Large' in name.last else 'small'}", first_dtype(name.arguments)),
        (f"<{numbers}>",),
    )


def nll(name: Name) -> Form:
    """nll loss forward (float)"""
    way = "backward" if re.search("backward|GradInput", name.last) else "forward"
    return Form(
        f"nll loss {way}" + brackets("2d" if re.search("2d|Spatial", name.last) else "", first_dtype(name.arguments))
    )


def repeat_interleave(name: Name) -> Form:
    """repeat interleave · int64, whose kernel's own name is `compute`"""
    return Form(joined("repeat interleave", first_dtype(name.arguments)))


def dropout(name: Name) -> Form:
    """dropout forward · float"""
    how = "vectorized" if name.last.endswith("_vec") else ""
    return Form(
        joined("dropout " + ("backward" if "masked" in name.last else "forward"), first_dtype(name.arguments), how)
    )


RULES = (
    (Regex(f"^({'|'.join(key for key in _HOW if not key.startswith('index'))})$"), elementwise),
    (Regex(r"^(index_elementwise_kernel|vectorized_index_elementwise_kernel)$"), indexing),
    (Regex(r"^_scatter_gather_elementwise_kernel$|^_scatter_gather_base_kernel"), scatter_gather),
    (Regex(r"^multi_tensor_apply_kernel$"), foreach),
    (Regex(r"^reduce_kernel$"), reduction),
    (Regex(r"^(masked_|scaled_\w*)?softmax_warp_(forward|backward)$"), warp_softmax),
    (Regex(r"^cunn_(Spatial)?SoftMax(Forward|Backward)\w*$"), softmax),
    (Regex(f"^({'|'.join(_NORMS)})$"), norm),
    (Regex(r"^CatArrayBatchedCopy"), cat),
    (Regex(r"^distribution_(elementwise|binary|nullary)"), distribution),
    (Regex(r"^indexSelect(Large|Small)Index$"), index_select),
    (Regex(r"^nll_loss(2d)?_(forward|backward)|^cunn_(Spatial)?ClassNLLCriterion"), nll),
    (Regex(r"^compute_cuda_kernel$"), repeat_interleave),
    (Regex(r"^act_and_mul_kernel"), act_and_mul),
    (Regex(r"^fused_dropout_kernel|^masked_scale_kernel"), dropout),
)
"""Patterns of a function's own name, and what makes a form of it; None is no form."""
