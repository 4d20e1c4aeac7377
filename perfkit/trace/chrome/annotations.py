"""The annotation of a node of a CUDA graph, as PyTorch's tools write it into the args of its events.

`torch.cuda.graph_annotations.mark_kernels` takes a dictionary or a string, and a tool writes each member into the args:
that of torch 2.13 calls a string `str`, that of 2.14 `name`; what is no dictionary is `annotation`. Compilers annotate
with the qualified name of the module, `module_fqn`. The exporter of torch.profiler's own CUPTI monitor writes a list of
dictionaries as JSON into `annotation`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perfkit.trace.chrome.events import DECODE_ERRORS, Args, Number

_OF_MODULES = ("module_fqn", "fqn")
_OF_REGIONS = ("name", "str")
"""Members in a dictionary of annotations, the most telling first."""


def annotation(args: Args, *, in_graph: bool) -> str | None:
    """The scope that an event was annotated with; None for none. `name` and `str` count for graph nodes only."""
    said: dict[str, Any] = {"module_fqn": args.module_fqn, "fqn": args.fqn}
    said |= {"name": args.name, "str": args.text} if in_graph else {}
    listed = _listed(args.annotation)
    said |= listed
    plain = args.annotation if not listed else None
    values = (*(said.get(key) for key in _OF_MODULES), plain, *(said.get(key) for key in _OF_REGIONS))
    return next((str(value) for value in values if value not in (None, "")), None)


def _listed(text: Number) -> dict[str, Any]:
    """The members of the dictionaries in a JSON list, later ones first; empty for any other text."""
    if not isinstance(text, str) or text[:1] not in "[{":
        return {}
    try:
        decoded = msgspec.json.decode(text)
    except DECODE_ERRORS:
        return {}
    found = decoded if isinstance(decoded, list) else [decoded]
    return {key: value for one in found if isinstance(one, dict) for key, value in one.items()}
