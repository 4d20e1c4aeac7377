"""What a kernel is called: by the rule that knows it, else in words, with the types and numbers among its arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from perfkit.analysis.kernels.names import LOOKED_AT, parse
from perfkit.analysis.kernels.short_names import plain, pytorch, triton, vendors
from perfkit.analysis.kernels.short_names.forms import (
    Form,
    Name,
    brackets,
    canonical,
    dtype,
    taken_apart,
    words,
)
from perfkit.regex import Regex

_CPP: tuple[tuple[Regex[str], Callable[[Name], Form | None]], ...] = (*pytorch.RULES, *vendors.RULES)
_HAS_CPP = Regex(r"[<(]|::|^_Z")
_ATTENTION = Regex(r"^_{0,2}(fwd|bwd)_(?!.*(ep_|mla_))")
"""What kernels of Triton's tutorial and of those that grew from it are called, whose names do not say attention."""
_LONGEST = 80
"""Characters of a short form, before what tells it from another."""
_MOST_ARGUMENTS = 4
_WORDY = 48
"""Characters of words, beyond which one argument is enough."""
_LIBRARIES = {
    "vllm": "vllm", "sgl_hip": "sglang", "sgl_kernel": "sglang", "flashinfer": "flashinfer", "tensorrt_llm": "trtllm", "moe": "trtllm",
    "cub": "cub", "at_cuda_detail": "cub", "rocprim": "rocprim", "hipcub": "hipcub", "thrust": "thrust", "cudnn": "cudnn", "cublasLt": "cublas",
    "cutlass": "cutlass", "ck": "ck", "ck_tile": "ck tile", "fbgemm_gpu": "fbgemm", "transformer_engine": "te", "deep_gemm": "deepgemm",
    "deep_ep": "deepep", "aiter": "aiter", "xformers": "xformers", "cask_cudnn": "cudnn", "pplx": "pplx", "marlin": "", "flash": "flash",
    "genericReformat": "trt", "CUTENSOR_NAMESPACE": "cutensor", "cutensor_internal_namespace": "cutensor", "nvshmem": "nvshmem", "smxx": "flashmla",
}  # fmt: skip
"""By the outermost namespace; any other stands as it is, PyTorch's and those without a name not at all."""
_UNSAID = frozenset({"at", "c10", "std", "internal", "detail", "torch", "native", ""})
_HOLDERS = frozenset(
    {
        "kernel",
        "Kernel",
        "Kernel2",
        "device_kernel",
        "kentry",
        "kernel_entry",
        "entry",
        "launch_kernel",
        "_kernel_agent",
        "trampoline_kernel",
        "run",
        "global_kernel",
    }
)


@cache
def form(name: str) -> Form:
    """What a kernel is called, by itself; its text is never empty."""
    name = name[:LOOKED_AT].strip()
    found = _cpp(name) if _HAS_CPP.search(name) and not name.startswith(("Mem", "zeCommand")) else _plain(name)
    text = " ".join(found.text.split()) or name or "(no name)"
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1].rstrip(" ·,(") + "…"
    return Form(text, found.details)


def _plain(name: str) -> Form:
    stem = name.removesuffix(".kd").removesuffix("_device_func")
    for pattern, make in plain.RULES:
        if (match := pattern.match(stem)) and (found := make(match)):
            return found
    said = f"attention {words(stem)}" if _ATTENTION.match(stem) else words(stem)
    return triton.form(stem) or Form(said)


def _cpp(name: str) -> Form:
    text = canonical(name)
    if text.startswith("_Z"):  # cut off, or what the demangler does not know
        parts = parse(name)
        return Form(words(parts.identifier) or words(parts.qualified.replace("::", "_")))
    taken = taken_apart(text)
    if not taken.arguments and not taken.scope and _HAS_CPP.search(text) is None:
        return (
            _plain(text) if text else Form(name)
        )  # a plain name with parameters: ncclKernel_AllReduce_...(ncclWorkElem)
    found = (make(taken) for make in _makers(taken.last))
    return next(filter(None, found), None) or _in_words(taken)


@cache
def _makers(function: str) -> tuple[Callable[[Name], Form | None], ...]:
    """The rules for a function's own name: most kernels of a trace share a few of them."""
    return tuple(make for pattern, make in _CPP if pattern.match(function))


def _in_words(name: Name) -> Form:
    """fused add rms norm (bf16, 8, vllm)"""
    inner = _held(name)
    what = words(inner.last) or inner.last
    what = f"moe {what}" if name.scope[:1] == ("moe",) and "moe" not in what else what
    given = [dtype(text) or (text if re.fullmatch(r"-?\d{1,6}", text) else "") for text in inner.arguments]
    shown = [text for text in dict.fromkeys(given) if text not in ("", "0", "1")][
        : _MOST_ARGUMENTS if len(what) < _WORDY else 1
    ]
    return Form(what + brackets(*shown, _library((*inner.scope, *name.scope))))


def _held(name: Name) -> Name:
    """What a kernel is named after: its namespace, or the class that it runs, where its own name is `kernel`."""
    if name.last not in _HOLDERS:
        return name
    if name.last == "kernel" and name.scope and name.scope[-1] not in _LIBRARIES:
        return Name(name.scope[:-1], name.scope[-1].partition("<")[0], name.arguments)
    classes = (
        part for part in map(taken_apart, name.arguments) if part.last not in ("true", "false") and not dtype(part.last)
    )
    return next((part for part in classes if len(part.last) > 3), name)


def _library(scope: tuple[str, ...]) -> str:
    for part in scope:
        word = part.partition("<")[0]
        if word in _LIBRARIES:
            return _LIBRARIES[word]
        if word not in _UNSAID and not word.startswith(("{", "_")):
            return words(word)
    return ""
