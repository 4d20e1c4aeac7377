"""C++ names taken apart, one level at a time, and the words that short names are made of."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from perfkit.analysis.kernels.names import LOOKED_AT
from perfkit.analysis.kernels.short_names.demangle import demangled
from perfkit.analysis.kernels.spelling import spelling
from perfkit.regex import Regex


class Form(msgspec.Struct, frozen=True):
    """What a kernel is called."""

    text: str
    details: tuple[str, ...] = ()
    """What else is known of it, shown where two kernels have the same text, in this order."""


class Name(msgspec.Struct, frozen=True):
    """A C++ function's or type's name: scope::last<arguments>."""

    scope: tuple[str, ...]
    """Components before the last, with their own template arguments."""
    last: str
    arguments: tuple[str, ...]
    """Template arguments, each as it is written."""

    @property
    def function(self) -> str:
        """Of a lambda the function that it stands in, of all else the last component; without template arguments."""
        path = (*self.scope, self.last)
        first = next((place for place, part in enumerate(path) if part.startswith("{lambda")), len(path))
        return path[max(first - 1, 0)].partition("<")[0]

    def argument(self, place: int) -> str:
        """A template argument by its place; empty where there are fewer."""
        return self.arguments[place] if place < len(self.arguments) else ""


_MARK = Regex(r"::|[<>(){}\[\], ]")
_FUNCTION = Regex(r"&\((?:[\w:]+ )?([\w:]+(?:<[^()<>]*>)?)\([^()]*\)\)")
"""A function among the arguments, as GNU has it: &(c10::Half vllm::silu_kernel<c10::Half>(c10::Half const&))"""
_POINTER = Regex(r"(?:\([^()]*\(\*\)\([^()]*\)\))?\((&[\w:]+(?:<[^()<>]*>)?)\)")
"""The same in brackets, or cast to a type: (c10::Half (*)(c10::Half const&))(&vllm::silu_kernel<c10::Half>)"""
_OPEN, _CLOSE = frozenset("<([{"), frozenset(">)]}")


def canonical(name: str) -> str:
    """The name as all instruments could write it, demangled, without parameters."""
    text = _POINTER.sub(r"\1", _FUNCTION.sub(r"&\1", demangled(name) or name[:LOOKED_AT]))
    return spelling(text).replace("{anonymous}::", "")


@lru_cache(maxsize=1 << 14)
def taken_apart(text: str) -> Name:
    """A canonical name, or an argument of one. Whatever is cut off or no name at all gets some last component."""
    parts: list[str] = []
    arguments: list[str] = []
    depth, begin, inner, end_of_last = 0, 0, 0, -1
    for match in _MARK.finditer(text):
        mark, place = match[0], match.start()
        if mark in _OPEN:
            if not depth:
                inner, arguments = place + 1, []
                if mark == "<":
                    end_of_last = place
            depth += 1
        elif mark in _CLOSE:
            depth = max(depth - 1, 0)
            if not depth and mark == ">" and inner <= place:
                arguments.append(text[inner:place])
        elif depth == 1 and mark == ",":
            arguments.append(text[inner:place])
            inner = match.end()
        elif not depth and mark == "::":
            parts.append(text[begin:place])
            begin, arguments, end_of_last = match.end(), [], -1
        elif not depth and mark == " " and not text.startswith("operator", begin):
            parts, begin, arguments, end_of_last = [], match.end(), [], -1  # a return type
    last = text[begin:end_of_last] if end_of_last >= begin else text[begin:]
    return Name(tuple(part for part in parts if part), last, tuple(filter(None, arguments)) if end_of_last >= 0 else ())


# --- types --------------------------------------------------------------------------------------------------------

_DTYPES = {
    "float": "float", "float2": "float2", "f32": "float", "fp32": "float", "double": "double", "f64": "double",
    "Half": "half", "__half": "half", "half": "half", "half_t": "half", "_Float16": "half", "f16": "half",
    "fp16": "half", "float16": "half", "__half2": "half2", "nv_half": "half",
    "BFloat16": "bf16", "__nv_bfloat16": "bf16", "nv_bfloat16": "bf16", "__hip_bfloat16": "bf16", "hip_bfloat16": "bf16",
    "bfloat16_t": "bf16", "bf16": "bf16", "bfloat16": "bf16", "Bfloat16": "bf16", "bf16_t": "bf16", "bhalf_t": "bf16", "__bf16": "bf16",
    "tfloat32_t": "tf32", "tf32": "tf32",
    "Float8_e4m3fn": "e4m3", "Float8_e4m3fnuz": "e4m3", "__nv_fp8_e4m3": "e4m3", "float_e4m3_t": "e4m3", "E4m3": "e4m3",
    "f8e4m3": "e4m3", "e4m3": "e4m3", "Float8_e5m2": "e5m2", "__nv_fp8_e5m2": "e5m2", "float_e5m2_t": "e5m2",
    "f8e5m2": "e5m2", "e5m2": "e5m2", "MxE2m1": "mxfp4", "MxE4m3": "mxfp8", "__nv_fp4_e2m1": "fp4", "E2m1": "fp4", "e2m1": "fp4",
    "int": "int32", "i32": "int32", "int32_t": "int32", "unsigned int": "uint32", "unsigned": "uint32", "u32": "uint32",
    "uint32_t": "uint32", "long": "int64", "long long": "int64", "int64_t": "int64", "i64": "int64",
    "unsigned long": "uint64", "unsigned long long": "uint64", "u64": "uint64", "short": "int16", "i16": "int16",
    "unsigned short": "uint16", "u16": "uint16", "char": "int8", "signed char": "int8", "int8_t": "int8", "i8": "int8",
    "unsigned char": "uint8", "int8": "int8", "s8": "int8", "int4": "int4", "fp8": "fp8", "uint8_t": "uint8", "u8": "uint8", "bool": "bool",
    "complex<float>": "complex64", "complex<double>": "complex128",
}  # fmt: skip
"""As C++ and the libraries write it -> as PyTorch's users say it. 16 bits that are typed as integers stay integers."""
_OPAQUE = Regex(r"^OpaqueType<(\d+)>$")


@lru_cache(maxsize=1 << 12)
def dtype(text: str) -> str:
    """`bf16` of `c10::BFloat16*`, `4-byte` of what is moved without a look; empty for what is no type of elements."""
    bare = text.rstrip("*& ").removeprefix("const ")
    bare = bare.rpartition("::")[2] if "<" not in bare else bare.removeprefix("c10::").removeprefix("at::native::")
    opaque = _OPAQUE.match(bare)
    return f"{opaque[1]}-byte" if opaque else _DTYPES.get(bare, "")


def first_dtype(texts: tuple[str, ...]) -> str:
    """That of the first of these that has one."""
    return next(filter(None, map(dtype, texts)), "")


# --- words --------------------------------------------------------------------------------------------------------

_CAMEL = Regex(r"(?<=[a-z0-9])(?=[A-Z][a-zA-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BITSANDBYTES = Regex(r"^k(?=[A-Z][a-z])")
_SPLIT = Regex(r"[_\s.]+")
_LEFT_OUT = frozenset({"kernel", "kernels", "cuda", "gpu", "impl", "template", "func", "void", "ker", "execute", "kd"})
_SPOKEN = {
    "fwd": "forward", "bwd": "backward", "attn": "attention", "soft max": "softmax", "rmsnorm": "rms norm",
    "layernorm": "layer norm", "bfloat16": "bf16", "fp16": "half", "fp32": "float", "allreduce": "all-reduce",
    "cudakernel": "", "element wise": "elementwise", "top k": "topk", "arg max": "argmax", "ln": "layer norm",
    "k v": "kv", "swi glu": "swiglu", "fmoe": "fused moe", "mem cpy": "memcpy", "mi open": "miopen", "kvcache": "kv cache", "qknorm": "qk norm", "codegen": "", "flash infer": "flashinfer",
}  # fmt: skip
_PHRASES = Regex(r"\b(" + "|".join(sorted(_SPOKEN, key=len, reverse=True)) + r")\b")


def words(identifier: str) -> str:
    """`fused add rms norm` of `fusedAddRMSNormKernel`: in words, without what every kernel's name has."""
    identifier = _BITSANDBYTES.sub("", identifier)
    parts = [part for piece in _SPLIT.split(identifier) for part in _CAMEL.split(piece)]
    kept = [part.lower() for part in parts if part and part.lower() not in _LEFT_OUT]
    return " ".join(_PHRASES.sub(lambda match: _SPOKEN[match[0]], " ".join(kept)).split())


def joined(*parts: str, by: str = " · ") -> str:
    """The parts that there are."""
    return by.join(part for part in parts if part)


def brackets(*parts: str) -> str:
    """` (a, b)` of the parts that there are, each once; nothing of none."""
    text = ", ".join(dict.fromkeys(part for part in parts if part))
    return f" ({text})" if text else ""
