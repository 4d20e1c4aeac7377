"""What a file says about itself: its tool, its subject, its versions; and so what it can tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from perfkit.schema.provenance import Provenance


class Tool(StrEnum):
    """The tool that made a recording."""

    KINETO = "kineto"
    """torch.profiler's trace files."""
    NSYS = "nsys"
    """Nsight Systems' reports and their exports."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the files of a tool can contain. Whether a given file does, its columns show."""

    operators: bool
    """Times of operators. Without them the host side has only ranges and calls."""
    forward_threads: bool
    """Which thread ran the forward operation of a backward node (HostRanges.forward_thread)."""
    operands: bool
    """Shapes, types, strides and values of the operators' arguments."""
    geometry: bool
    """Grids, blocks, registers and shared memory of kernels."""
    counters: bool
    """Counter values over time."""
    memory_events: bool
    """Allocations and frees."""
    is_json: bool
    """The file is text, which may need repair before it can be read; other files have ranges that may lack an end."""


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
        operators=False,  # except those that emit_nvtx wrote
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
    """Versions of the software behind the file; empty where it does not say."""

    tool: str = ""
    """Nsight Systems' own version; Kineto's files have neither their own version nor torch's."""
    schema: str = ""
    """The version of the file format."""
    runtime: str = ""
    """The version of the runtime library, CUDA or HIP, such as 12.4."""
    driver: str = ""
    """The newest version of CUDA or HIP that the driver knows."""
    tracer: str = ""
    """The version of the vendor's tracing library, CUPTI or roctracer."""


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
    clock_hz: int | None = None
    """The boost clock of this very board, as its driver reports it; not the clock that it ran at."""
    bytes_per_s: int | None = None
    """The memory bandwidth, as the driver reports it."""


class Cpu(msgspec.Struct, frozen=True):
    """The CPU that a program ran on."""

    model: str
    threads: int
    """PyTorch's threads."""


class OwnNotes(msgspec.Struct, frozen=True):
    """What perfkit's recorder noted about the run."""

    modules: dict[str, str] = msgspec.field(default_factory=dict)
    """The model's tree, module path -> class, in the order of `named_modules()`; empty where it was not noted."""
    provenance: Provenance | None = None
    """The origin of compiled kernels, if the run was asked for it."""
    cpu: Cpu | None = None
    """What the run was on; None of a run on a GPU, and of older files."""


class WholeGraphs(msgspec.Struct, frozen=True):
    """Launches of CUDA graphs that nsys recorded without their kernels, which are therefore in no column."""

    count: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file says about itself. The reader checks all of it; a value of the wrong type counts as missing."""

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
    """A newer report beside an export, which may be the export's source; empty where there is none."""

    @property
    def capabilities(self) -> Capabilities:
        """What a file of this tool can contain."""
        return _OF_TOOL[self.tool]
