"""C++ kernels of vendors' libraries: cuBLAS, cuDNN, CUTLASS, CUB, rocPRIM, Composable Kernel."""

from __future__ import annotations

import re

from perfkit.analysis.kernels.short_names import attention, gemms
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

_LIBRARY = Regex(r"cublas|cudnn|cask")


# --- cuBLAS --------------------------------------------------------------------------------------------------------


def gemv(name: Name) -> Form | None:
    """gemv half (cublas)"""
    types = [text for text in map(dtype, name.arguments) if text and not text.startswith("int")]
    if name.last == "kernel" and "gemvx" not in name.scope:
        return None
    what = (
        "gemvx"
        if name.last == "kernel"
        else words(re.sub(r"(gemm|gemv|dot|Gemm)(?=[A-Z0-9k])", r"\1 ", name.last))
        .replace("k1", "k=1")
        .replace(" sn ", " small n ")
    )
    what = re.sub(r"gemv 2t\b", "gemv t", what).replace("gemv 2n", "gemv n").replace(" val", "")
    return Form(joined(what, types[0] if types else "", "(cublas)", by=" "))


def split_k(name: Name) -> Form:
    """split-k reduce float (cublas)"""
    types = [text for text in map(dtype, name.arguments) if text and text != "int32"]
    return Form(joined("split-k reduce", *dict.fromkeys(types[1:2] + types[-1:]), "(cublas)", by=" "))


def epilogue(name: Name) -> Form:
    """gemm epilogue float (cublas)"""
    return Form(joined("gemm epilogue", first_dtype(name.arguments), "(cublas)", by=" "))


def scale(name: Name) -> Form:
    """scale float (cublas)"""
    return Form(joined("scale", first_dtype(name.arguments), "(cublas)", by=" "))


# --- CUTLASS -------------------------------------------------------------------------------------------------------

_CUTLASS_KERNELS = {"GemmUniversal": "gemm", "GemmGrouped": "grouped gemm", "GroupProblemShape": "grouped gemm", "Gemm": "gemm", "GemmWithAbsMax": "gemm",
                    "ImplicitGemmConvolution": "conv", "ConvUniversal": "conv", "ReduceSplitK": "split-k reduce", "GemvBatchedStrided": "gemv",
                    "DefaultGemmGrouped": "grouped gemm", "GemmSplitKParallel": "gemm split-k", "MoeFCGemm": "moe gemm"}  # fmt: skip


def cutlass(name: Name) -> Form | None:
    """A kernel by the class that it runs: its settings as one word (CUTLASS 2 in cuBLAS), or types (CUTLASS 3)."""
    inner = name.argument(0)
    plain = taken_apart(inner)
    for pattern, form in gemms.RULES:
        if not plain.arguments and (match := pattern.match(plain.last)):
            found = form(match)
            vendor = "cudnn" if _LIBRARY.search("".join(name.scope)) else "cutlass"
            return Form(re.sub(r"\((\w+)\)$", f"({vendor})", found.text), found.details)
    what = next((said for word, said in _CUTLASS_KERNELS.items() if f"{word}<" in inner), "")
    if not what:
        return None
    text = ",".join(name.arguments)
    if "GroupProblemShape<" in text and what == "gemm":
        what = "grouped gemm"
    if what == "conv":
        what = {"Dgrad": "conv backward data", "Wgrad": "conv backward weight"}.get(
            next(iter(re.findall(r"Dgrad|Wgrad", text)), ""), "conv forward"
        )
    tile = re.search(r"gemm::GemmShape<(\d+),(\d+),(\d+)>", text)
    tile = tile or re.search(
        r"tuple<(?:cute::)?C<(\d+)>,(?:cute::)?C<(\d+)>,(?:cute::)?(?:tuple<(?:cute::)?)?C<(\d+)>",
        text.partition("MainloopSm")[2].partition(">,")[2],
    )
    tile = tile or re.search(r"tuple<(?:cute::)?C<(\d\d+)>,(?:cute::)?C<(\d\d*)>,(?:cute::)?C<(\d\d+)>", text)
    kinds = [
        dtype(word)
        for word in re.findall(r"(?<![\w:])(?:cutlass\w*::)?([\w]+_t|float|double|half)\b(?!<)", text)
        if dtype(word)
    ]
    narrow = [kind for kind in kinds if not re.match(r"u?int|float|bool", kind)]
    kind = (narrow or [kind for kind in kinds if kind == "float"] or [""])[0]
    shape = "x".join(tile.groups()) if tile else ""
    how = next((word for word in ("Cooperative", "Pingpong") if word in text), "").lower()
    vendor = "cudnn" if _LIBRARY.search("".join(name.scope)) else "cutlass"
    if what == "split-k reduce":
        return Form(joined(what, kind, f"({vendor})", by=" "))
    return Form(joined(what, shape, kind, f"({vendor})", by=" "), (how,) if how else ())


# --- cuDNN ---------------------------------------------------------------------------------------------------------


def cudnn_norm(name: Name) -> Form:
    """batch norm forward, training (float, 512; cudnn)"""
    way = "backward" if "_bw" in name.last else "forward, inference" if "_inf" in name.last else "forward, training"
    how = "single read" if "singleread" in name.last else ""
    size = next((text for text in name.arguments if text.isdigit() and len(text) > 1), "")
    return Form(f"batch norm {way}" + brackets(first_dtype(name.arguments), size, how, "cudnn"))


_CONV_WORDS = (
    (r"^implicit_convolve", "conv forward, implicit gemm"), (r"^explicit_convolve", "conv forward, explicit gemm"),
    (r"^fft\dd_(r2c|c2r)_(\d+x\d+)", r"conv fft \1 \2"), (r"^wgrad_alg(\d)_engine", r"conv backward weight, alg \1"),
    (r"^wgrad2d_\w+", "conv backward weight 2d"), (r"^dgrad(2d)?_(alg\d_)?\w*engine\w*", "conv backward data"), (r"^im2col4d", "conv im2col 4d"),
    (r"^winograd(Forward|Wgrad)(Data|Filter|Output|Delta)(\w+)$", r"conv winograd \1 \2 \3"), (r"^generateWinogradTiles\w*", "conv winograd tiles"),
    (r"^reduce_wgrad_nchw\w*", "conv backward weight reduce"), (r"^compute(B|WgradB|WgradSplitK|)OffsetsKernel(3D)?", r"conv \1 offsets \2"),
    (r"^(nchw|nhwc)To(Nhwc|Nchw)Kernel$", r"\1 to \2"), (r"^scalePackedTensor\w*", "scale packed tensor"), (r"^sgemm_largek\w*", "gemm large k"),
    (r"^conv2d_grouped_direct\w*", "conv forward, grouped direct"), (r"^op_(generic_)?tensor\w*", r"tensor op"),
)  # fmt: skip


def cudnn(name: Name) -> Form:
    """conv backward weight, alg 0 float (cudnn)"""
    what = next(match.expand(text) for pattern, text in _CONV_WORDS if (match := re.match(pattern, name.last)))
    what = " ".join(what.replace("WgradSplitK", "wgrad split-k").replace("WgradB", "wgrad B").split())
    what = what if " B " in what else what.lower()
    types = [text for text in dict.fromkeys(map(dtype, name.arguments)) if text and text != "bool"]
    vendor = "cublas" if name.last.startswith("sgemm") else "cudnn"
    numbers = tuple(text for text in name.arguments if text.lstrip("-").isdigit())
    return Form(
        joined(what, types[0] if types else "", f"({vendor})", by=" "), (f"<{','.join(numbers)}>",) if numbers else ()
    )


# --- CUB, rocPRIM, Thrust ----------------------------------------------------------------------------------------------


def cub(name: Name) -> Form:
    """radix sort onesweep (int64, float; cub)"""
    what = words(name.last).removeprefix("device ")
    text = ",".join(name.arguments)
    types = [
        found
        for word in re.findall(r"(?:unsigned )?(?<![\w:])(?:float|double|int|long|char|bool)\b|c10::\w+", text)[:3]
        if (found := dtype(word))
    ]
    operation = next(
        iter(
            re.findall(
                r"(?:std::|cub::|cuda::std::)(plus|multiplies|Sum|Max|Min|ArgMax|ArgMin|minimum|maximum)\b", text
            )
        ),
        "",
    ).lower()
    return Form(what + brackets(*types[:2], {"plus": "sum"}.get(operation, operation), "cub"))


def rocprim(name: Name) -> Form | None:
    """scan (int64; rocprim): what the trampoline jumps to"""
    text = ",".join(name.arguments)
    found = re.search(r"(?:wrapped_)?(\w+?)_config(?:_\w+)?<|detail::(\w+?)_impl", text)
    if not found:
        return None
    types = [
        kind
        for word in re.findall(r"(?<![\w:])(?:float|double|int|long|char|bool)\b|c10::\w+", text)[:2]
        if (kind := dtype(word))
    ]
    return Form(words(found[1] or found[2]).removeprefix("wrapped ") + brackets(*types, "rocprim"))


def thrust(name: Name) -> Form | None:
    """parallel for (thrust)"""
    found = re.search(r"__(\w+?)::(\w+?)Agent", ",".join(name.arguments))
    return Form(words(found[2]) + " (thrust)") if found else None


# --- Composable Kernel ---------------------------------------------------------------------------------------------------

_CK_WORDS = {
    "conv_forward": "conv forward", "conv_backward_data": "conv backward data", "bwd_weight": "conv backward weight", "bwd_data": "conv backward data",
    "conv_fwd": "conv forward", "moe_gemm": "moe gemm", "batched_gemm": "batched gemm", "gemm": "gemm",
}  # fmt: skip
_CK_TILE = Regex(r"(?:GemmSpecialization\)?\d,|,)(?:\d,)?(?:64|128|256|512),(\d+),(\d+),(\d+),\d")


def ck(name: Name) -> Form | None:
    """moe gemm 32x64x64 bf16 (ck): block size and tile are the first such numbers; 16 bits of bf16 are an unsigned short."""
    what = next((said for word, said in _CK_WORDS.items() if word in name.last), "")
    if not what:
        return None
    what = f"grouped {what}" if "grouped" in name.last else what
    inner = name.argument(0)
    own = taken_apart(inner)
    plain = ",".join(text for text in own.arguments if "<" not in text and ">" not in text)
    plain = re.sub(r"(?:ck::)?[\w:]*(?:PassThrough|Major|Cast\w*)\b", "", plain)
    block = re.search(r"BlockToCTileMap_\w+?<(\d+),(\d+)", ",".join(name.arguments))
    tile = _CK_TILE.search(f",{plain},")
    by_map = block if "bk0mk1" in own.last else None  # its depth comes in two factors
    size = "x".join(by_map.groups() if by_map else tile.groups() if tile and int(tile[1]) >= 8 else ())
    types = [text for text in map(dtype, own.arguments) if text]
    kind = "bf16" if "uint16" in types else next((text for text in types if not text.startswith("int")), "")
    return Form(joined(what, size, kind, "(ck)", by=" "))


def ck_tile(name: Name) -> Form | None:
    """moe sorting (ck tile): the class that kentry runs"""
    inner = next(
        (taken_apart(text) for text in name.arguments if re.search(r"[A-Za-z]\w*(Kernel|Pipeline)\b", text)), None
    )
    if inner is None:
        return None
    what = words(inner.last).replace("fmha", "flash attention")
    kind = next(
        (
            dtype(word)
            for word in re.findall(
                r"_Float16|__hip_bfloat16|bfloat16_t|bf16_t|unsigned short|float", ",".join(inner.arguments)
            )
        ),
        "",
    )
    kind = "bf16" if kind == "uint16" else kind  # as CK's own bf16
    return Form(joined(what, kind, "(ck tile)", by=" "))


RULES = (
    (Regex(r"^(kernel|gemv\w*|gemvNSP_kernel|gemmk1_kernel|gemmSN_\w+|dot_kernel|reduce_1Block_kernel)$"), gemv),
    (Regex(r"^splitKreduce_kernel$"), split_k),
    (Regex(r"^globalKernel$"), epilogue),
    (Regex(r"^scal_kernel"), scale),
    *attention.RULES,
    (Regex(r"^(Kernel2?|device_kernel|Kernel3)$"), cutlass),
    (Regex(r"^bn_(fw|bw)_"), cudnn_norm),
    (Regex("|".join(pattern for pattern, _ in _CONV_WORDS)), cudnn),
    (
        Regex(r"^Device(RadixSort|Scan|Reduce|Select|Compact|Segmented|Merge|Partition|Histogram|RunLength)\w*Kernel$"),
        cub,
    ),
    (Regex(r"^trampoline_kernel"), rocprim),
    (Regex(r"^_kernel_agent$"), thrust),
    (Regex(r"^kernel_\w*(gemm|conv)\w*$"), ck),
    (Regex(r"^kentry$"), ck_tile),
)
"""Patterns of a function's own name, and what makes a form of it; None is no form."""
