"""Names that are no C++ signature: collectives, copies and sets, kernels of the vendors' own."""

from __future__ import annotations

import re
from collections.abc import Callable

from perfkit.analysis.kernels.short_names import attention, gemms
from perfkit.analysis.kernels.short_names.forms import Form, dtype, joined, words
from perfkit.regex import Regex

_Match = re.Match[str]

_COLLECTIVES = {"AllReduce": "all-reduce", "AllGather": "all-gather", "AllGatherV": "all-gather v", "ReduceScatter": "reduce-scatter", "Broadcast": "broadcast",
                "Reduce": "reduce", "SendRecv": "send/recv", "AllToAll": "all-to-all", "AllToAllPivot": "all-to-all pivot", "Generic": "generic"}  # fmt: skip
_REDUCING = ("AllReduce", "ReduceScatter", "Reduce")
_OPERATIONS = {
    "sum": "sum",
    "prod": "prod",
    "min": "min",
    "max": "max",
    "minmax": "min/max",
    "premulsum": "premul sum",
    "sumpostdiv": "avg",
}
_ALGORITHMS = ("ring", "tree", "nvls", "collnet", "direct", "chain", "pat", "nvlstree")
_PROTOCOLS = {"ll": "LL", "ll128": "LL128", "simple": "simple"}


def nccl(match: _Match) -> Form:
    """nccl all-reduce sum float ring LL; type and operation where data is reduced: all else moves bytes."""
    library, collective, rest = match[1].lower(), match[2], match[3]
    tokens = [token for token in rest.split("_") if token]
    reducing = collective in _REDUCING
    operation = (
        next((_OPERATIONS[token.lower()] for token in tokens if token.lower() in _OPERATIONS), "") if reducing else ""
    )
    kind = next(filter(None, (dtype(token) for token in _types(rest))), "") if reducing else ""
    how = [token.lower() for token in tokens if token.lower() in _ALGORITHMS]
    protocol = next((_PROTOCOLS[token.lower()] for token in tokens if token.lower() in _PROTOCOLS), "")
    text = joined(library, _COLLECTIVES.get(collective, words(collective)), operation, kind, *how, protocol, by=" ")
    return Form(text, tuple(rest.split("_")))


def _types(rest: str) -> list[str]:
    return [rest.rpartition(f"_{end}")[1][1:] for end in ("__nv_bfloat16", "hip_bfloat16", "rccl_bfloat16", "uint8_t", "int8_t", "uint32_t", "int32_t", "uint64_t", "int64_t")
            if rest.endswith(f"_{end}")] + rest.split("_")  # fmt: skip


_MEMORY = {"h": "host", "d": "device", "p": "peer", "a": "array", "m": "host", "s": "shared"}


def copy(match: _Match) -> Form:
    """copy host (pageable) to device, of `Memcpy HtoD (Pageable -> Device)`"""
    source, target = match["code"][0].lower(), match["code"][-1].lower()
    ends = re.search(r"\(\s*([\w ]+?)\s*-> ?([\w ]+?)\s*\)", match[0])
    sides = [_MEMORY[source], _MEMORY[target]]
    for place, memory in enumerate(ends.groups() if ends else ()):
        kind = memory.lower()
        if kind not in (sides[place], "memory", "unknown") and kind in (
            "pageable",
            "pinned",
            "managed",
            "array",
            "unified",
            "host",
            "device",
        ):
            sides[place] += f" ({kind})" if kind != "device" else ""
    return Form(f"copy {sides[0]} to {sides[1]}")


def long_copy(match: _Match) -> Form:
    """copy host to device, of roctracer's CopyHostToDevice"""
    return Form(f"copy {match[1].lower()} to {match[2].lower()}")


def memset(match: _Match) -> Form:
    """set device memory"""
    where = re.search(r"\(\s*([\w ]+?)\s*\)", match[0])
    return Form(f"set {where[1].lower()} memory" if where else "set memory")


def miopen_transpose(match: _Match) -> Form:
    """transpose 16x32 · half (miopen)"""
    return Form(joined(f"transpose {match[1]}", f"{dtype(match[2]) or match[2]} (miopen)"))


def layout_change(match: _Match) -> Form:
    """transpose cnhw to nchw (miopen)"""
    return Form(f"transpose {match[1].lower()} to {match[2].lower()} (miopen)", tuple(match[3].strip("_").split("_")))


def rocclr(match: _Match) -> Form:
    """copy buffer (rocclr)"""
    return Form(f"{words(match[1])} (rocclr)")


def pooling(match: _Match) -> Form:
    """max pooling nhwc (trt)"""
    kind = "max" if "max" in match[1].lower() else "average" if "Average" in match[1] else ""
    way = "backward" if "_bw_" in match[1] else ""
    layout = re.search(r"N[A-Z]{3,4}", match[1])
    rest = tuple(re.sub(r"_execute_kernel|_trt$", "", match[1]).split("_"))
    return Form(joined(kind, "pooling", way, layout[0].lower() if layout else "", "(trt)", by=" "), rest)


def cute(match: _Match) -> Form | None:
    """CuTe's Python DSL: kernel_cutlass_<function>_<module><class>_object_at__<arguments>"""
    found = re.findall(r"[A-Z]\w*", match[1])
    stem = found[0] if found else match[1]
    kind = re.search(r"tensorptr(bf16|f16|f32|f8\w\dm\d|e\dm\d)", match[0])
    return Form(joined(words(stem), dtype(kind[1]) if kind else "", "cute dsl"), tuple(match[2].strip("_").split("_")))


def myelin(match: _Match) -> Form:
    """fc + add (trt myelin): what it fuses"""
    return Form(f"{words(match[1]).replace(' ', ' + ')} (trt myelin)")


RULES: tuple[tuple[Regex[str], Callable[[_Match], Form | None]], ...] = (
    *gemms.RULES,
    *attention.PLAIN,
    (Regex(r"^(nccl|rccl|msccl)(?:Sym|Symk)?(?:Dev)?Kernel(?:Debug)?_([A-Za-z]+)((?:_\w+)?)$"), nccl),
    (Regex(r"^(?:Memcpy |zeCommandListAppendMemoryCopy\w*\()(?P<code>[HDPAMS](?:to|2)[HDPAMS])\b.*$"), copy),
    (Regex(r"^Copy(Host|Device)To(Host|Device)"), long_copy),
    (Regex(r"^Memset\b.*$"), memset),
    (Regex(r"^batched_transpose_(\d+x\d+)_(\w+)$"), miopen_transpose),
    (Regex(r"^transpose_(NCHW|CNHW|NHWC)2(NCHW|CNHW|NHWC)(\w*)$"), layout_change),
    (Regex(r"^__amd_rocclr_(\w+?)(?:\.kd)?$"), rocclr),
    (Regex(r"^sm\d+_xmma_pooling_(\w+)$"), pooling),
    (Regex(r"^_{0,2}kernel_cutlass_(?:kernel_)?(\w+?)_{1,2}object_at_(\w*)$"), cute),
    (Regex(r"^__myl_(\w+?)_0x\w+$"), myelin),
)  # fmt: skip
"""Patterns of a whole name, and what makes a form of what they find."""
