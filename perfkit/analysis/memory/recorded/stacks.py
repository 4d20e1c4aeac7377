"""Stacks: what the frames of an allocation say of its phase, its operator and its place in the user's program.

Frames stand innermost first; those of C++ (`stacks="all"`) have no Python file. Every distinct frame is looked at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntFlag
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.schema import python_frames
from perfkit.trace.columns import Bytes, Int64s
from perfkit.trace.snapshot.columns import Frame, Snapshot


class Mark(IntFlag):
    """What a frame is."""

    MODULE = 1
    """A module's call."""
    ENGINE = 2
    """Autograd running backward."""
    OPTIMIZER = 4
    """An optimizer's step."""
    BUILDS = 8
    """A module being made, loaded or moved."""
    WORKSPACE = 16
    """A library's workspace."""
    USER = 32
    """A line of the user's program, or of a library that models are written with."""
    PYTHON = 64
    NATIVE = 128
    LOSS = 256


_MODULE_FILE = re.compile(r"(?:^|/)torch/nn/modules/module\.py$")
_CALLS = frozenset({"_call_impl", "_wrapped_call_impl", "__call__", "_slow_forward"})
_BUILDS = frozenset(
    {"_apply", "to", "cuda", "load_state_dict", "_load_from_state_dict", "to_empty", "half", "bfloat16"}
)
_BUILDING = re.compile(r"(?:^|/)torch/nn/(?:init\.py|modules/(?!module\.py))")
_ENGINE = re.compile(r"torch::autograd::(?:Engine::|Node::operator\(\)|python::PythonEngine)")
_ENGINE_FILE = re.compile(r"(?:^|/)torch/(?:_tensor|autograd/(?:__init__|graph))\.py$")
_ENGINE_CALLS = frozenset({"backward", "grad", "_engine_run_backward"})
_OPTIMIZER_FILE = re.compile(r"(?:^|/)(?:torch/optim/|[^/]*(?:optim|adam|lion|muon|sgd|shampoo|lamb)[^/]*\.py$)", re.I)
_OPTIMIZER_CALLS = re.compile(
    r"step|_init_group|_?(?:single|multi)_tensor\w*|_fused\w*|update\w*|wrapper|profile_hook_step"
)
_NO_STEP = frozenset({"zero_grad", "__init__", "add_param_group", "state_dict", "load_state_dict"})
_WORKSPACE = re.compile(r"[wW]orkspace|CUDABlas(?:Lt)?Handle|CuBlasLt")
_BETWEEN = re.compile(r"(?:^|/)(?:einops|accelerate|functorch)/")
"""Libraries that stand between a model's line and torch."""
_LOSS = re.compile(r"loss|cross_entropy|nll", re.I)
_OPERATOR = re.compile(r"^at::_ops::(\w+)::(?:call|redispatch)")
_NODE = re.compile(r"^torch::autograd::(?:generated::)?(\w+?)(?:_apply_functional|::apply)\b")


@dataclass(frozen=True, slots=True)
class StackFacts:
    """One row a stack of the snapshot; the last row is of having none, so that MISSING finds it."""

    marks: npt.NDArray[np.uint16]
    """Of all its frames together."""
    phase: Bytes
    """Phase; OTHER where no frame says it."""
    place: tuple[str, ...]
    """The innermost line of the user's program, and its caller's after ` < `; empty where there is none."""
    operator: tuple[str, ...]
    """The outermost operator that was called (`aten::softmax`), or the backward node; empty where unknown."""


def facts(snapshot: Snapshot) -> StackFacts:
    """What each stack says."""
    stacks = snapshot.stacks
    marks = np.array([_marks(frame) for frame in snapshot.frames], np.uint16)[stacks.frame]
    together = _by_stack(np.bitwise_or, marks, stacks.start)
    module = _first(marks, Mark.MODULE, stacks.start)
    optimizer = _first(marks, Mark.OPTIMIZER, stacks.start)
    engine = _first(marks, Mark.ENGINE, stacks.start)
    phase = np.full(len(stacks) + 1, Phase.OTHER, np.uint8)
    phase[_ahead(module, optimizer)] = Phase.FORWARD
    phase[_ahead(optimizer, module)] = Phase.OPTIMIZER
    phase[_ahead(engine, optimizer)] = Phase.BACKWARD
    # Checkpointing calls modules from inside a node; a module that calls backward itself has the engine inside.
    phase[_ahead(engine, optimizer) & _ahead(module, engine)] = Phase.RECOMPUTE
    texts = [_texts(frame) for frame in snapshot.frames]
    place = _places(snapshot, marks, [text for text, _ in texts])
    named = np.array([bool(operator) for _, operator in texts], bool)[stacks.frame]
    operator = _outermost([operator for _, operator in texts], stacks.frame, stacks.start, named)
    return StackFacts(together, phase, place, operator)


def _places(snapshot: Snapshot, marks: np.ndarray, texts: list[str]) -> tuple[str, ...]:
    """The innermost line of the user's program in each stack and its caller's."""
    stacks, used = snapshot.stacks, marks & Mark.USER != 0
    frames = [stacks.frame[start:end][used[start:end]][:2] for start, end in pairwise(stacks.start.tolist())]
    return (*(" < ".join(texts[frame] for frame in inner.tolist()) for inner in frames), "")


def _marks(frame: Frame) -> int:
    file, name = frame.file, frame.name
    if not file.endswith(".py"):
        found = Mark.NATIVE if "::" in name else Mark(0)
        found |= Mark.ENGINE if _ENGINE.search(name) else Mark(0)
        return int(found | (Mark.WORKSPACE if _WORKSPACE.search(name) else Mark(0)))
    found = Mark.PYTHON
    if _MODULE_FILE.search(file):
        found |= Mark.MODULE if name in _CALLS else Mark.BUILDS if name in _BUILDS else Mark(0)
    elif name == "__init__" and _BUILDING.search(file):
        found |= Mark.BUILDS
    elif _ENGINE_FILE.search(file):
        found |= Mark.ENGINE if name in _ENGINE_CALLS else Mark(0)
    elif _OPTIMIZER_FILE.search(file) and name not in _NO_STEP and _OPTIMIZER_CALLS.match(name):
        found |= Mark.OPTIMIZER
    if python_frames.is_users(_text(frame)) and not _BETWEEN.search(file):
        found |= Mark.USER
    return int(found | (Mark.LOSS if _LOSS.search(name) else Mark(0)))


def _text(frame: Frame) -> str:
    return f"{frame.file}({frame.line}): {frame.name}"


def _texts(frame: Frame) -> tuple[str, str]:
    """What a frame is called as a place, and the operator or the backward node that it is; empty for none."""
    if frame.file.endswith(".py"):
        return python_frames.short(_text(frame)), ""
    operator, node = _OPERATOR.search(frame.name), _NODE.search(frame.name)
    return "", f"aten::{operator[1]}" if operator else node[1] if node else ""


def _by_stack(fold: np.ufunc, values: np.ndarray, start: Int64s) -> np.ndarray:
    """Fold the frames of each stack; stacks without frames, and the row of having none, get 0."""
    folded = np.zeros(len(start), values.dtype)
    full = np.flatnonzero(np.diff(start) > 0)
    if len(full):
        folded[full] = fold.reduceat(values, start[full])
    return folded


def _first(marks: np.ndarray, mark: Mark, start: Int64s) -> Int64s:
    """Per stack, how far inside its first frame with a mark is, as a number to compare: 0 for none, more inside."""
    places = np.where(marks & mark != 0, len(marks) - np.arange(len(marks)), 0)
    return _by_stack(np.maximum, places, start)


def _ahead(one: Int64s, other: Int64s) -> np.ndarray:
    """Where one has a frame, and farther inside than the other."""
    return (one > 0) & (one > other)


def _outermost(texts: list[str], frame: np.ndarray, start: Int64s, of: np.ndarray) -> tuple[str, ...]:
    """Per stack the text of its outermost frame among some; empty for none."""
    chosen = _by_stack(np.maximum, np.where(of, np.arange(len(frame)) + 1, 0), start)
    return tuple("" if row == 0 else texts[frame[row - 1]] for row in chosen.tolist())
