"""The grammar of perfkit's range names, for the code that writes them and the code that reads them.

In a torch.profiler trace, where ranges of all origins share one name space:

    perfkit::layers.3.attn           a module's forward, by its fully qualified name
    perfkit.recompute::layers.3.attn the same, run again in backward (activation checkpointing)
    perfkit.backward::layers.3.attn  one backward node that the module's forward made, or that accumulates the
                                     gradient of one of its parameters
    perfkit.grad::layers.3.attn      a mark inside a gradient's accumulation: whose parameter it is
    perfkit.update::layers.3.attn    an optimizer's update of one of the module's parameters
    perfkit.phase::backward          a phase of the step: data, if there is a data loader, zero_grad, forward, loss,
                                     backward, optimizer; in somebody's own loop data is what is before, and a phase
                                     may be what the user calls it; and hooks, perfkit's own search for backward nodes
    perfkit.step::3                  measured step 3 (counted from 0)
    perfkit.warmup::0                warm-up step 0
    perfkit.measure::                all measured steps

PyTorch writes no trace of names that are not ASCII, and with quotes one that nobody can read: there such characters,
`\\`, `>` and `%` are written as in an address, `perfkit::experts.f%C3%BCr`.

A stamp says where in a step the allocator of a GPU was (`_set_memory_metadata`, in snapshots): the step, the phase
and the innermost range that are open on the allocating thread, as in a trace, with ` > ` between them:

    perfkit.step::3 > perfkit.phase::forward > perfkit::layers.3.attn

On autograd's own thread there is the innermost alone: `perfkit.backward::layers.3.attn`.

In NVTX the domain `perfkit` keeps them apart from others, so modules go by their bare name and the rest in
the same words: `layers.3.attn`, `recompute::layers.3.attn`, `backward::layers.3.attn`, `grad::layers.3.attn`,
`update::layers.3.attn`, `phase::backward`, `step::3`, `warmup::0`; `measure`, for which
`nsys profile --capture-range=nvtx` can wait, goes without the colons. (A module's name cannot hold `::`; one that is
called `measure` is written `module::measure`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote, unquote

import msgspec

NVTX_DOMAIN = "perfkit"
STEP_PHASES = ("zero_grad", "forward", "loss", "backward", "optimizer")

Kind = Literal["module", "recompute", "backward", "grad", "update", "phase", "step", "warmup", "measure"]

_PREFIX: dict[Kind, str] = {
    "module": "perfkit::",
    "recompute": "perfkit.recompute::",
    "backward": "perfkit.backward::",
    "grad": "perfkit.grad::",
    "update": "perfkit.update::",
    "phase": "perfkit.phase::",
    "step": "perfkit.step::",
    "warmup": "perfkit.warmup::",
    "measure": "perfkit.measure::",
}
_BARE_MEASURE = "measure"
_BETWEEN = " > "
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in '%"\\>')
"""Characters that a trace has as they are."""
_PLACE: dict[Kind, str] = {"measure": "", "step": "step", "warmup": "step", "phase": "phase"}
"""In a stamp; any other kind is a place inside a phase."""


class RangeName(msgspec.Struct, frozen=True):
    """A parsed name: what kind of range it is, and its label (a module path, a phase, a step number, or nothing)."""

    kind: Kind
    label: str

    @property
    def trace_text(self) -> str:
        """As written to a torch.profiler trace."""
        return _PREFIX[self.kind] + quote(self.label, safe=_PLAIN)

    @property
    def nvtx_text(self) -> str:
        """As written to NVTX, inside the domain `perfkit`."""
        if self.kind == "measure":
            return _BARE_MEASURE
        bare = self.kind == "module" and self.label != _BARE_MEASURE
        return self.label if bare else f"{self.kind}::{self.label}"


def module(path: str) -> RangeName:
    """The range of a module's forward; `path` as `named_modules()` spells it (the root has a name of its own)."""
    return RangeName("module", path)


def recompute(path: str) -> RangeName:
    """The range of a module's forward that runs again in backward; `path` as of `module`."""
    return RangeName("recompute", path)


def backward(path: str) -> RangeName:
    """The range of one backward node; `path` of the module whose forward made it, or of the phase `loss`."""
    return RangeName("backward", path)


def gradient(path: str) -> RangeName:
    """The mark that says whose parameter's gradient is accumulated; `path` as of `module`."""
    return RangeName("grad", path)


def update(path: str) -> RangeName:
    """The range of an optimizer's update of one parameter; `path` of the module that owns it, as of `module`."""
    return RangeName("update", path)


def phase(name: str) -> RangeName:
    """The range of a phase of the step."""
    return RangeName("phase", name)


def step(index: int, *, warmup: bool = False) -> RangeName:
    """The range of one step."""
    return RangeName("warmup" if warmup else "step", str(index))


MEASURE = RangeName("measure", "")
"""Round all measured steps."""

HOOKS = phase("hooks")
"""perfkit's own search for backward nodes, where it puts ranges round them: at the end of the outermost module."""


def parse_trace(text: str) -> RangeName | None:
    """Read a name from a torch.profiler trace; None where it is not one of ours."""
    for kind, prefix in _PREFIX.items():
        if text.startswith(prefix):
            return RangeName(kind, unquote(text[len(prefix) :]))
    return None


def stamp(texts: Sequence[str]) -> str:
    """The stamp of ranges that are open, the outermost first, each as written to a trace."""
    last = {_PLACE.get(name.kind, "innermost"): text for text in texts if (name := parse_trace(text)) is not None}
    return _BETWEEN.join(last[place] for place in ("step", "phase", "innermost") if place in last)


def parse_stamp(text: str) -> tuple[RangeName, ...]:
    """The ranges of a stamp, the outermost first; empty where it is not one of ours."""
    names = [parse_trace(part) for part in text.split(_BETWEEN)]
    return tuple(name for name in names if name is not None) if None not in names else ()


def parse_nvtx(text: str) -> RangeName:
    """Read a name from the NVTX domain `perfkit`."""
    if text == _BARE_MEASURE:
        return MEASURE
    head, separator, tail = text.partition("::")
    if separator and head in _PREFIX and (head != "module" or tail == _BARE_MEASURE):
        return RangeName(head, tail)
    return RangeName("module", text)
