"""Attention: FlashAttention 2 and 3, memory-efficient attention, cuDNN's, paged attention."""

from __future__ import annotations

import re

from perfkit.analysis.kernels.short_names.forms import Form, Name, dtype, first_dtype, joined, taken_apart
from perfkit.regex import Regex

_FLAGS = {
    7: ("dropout", "causal", "local", "alibi", "even MN", "even K", "returns softmax"),
    8: ("dropout", "causal", "local", "alibi", "even MN", "even K", "softcap", "returns softmax"),
}
"""Template flags of flash_fwd_kernel behind its traits (csrc/flash_attn/src/flash_fwd_kernel.h), by their number."""
_SPLIT_FLAGS = ("causal", "local", "alibi", "even MN", "even K", "softcap", "split", "appends kv")
_PARTS = {
    "dot_do_o": "dot do o", "convert_dq": "convert dq", "convert_dkv": "convert dkv", "splitkv_combine": "combine",
    "splitkv": "split-kv", "clear_dkvaccum": "clear dkv", "combine": "combine", "preprocess": "preprocess",
}  # fmt: skip


def flash(name: Name) -> Form:
    """flash attention forward d=64 bf16 causal"""
    traits = taken_apart(next((text for text in name.arguments if "raits" in text), name.argument(0)))
    what = "backward" if "bwd" in name.last else "forward"
    part = next((text for key, text in _PARTS.items() if key in name.last), "")
    head = f"d={traits.argument(0)}" if traits.argument(0).isdigit() else ""
    flags = [text for text in name.arguments[1:] if text in ("true", "false")]
    named = _SPLIT_FLAGS if part == "split-kv" else _FLAGS.get(len(flags), ("dropout", "causal")) if not part else ()
    given = [flag for flag, value in zip(named, flags, strict=False) if value == "true"]
    causal = "causal" if "causal" in given else ""
    tile = "x".join(text for text in traits.arguments[1:3] if text.isdigit())
    text = joined("flash attention", what, part, head, first_dtype(traits.arguments), causal, by=" ")
    return Form(text, (tile, *(flag for flag in given if flag != "causal")))


def flash3(name: Name) -> Form | None:
    """FlashAttention 3, which is CUTLASS's device_kernel of a class: flash::FlashAttnFwdSm90<CollectiveMainloopFwdSm90<...>>."""
    text = ",".join(name.arguments)
    found = re.search(r"Flash(Attn|Attention)?(Fwd|Bwd)(\w*?)(Sm\d+)?(?=<|,|>|$)", text)
    if not found:
        return None
    what = "forward" if found[2] == "Fwd" else "backward"
    tile = re.search(r"cute::tuple<(?:cute::)?C<(\d\d+)>,(?:cute::)?C<(\d\d+)>,(?:cute::)?C<(\d\d+)>>", text)
    kind = next((dtype(word) for word in re.findall(r"cutlass::\w+", text) if dtype(word)), "")
    part = "" if not found[3] else re.sub(r"([a-z])([A-Z])", r"\1 \2", found[3]).lower()
    size = (f"{tile[1]}x{tile[2]}",) if tile else ()
    return Form(joined("flash attention 3", what, part, f"d={tile[3]}" if tile else "", kind, by=" "), size)


def efficient(match: re.Match[str]) -> Form:
    """xFormers and PyTorch's copy: fmha_cutlassF_bf16_aligned_64x64_rf_sm80"""
    what = "forward" if match[1] == "F" else "backward"
    return Form(
        joined("mem-efficient attention", what, match["tile"], dtype(match[2]), by=" "),
        tuple(match["rest"].strip("_").split("_")),
    )


def efficient_class(name: Name) -> Form:
    """The same by its class: AttentionKernel<cutlass::half_t, cutlass::arch::Sm80, true, 64, 64, 64, true, true>"""
    inner = taken_apart(name.argument(0))
    what = "backward" if "Backward" in inner.last or "backward" in name.last else "forward"
    numbers = [text for text in inner.arguments if text.isdigit()]
    return Form(joined("mem-efficient attention", what, "x".join(numbers[:2]), first_dtype(inner.arguments), by=" "))


def fmha_v2(match: re.Match[str]) -> Form:
    """TensorRT-LLM: fmha_v2_flash_attention_bf16_64_128_S_q_paged_kv_128_causal_sm90_kernel_tma_nl: type, tile, heads."""
    kind, tile, head, rest = dtype(match[1]), f"{match[2]}x{match[3]}", f"d={match['head']}", match["rest"].split("_")
    said = ["paged"] * ("paged" in match["layout"]) + ["causal"] * ("causal" in rest)
    return Form(
        joined("flash attention forward", head, kind, *said, tile, "(trtllm)", by=" "), (match["layout"], *rest)
    )


def trtllm(match: re.Match[str]) -> Form:
    """trtllm-gen: fmhaSm100fKernel_QkvBfloat16OBfloat16H128PagedKvCausalP64; of HQk576HV512 both widths of a head."""
    kind = re.match(r"Qk?v?(E\dm\d|[A-Z][a-z]+\d+)", match[1])
    wide = re.search(r"H(?:Qk(\d+)HV)?(\d+)", match[1])
    head = f"d={'/'.join(filter(None, wide.groups()))}" if wide else ""
    said = [
        word
        for word, shown in (("paged", "PagedKv"), ("causal", "Causal"), ("generation", "ForGen"))
        if shown in match[1]
    ]
    rest = tuple(re.findall(r"[A-Z][a-z]+(?:[A-Z](?![a-z]))*\d*", match[1]))
    return Form(
        joined("flash attention forward", head, dtype(kind[1]) if kind else "", *said, "(trtllm)", by=" "), rest
    )


def cudnn(match: re.Match[str]) -> Form:
    """cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x64x128"""
    what = "backward" if "bprop" in match[0] else "forward"
    tile = re.search(r"_(\d+x\d+x\d+)", match[0])
    tail = match[0][tile.end() :].strip("_").split("_") if tile else ()
    return Form(joined("flash attention", what, tile[1] if tile else "", "(cudnn)", by=" "), tuple(tail))


def paged(name: Name) -> Form:
    """paged attention v1 d=128 bf16: vLLM's arguments are types, head size, block size, threads."""
    version = re.search(r"v\d(_reduce)?", name.last)
    numbers = [text for text in name.arguments if text.isdigit()]
    head = f"d={numbers[0]}" if numbers else ""
    return Form(
        joined(
            "paged attention",
            version[0].replace("_", " ") if version else "",
            head,
            first_dtype(name.arguments),
            by=" ",
        )
    )


RULES = (
    (Regex(r"^flash_(fwd|bwd)_(?!mla)\w*kernel$|^flash_fwd_kernel"), flash),
    (Regex(r"^device_kernel$"), flash3),
    (Regex(r"^attention_kernel(_backward)?_batched(_impl)?$"), efficient_class),
    (Regex(r"^paged_attention_v\d(_reduce)?_kernel$"), paged),
)
PLAIN = (
    (Regex(r"^fmha_cutlass([FB])_([a-z]+\d+)_(?:aligned|notaligned)_(?P<tile>\d+x\d+)(?P<rest>\w*)$"), efficient),
    (
        Regex(
            r"^fmha_v2_flash_attention_([a-z]+\d\w*?)_(\d+)_(\d+)_S_(?P<layout>[a-z_]*[a-z])_(?P<head>\d+)_(?P<rest>\w+)$"
        ),
        fmha_v2,
    ),
    (Regex(r"^fmhaSm\d+\w?Kernel_(Q\w+)$"), trtllm),
    (Regex(r"^cudnn_generated_\w*sdpa\w*$"), cudnn),
)
