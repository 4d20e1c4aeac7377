"""What a copy by the driver moves, and between which memories, by its name: `Memcpy HtoD (Pageable -> Device)`.

CUPTI and roctracer give the kind of copy as a code (`HtoD`; A is a CUDA array, P a peer device) and the memory at both
ends. Kineto and perfkit's reader of nsys exports write them into the name.
"""

from __future__ import annotations

from functools import cache

from perfkit.analysis.kernels.kinds import COPY, DEVICE_TO_DEVICE, DEVICE_TO_HOST, HOST_TO_DEVICE
from perfkit.regex import Regex

_CODE = Regex(r"(?<![A-Za-z])([HDAP])to([HDAP])(?![A-Za-z])|(Host|Device)To(Host|Device)")
_ENDS = Regex(r"\(([A-Za-z ]{1,40}) -> ([A-Za-z ]{1,40})\)")
_HOST_MEMORY = ("host", "pageable", "pinned")
_OF_ENDS = {
    (True, False): HOST_TO_DEVICE,
    (False, True): DEVICE_TO_HOST,
    (False, False): DEVICE_TO_DEVICE,
    (True, True): COPY,
}
"""(from the host, to the host) -> category."""


@cache
def direction(name: str) -> str:
    """The category of a copy: host to device, device to host, device to device, or copy."""
    code = _CODE.search(name)
    if code:
        source, target = (end[0] == "H" for end in code.groups() if end)
        return _OF_ENDS[source, target]
    ends = _ENDS.search(name)
    if ends is None or "unknown" in ends[0].lower():
        return COPY
    source, target = (end.lower() in _HOST_MEMORY for end in ends.groups())
    return _OF_ENDS[source, target]


@cache
def host_memory(name: str) -> str | None:
    """`pageable` or `pinned`, where the name tells which memory of the host a copy reads or writes."""
    ends = _ENDS.search(name)
    told = [end.lower() for end in ends.groups() if end.lower() in ("pageable", "pinned")] if ends else []
    return told[0] if told else None
