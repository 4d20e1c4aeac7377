"""What a file says of itself: which tool made it, of what, with which versions; and what it can therefore tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from perfkit.schema.provenance import Provenance


class Tool(StrEnum):
    """What made a recording."""

    KINETO = "kineto"
    """torch.profiler's trace files."""
    NSYS = "nsys"
    """Nsight Systems' reports and their exports."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What files of a tool can tell. Whether one does, its columns say."""

    operators: bool
    """Times of operators. Without them the host has ranges and calls, and a file without device work lacks just that
    for which it was recorded."""
    forward_threads: bool
    """On a backward node, which thread ran its forward operation (HostRanges.forward_thread)."""
    operands: bool
    """Shapes, types, strides and values of what operators were called with."""
    geometry: bool
    """Grids, blocks, registers and shared memory of kernels."""
    counters: bool
    """Values over time."""
    memory_events: bool
    """Allocations and frees."""
    is_json: bool
    """It is text, which may have to be mended before it can be read; elsewhere it is ranges that may lack an end."""


_OF_TOOL = {
    Tool.KINETO: Capabilities(
        operators=True,
        forward_threads=True,
        operands=True,
        geometry=True,
        counters=True,
        memory_events=True,
        is_json=True,
    ),
    Tool.NSYS: Capabilities(
        operators=False,  # but for those that emit_nvtx wrote
        forward_threads=False,
        operands=False,
        geometry=True,
        counters=False,
        memory_events=False,
        is_json=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Versions:
    """Of what made the file; empty where it does not say."""

    tool: str = ""
    """Nsight Systems' own; Kineto's files do not say theirs, nor torch's."""
    schema: str = ""
    """The file format's."""
    runtime: str = ""
    """The runtime library's: CUDA's or HIP's, as 12.4."""
    driver: str = ""
    """The newest version of CUDA or HIP that the driver knows."""
    tracer: str = ""
    """The vendor's tracing library: CUPTI's or roctracer's."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device, as the file describes it; None where it does not say."""

    index: int
    name: str
    memory: int | None = None
    """Bytes."""
    multiprocessors: int | None = None
    compute_major: int | None = None
    compute_minor: int | None = None
    """CUDA's compute capability; of AMD devices, the first two numbers of the gfx version."""


@dataclass(frozen=True, slots=True)
class OwnNotes:
    """What perfkit's recorder noted in the file."""

    modules: dict[str, str] = field(default_factory=dict)
    """The model's tree, module path -> class, in the order of `named_modules()`; empty where it was not noted."""
    provenance: Provenance | None = None
    """The origin of compiled kernels, of a run that was asked for it."""


@dataclass(frozen=True, slots=True)
class WholeGraphs:
    """Launches of CUDA graphs that nsys recorded without their kernels, which are in no column then."""

    count: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file says of itself. All of it is checked where it is read: what has the wrong type was not said."""

    tool: Tool
    versions: Versions = Versions()
    devices: tuple[Device, ...] = ()
    rank: int | None = None
    world_size: int | None = None
    options: tuple[str, ...] = ()
    """What the profiler was asked to record besides times, in torch.profiler's words: record_shapes, with_stack, ..."""
    own: OwnNotes | None = None
    """None for a recording that perfkit did not make."""
    log: tuple[str, ...] = ()
    """Lines of the profiler's own log."""
    whole_graphs: WholeGraphs | None = None
    newer_report: str = ""
    """A report beside an export that is newer, and may be what the export was made of; empty where there is none."""

    @property
    def capabilities(self) -> Capabilities:
        """What such a file can tell."""
        return _OF_TOOL[self.tool]
