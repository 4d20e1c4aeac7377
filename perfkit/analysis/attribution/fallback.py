"""What stands for layers where a trace names none: the Python frames, operators or kernels of work without a scope.

They say where time goes, and are no scopes: what goes by them stays unattributed in every sum.
"""

from __future__ import annotations

from enum import Enum

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE, ROW, Ints, at, nearest
from perfkit.analysis.attribution.links import Links
from perfkit.analysis.attribution.scopes import ScopeSource, resolve
from perfkit.schema import python_frames
from perfkit.trace.columns import MISSING, HostKind, Trace


class LayersBy(Enum):
    """What the rows of tables by layer stand for, the best first."""

    MODULES = "modules"
    RANGES = "ranges"
    """The user's own ranges."""
    FRAMES = "frames"
    """Python functions outside torch, of which the innermost counts; without one, operators."""
    OPERATORS = "operators"
    """The innermost operator."""
    KERNELS = "kernels"
    HOST_RANGES = "host_ranges"
    """Any range, such as a step, in a trace without device work and operators."""

    @property
    def is_scope(self) -> bool:
        """Whether the rows are scopes; else work without a scope goes by something else."""
        return self in (LayersBy.MODULES, LayersBy.RANGES)

    @property
    def noun(self) -> str:
        """What a row is called."""
        return {LayersBy.FRAMES: "Python frame"}.get(self, self.value.removesuffix("s").replace("_", " "))

    @property
    def is_own_name(self) -> bool:
        """Whether work goes by its own name, and not by what it ran or was launched in."""
        return self in (LayersBy.KERNELS, LayersBy.HOST_RANGES)


def layers_by(source: ScopeSource) -> LayersBy:
    """What scopes of this kind stand for."""
    return LayersBy.RANGES if source is ScopeSource.ANNOTATION else LayersBy.MODULES


class Fallback(msgspec.Struct, frozen=True):
    """A label for rows without a scope."""

    by: LayersBy
    label: Ints
    """Of each host range in the forest's order, or of each name in the trace (`is_own_name`): index into texts."""
    texts: tuple[str, ...]


def find_fallback(trace: Trace, host: HostView, links: Links, rows: Ints) -> Fallback:
    """The best labels for work in these host ranges (NONE for none)."""
    operator = nearest(host.forest.parent, host.kind == HostKind.OP)
    names = np.where(operator == NONE, NONE, host.name[operator]) if len(operator) else operator
    frames = _frames(trace, host, links)
    if (at(frames, rows, absent=NONE) != NONE).any():
        return _labelled(LayersBy.FRAMES, trace, np.where(frames == NONE, names, frames))
    if (at(names, rows, absent=NONE) != NONE).any():
        return _labelled(LayersBy.OPERATORS, trace, names)
    own = LayersBy.KERNELS if len(trace.device) else LayersBy.HOST_RANGES
    return _labelled(own, trace, np.arange(len(trace.names)))


def _frames(trace: Trace, host: HostView, links: Links) -> Ints:
    """Name index of the user's innermost Python frame round each host range, through backward nodes as in rule 11."""
    own = np.zeros(len(host.names), dtype=bool)
    python = host.kind == HostKind.PYTHON
    own[[index for index in np.unique(host.name[python]) if python_frames.is_users(host.names[index])]] = True
    stack = trace.host.frame[host.forest.order]
    frame = np.where(stack != MISSING, stack, np.where(python & own[host.name], host.name, NONE)).astype(ROW)
    inner = nearest(host.forest.parent, frame != NONE)
    found, _ = resolve(links, inner, np.full(len(inner), NONE, dtype=ROW))
    return at(frame, found, absent=NONE)


def _labelled(by: LayersBy, trace: Trace, names: Ints) -> Fallback:
    """Number the texts of names; frames of one text are one label."""
    used = np.unique(names[names != NONE])
    texts = [python_frames.short(trace.names[index]) for index in used.tolist()]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    label = np.full(len(trace.names), NONE, dtype=ROW)
    label[used] = [numbers[text] for text in texts]
    return Fallback(by, at(label, names, absent=NONE), tuple(numbers))
