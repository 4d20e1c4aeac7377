"""Matrix multiplications and convolutions whose names are their settings: cuBLAS, cuDNN, CUTLASS, Tensile, MIOpen, trtllm-gen.

`gemm 128x128x32 bf16 tn (cublas)`: the tile, with its depth where the name has it, the type of the elements, and for
each of A and B whether it is transposed. What else a name says are details.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

from perfkit.analysis.kernels.short_names.forms import Form, dtype, joined
from perfkit.regex import Regex

_Match = re.Match[str]

_WORD = Regex(r"[^_]+")
_INSTRUCTION = Regex(r"^([a-z]*?)(\d*x?\d*x?\d*)(gemm|dgrad|wgrad|fprop|conv)$")
_OF_LETTER = {
    "s": "float",
    "d": "double",
    "h": "half",
    "c": "complex64",
    "z": "complex128",
    "gc": "complex64",
    "gz": "complex128",
    "i": "int8",
}
_CONVOLUTIONS = {"fprop": "conv forward", "dgrad": "conv backward data", "wgrad": "conv backward weight", "scudnn": "conv forward",
                 "cudnn": "conv forward", "fwd": "conv forward", "bwd": "conv backward data", "wrw": "conv backward weight"}  # fmt: skip
_PLAIN = frozenset({
    "kernel", "execute", "n", "v1", "cublas", "cudnn", "trt", "5x", "ampere", "volta", "turing", "hopper", "maxwell", "pascal",
    "xmma", "cutlass", "tensorop", "simt", "wmma", "infer", "train", "optimized", "gemm", "implicit", "nhwckrsc", "stages", "fprop", "dgrad", "wgrad", "f2f",
})  # fmt: skip
"""Words that every such name has, or that say what the short form says."""


def _form(what: str, tile: str, kind: str, layout: str, vendor: str, *details: str) -> Form:
    return Form(joined(what, tile, kind, layout, f"({vendor})", by=" "), details)


# --- NVIDIA --------------------------------------------------------------------------------------------------------


_TYPE = r"(?:tf|bf|f|e\dm|s|u|i)\d+"
_LOOKS = (
    ("instruction", _INSTRUCTION),
    ("cudnn", Regex(r"^[a-z0-9]+cudnn$")),
    ("size", Regex(r"^\d+x\d+(x\d+)?$")),
    ("tile", Regex(r"^tilesize(.+)$")),
    ("layout", Regex(r"^([tn]{2,3}|n[cd]*hwc?|nd?hwc|ncd?hw)$")),
    (
        "type",
        Regex(rf"^(?:{'|'.join(('half', 'bf16', 'fp16', 'fp32', 'fp8', 'int8', 'tf32'))}|({_TYPE})(?:{_TYPE})*)$"),
    ),
    ("special", Regex(r"^(winograd|3dconv)$")),
    ("align", Regex(r"^align(\d+)$")),
    ("stage", Regex(r"^stage(\d+)$")),
    ("plain", Regex(rf"^({'|'.join(sorted(_PLAIN))}|(sm)?\d+)$")),
)
"""What a word is, by its looks: the first that matches; any other is a detail."""


def nvidia(match: _Match) -> Form:
    """cuBLAS's and cuDNN's kernels of before 2022, and CUTLASS's: words in nearly any order, told by their looks."""
    text = match[0]
    found: dict[str, list[str]] = defaultdict(list)
    for token in _WORD.findall(text):
        look = next((look for look, pattern in _LOOKS if pattern.match(token.lower())), "detail")
        found[look].append(token if look == "detail" else token.lower())
    sizes = [*(tile.removeprefix("tilesize") for tile in found["tile"]), *found["size"], "", ""]
    depth, _, stages = sizes[1].partition("x")
    tile = sizes[0] if sizes[0].count("x") == 2 or not depth else f"{sizes[0]}x{depth}"
    stages = (found["stage"] or [stages])[0].removeprefix("stage")
    vendor = next((said for word, said in _VENDORS if word in text), "cublas")
    split = "split-k" if _SPLIT.search(text) else ""
    details = [*(f"align {word.removeprefix('align')}" for word in found["align"]), *found["detail"]]
    return _form(
        _what(text, found), tile, _type(found), joined(*found["layout"][-1:], split, by=" "), vendor,
        f"{stages} stages" if stages else "", *(detail for detail in details if not _SPLIT_WORD.match(detail)),
    )  # fmt: skip


_VENDORS = (("cudnn", "cudnn"), ("trt", "trt"), ("cutlass", "cutlass"))
_SPLIT = Regex(r"split_?[kK]")
_SPLIT_WORD = Regex(r"^(split|k|splitk\w*)$", re.IGNORECASE)


def _what(text: str, found: dict[str, list[str]]) -> str:
    """gemm, or which convolution."""
    named = re.search(r"fprop|dgrad|wgrad", text)
    what = _CONVOLUTIONS[named[0]] if named else "conv forward" if found["cudnn"] else "gemm"
    if "stridedB" in text:
        what = "conv backward data"
    if found["special"] == ["winograd"]:
        what = "conv winograd"
    return what.replace("conv", "conv 3d") if "3dconv" in text else what


def _type(found: dict[str, list[str]]) -> str:
    """Of the elements where the name says it, else of the instruction's letter."""
    for word in found["type"]:
        first = re.match(_TYPE, word)
        return dtype(word) or dtype(first[0] if first else "") or word
    for word in found["instruction"]:
        if (match := _INSTRUCTION.match(word)) and match[1]:
            return _instruction_type(match[1], match[2])
    return _OF_LETTER.get(found["cudnn"][0][0], "") if found["cudnn"] else ""


def _instruction_type(letters: str, shape: str) -> str:
    """Of s1688gemm: its accumulators' letter, and a shape that tells tensor cores, which read fp32 as tf32."""
    kind = _OF_LETTER.get(letters, "")
    return "tf32" if kind == "float" and shape.startswith("1688") else kind


_JET_TYPES = {"h": "half", "t": "bf16", "s": "float", "d": "double", "q": "e4m3", "r": "e5m2", "o": "fp4"}


def nvjet(match: _Match) -> Form:
    """cuBLAS since CUDA 12.8: nvjet_sm90_tst_128x256_64x4_2x1_v_bz_coopA_TNT, of types, tile, depth x stages, cluster."""
    types, tile, depth, stages, rest = match["types"], match["tile"], match["depth"], match["stages"], match["rest"]
    kind = _JET_TYPES.get(types[:1], types)
    tokens = [token for token in rest.split("_") if token]
    layout = next((token.lower() for token in tokens if re.fullmatch(r"[TN]{2,3}", token)), "")
    split = "split-k" if any(token.startswith("splitK") for token in tokens) else ""
    others = [token for token in tokens if not re.fullmatch(r"[TN]{2,3}|splitK", token)]
    return _form(
        "gemm", f"{tile}x{depth}", kind, joined(layout, split, by=" "), "cublas", f"{stages} stages", types, *others
    )


def trtllm(match: _Match) -> Form:
    """trtllm-gen: bmm_Bfloat16_Bfloat16Bfloat16_Fp32_t128x8x128u2_s5, of types C, A and B, accumulator; tile; stages."""
    kind = " x ".join(
        dict.fromkeys(
            dtype(part) or part.lower() for part in re.findall(r"(?:Mx)?[A-Z]\dm\d|(?:Mx)?[A-Z][a-z]+\d*", match["ab"])
        )
    )
    tokens = [token for token in match["rest"].split("_") if token]
    act = next((token.lower() for token in tokens if token.lower() in ("swiglu", "geglu", "relu2")), "")
    return _form(match[1], match["tile"], kind, act, "trtllm", *(token for token in tokens if token.lower() != act))


# --- AMD -----------------------------------------------------------------------------------------------------------

_TENSILE_TYPES = {"B": "bf16", "H": "half", "S": "float", "D": "double", "C": "complex64", "Z": "complex128", "I8": "int8",
                  "F8": "e4m3", "B8": "e5m2", "F8N": "e4m3", "F4": "fp4", "X": "tf32"}  # fmt: skip


def tensile(match: _Match) -> Form:
    """rocBLAS and hipBLASLt: Cijk_Ailk_Bljk_BBS_BH_MT64x32x64; Alik is A transposed, Bjlk is B transposed."""
    layout = ("n" if match["a"].startswith("Ai") else "t") + ("n" if match["b"].startswith("Bl") else "t")
    letters = re.match(r"I8|F8N|F8|B8|F4|[A-Z]", match["types"])
    kind = _TENSILE_TYPES.get(letters[0], match["types"]) if letters else match["types"]
    bias = "bias" if "_Bias" in match[0] else ""
    rest = tuple(match["rest"].split("_"))
    return _form("gemm", match["tile"], kind, layout, "tensile", bias, *rest)


def miopen(match: _Match) -> Form:
    """MIOpen's implicit gemms: igemm_fwd_gtcx3_nhwc_bf16_bx0_ex1_bt128x128x32"""
    return _form(
        _CONVOLUTIONS[match[1]],
        match["tile"],
        dtype(match["kind"]),
        match["layout"],
        "miopen",
        *match["rest"].split("_"),
    )


RULES: tuple[tuple[Regex[str], Callable[[_Match], Form]], ...] = (
    (Regex(r"^nvjet_(?:sm\d+\w?_)?(?P<types>[a-z]+)_(?P<tile>\d+x\d+)_(?P<depth>\d+)x(?P<stages>\d+)_?(?P<rest>.*)$"), nvjet),
    (Regex(r"^(?:Custom_)?Cijk_(?P<a>A\w+?)_(?P<b>B[a-z]+)_(?P<types>[A-Z0-9]+)_(?:.*?_)?MT(?P<tile>\d+x\d+x\d+)_?(?P<rest>.*)$"), tensile),
    (Regex(r"^igemm_(fwd|bwd|wrw)_\w+?_(?P<layout>n[a-z]+)_(?P<kind>[a-z]+\d+)_\w*?bt(?P<tile>\d+x\d+x\d+)_?(?P<rest>.*)$"), miopen),
    (Regex(r"^(bmm|gemm)_(?P<c>[A-Z]\w+?)_(?P<ab>[A-Z]\w+?)_Fp32_t(?P<tile>\d+x\d+x\d+)(?:u\d+)?_?(?P<rest>.*)$"), trtllm),
    (Regex(r"^(?!.*pooling)(?:_5x_cudnn_|cudnn_(?:infer_|train_)?|trt_)?(?:cutlass|sm\d+_xmma|ampere|volta|turing|hopper|maxwell|pascal|kepler)"
                r"\w*?(?:gemm|scudnn|cudnn|fprop|dgrad|wgrad|xmma)\w*$"), nvidia),
)  # fmt: skip
