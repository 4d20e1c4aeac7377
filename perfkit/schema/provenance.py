"""What a run recorded with --experimental-provenance leaves in the trace's metadata: the origin of compiled kernels.

Under the key `provenance` of perfkit's metadata:

    {"graphs": {<key>: {"backward": false, "calls": [{"kernel": "extern_kernels.mm", "modules": ["attn.q_proj"]}]}}}

where <key> is the one in the range `## Call CompiledFxGraph <key> ##` round every run of that graph. Module paths are
relative to the compiled module (the empty path), so that one graph can serve several layers.
"""

from __future__ import annotations

import msgspec

KEY = "provenance"
"""Its place in perfkit's metadata."""


class KernelCall(msgspec.Struct, frozen=True):
    """One kernel call in the code Inductor generated."""

    kernel: str
    """As the generated code calls it: `cpp_fused_mul_0`, `triton_poi_fused_mul_0`, `extern_kernels.mm`."""
    modules: tuple[str, ...]
    """The modules whose operations the kernel does, each once; empty where Inductor cannot tell."""


class CompiledGraph(msgspec.Struct, frozen=True):
    """One compiled FX graph: its kernel calls, in the order of the code."""

    backward: bool
    calls: tuple[KernelCall, ...]


class Provenance(msgspec.Struct):
    """All graphs of a run."""

    graphs: dict[str, CompiledGraph] = msgspec.field(default_factory=dict)
    problem: str = ""
    """Why some graphs, or all, are missing; empty where none is."""


def read(said: object) -> Provenance:
    """Read what a trace has under KEY; `problem` says so where it has another form."""
    try:
        return msgspec.convert(said, Provenance)
    except msgspec.ValidationError as error:
        return Provenance(problem=f"its part of the metadata cannot be read: {error}")
