"""Files that are taken for traces: what each is, and what to pass or run instead. Each is known by its first bytes.

The signatures are those of the writers: PyTorch (`_memory_profiler.py`, `cuda/_memory_viz.py`, `serialization.py`, the
execution trace observer), NVIDIA's description of Nsight Compute's report files, Perfetto's `trace_packet.proto`,
TensorFlow's `xplane.proto` and `event.proto`, speedscope's `file-format-spec.ts`.
"""

from __future__ import annotations

import io
import re
import shlex
import tarfile
from pathlib import PurePath

import msgspec

from perfkit.errors import UsageError

STREAM = "standard input"
"""How messages name it."""
HEAD = 4096
"""Bytes by which a file, or what is packed in it, is known."""

_TRACE = "pass the trace that torch.profiler wrote (prof.export_chrome_trace: .json, .json.gz)"
_RECORD = "for operators and kernels, record with torch.profiler or nsys profile"
_OWN_WRITER = "pass the file that torch.profiler wrote (.json, .json.gz)"


class Kind(msgspec.Struct, frozen=True):
    """A kind of file that is no trace."""

    what: str
    """Follows "is"; `{first}` is the name of a tar archive's first file."""
    instead: str
    """What to do; `{file}` is the file's name, and `{unpacked}` that of what is packed in it."""
    begins: bytes = rb"(?!)"
    """Pattern of its first bytes; the default fits none."""
    endings: tuple[str, ...] = ()
    """How its name ends: looked at only where no kind is known by its first bytes."""


_CHECKPOINT = rb"PK\x03\x04.{26}[^\0]{0,200}?data\.pkl|\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\."
KINDS: tuple[Kind, ...] = (
    # Packed, or not the file itself
    Kind("a Git LFS pointer, not the file itself", "fetch the file with git lfs pull",
         rb"version https://(git-lfs|hawser)\.github\.com/spec/"),
    Kind("a git-annex pointer, not the file itself", "fetch the file with git annex get", rb"/annex/objects/"),
    Kind("a tar archive{first}", "unpack it (tar -xf) and pass the trace that is in it", rb".{257}ustar",
         (".tar", ".tgz")),
    Kind("packed with gzip more than twice", "unpack it first (gunzip)", rb"\x1f\x8b"),
    Kind("an sqlite file, which cannot be read from a stream or packed", "unpack and name the file",
         rb"SQLite format 3\0"),
    Kind("a report of nsys, which cannot be read from a stream or packed", "unpack and name the file",
         rb"NVIDIA Tegra Profiler Report"),
    Kind("Zstandard-compressed", "unpack it first (zstd -d)", rb"\x28\xb5\x2f\xfd"),
    Kind("xz-compressed", "unpack it first (xz -d)", rb"\xfd7zXZ\0"),
    Kind("bzip2-compressed", "unpack it first (bzip2 -d)", rb"BZh"),
    Kind("lz4-compressed", "unpack it first (lz4 -d)", rb"\x04\x22M\x18"),
    Kind("a 7z archive", "unpack it (7z x) and pass the trace that is in it", rb"7z\xbc\xaf\x27\x1c"),
    Kind("UTF-16 text", "save it as UTF-8 first", rb"\xff\xfe|\xfe\xff"),
    # PyTorch's other files
    Kind("a memory timeline (prof.export_memory_timeline), which has sizes but no operators or kernels",
         "look at it with perfkit memory {file}",
         rb"\s*\[\s*\[\s*(-?\d|\])"),
    Kind("a picture of memory over time (prof.export_memory_timeline), without its numbers",
         "write it as .json, and look at that with perfkit memory",
         rb"\s*<html>.{0,200}<title>GPU Memory Timeline"),
    Kind("a memory snapshot (torch.cuda.memory), which has allocations but no operators or kernels",
         "look at it with perfkit memory {file}",
         rb"\x80[\x02-\x05].{0,200}?(segments|device_traces|allocator_settings|external_annotations|allocated_size"
         rb"|total_size)"),
    Kind("a memory snapshot (torch.cuda.memory) as JSON, which has allocations but no operators or kernels",
         "pickle it, as torch.cuda.memory._dump_snapshot does, and look at it with perfkit memory",
         rb'\s*\{\s*"(segments|device_traces)"\s*:'),
    Kind("a checkpoint of PyTorch (torch.save), not a recording", _TRACE,
         _CHECKPOINT,
         (".pt", ".pth", ".ckpt")),
    Kind("an execution trace (ExecutionTraceObserver), which has operators but no times", _TRACE,
         rb'\s*\{\s*"schema"\s*:\s*"\d'),
    Kind("what key_averages().table() prints", _TRACE, rb"\s*---[- ]*\n\s*Name\s"),
    Kind("a list of stacks with weights (prof.export_stacks, py-spy --format raw)", _TRACE,
         rb"[^\n\0{<\[;]++;[^\n\0]* \d+\r?\n"),
    # NVIDIA's
    Kind("a report of Nsight Compute, which has counters of single kernels but no timeline",
         "open it with ncu --import {file}, and record a timeline with nsys profile or torch.profiler",
         rb"NVR\0", (".ncu-rep",)),
    Kind("what nsys recorded but has not made a report of",
         "run QdstrmImporter, which comes with nsys, on it and pass the .nsys-rep", endings=(".qdstrm",)),
    Kind("a table of nsys stats", "pass the .nsys-rep or .sqlite that it was made from",
         rb'(\xef\xbb\xbf)?"?(Time ?\(%\)|Start \(ns\)|Duration \(ns\))"?,|[^\n]{0,300}Total Time \(ns\)'
         rb"|\s*\*\* [^\n]{3,80} \(\w+\):|(Generating|Processing) [^\n]*\.sqlite"),
    # Other profilers'
    Kind("a profile of xprof (JAX, TensorFlow), which perfkit does not read", _RECORD,
         rb"\n.{1,6}?(\x08.{1,10}?)?\x12.{1,2}?(/host:|/device:|Task Environment)", (".xplane.pb",)),
    Kind("a TensorBoard event file, which has scalars but no operators or kernels",
         "pass the .pt.trace.json that torch.profiler's tensorboard_trace_handler wrote",
         rb".{8,60}?brain\.Event:\d"),
    Kind("a Perfetto trace in its binary form", _OWN_WRITER,
         # Field 1, a packet of some length, and the field that it begins with: a time, a clock, a process tree, ...
         rb"\n([\x01-\x7f]|[\x80-\xff]{1,3}[\x01-\x7f])([\x12\x18\x32\x40\x50\x5a\x68]|\x8a\x02|\xa2\x02|\xaa\x04"
         rb"|\xca\x05|\xd0\x03|\xe2\x03|\xea\x02)(?=.{0,200}[\0-\x08\x0e-\x1f])",
         (".pftrace", ".perfetto-trace", ".perfetto")),
    Kind("a speedscope profile (py-spy, pyinstrument), which has samples of stacks", _RECORD,
         rb'\s*\{.{0,3500}?"\$schema"\s*:\s*"https?://(www\.)?speedscope\.app|\s*\{\s*"shared"\s*:\s*\{\s*"frames"'),
    Kind("a CPU profile of V8 (Chrome, Node.js), which has samples of stacks", _RECORD,
         rb'\s*\{.{0,3500}?"callFrame"\s*:\s*\{', (".cpuprofile",)),
    Kind("a profile of cProfile, which has Python functions", _RECORD, rb"[{\xfb][)\xa9]\x03"),
    Kind("a recording of memray, which has allocations", _RECORD, rb"memray\0"),
    Kind("a recording of perf, which has samples of stacks", _RECORD, rb"PERFILE2"),
    Kind("data of Weights & Biases, which has scalars", _RECORD, rb":W&B", (".wandb",)),
    # Whatever else lies beside a trace
    Kind("what perfkit wrote, not what it read", "pass the trace or the run's folder that it was made from",
         rb'\s*\{\s*"summary"\s*:\s*\{.{0,3500}?"(scope_source|measured_steps)"\s*:'),
    Kind("a notebook", _TRACE, rb'\s*\{\s*"cells"\s*:', (".ipynb",)),
    Kind("several JSON documents, one a line", _TRACE, rb"\s*\{[^\n]*\}[ \t\r]*\n\s*\{"),
    Kind("a JSON list of numbers or texts", _TRACE, rb'\s*\[\s*(-?\d|")'),
    Kind("a picture", _TRACE,
         rb"\x89PNG|\xff\xd8\xff|GIF8|\s*+((<\?xml|<!DOCTYPE svg)[^>]*+>\s*+|<!--.{0,500}?-->\s*+)*+<svg"),
    Kind("a web page (HTML)", _TRACE, rb"(?i)\s*(<!--.{0,500}?-->\s*)?<(!doctype html|html|head)",
         (".html", ".htm")),
    Kind("XML", _TRACE, rb"\s*<\?xml"),
    Kind("a file of tensors (safetensors), not a recording", _TRACE, rb'.{4}\0{4}\{"', (".safetensors",)),
    Kind("a file of arrays (NumPy), not a recording", _TRACE, rb"\x93NUMPY|PK\x03\x04.{26}[^\0]{1,100}?\.npy"),
    Kind("a pickle", _TRACE, rb"\x80[\x02-\x05]", (".pickle", ".pkl")),
    Kind("Python source", "run it under torch.profiler, and pass the trace that it writes", rb"#![^\n]*python",
         (".py",)),
    Kind("a log or other text", _TRACE, endings=(".log", ".txt", ".out", ".err", ".md", ".yaml", ".yml", ".toml")),
    Kind("a table of values", _TRACE, endings=(".csv", ".tsv")),
)  # fmt: skip
"""The first that fits is named."""

_ADDRESS = re.compile("([A-Za-z][A-Za-z0-9+.-]+):/{1,2}")
_BLANK = b" \t\r\n\xef\xbb\xbf"
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def begins_as_json(head: bytes) -> bool:
    """Whether this may be the beginning of JSON."""
    return head.lstrip(_BLANK)[:1] in (b"{", b"[", b"")


def is_checkpoint(head: bytes) -> bool:
    """Whether this is the beginning of what torch.save writes."""
    return re.match(_CHECKPOINT, head, re.DOTALL) is not None


def is_pickle(head: bytes) -> bool:
    """Whether this is the beginning of a pickle of protocol 2 to 5, but no checkpoint of PyTorch."""
    return re.match(rb"\x80[\x02-\x05]", head) is not None and not is_checkpoint(head)


def refuse(head: bytes, name: str, *, by_name: bool = True) -> None:
    """Raise UsageError if the first bytes, or else the name, are those of a kind of file that is no trace."""
    if (kind := _kind(head[:HEAD], name if by_name else "")) is not None:
        raise UsageError(f"{name} is {_said(kind, head[:HEAD], name)}")


def is_binary(head: bytes) -> bool:
    """Whether there are control characters among the first bytes."""
    return _CONTROL.search(head[:HEAD]) is not None


def is_address(path: PurePath | str) -> bool:
    """Whether a path is an address (https://..., s3://...), though a Path has one slash less."""
    return _ADDRESS.match(str(path)) is not None


def missing(path: PurePath | str, shown: str | None = None) -> UsageError:
    """The error for a path that does not exist; `shown` is how messages write it."""
    shown = shown or str(path)
    if (scheme := _ADDRESS.match(shown)) is not None:
        how = "pass the path alone" if scheme[1] == "file" else "download the file first, and pass its path"
        return UsageError(f"{scheme[1]}://{shown[scheme.end() :]} is an address, not a path: {how}")
    if "*" in shown or "?" in shown:
        return UsageError(f"{shown} does not exist, and no file fits it as a pattern: check the path")
    return UsageError(f"{shown} does not exist: check the path")


def _kind(head: bytes, name: str) -> Kind | None:
    is_json = begins_as_json(head)
    if is_json and b'"traceEvents"' in head:
        return None
    known = next((kind for kind in KINDS if re.match(kind.begins, head, re.DOTALL)), None)
    if known is not None or is_json:
        return known
    ending = _without_packing(name).lower()
    return next((kind for kind in KINDS if ending.endswith(kind.endings)), None)


def _said(kind: Kind, head: bytes, name: str) -> str:
    """What a file is, and what to do."""
    unpacked = _without_packing(name)
    first = _first_in_tar(head) if "{first}" in kind.what else ""
    what = kind.what.format(first=f" that begins with {first}" if first else "")
    file, inner = ("FILE" if name == STREAM else shlex.quote(path) for path in (name, unpacked))
    unpack = "unpack it (gunzip) and " if "{unpacked}" in kind.instead and unpacked != name else ""
    return f"{what}: {unpack}{kind.instead.format(file=file, unpacked=inner)}"


def _without_packing(name: str) -> str:
    return re.sub(r"\.(gz|zip)$", "", name, flags=re.IGNORECASE)


def _first_in_tar(head: bytes) -> str:
    """The name of the first file in a tar archive; empty where the head does not show it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
            return next((ascii(member.name)[1:-1][:100] for member in archive if not member.isdir()), "")
    except (tarfile.TarError, EOFError, ValueError, OSError):
        return ""
